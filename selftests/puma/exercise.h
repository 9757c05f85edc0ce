/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The file that exercise.c works on, its copy in memory, and what can be done
 * with both: operations draw their arguments, change or read the file, and do
 * the same with the copy.
 */
#ifndef EXERCISE_H
#define EXERCISE_H

#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "pages.h"

#define MOST		65536UL		/* bytes of one operation */

struct step;

struct op {
	const char *name;
	unsigned int weight;
	int (*pick)(struct step *s);	/* draws arguments; -1: not possible now */
	int (*run)(struct step *s);	/* 0 or an error number */
	int optional;
};

struct step {
	uint32_t nr;
	const struct op *op;
	uint64_t a, b, c;	/* mostly: offset, length, second offset or variant */
};

static const char *path;
static int fd = -1, direct = -1;
static uint8_t *want, *data, *got;	/* the copy; to be written; what was read */
static size_t size, max;		/* of the file, now and at most */
static size_t block, align;		/* of the file system; of direct I/O */
static uint64_t rng;
static uint64_t reads, evictions, compared;

static uint64_t draw(uint64_t below)
{
	uint64_t z;

	rng += 0x9e3779b97f4a7c15;
	z = (rng ^ rng >> 31) * 0x7fb5d329728ea185;
	z = (z ^ z >> 27) * 0x81dadef4bc2dd44d;
	z ^= z >> 33;
	return below ? z % below : 0;
}

/* Prints the log and ends. */
static void __attribute__((noreturn, format(printf, 1, 2))) wrong(const char *fmt, ...);

/* -- comparing */

static void dump(const char *what, const uint8_t *bytes, size_t at, size_t end)
{
	size_t i;

	printf("%s", what);
	for (i = at; i < at + 24 && i < end; i++)
		printf(" %02x", bytes[i]);
	printf("\n");
}

static void compare(const struct step *s, const uint8_t *have, const uint8_t *should, size_t len)
{
	size_t i, bad = 0, last = 0;

	compared += len;
	if (!memcmp(have, should, len))
		return;
	for (i = len; i-- > 0;) {
		if (have[i] == should[i])
			continue;
		if (!bad++)
			last = i;
	}
	for (i = 0; have[i] == should[i]; i++)
		;
	dump("is:       ", have, i, len);
	dump("should be:", should, i, len);
	wrong("step %u %s: %zu bytes differ, from %zu to %zu of the %zu at %llu (page %llu); the file has %zu",
	      s->nr, s->op->name, bad, i, last, len, (unsigned long long)s->a,
	      (unsigned long long)(s->a + i) / PAGE, size);
}

/* -- the copy in memory */

static void copy_resize(size_t to)
{
	if (to > size)
		memset(want + size, 0, to - size);
	size = to;
}

static void copy_write(size_t at, const uint8_t *from, size_t len)
{
	if (at + len > size)
		copy_resize(at + len);
	memmove(want + at, from, len);
}

static void copy_zero(size_t at, size_t len)
{
	if (at < size)
		memset(want + at, 0, at + len > size ? size - at : len);
}

/* What a step writes: its number and the place can be read in a dump. */
static void make_data(uint32_t nr, size_t len)
{
	uint64_t word;
	size_t i;

	for (i = 0; i < len; i += 8) {
		word = (uint64_t)nr << 32 | (uint32_t)((i + 8) * 0x9e3779b1);
		memcpy(data + i, &word, 8);
	}
}

/* -- arguments */

static size_t pick_len(void)
{
	switch (draw(10)) {
	case 0:
		return 1 + draw(MOST);
	case 1: case 2: case 3:
		return 1 + draw(4 * PAGE);
	case 4:
		return PAGE << draw(4);
	default:
		return 1 + draw(2 * PAGE);
	}
}

static size_t clip(size_t at, size_t len, size_t end)
{
	return at + len > end ? end - at : len;
}

/* Anywhere; the file may grow. */
static int pick_any(struct step *s)
{
	s->a = draw(draw(2) ? size + PAGE : max);
	if (s->a >= max)
		s->a = draw(max);
	if (!draw(4))
		s->a &= ~(PAGE - 1);
	s->b = clip(s->a, pick_len(), max);
	s->c = draw(64);
	return 0;
}

static int pick_inside(struct step *s)
{
	if (!size)
		return -1;
	s->a = draw(size);
	s->b = pick_len();
	s->c = draw(64);
	return 0;
}

static int pick_aligned(struct step *s, size_t unit, size_t end)
{
	if (end < unit)
		return -1;
	s->a = draw(end / unit) * unit;
	s->b = (pick_len() + unit - 1) / unit * unit;
	s->b = clip(s->a, s->b, end) / unit * unit;
	return s->b ? 0 : -1;
}

static int pick_direct(struct step *s)
{
	s->c = draw(64);
	return pick_aligned(s, align, draw(3) && size >= align ? size : max);
}

static int pick_collapse(struct step *s)
{
	/* Not up to the end of the file: that would be a truncation. */
	return size < 2 * block ? -1 : pick_aligned(s, block, (size - 1) / block * block);
}

static int pick_insert(struct step *s)
{
	if (size < block || max - size < block)
		return -1;
	s->a = draw((size - 1) / block + 1) * block;
	s->b = (1 + draw(4)) * block;
	return s->b <= max - size ? 0 : -1;
}

/* Two ranges that do not overlap, the first inside the file. */
static int pick_two(struct step *s, size_t unit)
{
	if (pick_aligned(s, unit, size / unit * unit))
		return -1;
	s->c = draw((max - s->b) / unit + 1) * unit;
	return s->c < s->a + s->b && s->a < s->c + s->b ? -1 : 0;
}

static int pick_copy(struct step *s)
{
	return pick_two(s, draw(2) ? 1 : block);
}

static int pick_clone(struct step *s)
{
	return pick_two(s, block);
}

static int pick_size(struct step *s)
{
	s->b = draw(2);
	s->a = draw(4) ? draw(max + 1) : draw(max / PAGE + 1) * PAGE;
	if (!draw(8))
		s->a = draw(PAGE);
	return 0;
}

static int pick_variant(struct step *s)
{
	s->c = draw(64);
	return 0;
}

/* -- operations; fd and direct are open */

static int read_with(struct step *s, int from)
{
	size_t len = 0, should = s->a < size ? clip(s->a, s->b, size) : 0;
	ssize_t n;

	while (len < s->b) {
		n = pread(from, got + len, s->b - len, s->a + len);
		if (n < 0)
			return errno;
		len += n;
		if (!n || (from == direct && len % align))
			break;
	}
	if (len != should)
		wrong("step %u %s: %zu bytes at %llu instead of %zu; the file has %zu", s->nr,
		      s->op->name, len, (unsigned long long)s->a, should, size);
	reads++;
	compare(s, got, want + s->a, len);
	return 0;
}

static int run_read(struct step *s)
{
	return read_with(s, fd);
}

static int run_direct_read(struct step *s)
{
	return read_with(s, direct);
}

static int write_with(struct step *s, int to)
{
	ssize_t n;

	make_data(s->nr, s->b);
	n = pwrite(to, data, s->b, s->a);
	if (n < 0)
		return errno;
	if ((size_t)n != s->b)
		return EIO;
	copy_write(s->a, data, s->b);
	return 0;
}

static int run_write(struct step *s)
{
	return write_with(s, fd);
}

static int run_direct_write(struct step *s)
{
	return write_with(s, direct);
}

static int run_map_read(struct step *s)
{
	size_t first = s->a & ~(PAGE - 1), len, end;
	uint8_t *map;

	if (s->a >= size)
		return 0;
	len = clip(s->a, s->b, size);
	end = (s->a + len + PAGE - 1) & ~(PAGE - 1);
	map = mmap(NULL, end - first, PROT_READ, s->c & 1 ? MAP_PRIVATE : MAP_SHARED, fd, first);
	if (map == MAP_FAILED)
		return errno;
	if (s->c & 2)
		madvise(map, end - first, MADV_POPULATE_READ);
	if (s->c & 4)
		madvise(map, end - first, MADV_RANDOM);
	reads++;
	compare(s, map + (s->a - first), want + s->a, len);
	/* What follows the end of the file in its last page has to be 0. */
	if (end > size) {
		size_t i;

		for (i = size; i < end && !map[i - first]; i++)
			;
		if (i < end)
			wrong("step %u: byte %zu is not 0, but the file ends at %zu", s->nr, i,
			      size);
	}
	munmap(map, end - first);
	return 0;
}

static int run_map_write(struct step *s)
{
	size_t first = s->a & ~(PAGE - 1), len = s->a + s->b - first;
	uint8_t *map;

	if (s->a + s->b > size) {
		if (ftruncate(fd, s->a + s->b))
			return errno;
		copy_resize(s->a + s->b);
	}
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, first);
	if (map == MAP_FAILED)
		return errno;
	make_data(s->nr, s->b);
	memcpy(map + (s->a - first), data, s->b);
	copy_write(s->a, data, s->b);
	if (s->c < 6 && msync(map, len, s->c & 1 ? MS_SYNC : MS_ASYNC))
		return errno;
	munmap(map, len);
	return 0;
}

static int run_truncate(struct step *s)
{
	if (s->b ? truncate(path, s->a) : ftruncate(fd, s->a))
		return errno;
	copy_resize(s->a);
	return 0;
}

static int run_fallocate(struct step *s)
{
	int keep = s->c & 1 ? FALLOC_FL_KEEP_SIZE : 0;

	if (fallocate(fd, keep, s->a, s->b))
		return errno;
	if (!keep && s->a + s->b > size)
		copy_resize(s->a + s->b);
	return 0;
}

static int run_punch(struct step *s)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, s->a, s->b))
		return errno;
	copy_zero(s->a, s->b);
	return 0;
}

static int run_zero(struct step *s)
{
	int keep = s->c & 1 ? FALLOC_FL_KEEP_SIZE : 0;

	if (fallocate(fd, FALLOC_FL_ZERO_RANGE | keep, s->a, s->b))
		return errno;
	copy_zero(s->a, s->b);
	if (!keep && s->a + s->b > size)
		copy_resize(s->a + s->b);
	return 0;
}

static int run_collapse(struct step *s)
{
	if (fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, s->a, s->b))
		return errno;
	memmove(want + s->a, want + s->a + s->b, size - s->a - s->b);
	size -= s->b;
	return 0;
}

static int run_insert(struct step *s)
{
	if (fallocate(fd, FALLOC_FL_INSERT_RANGE, s->a, s->b))
		return errno;
	memmove(want + s->a + s->b, want + s->a, size - s->a);
	memset(want + s->a, 0, s->b);
	size += s->b;
	return 0;
}

static int run_copy(struct step *s)
{
	off_t from = s->a, to = s->c;
	size_t left = s->b;
	ssize_t n;

	while (left) {
		n = copy_file_range(fd, &from, fd, &to, left, 0);
		if (n < 0)
			return errno;
		if (!n)
			return EIO;
		left -= n;
	}
	copy_write(s->c, want + s->a, s->b);
	return 0;
}

static int run_clone(struct step *s)
{
	struct file_clone_range range = {
		.src_fd = fd, .src_offset = s->a, .src_length = s->b, .dest_offset = s->c,
	};

	if (ioctl(fd, FICLONERANGE, &range))
		return errno;
	copy_write(s->c, want + s->a, s->b);
	return 0;
}

/* Makes the second range equal to the first, then lets them share blocks. */
static int run_dedupe(struct step *s)
{
	uint64_t room[8] = { 0 };
	struct file_dedupe_range *range = (void *)room;
	ssize_t n = pwrite(fd, want + s->a, s->b, s->c);

	if (n != (ssize_t)s->b)
		return n < 0 ? errno : EIO;
	copy_write(s->c, want + s->a, s->b);
	range->src_offset = s->a;
	range->src_length = s->b;
	range->dest_count = 1;
	range->info[0].dest_fd = fd;
	range->info[0].dest_offset = s->c;
	if (ioctl(fd, FIDEDUPERANGE, range))
		return errno;
	if (range->info[0].status < 0)
		return -range->info[0].status;
	if (range->info[0].status == FILE_DEDUPE_RANGE_DIFFERS)
		wrong("step %u: the file system says that equal ranges differ", s->nr);
	return 0;
}

static int open_file(int flags)
{
	if (fd >= 0 && close(fd))
		return errno;
	if (direct >= 0 && close(direct))
		return errno;
	direct = -1;
	fd = open(path, O_RDWR | O_CLOEXEC | flags, 0644);
	if (fd < 0)
		return errno;
	direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	return direct < 0 && errno != EINVAL ? errno : 0;
}

static int run_reopen(struct step *s)
{
	(void)s;
	return open_file(0);
}

static int run_new_file(struct step *s)
{
	(void)s;
	if (unlink(path) && errno != ENOENT)
		return errno;
	size = 0;
	return open_file(O_CREAT | O_EXCL);
}

static int run_fsync(struct step *s)
{
	return (s->c & 1 ? fsync(fd) : fdatasync(fd)) ? errno : 0;
}

static int run_sync_range(struct step *s)
{
	unsigned int flags = SYNC_FILE_RANGE_WRITE;

	if (s->c & 1)
		flags |= SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER;
	return sync_file_range(fd, s->a, s->b, flags) ? errno : 0;
}

static int run_advise(struct step *s)
{
	static const int advice[] = { POSIX_FADV_DONTNEED, POSIX_FADV_WILLNEED,
				      POSIX_FADV_RANDOM, POSIX_FADV_SEQUENTIAL,
				      POSIX_FADV_NORMAL, POSIX_FADV_NORMAL };

	return posix_fadvise(fd, s->a, s->b, advice[s->c % 6]);
}

#endif /* EXERCISE_H */
