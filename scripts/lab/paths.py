# SPDX-License-Identifier: GPL-2.0
"""Where things are, and the messages of the lab."""

import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("PUMA_BUILD", ROOT / "build"))
IMAGE = BUILD / "image"
HOST_BIN = IMAGE / "bin"            # the programs of tests/prog, for the host
RESULTS = BUILD / "results"
LOGS = BUILD / "log" / "lab"
TEMPLATES = ROOT / "vm-images" / "libvirt"

# Which kernel the guests run; the same tests run on the debug flavour.
FLAVOUR = os.environ.get("PUMA_FLAVOUR", "guest")
# Debug kernels and slow machines: multiply every timeout.
TIMEOUT_SCALE = float(os.environ.get("PUMA_TIMEOUT_SCALE", "4" if FLAVOUR == "debug" else "1"))

START = time.monotonic()
QUIET = bool(os.environ.get("PUMA_QUIET"))


class LabError(Exception):
    """Something in the lab went wrong; the message says what and what to do."""


def say(text):
    """One line of progress, with the time since the program began."""
    if not QUIET:
        print(f"[{time.monotonic() - START:6.1f}s] {text}", file=sys.stderr, flush=True)


def kernel_image(flavour=None):
    """The bzImage of a flavour, or a clear error."""
    override = os.environ.get("PUMA_KERNEL")
    path = Path(override) if override and flavour is None else (
        BUILD / "kernel" / (flavour or FLAVOUR) / "arch/x86/boot/bzImage")
    if not path.exists():
        raise LabError(f"no kernel at {path}: run 'make kernel' first")
    return path


def root_image(name="root"):
    path = IMAGE / f"{name}.squashfs"
    if not path.exists():
        variant = "" if name == "root" else f" {name}"
        raise LabError(f"no guest image at {path}: run 'vm-images/build-image{variant}' first")
    return path
