/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pages of files, for the test programs: what they hold, which are in the page
 * cache, how to get them out of it for certain, and what PUMA's counters say.
 */
#ifndef PAGES_H
#define PAGES_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE		4096UL
#define EVICT_CHUNK	512UL		/* half of the borrower's ring of puts */
#define EVICT_TRIES	50
#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#endif

#define EXT4_CHECKPOINT	_IOW('f', 43, uint32_t)
#define STATS		"/sys/kernel/mm/puma/stats/"

static inline void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(2);
}

/* Contents of page @nr in generation @gen: says which it is, then noise. */
static inline void make_page(uint8_t *to, unsigned int gen, uint64_t nr)
{
	uint64_t *word = (uint64_t *)to, x = gen * 0x9e3779b97f4a7c15 + nr + 1;
	size_t i;

	word[0] = 0x7061676500000000 | gen;
	word[1] = nr;
	for (i = 2; i < PAGE / 8; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		word[i] = x;
	}
}

/* One of PUMA's counters; 0 without PUMA. */
static inline uint64_t puma_stat(const char *name)
{
	char path[100], text[32];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), STATS "%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	return strtoull(text, NULL, 10);
}

static inline void puma_set_mode(const char *mode)
{
	int fd = open("/sys/kernel/mm/puma/mode", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, mode, strlen(mode)) < 0)
		fail("mode");
	close(fd);
}

/*
 * A lender that a busy machine made miss many deadlines is left alone for a
 * minute or two.  Borrow anew, with nothing held against it.
 */
static inline void puma_borrow_anew(void)
{
	uint64_t before;
	int i;

	puma_set_mode("off");
	before = puma_stat("index_bytes");
	puma_set_mode("borrow");
	for (i = 0; i < 1000; i++) {
		/* The first segment of a lease is more than the index without any. */
		if (puma_stat("index_bytes") > before + 60000)
			return;
		usleep(10000);
	}
}

/* Until every put is on the wire: what is asked for after that comes after it. */
static inline void puts_settle(void)
{
	int i;

	for (i = 0; i < 5000 && puma_stat("put_queued"); i++)
		usleep(2000);
}

/* Maps pages of a file for looking at them, not for reading them. */
static inline char *pages_map(int fd, size_t first, size_t count)
{
	char *map = mmap(NULL, count * PAGE, PROT_READ, MAP_SHARED, fd, first * PAGE);

	if (map == MAP_FAILED)
		fail("mmap");
	/* A touch of a page that is there must not read others. */
	if (madvise(map, count * PAGE, MADV_RANDOM))
		fail("MADV_RANDOM");
	return map;
}

static inline size_t pages_count(const unsigned char *there, size_t count)
{
	size_t i, sum = 0;

	for (i = 0; i < count; i++)
		sum += there[i] & 1;
	return sum;
}

/* How many pages of a range of a file are in the page cache. */
static inline size_t pages_resident(int fd, size_t first, size_t count)
{
	unsigned char *there = malloc(count + 1);
	char *map;
	size_t sum;

	if (!count)
		return 0;
	map = pages_map(fd, first, count);
	if (mincore(map, count * PAGE, there))
		fail("mincore");
	sum = pages_count(there, count);
	munmap(map, count * PAGE);
	free(there);
	return sum;
}

/*
 * Reclaim from the control group that PUMA_RECLAIM names, as far as it goes.
 * The pages have to be charged to it. Returns 0 without such a name.
 */
static inline int evict_group(void)
{
	static const char request[] = "16M";
	const char *group = getenv("PUMA_RECLAIM");
	char path[300];
	int fd;

	if (!group)
		return 0;
	snprintf(path, sizeof(path), "%s/memory.reclaim", group);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		fail(path);
	/* There is never as much as that: EAGAIN. */
	if (write(fd, request, sizeof(request) - 1) < 0 && errno != EAGAIN)
		fail(path);
	close(fd);
	return 1;
}

static inline size_t evict_once(int fd, size_t first, size_t count)
{
	unsigned char there[EVICT_CHUNK];
	char *map = pages_map(fd, first, count);
	size_t i, n, left;

	if (mincore(map, count * PAGE, there))
		fail("mincore");
	/* Only what is mapped is paged out.  They may go on their own meanwhile. */
	for (i = 0; i < count; i += n) {
		for (n = 0; i + n < count && there[i + n] & 1; n++)
			;
		if (n && !getenv("PUMA_RECLAIM"))
			madvise(map + i * PAGE, n * PAGE, MADV_POPULATE_READ);
		n += !n;
	}
	if (!evict_group() && madvise(map, count * PAGE, MADV_PAGEOUT))
		fail("MADV_PAGEOUT");
	if (mincore(map, count * PAGE, there))
		fail("mincore");
	left = pages_count(there, count);
	munmap(map, count * PAGE);
	return left;
}

/*
 * Evict a range of a file, the way reclaim does it, and wait until what PUMA
 * puts away is on the wire. Returns the number of pages that would not go.
 */
static inline size_t pages_evict(int fd, size_t first, size_t count)
{
	size_t n, at, left, total = 0;
	uint32_t flags = 0;
	cpu_set_t all, one;
	int tries;

	/* squashfs knows no sync. */
	if (fdatasync(fd) && errno != EINVAL)
		fail("fdatasync");
	if (sched_getaffinity(0, sizeof(all), &all))
		fail("sched_getaffinity");
	for (at = 0; at < count; at += n) {
		n = count - at < EVICT_CHUNK ? count - at : EVICT_CHUNK;
		for (tries = 0; tries < EVICT_TRIES; tries++) {
			left = evict_once(fd, first + at, n);
			if (!left)
				break;
			/* A journal may still hold them. */
			fdatasync(fd);
			ioctl(fd, EXT4_CHECKPOINT, &flags);
			/* Or another processor's list of pages that are new. */
			CPU_ZERO(&one);
			CPU_SET(tries % CPU_COUNT(&all), &one);
			sched_setaffinity(0, sizeof(one), &one);
			usleep(5000);
		}
		total += left;
		puts_settle();
	}
	sched_setaffinity(0, sizeof(all), &all);
	return total;
}

#endif /* PAGES_H */
