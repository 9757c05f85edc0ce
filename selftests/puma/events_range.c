// SPDX-License-Identifier: GPL-2.0
/*
 * Events: parts of the file go, come, or move; its size changes.
 */
#define _GNU_SOURCE
#include <linux/falloc.h>

#include "events.h"

static int allocate(struct file *f, int mode, size_t at, size_t len)
{
	return fallocate(f->fd, mode, at, len) ? refused("fallocate") : 0;
}

#define PUNCH	(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

static int punch_hole(struct file *f)
{
	model_zero(f, 4 * PAGE, 6 * PAGE);
	return allocate(f, PUNCH, 4 * PAGE, 6 * PAGE);
}

static int punch_hole_part(struct file *f)
{
	model_zero(f, 4 * PAGE + 10, 3 * PAGE);
	model_zero(f, 20 * PAGE + 100, 200);
	return allocate(f, PUNCH, 4 * PAGE + 10, 3 * PAGE) ||
	       allocate(f, PUNCH, 20 * PAGE + 100, 200);
}

/* What a cut-off part had is not there when it is allocated again. */
static int punch_allocate(struct file *f)
{
	return punch_hole(f) || allocate(f, 0, 2 * PAGE, 12 * PAGE);
}

static int zero_range(struct file *f)
{
	model_zero(f, 4 * PAGE, 6 * PAGE);
	model_zero(f, 30 * PAGE + 7, 2 * PAGE);
	return allocate(f, FALLOC_FL_ZERO_RANGE, 4 * PAGE, 6 * PAGE) ||
	       allocate(f, FALLOC_FL_ZERO_RANGE, 30 * PAGE + 7, 2 * PAGE);
}

static int collapse_range(struct file *f)
{
	memmove(f->want + 4 * PAGE, f->want + 10 * PAGE, f->size - 10 * PAGE);
	model_grow(f, f->size - 6 * PAGE);
	return allocate(f, FALLOC_FL_COLLAPSE_RANGE, 4 * PAGE, 6 * PAGE);
}

static int insert_range(struct file *f)
{
	size_t old = f->size;

	model_grow(f, old + 6 * PAGE);
	memmove(f->want + 10 * PAGE, f->want + 4 * PAGE, old - 4 * PAGE);
	memset(f->want + 4 * PAGE, 0, 6 * PAGE);
	return allocate(f, FALLOC_FL_INSERT_RANGE, 4 * PAGE, 6 * PAGE);
}

static int truncate_extend(struct file *f)
{
	return resize(f, 8 * PAGE + 100) || resize(f, FULL);
}

static int truncate_zero(struct file *f)
{
	return resize(f, 0) || resize(f, FULL);
}

/* The rest of a page is cut off, evicted, and the file made longer. */
static int truncate_part(struct file *f)
{
	return resize(f, 8 * PAGE + 100) || evict_file(f) || resize(f, FULL);
}

static int truncate_path(struct file *f)
{
	if (truncate(f->path, PAGE) || truncate(f->path, FULL))
		return wrong_errno("truncate");
	model_grow(f, PAGE);
	model_grow(f, FULL);
	return 0;
}

static int open_trunc(struct file *f)
{
	int fd = open(f->path, O_RDWR | O_TRUNC | O_CLOEXEC);

	if (fd < 0)
		return wrong_errno("open");
	close(fd);
	model_grow(f, 0);
	return resize(f, FULL);
}

static int extend_beyond_end(struct file *f)
{
	return resize(f, (PAGES + 5) * PAGE);
}

static int fallocate_beyond_end(struct file *f)
{
	if (allocate(f, 0, 0, (PAGES + 5) * PAGE))
		return -1;
	model_grow(f, (PAGES + 5) * PAGE);
	return 0;
}

const struct event events_range[] = {
	{ "punch_hole", punch_hole, FULL, 0 },
	{ "punch_hole_part", punch_hole_part, FULL, 0 },
	{ "punch_allocate", punch_allocate, FULL, 0 },
	{ "zero_range", zero_range, FULL, 0 },
	{ "collapse_range", collapse_range, FULL, 0 },
	{ "insert_range", insert_range, FULL, 0 },
	{ "truncate_extend", truncate_extend, FULL, 0 },
	{ "truncate_zero", truncate_zero, FULL, 0 },
	{ "truncate_part", truncate_part, FULL, 0 },
	{ "truncate_path", truncate_path, FULL, 0 },
	{ "open_trunc", open_trunc, FULL, 0 },
	{ "extend_beyond_end", extend_beyond_end, ODD, 0 },
	{ "fallocate_beyond_end", fallocate_beyond_end, ODD, 0 },
	{}
};
