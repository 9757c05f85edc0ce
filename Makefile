# SPDX-License-Identifier: GPL-2.0
#
# Front door.  Each target is one script; run it with --help for its options.

SHELL := /bin/bash
OUT ?= build/series
FLAVOUR ?= guest

export KERNEL_SRC

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test soak check series kernel image kunit deps tree mutants clean

help:
	@echo 'PUMA: pool the unused memory of virtual machines'
	@echo
	@echo '  make demo      set everything up and show a borrower and a lender at work'
	@echo '  make test      everything that must pass; ends with "N passed, N failed"'
	@echo '  make soak      the same kind of tests for hours; see docs/testing.md'
	@echo '  make check     static checks of sources, patches and scripts'
	@echo '  make mutants   break PUMA in many places, one at a time, and see that a test notices'
	@echo
	@echo '  make deps      install the Debian packages that all this needs (as root)'
	@echo '  make tree      build/linux: the kernel source with the series applied'
	@echo '  make kernel    build/kernel/$$FLAVOUR: guest (default), debug, kcsan or off'
	@echo '  make image     build/image: the file system of the guests'
	@echo '  make kunit     unit tests of the kernel code, under User Mode Linux'
	@echo '  make series    build/series: the whole work as patches for git am (OUT=DIR)'
	@echo '  make clean     remove build/'
	@echo
	@echo 'KERNEL_SRC=PATH takes a linux-6.12.y tree or tarball instead of the Debian package.'

demo:
	@scripts/install-deps kernel image lab
	@scripts/build-kernel guest
	@vm-images/build-image
	@scripts/demo

test:
	@scripts/test

soak:
	@scripts/test --limit 300 soak

check:
	@scripts/install-deps kernel check
	@scripts/check

deps:
	@scripts/install-deps

tree:
	@scripts/install-deps kernel
	@scripts/prepare-tree

kernel:
	@scripts/install-deps kernel
	@scripts/build-kernel $(FLAVOUR)

image:
	@scripts/install-deps kernel image
	@vm-images/build-image

kunit:
	@scripts/install-deps kernel
	@scripts/run-kunit

mutants:
	@scripts/install-deps kernel image lab
	@scripts/build-kernel guest
	@vm-images/build-image
	@scripts/mutants

series:
	@scripts/install-deps kernel check
	@scripts/make-series $(OUT)

clean:
	rm -rf build
