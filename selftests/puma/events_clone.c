// SPDX-License-Identifier: GPL-2.0
/*
 * Events: blocks come from another file, or change hands with it. Both files
 * have entries before.
 */
#define _GNU_SOURCE
#include <linux/btrfs.h>
#include <linux/f2fs.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include "events.h"

#define AT		(8 * PAGE)	/* in the file */
#define FROM		(4 * PAGE)	/* in its peer */
#define LEN		(8 * PAGE)
#define BUSY_TRIES	50

static int reflink_to(struct file *f, struct file *source)
{
	struct file_clone_range range = {
		.src_fd = source->fd,
		.src_offset = FROM,
		.src_length = LEN,
		.dest_offset = AT,
	};

	if (ioctl(f->fd, FICLONERANGE, &range))
		return refused("FICLONERANGE");
	model_write(f, AT, source->want + FROM, LEN);
	return 0;
}

static int reflink(struct file *f)
{
	struct file *peer = file_peer(f, FULL);

	return peer ? reflink_to(f, peer) : -1;
}

/* What is shared is written in one of the two. */
static int reflink_write(struct file *f)
{
	struct file *peer = file_peer(f, FULL);

	if (!peer || reflink_to(f, peer) || prove_entries(f) || prove_entries(peer))
		return -1;
	return direct_write_at(f, AT + PAGE, 2 * PAGE) ||
	       write_at(peer, FROM + 5 * PAGE + 10, 100);
}

static int dedupe_from(struct file *f, struct file *source, int *same)
{
	char room[sizeof(struct file_dedupe_range) +
		  sizeof(struct file_dedupe_range_info)] = {};
	struct file_dedupe_range *range = (void *)room;

	range->src_offset = FROM;
	range->src_length = LEN;
	range->dest_count = 1;
	range->info[0].dest_fd = f->fd;
	range->info[0].dest_offset = AT;
	if (ioctl(source->fd, FIDEDUPERANGE, range))
		return refused("FIDEDUPERANGE");
	if (range->info[0].status < 0) {
		errno = -range->info[0].status;
		return refused("FIDEDUPERANGE");
	}
	*same = range->info[0].status == FILE_DEDUPE_RANGE_SAME;
	return 0;
}

/* A part of the file becomes the same as a part of its peer. */
static struct file *equal_peer(struct file *f)
{
	struct file *peer = file_peer(f, FULL);

	if (!peer)
		return NULL;
	if (pwrite(f->fd, peer->want + FROM, LEN, AT) != (ssize_t)LEN || fsync(f->fd)) {
		wrong_errno("write");
		return NULL;
	}
	model_write(f, AT, peer->want + FROM, LEN);
	return prove_entries(f) ? NULL : peer;
}

static int dedupe(struct file *f)
{
	struct file *peer = equal_peer(f);
	int same;

	if (!peer || dedupe_from(f, peer, &same))
		return -1;
	return same ? 0 : wrong("equal bytes were not found to be equal");
}

/* Deduplication compares through the page cache: old bytes would be for good. */
static int dedupe_differs(struct file *f)
{
	struct file *peer = equal_peer(f);
	int same;

	if (!peer || direct_write_at(f, AT + 3 * PAGE, 512) || dedupe_from(f, peer, &same))
		return -1;
	return same ? wrong("different bytes were found to be equal") : 0;
}

static int copy_range(struct file *f)
{
	struct file *peer = file_peer(f, FULL);
	loff_t from = FROM, to = AT;
	size_t left = LEN;
	ssize_t n;

	if (!peer)
		return -1;
	while (left) {
		n = copy_file_range(peer->fd, &from, f->fd, &to, left, 0);
		if (n <= 0)
			return refused("copy_file_range");
		left -= n;
	}
	model_write(f, AT, peer->want + FROM, LEN);
	return 0;
}

/* -- ext4 */

/* Blocks are exchanged; the file keeps its bytes, the donor gets others. */
static int move_extents(struct file *f)
{
	struct {
		uint32_t reserved, donor_fd;
		uint64_t orig_start, donor_start, len, moved_len;
	} move = {};
	struct file *peer;
	struct stat st;
	uint8_t *old;
	size_t unit;
	int ret;

	if (file_fs(f) != FS_EXT4)
		return skip("EXT4_IOC_MOVE_EXT: ext4 only");
	peer = file_peer(f, FULL);
	if (!peer)
		return -1;
	if (fstat(f->fd, &st))
		return wrong_errno("fstat");
	unit = PAGE / st.st_blksize ?: 1;
	move.donor_fd = peer->fd;
	move.orig_start = 8 * unit;
	move.donor_start = 8 * unit;
	move.len = 16 * unit;
	/* Some of what the donor loses is in the page cache, the rest is not. */
	old = malloc(8 * PAGE);
	if (pread(peer->fd, old, 8 * PAGE, 8 * PAGE) != (ssize_t)(8 * PAGE))
		return wrong_errno("read");
	free(old);
	if (ioctl(f->fd, _IOWR('f', 15, typeof(move)), &move))
		return errno == EBUSY && f->racing ? 0 : refused("EXT4_IOC_MOVE_EXT");
	old = malloc(peer->size);
	memcpy(old, peer->want, peer->size);
	ret = model_from_disk(peer);
	if (!ret && (!move.moved_len || !memcmp(old, peer->want, peer->size)))
		ret = wrong("the donor has not changed, so nothing was tested");
	free(old);
	return ret;
}

/* All blocks change hands with an inode that has no name, and back. */
static int swap_boot(struct file *f)
{
	const unsigned long swap = _IO('f', 17);	/* EXT4_IOC_SWAP_BOOT */
	struct file keep = *f;
	int ret;

	if (file_fs(f) != FS_EXT4)
		return skip("EXT4_IOC_SWAP_BOOT: ext4 only");
	if (ioctl(f->fd, swap))
		return refused("EXT4_IOC_SWAP_BOOT");
	f->want = NULL;
	f->size = 0;
	f->room = 0;
	ret = model_from_disk(f) || check(f) || resize(f, 0) ||
	      direct_write_at(f, 0, 3 * PAGE) || check(f);
	if (!ret && ioctl(f->fd, swap))
		ret = wrong_errno("EXT4_IOC_SWAP_BOOT back");
	free(f->want);
	f->want = keep.want;
	f->size = keep.size;
	f->room = keep.room;
	return ret;
}

/* -- xfs */

static void model_exchange(struct file *f, size_t at, struct file *peer, size_t from, size_t len)
{
	uint8_t *keep = malloc(len);

	memcpy(keep, f->want + at, len);
	memcpy(f->want + at, peer->want + from, len);
	memcpy(peer->want + from, keep, len);
	free(keep);
}

static int exchange_range(struct file *f)
{
	struct {
		int32_t file1_fd;
		uint32_t pad;
		uint64_t file1_offset, file2_offset, length, flags;
	} range = {};
	struct file *peer;

	if (file_fs(f) != FS_XFS)
		return skip("XFS_IOC_EXCHANGE_RANGE: xfs only");
	peer = file_peer(f, FULL);
	if (!peer)
		return -1;
	range.file1_fd = peer->fd;
	range.file1_offset = FROM;
	range.file2_offset = AT;
	range.length = LEN;
	if (ioctl(f->fd, _IOW('X', 129, typeof(range)), &range))
		return refused("XFS_IOC_EXCHANGE_RANGE");
	model_exchange(f, AT, peer, FROM, LEN);
	return 0;
}

struct xfs_time {
	int64_t sec;
	int32_t nsec, pad;
};

/* The whole of two files, as xfs_fsr does it. */
static int swap_extents(struct file *f)
{
	struct {
		int64_t version, target, temporary, offset, length;
		char pad[16];
		char before[40];
		struct xfs_time atime, mtime, ctime;
		char after[48];
	} swap = {};
	struct file *peer;
	struct stat st;

	if (file_fs(f) != FS_XFS)
		return skip("XFS_IOC_SWAPEXT: xfs only");
	peer = file_peer(f, FULL);
	if (!peer)
		return -1;
	if (fstat(f->fd, &st))
		return wrong_errno("fstat");
	swap.target = f->fd;
	swap.temporary = peer->fd;
	swap.length = FULL;
	swap.mtime = (struct xfs_time){ .sec = st.st_mtim.tv_sec, .nsec = st.st_mtim.tv_nsec };
	swap.ctime = (struct xfs_time){ .sec = st.st_ctim.tv_sec, .nsec = st.st_ctim.tv_nsec };
	if (ioctl(f->fd, _IOWR('X', 109, typeof(swap)), &swap))
		return refused("XFS_IOC_SWAPEXT");
	model_exchange(f, 0, peer, 0, FULL);
	return 0;
}

/* -- f2fs */

/* Blocks leave the peer, which has a hole then. */
static int move_range(struct file *f)
{
	struct f2fs_move_range range = { .pos_in = FROM, .pos_out = AT, .len = LEN };
	struct file *peer;
	int try, ret = -1;

	if (file_fs(f) != FS_F2FS)
		return skip("F2FS_IOC_MOVE_RANGE: f2fs only");
	peer = file_peer(f, FULL);
	if (!peer)
		return -1;
	/* Only blocks of before the last checkpoint are moved without a copy. */
	if (syncfs(f->fd))
		return wrong_errno("syncfs");
	range.dst_fd = f->fd;
	for (try = 0; ret && try < BUSY_TRIES; try++) {
		ret = ioctl(peer->fd, F2FS_IOC_MOVE_RANGE, &range);
		if (ret && errno != EBUSY)
			break;
		if (ret)
			usleep(1000);
	}
	if (ret)
		return refused("F2FS_IOC_MOVE_RANGE");
	model_write(f, AT, peer->want + FROM, LEN);
	model_zero(peer, FROM, LEN);
	return 0;
}

/* -- blocks move, bytes stay */

static int fragment(struct file *f)
{
	size_t page;

	for (page = 1; page < 32; page += 2)
		if (direct_write_at(f, page * PAGE, PAGE))
			return -1;
	return prove_entries(f);
}

static int defrag(struct file *f)
{
	struct btrfs_ioctl_defrag_range_args range = {
		.len = -1,
		.flags = BTRFS_DEFRAG_RANGE_START_IO,
		.extent_thresh = -1,
	};
	struct f2fs_defragment f2fs_range = { .len = FULL };
	unsigned long fs = file_fs(f);

	if (fs != FS_BTRFS && fs != FS_F2FS)
		return skip("no ioctl to defragment, but see move_extents and swap_extents");
	if (fragment(f))
		return -1;
	if (fs == FS_BTRFS && ioctl(f->fd, BTRFS_IOC_DEFRAG_RANGE, &range))
		return refused("BTRFS_IOC_DEFRAG_RANGE");
	if (fs == FS_F2FS && ioctl(f->fd, F2FS_IOC_DEFRAGMENT, &f2fs_range))
		return refused("F2FS_IOC_DEFRAGMENT");
	return fsync(f->fd) ? wrong_errno("fsync") : 0;
}

const struct event events_clone[] = {
	{ "reflink", reflink, FULL, 0 },
	{ "reflink_write", reflink_write, FULL, 0 },
	{ "dedupe", dedupe, FULL, 0 },
	{ "dedupe_differs", dedupe_differs, FULL, 0 },
	{ "copy_range", copy_range, FULL, 0 },
	{ "move_extents", move_extents, FULL, 0 },
	{ "swap_boot", swap_boot, FULL, 0 },
	{ "exchange_range", exchange_range, FULL, 0 },
	{ "swap_extents", swap_extents, FULL, 0 },
	{ "move_range", move_range, FULL, 0 },
	{ "defrag", defrag, FULL, 0 },
	{}
};
