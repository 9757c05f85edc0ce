# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shared by the shell tests: every check prints one line "ok N - name" or
# "not ok N - name"; a failed one shows what was seen.  The exit status says
# whether all were ok.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
TMP=$(mktemp -d "${TMPDIR:-/tmp}/puma-test.XXXXXX")
trap 'rm -rf "$TMP"' EXIT
export REPO TMP

test_count=0
test_failed=0

# report STATUS NAME [EVIDENCE-FILE]
report()
{
	test_count=$((test_count + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $test_count - $2"
		return
	fi
	test_failed=$((test_failed + 1))
	echo "not ok $test_count - $2"
	[ -z "${3:-}" ] || sed 's/^/#   /' "$3" | tail -n 30
}

# check NAME COMMAND...: the command must succeed
check()
{
	local name=$1 status=0

	shift
	"$@" >"$TMP/out" 2>&1 || status=$?
	report "$status" "$name" "$TMP/out"
}

# check_fails NAME PATTERN COMMAND...: it must fail, and say something that matches
check_fails()
{
	local name=$1 pattern=$2 status=0

	shift 2
	if "$@" >"$TMP/out" 2>&1; then
		echo "(the command succeeded)" >>"$TMP/out"
		status=1
	elif [ -n "$pattern" ] && ! grep -qE -- "$pattern" "$TMP/out"; then
		echo "(no line matches: $pattern)" >>"$TMP/out"
		status=1
	fi
	report "$status" "$name" "$TMP/out"
}

finish()
{
	[ "$test_count" -gt 0 ] && [ "$test_failed" -eq 0 ]
	exit
}
