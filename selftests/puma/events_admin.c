// SPDX-License-Identifier: GPL-2.0
/*
 * Events that an administrator makes: swap files, mounts, devices on a file,
 * file systems on a file, disks that fail.
 */
#define _GNU_SOURCE
#include <linux/loop.h>
#include <sys/swap.h>

#include "events.h"

#define SWAP_SIZE	(2UL << 20)
#define SWAP_GEN	7777
#define QUIET		" >/dev/null 2>&1"

const char *dm_name;
char mount_dir[1000], mount_dev[1000], mount_type[100], mount_options[2000];

static int need_mount(void)
{
	return mount_dir[0] ? 0 : skip("the directory is not a mount point of its own");
}

/* Whether the file can also be changed behind the back of its file system. */
static int patch_if_possible(struct file *f, size_t page)
{
	if (!patch_disk(f, page))
		return 0;
	if (!skipped)
		return -1;
	skipped = 0;
	return 0;
}

/* -- swap */

static int swap_header(struct file *f)
{
	uint8_t *head = aligned_alloc(PAGE, PAGE);
	int fd = file_open_direct(f, O_WRONLY);
	uint32_t word[2] = { 1, f->size / PAGE - 1 };	/* version, last page */
	ssize_t n;

	memset(head, 0, PAGE);
	memcpy(head + 1024, word, sizeof(word));
	memcpy(head + PAGE - 10, "SWAPSPACE2", 10);
	n = pwrite(fd, head, PAGE, 0);
	close(fd);
	model_write(f, 0, head, PAGE);
	free(head);
	if (n != (ssize_t)PAGE || fsync(f->fd))
		return wrong_errno("write");
	return prove_entries(f);
}

/* Memory goes there and comes back; returns how many pages came back wrong. */
static size_t swap_some(size_t len)
{
	uint8_t *mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i, bad = 0;
	uint64_t word;

	for (i = 0; i < len; i += PAGE)
		make_page(mem + i, SWAP_GEN, i / PAGE);
	madvise(mem, len, MADV_PAGEOUT);
	for (i = 0; i < len; i += PAGE) {
		memcpy(&word, mem + i, 8);
		bad += word != (0x7061676500000000 | SWAP_GEN);
	}
	munmap(mem, len);
	return bad;
}

/* A swap file is written behind the page cache's back. */
static int swap_with(struct file *f, int cached)
{
	size_t bad = 0;
	uint8_t *old;
	int ret = 0;

	if (swap_header(f))
		return -1;
	if (swapon(f->path, 0))
		return errno == EINVAL ? skip("swapon: %s", strerror(errno)) : refused("swapon");
	if (cached)
		ret = read_compare(f, f->fd, "read while it is a swap file");
	if (!ret)
		bad = swap_some(4 * SWAP_SIZE);
	if (swapoff(f->path))
		return wrong_errno("swapoff");
	if (ret)
		return -1;
	if (bad)
		return wrong("%zu pages of swapped memory are wrong", bad);
	/* What is in it now only the disk knows. */
	old = malloc(f->size);
	memcpy(old, f->want, f->size);
	ret = model_from_disk(f);
	if (!ret && !memcmp(old + PAGE, f->want + PAGE, f->size - PAGE))
		ret = wrong("nothing was swapped out, so nothing was tested");
	free(old);
	return ret;
}

static int swap_file(struct file *f)
{
	return swap_with(f, 0);
}

/* All of it is in the page cache before anything is swapped to it. */
static int swap_file_cached(struct file *f)
{
	return swap_with(f, 1);
}

/* -- mounts */

static int remount(struct file *f)
{
	if (need_mount())
		return -1;
	if (shell("mount -o remount '%s'", mount_dir))
		return wrong("mount -o remount failed");
	return direct_write_at(f, 8 * PAGE, 8 * PAGE);
}

/* While nobody can write to the file system, somebody may repair its device. */
static int remount_rw(struct file *f)
{
	int ret;

	if (need_mount() || file_reopen(f, O_RDONLY))
		return -1;
	if (shell("mount -o remount,ro '%s'", mount_dir))
		return wrong("mount -o remount,ro failed");
	ret = read_compare(f, f->fd, "read while read-only");
	if (!ret && !f->racing)
		ret = evict_file(f) || patch_if_possible(f, 3);
	if (shell("mount -o remount,rw '%s'", mount_dir))
		return wrong("mount -o remount,rw failed");
	return ret || file_reopen(f, O_RDWR) ? -1 : direct_write_at(f, 8 * PAGE, 8 * PAGE);
}

static int unmount(struct file *f)
{
	const char *dev = strrchr(mount_dev, '/');
	int ret;

	if (dev && !shell("grep -qx 1 '/sys/class/block/%s/loop/autoclear' 2>/dev/null", dev + 1))
		return skip("the loop device would go with the mount");
	if (need_mount() || direct_write_at(f, 12 * PAGE, PAGE) || prove_entries(f))
		return -1;
	f->gen += 100;
	/* Patched first, as the address is only known while it is mounted. */
	ret = patch_if_possible(f, 3);
	close(f->fd);
	f->fd = -1;
	if (ret)
		return -1;
	if (shell("umount '%s'", mount_dir))
		return skip("the file system is in use");
	if (shell("mount -t %s -o '%s' '%s' '%s'", mount_type, mount_options, mount_dev, mount_dir))
		return wrong("the file system cannot be mounted again");
	return file_reopen(f, O_RDWR);
}

/*
 * Users expect the disk after this, and what was written to the device. A page
 * that is in use stays in the cache, so not while others read it.
 */
static int drop_caches(struct file *f)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	if (!f->racing && patch_if_possible(f, 7))
		return -1;
	if (fd < 0 || write(fd, "1", 1) != 1)
		return wrong_errno("drop_caches");
	close(fd);
	if (read_compare(f, f->fd, "read after drop_caches"))
		return -1;
	if (f->hits && !f->racing)
		return wrong("%llu hits after drop_caches", (unsigned long long)f->hits);
	return 0;
}

/* -- a block device on the file */

static int loop_open(struct file *f, int flags, char *name, size_t room)
{
	struct loop_config config = { .fd = f->fd, .info.lo_flags = flags };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd, number;

	if (control < 0)
		return skip("/dev/loop-control: %s", strerror(errno));
	number = ioctl(control, LOOP_CTL_GET_FREE);
	close(control);
	snprintf(name, room, "/dev/loop%d", number);
	fd = open(name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return skip("%.100s: %s", name, strerror(errno));
	if (ioctl(fd, LOOP_CONFIGURE, &config)) {
		close(fd);
		return refused("LOOP_CONFIGURE");
	}
	return fd;
}

static int loop_write(struct file *f, int flags)
{
	struct loop_info64 info;
	uint8_t *data, *got;
	char name[40];
	int fd, ret = 0;

	fd = loop_open(f, flags, name, sizeof(name));
	if (fd < 0)
		return -1;
	data = new_bytes(f, 8, 8 * PAGE);
	got = aligned_alloc(PAGE, 8 * PAGE);
	if (ioctl(fd, LOOP_GET_STATUS64, &info))
		ret = wrong_errno("LOOP_GET_STATUS64");
	else if ((flags & LO_FLAGS_DIRECT_IO) && !(info.lo_flags & LO_FLAGS_DIRECT_IO))
		ret = skip("the loop device does not use direct I/O here");
	else if (pread(fd, got, PAGE, 30 * PAGE) != (ssize_t)PAGE ||
		 memcmp(got, f->want + 30 * PAGE, PAGE))
		ret = wrong("the loop device shows other bytes");
	else if (pwrite(fd, data, 8 * PAGE, 8 * PAGE) != (ssize_t)(8 * PAGE) || fsync(fd))
		ret = wrong_errno("write to the loop device");
	else
		model_write(f, 8 * PAGE, data, 8 * PAGE);
	ioctl(fd, LOOP_CLR_FD);
	close(fd);
	free(data);
	free(got);
	return ret;
}

static int loop_buffered(struct file *f)
{
	return loop_write(f, 0);
}

static int loop_direct(struct file *f)
{
	return loop_write(f, LO_FLAGS_DIRECT_IO);
}

/* -- a file system on top */

static int overlay_write(struct file *lower, struct file *upper)
{
	if (file_reopen(upper, O_RDWR))
		return -1;
	if (upper->racing)
		racers_add(upper);
	model_write(upper, 0, lower->want, lower->size);
	upper->gen = lower->gen + 100;
	/* The open for writing has copied it. */
	return write_at(upper, 5 * PAGE + 100, 10) || check(upper) ||
	       prove_entries(upper) || direct_write_at(upper, 8 * PAGE, 8 * PAGE) ||
	       resize(upper, 20 * PAGE + 5) || resize(upper, FULL) || check(upper) ||
	       check(lower);
}

static int overlay(struct file *f)
{
	struct file lower = { .fd = -1, .gen = f->gen, .racing = f->racing };
	struct file upper = { .fd = -1, .racing = f->racing };
	const char *at = f->path;
	int ret;

	snprintf(lower.path, sizeof(lower.path), "%.200s.l/file", at);
	snprintf(upper.path, sizeof(upper.path), "%.200s.m/file", at);
	if (shell("mkdir '%s.l' '%s.u' '%s.w' '%s.m'", at, at, at, at))
		return wrong("mkdir failed");
	ret = file_make(&lower, FULL);
	if (!ret && shell("a='%s'; o=lowerdir=$a.l,upperdir=$a.u,workdir=$a.w\n"
			  "mount -t overlay -o $o none $a.m" QUIET, at))
		ret = skip("overlayfs cannot be mounted here");
	else if (!ret)
		ret = overlay_write(&lower, &upper);
	file_end(&upper);
	/* A racer may still read it. */
	shell("for i in 0 1 2 3 4 5 6 7 8 9; do umount '%s.m'" QUIET " && break; sleep 0.1; done",
	      at);
	file_end(&lower);
	shell("rm -rf '%s.l' '%s.u' '%s.w' '%s.m'", at, at, at, at);
	return ret ? -1 : 0;
}

/* -- a disk that does not take what is written */

static int dm_table(int fail)
{
	/* flakey: works for 0 seconds, then fails writes for as long as there is time. */
	return shell("set -e; read -r from to kind dev at rest <<E\n$(dmsetup table %s)\nE\n"
		     "dmsetup suspend --nolockfs --noflush %s\n"
		     "echo \"$from $to %s $dev $at %s\" | dmsetup reload %s || bad=1\n"
		     "dmsetup resume %s; [ -z \"$bad\" ]", dm_name, dm_name,
		     fail ? "flakey" : "linear", fail ? "0 9999 1 error_writes" : "", dm_name,
		     dm_name);
}

/*
 * Writing back fails. The page stays in the cache as if it were clean, with
 * bytes that never reached the disk; once it is gone, the disk is right. The
 * error is forgotten with the inode.
 */
static int writeback_error(struct file *f)
{
	const int all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
			SYNC_FILE_RANGE_WAIT_AFTER;
	uint8_t *lost = new_bytes(f, 9, 2 * PAGE);
	int err, ret;

	if (!dm_name)
		return skip("no device mapper device was named with --dm");
	if (pwrite(f->fd, lost, 2 * PAGE, 9 * PAGE) != (ssize_t)(2 * PAGE))
		return wrong_errno("write");
	if (dm_table(1))
		return wrong("dmsetup failed");
	err = sync_file_range(f->fd, 0, 0, all);
	if (dm_table(0))
		return wrong("dmsetup failed");
	if (!err)
		return wrong("writing back did not fail, so nothing was tested");
	/* Whatever more it has to say about that. */
	fsync(f->fd);
	if (evict_file(f) || model_from_disk(f))
		return -1;
	if (!memcmp(f->want + 9 * PAGE, lost, 2 * PAGE))
		return wrong("the disk has what was not written, so nothing was tested");
	free(lost);
	ret = f->racing ? 0 : read_compare(f, f->fd, "read after the error");
	close(f->fd);
	f->fd = -1;
	shell("sync; for i in 1 2 3; do echo 2 >/proc/sys/vm/drop_caches; done");
	return file_reopen(f, O_RDWR) ? -1 : ret;
}

const struct event events_admin[] = {
	{ "swap_file", swap_file, SWAP_SIZE, NOCOW },
	{ "swap_file_cached", swap_file_cached, SWAP_SIZE, NOCOW },
	{ "remount", remount, FULL, 0 },
	{ "remount_rw", remount_rw, FULL, 0 },
	{ "unmount", unmount, FULL, ALONE },
	{ "drop_caches", drop_caches, FULL, 0 },
	{ "loop_buffered", loop_buffered, FULL, 0 },
	{ "loop_direct", loop_direct, FULL, 0 },
	{ "overlay", overlay, 0, OWN_FILES },
	{ "writeback_error", writeback_error, FULL, 0 },
	{}
};
