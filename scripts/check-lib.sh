# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shared by scripts/check.d/*.  A check prints details, if any, and then one
# line: "ok NAME" or "FAIL NAME: reason".

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME=${0##*/}
SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/puma-check.XXXXXX")
trap 'rm -rf "$SCRATCH"' EXIT
export NAME SCRATCH
cd "$ROOT" || exit

pass() { printf 'ok %s%s\n' "$NAME" "${1:+ ($1)}"; exit 0; }
fail() { printf 'FAIL %s: %s\n' "$NAME" "$*"; exit 1; }
skip() { printf 'skip %s (%s)\n' "$NAME" "$*"; exit 0; }

# judge FILE WHAT: FILE has one complaint a line; none is a pass
judge()
{
	local count

	count=$(wc -l <"$1")
	[ "$count" -gt 0 ] || pass "$2"
	sed 's/^/  /' "$1" | head -n 60
	fail "$count complaints about $2"
}

# All files of the repository, committed or not yet.
repo_files()
{
	if [ -d "$ROOT/.git" ] || [ -f "$ROOT/.git" ]; then
		git -c safe.directory='*' ls-files -co --exclude-standard --deduplicate
	else
		find . -path ./build -prune -o -type f -printf '%P\n'
	fi | while read -r file; do
		[ ! -f "$file" ] || printf '%s\n' "$file"
	done | sort
}

# scripts_with INTERPRETER SUFFIX: by the first line or by the name
scripts_with()
{
	local file

	repo_files | while read -r file; do
		case $file in
		*."$2") printf '%s\n' "$file" ;;
		*.patch | *.c | *.h | *.rst | *.md) ;;
		*) head -n1 "$file" | tr -d '\0' | grep -qE "^#!.*\b$1\b" && printf '%s\n' "$file" ;;
		esac
	done || true
}

# kernel_layout DIR: copies of our kernel sources, laid out as in a kernel tree;
# prints their names
kernel_layout()
{
	local file to

	repo_files | while read -r file; do
		case $file in
		mm-puma/*) to=mm/puma/${file#mm-puma/} ;;
		net-puma/*) to=net/puma/${file#net-puma/} ;;
		selftests/*) to=tools/testing/$file ;;
		include/*) to=$file ;;
		*) continue ;;
		esac
		mkdir -p "$1/$(dirname "$to")"
		cp "$file" "$1/$to"
		printf '%s\n' "$to"
	done
}

# Ours, and the objects of the kernel files that the series changes.
build_targets()
{
	local -a patches

	[ ! -f mm-puma/Makefile ] || echo mm/puma/
	[ ! -f net-puma/Makefile ] || echo net/puma/
	mapfile -t patches < <(series_patches "$ROOT/kernel-patches")
	patched_files "${patches[@]}" | sed -n 's/\.c$/.o/p'
}

# build_for_check LOG MAKE-ARGS...: compiles build_targets in build/kernel/check
build_for_check()
{
	local log=$1 out=$BUILD/kernel/check
	local -a targets

	shift
	mapfile -t targets < <(build_targets)
	"$ROOT/scripts/build-kernel" --configure check >&2 || fail "the kernel does not configure"
	kbuild_env
	# Anew, as a warning is only seen when the compiler runs.
	rm -rf "$out/mm/puma" "$out/net/puma"
	for target in "${targets[@]}"; do
		[ "${target%.o}" = "$target" ] || rm -f "$out/$target"
	done
	run_logged "$log" "$NAME" kmake "$out" -k W=1 "$@" "${targets[@]}" ||
		fail "the objects do not build, log: $log"
}

# complaints LOG: compiler and sparse messages about files the project changes,
# with names as in a kernel tree
complaints()
{
	local -a patches
	local pattern

	mapfile -t patches < <(series_patches "$ROOT/kernel-patches")
	pattern=$(patched_files "${patches[@]}" | sed 's/[.+]/\\&/g' | paste -sd'|')
	# The compiler names a linked file by what it links to.
	sed -n -E "s#^($TREE/|$ROOT/|(\.\./)+(linux/)?)?([^ :]+:[0-9]+:([0-9]+:)? (warning|error):.*)#\4#p" "$1" |
		sed -E 's#^(mm|net)-puma/#\1/puma/#' |
		grep -E "^(mm/puma/|net/puma/|include/.*puma\.h|include/trace/events/puma\.h${pattern:+|($pattern):})" | sort -u || true
}

# allowed FILE: drops the complaints (lines "path:... TYPE: ...") that
# FILE, with lines "PATH-REGEX TYPE reason", gives a reason for
allowed()
{
	awk 'FNR == NR {
			if ($0 !~ /^#/ && NF) {
				if (NF < 3) { print FILENAME ": no reason given: " $0; next }
				path[++n] = "^" $1 "$"; type[n] = $2
			}
			next
		}
		{
			split($0, part, ":")
			for (i = 1; i <= n; i++)
				if (part[1] ~ path[i] && index($0, type[i]))
					next
			print
		}' "$1" -
}
