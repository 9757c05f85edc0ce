#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# run_puma.sh [FILE-SYSTEM...]: PUMA never shows a stale byte
#
# For each file system that this machine can make (ext4, xfs, btrfs, f2fs), and
# for each strategy: a file system on a loop device, and on it all events that
# coherence knows. TAP; what coherence says are the lines with "#".
#
# This machine has to borrow from another one, the lender, which has a PUMA
# kernel, memory to spare, and is reached by IPv4 (a virtual machine will do):
#
#	lender#  echo lend >/sys/kernel/mm/puma/mode
#	here#    echo ADDRESS >/sys/kernel/mm/puma/lender_list
#	here#    echo borrow >/sys/kernel/mm/puma/mode
#
# Only for machines and networks that you trust: pages travel in plain text.
#
# Variables:
#	PUMA_TEST_DIR		where the images are made (/var/tmp)
#	PUMA_TEST_MB		their size (512)
#	PUMA_TEST_EVENTS	only these events, as coherence list names them
#	PUMA_TEST_STRATEGIES	only these (noninclusive exclusive)
#
# Changes made while it runs: strategy, and the delay points in debugfs. Caches
# are dropped. Exit status: 0, 1 if anything failed, 4 if it could not run.

KSFT_SKIP=4
SYSFS=/sys/kernel/mm/puma
BIN=$(cd "$(dirname "$0")" && pwd)
DIR=${PUMA_TEST_DIR:-/var/tmp}
MB=${PUMA_TEST_MB:-512}
EVENTS=${PUMA_TEST_EVENTS:-}
STRATEGIES=${PUMA_TEST_STRATEGIES:-noninclusive exclusive}
PATH=$PATH:/usr/sbin:/sbin

work=
loop=
strategy=
number=0
failed=0

skip_all()
{
	echo "1..0 # SKIP $1"
	exit $KSFT_SKIP
}

say_how()
{
	cat <<-END
	# This machine does not borrow. With a second machine that has a PUMA kernel:
	#	lender#  echo lend >$SYSFS/mode
	#	here#    echo ADDRESS-OF-THE-LENDER >$SYSFS/lender_list
	#	here#    echo borrow >$SYSFS/mode
	END
}

release()
{
	[ -z "$work" ] || ! mountpoint -q "$work/mnt" || umount "$work/mnt"
	[ -z "$loop" ] || losetup -d "$loop"
	loop=
}

end()
{
	release
	[ -z "$strategy" ] || echo "$strategy" >"$SYSFS/strategy"
	[ -z "$work" ] || rm -rf "$work"
}

# result STATUS NAME [WHY]
result()
{
	number=$((number + 1))
	case $1 in
	0) echo "ok $number $2" ;;
	"$KSFT_SKIP") echo "ok $number # SKIP $2: $3" ;;
	*) echo "not ok $number $2"; failed=1 ;;
	esac
}

# All that the events want of a file system, or if that is too much, less.
make_fs()
{
	local fs=$1 args

	case $fs in
	ext4) set -- "-q -F -O encrypt,verity" "-q -F" ;;
	xfs) set -- "-q -f -i exchange=1" "-q -f" ;;
	btrfs) set -- "-q -f" ;;
	f2fs) set -- "-q -f -O encrypt,verity" "-q -f" ;;
	*) set -- "" ;;
	esac
	for args in "$@"; do
		# shellcheck disable=SC2086
		"mkfs.$fs" $args "$loop" >/dev/null 2>&1 &&
			mount -t "$fs" "$loop" "$work/mnt" 2>/dev/null && return
	done
	return 1
}

# prepare FS: mounted at $work/mnt, or why not
prepare()
{
	local fs=$1

	command -v "mkfs.$fs" >/dev/null || { echo "there is no mkfs.$fs"; return 1; }
	case ,$(cat $SYSFS/fs), in
	*,"$fs",*) ;;
	*) echo "$fs is not in $SYSFS/fs"; return 1 ;;
	esac
	rm -f "$work/image"
	truncate -s "${MB}M" "$work/image" || return 1
	losetup "$loop" "$work/image" || { echo "no loop device"; return 1; }
	make_fs "$fs" || { echo "$fs cannot be made or mounted"; return 1; }
}

run()
{
	local fs=$1 how=$2 why

	loop=$(losetup -f)
	if ! why=$(prepare "$fs"); then
		result $KSFT_SKIP "$fs $how" "$why"
		losetup -d "$loop" 2>/dev/null
		loop=
		return
	fi
	echo "$how" >$SYSFS/strategy
	# shellcheck disable=SC2086
	if [ -n "$EVENTS" ]; then
		"$BIN/coherence" only "$work/mnt" $EVENTS
	else
		"$BIN/coherence" all "$work/mnt"
	fi 2>&1 | sed -u 's/^/# /'
	result "${PIPESTATUS[0]}" "$fs $how" "coherence could not run"
	release
}

echo "TAP version 13"
[ "$(id -u)" -eq 0 ] || skip_all "must be run as root"
[ -d $SYSFS ] || skip_all "this kernel has no PUMA (CONFIG_PUMA)"
[ "$(cat $SYSFS/mode)" = borrow ] || { say_how; skip_all "no lender is configured"; }
cat $SYSFS/lenders/*/lease_pages 2>/dev/null | grep -q '[1-9]' ||
	skip_all "the lenders in $SYSFS/lender_list grant no room"
trap end EXIT
trap 'exit 1' INT TERM
work=$(mktemp -d "$DIR/puma-test.XXXXXX") && mkdir "$work/mnt" || exit 1
strategy=$(cat $SYSFS/strategy)

read -r -a wanted <<<"${*:-ext4 xfs btrfs f2fs}"
read -r -a strategies <<<"$STRATEGIES"
echo "1..$((${#wanted[@]} * ${#strategies[@]}))"
for how in "${strategies[@]}"; do
	for fs in "${wanted[@]}"; do
		run "$fs" "$how"
	done
done
exit $failed
