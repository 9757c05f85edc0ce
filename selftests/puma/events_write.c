// SPDX-License-Identifier: GPL-2.0
/*
 * Events: the file is written through the page cache. None of it is in the
 * cache when an event begins.
 */
#define _GNU_SOURCE
#include <sys/uio.h>

#include "events.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define HUGE_SIZE	(2UL << 20)
#define COLLAPSE_TRIES	30
#define CONTROL_TRIES	4

/* Nothing changes: everything must be a hit, and right.  Proves the others. */
static int control(struct file *f)
{
	int try;

	/* On a busy machine some miss the deadline. */
	for (try = 0; try < CONTROL_TRIES; try++) {
		if (read_compare(f, f->fd, "read"))
			return -1;
		if (f->racing || nearly_all(f->hits, file_pages(f)))
			return 0;
		if (prove_entries(f))
			return -1;
	}
	return wrong("%llu hits of %zu pages", (unsigned long long)f->hits, file_pages(f));
}

static int write_part(struct file *f)
{
	return write_at(f, 5 * PAGE + 100, 10);
}

static int write_whole(struct file *f)
{
	return write_at(f, 5 * PAGE, 3 * PAGE);
}

static int write_after_hit(struct file *f)
{
	/* The page comes from the lender, its entry stays, and then it changes. */
	if (read_compare(f, f->fd, "read before"))
		return -1;
	return write_at(f, 5 * PAGE + 100, 10) || write_at(f, 9 * PAGE, PAGE);
}

static int write_span(struct file *f)
{
	return write_at(f, 3 * PAGE + 1000, 9 * PAGE + 77);
}

static int write_append(struct file *f)
{
	return write_at(f, f->size, 3 * PAGE);
}

/* The file ends inside a page: what is behind the end must be 0 later. */
static int write_beyond_end(struct file *f)
{
	return write_at(f, (PAGES + 2) * PAGE + 50, 100);
}

/* The second half of what is to be written cannot be read. */
static int write_fault(struct file *f)
{
	uint8_t *nowhere = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *data = new_bytes(f, 5, 3000);
	struct iovec iov[2] = { { data, 3000 }, { nowhere, PAGE } };
	ssize_t n = pwritev(f->fd, iov, 2, 5 * PAGE + 100);

	if (n > 3000)
		return wrong("%zd bytes written from no memory", n);
	if (n > 0)
		model_write(f, 5 * PAGE + 100, data, n);
	free(data);
	munmap(nowhere, PAGE);
	return 0;
}

static uint8_t *map_file(struct file *f, size_t at, size_t len)
{
	uint8_t *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, at);

	if (map == MAP_FAILED)
		wrong_errno("mmap");
	return map == MAP_FAILED ? NULL : map;
}

static int mmap_write(struct file *f)
{
	uint8_t *map = map_file(f, 0, f->size);
	uint8_t *data = new_bytes(f, 11, 20);

	if (!map)
		return -1;
	memcpy(map + 11 * PAGE + 3000, data, 20);
	model_write(f, 11 * PAGE + 3000, data, 20);
	/* And one that was read through the mapping first. */
	if (memcmp(map + 20 * PAGE, f->want + 20 * PAGE, PAGE))
		return wrong("a mapping shows wrong bytes");
	memcpy(map + 20 * PAGE + 1, data, 20);
	model_write(f, 20 * PAGE + 1, data, 20);
	if (msync(map, f->size, MS_SYNC))
		return wrong_errno("msync");
	munmap(map, f->size);
	free(data);
	return 0;
}

/* A direct read of another file into a mapping of this one. */
static int mmap_direct_read(struct file *f)
{
	struct file *peer = file_peer(f, FULL);
	uint8_t *map = map_file(f, 12 * PAGE, 4 * PAGE);
	ssize_t n;
	int fd;

	if (!peer || !map)
		return -1;
	fd = file_open_direct(peer, O_RDONLY);
	n = pread(fd, map, 4 * PAGE, 2 * PAGE);
	close(fd);
	if (n != (ssize_t)(4 * PAGE))
		return wrong_errno("direct read");
	model_write(f, 12 * PAGE, peer->want + 2 * PAGE, 4 * PAGE);
	if (msync(map, 4 * PAGE, MS_SYNC))
		return wrong_errno("msync");
	munmap(map, 4 * PAGE);
	return 0;
}

static int garbage(struct file *f, int keep_dirty)
{
	size_t last = f->size / PAGE, in_page = f->size % PAGE;
	uint8_t *map = map_file(f, last * PAGE, PAGE);

	if (!map)
		return -1;
	memset(map + in_page, 0x5a, PAGE - in_page);
	if (!keep_dirty && msync(map, PAGE, MS_SYNC))
		return wrong_errno("msync");
	memset(map + in_page + 10, 0xa5, PAGE - in_page - 10);
	munmap(map, PAGE);
	return 0;
}

/* Bytes that a mapping wrote behind the end never become visible. */
static int mmap_garbage(struct file *f)
{
	if (garbage(f, 0) || evict_file(f) || read_compare(f, f->fd, "read the garbage") ||
	    evict_file(f))
		return -1;
	return resize(f, (PAGES + 5) * PAGE);
}

static int mmap_garbage_write(struct file *f)
{
	if (garbage(f, 1) || evict_file(f))
		return -1;
	return write_beyond_end(f);
}

/* 60 bytes that live in the inode: changed, on ext4, without ever being dirty. */
static int need_inline(struct file *f)
{
	return file_inline(f) ? 0 : skip("the file is not inside its inode");
}

static int inline_data(struct file *f)
{
	if (need_inline(f) || read_compare(f, f->fd, "read before"))
		return -1;
	return write_at(f, 20, 10);
}

static int inline_data_cold(struct file *f)
{
	return need_inline(f) || write_at(f, 20, 10);
}

static int inline_data_grow(struct file *f)
{
	/* In two steps: one write to the third page would be ext4's own trouble. */
	if (need_inline(f) || write_at(f, 30, 3000))
		return -1;
	if (fsync(f->fd))
		return wrong_errno("fsync");
	return write_at(f, PAGE - 10, 2 * PAGE);
}

static void make_room(void)
{
	int fd = open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "1", 1) < 0)
		fprintf(stderr, "compact_memory: %s\n", strerror(errno));
	close(fd);
}

static int collapse(struct file *f, uint8_t *at)
{
	uint8_t *map = mmap(at, HUGE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, f->fd, 0);
	int try, err = 0, ret = 0;

	if (map == MAP_FAILED)
		return wrong_errno("mmap");
	for (try = 0; try < COLLAPSE_TRIES; try++) {
		ret = madvise(map, HUGE_SIZE, MADV_COLLAPSE);
		err = errno;
		if (!ret)
			break;
		if (err == ENOMEM)
			make_room();
		usleep(10000);
	}
	/* It may be in the hands of a racer all the time. */
	if (!ret || f->racing)
		return 0;
	errno = err;
	if (err == EINVAL)
		return skip("MADV_COLLAPSE: no huge pages of files (READ_ONLY_THP_FOR_FS)");
	return wrong_errno("MADV_COLLAPSE");
}

/*
 * 512 pages with entries become one folio, in which a byte range is written.
 * A huge page of a file is only made while nobody has it open for writing.
 */
static int huge_page(struct file *f)
{
	size_t room = 2 * HUGE_SIZE;
	uint8_t *map;
	int ret;

	if (read_compare(f, f->fd, "read before") || file_reopen(f, O_RDONLY))
		return -1;
	map = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return wrong_errno("mmap");
	ret = collapse(f, (uint8_t *)(((uintptr_t)map + HUGE_SIZE - 1) & -HUGE_SIZE));
	munmap(map, room);
	if (ret || file_reopen(f, O_RDWR))
		return -1;
	return write_at(f, 5 * PAGE + 100, 10);
}

const struct event events_write[] = {
	{ "control", control, FULL, 0 },
	{ "write_part", write_part, FULL, 0 },
	{ "write_whole", write_whole, FULL, 0 },
	{ "write_after_hit", write_after_hit, FULL, 0 },
	{ "write_span", write_span, FULL, 0 },
	{ "write_append", write_append, ODD, 0 },
	{ "write_beyond_end", write_beyond_end, ODD, 0 },
	{ "write_fault", write_fault, FULL, 0 },
	{ "mmap_write", mmap_write, FULL, 0 },
	{ "mmap_direct_read", mmap_direct_read, FULL, 0 },
	{ "mmap_garbage", mmap_garbage, ODD, 0 },
	{ "mmap_garbage_write", mmap_garbage_write, ODD, 0 },
	{ "inline_data", inline_data, 60, 0 },
	{ "inline_data_cold", inline_data_cold, 60, 0 },
	{ "inline_data_grow", inline_data_grow, 60, 0 },
	{ "huge_page", huge_page, HUGE_SIZE, 0 },
	{}
};
