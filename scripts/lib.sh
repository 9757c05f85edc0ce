# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shared by the shell scripts in this directory; source it first.
# Messages, the build lock, and long steps that report their progress.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
BUILD=$ROOT/build
LOG=$BUILD/log
TREE=$BUILD/linux
JOBS=${JOBS:-$(nproc)}
SOURCE_TARBALL=/usr/src/linux-source-6.12.tar.xz
export ROOT BUILD LOG TREE JOBS SOURCE_TARBALL

# Debian's own python3 and tools first, whatever else is installed; tests put
# their stand-ins before those.
export PATH=${PUMA_TEST_PATH:+$PUMA_TEST_PATH:}/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL=C.UTF-8

say() { printf '%s\n' "$*"; }
warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { printf '%s: error: %s\n' "${0##*/}" "$*" >&2; exit 1; }

elapsed() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# One build at a time: two kernel builds on a small machine only slow each
# other down, and the trees under build/ are shared.  A script started by the
# holder of the lock goes ahead.
lock_build()
{
	[ -n "${PUMA_BUILD_LOCKED:-}" ] && return
	mkdir -p "$BUILD"
	exec 9>"$BUILD/.buildlock"
	if ! flock -n 9; then
		say "waiting for another build in $BUILD to end"
		flock 9
	fi
	export PUMA_BUILD_LOCKED=$$
}

# run_logged LOGFILE WHAT COMMAND...: runs a long command with its output in
# LOGFILE.  Every 15 s one line tells the time and how many objects are built.
run_logged()
{
	local log=$1 what=$2 start=$SECONDS pid status=0 tick=0

	shift 2
	mkdir -p "$(dirname "$log")"
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		tick=$((tick + 1))
		[ $((tick % 75)) -eq 0 ] || continue
		say "  $what: $(elapsed $((SECONDS - start))), $(grep -cE '^  (CC|AS|LD|AR|HOSTCC) ' "$log" || true) objects"
	done
	wait "$pid" || status=$?
	if [ "$status" -ne 0 ]; then
		grep -nE -B1 -A6 'error:|Error |undefined reference|No rule to make' "$log" |
			head -n 40 >&2 || true
		warn "$what failed after $(elapsed $((SECONDS - start))), log: $log"
	fi
	return "$status"
}

# Fixed, so that the same sources give the same kernel and ccache can help.
kbuild_env()
{
	export KBUILD_BUILD_TIMESTAMP='2025-01-01 00:00:00 UTC'
	export KBUILD_BUILD_USER=puma KBUILD_BUILD_HOST=puma
	unset KBUILD_OUTPUT MAKEFLAGS MFLAGS MAKELEVEL
	KCC=gcc
	if command -v ccache >/dev/null; then
		KCC='ccache gcc'
		export CCACHE_BASEDIR=$ROOT CCACHE_NOHASHDIR=1
		export CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-5G}
	fi
}

# kmake OUTPUT ARGS...: make in the prepared tree with the output elsewhere.
kmake()
{
	local out=$1

	shift
	make -C "$TREE" O="$out" CC="$KCC" HOSTCC="$KCC" -j"$JOBS" "$@"
}

# kernel_version TREE: 6.12.117
kernel_version()
{
	awk -F' *= *' '/^VERSION|^PATCHLEVEL|^SUBLEVEL/ { v = v s $2; s = "." }
		END { print v }' "$1/Makefile" 2>/dev/null || true
}

# The patches of the series, one path a line.
series_patches()
{
	local dir=$1

	[ -f "$dir/series" ] || die "$dir/series is missing"
	sed -e 's/[[:space:]]*#.*//' -e '/^[[:space:]]*$/d' -e "s|^|$dir/|" "$dir/series"
}

# pristine FILE: the path of FILE as the kernel has it, before the series
pristine()
{
	if [ -f "$BUILD/prepare/orig/$1" ]; then
		printf '%s\n' "$BUILD/prepare/orig/$1"
	elif [ -f "$TREE/$1" ] && [ ! -L "$TREE/$1" ]; then
		printf '%s\n' "$TREE/$1"
	else
		die "Linux $(kernel_version "$TREE") has no file $1"
	fi
}

# Git as if nobody had configured it.
git_env()
{
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_CONFIG_COUNT=0
	export GIT_COMMITTER_NAME=PUMA GIT_COMMITTER_EMAIL=puma@localhost
	export GIT_AUTHOR_NAME=PUMA GIT_AUTHOR_EMAIL=puma@localhost
}

# git_base DIR FILE...: a new repository with the pristine FILEs, tagged base
git_base()
{
	local dir=$1 file from

	shift
	rm -rf "$dir"
	git init -q -b master "$dir"
	for file in Makefile "$@"; do
		from=$(pristine "$file")
		mkdir -p "$(dirname "$dir/$file")"
		cp "$from" "$dir/$file"
	done
	git -C "$dir" add -Af .
	git -C "$dir" commit -q -m "Linux $(kernel_version "$dir")"
	git -C "$dir" tag base
}

# git_am DIR PATCH: as a maintainer would apply it
git_am()
{
	git -C "$1" -c core.hooksPath=/dev/null am -q --keep-non-patch "$2"
}

# git_format DIR OUTDIR [OPTION...]: all commits since base as mails
git_format()
{
	local dir=$1 out=$2

	shift 2
	git -C "$dir" -c core.abbrev=12 -c diff.noprefix=false format-patch -q -o "$out" \
		--zero-commit --no-signature "$@" base
}

# The files that patches change, relative to the kernel tree.
patched_files()
{
	[ $# -eq 0 ] || sed -n -E 's|^\+\+\+ b/([^	]*).*|\1|p' "$@" | sort -u
}
