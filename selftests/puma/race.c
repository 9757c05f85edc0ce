// SPDX-License-Identifier: GPL-2.0
/*
 * Readers must never see time run backwards.
 *
 *	race DIR SECONDS WAY	WAY: direct, buffered, mmap, punch, truncate or mixed
 *
 * One thread changes pages of a file and notes the version once the change is
 * complete; two read pages and compare with the version noted before the read;
 * one evicts, so that pages go to a lender and come back all the time.  Prints
 * "changes N reads N evictions N hits N stale N"; fails if a read was stale.
 */
#define _GNU_SOURCE
#include <linux/falloc.h>
#include <pthread.h>
#include <stdatomic.h>

#include "pages.h"

#define PAGES		64
#define SECTOR		512

static const char *path;
static const char *way;
static _Atomic uint64_t done[PAGES];	/* newest version that is complete */
static _Atomic uint64_t begun[PAGES];	/* newest version that may be seen */
static atomic_int stop;
static _Atomic uint64_t changes, reads, evictions, stale;
static uint64_t version;

static int open_file(int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		fail(path);
	return fd;
}

static uint32_t draw(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void fill(uint64_t *data, uint64_t v)
{
	size_t i;

	for (i = 0; i < PAGE / 8; i++)
		data[i] = v;
}

static void change_direct(int direct, uint64_t *data, unsigned int page)
{
	fill(data, version);
	if (pwrite(direct, data, PAGE, page * PAGE) != (ssize_t)PAGE)
		fail("direct write");
}

static void change_buffered(int fd, uint64_t *data, unsigned int page)
{
	fill(data, version);
	if (pwrite(fd, data, PAGE, page * PAGE) != (ssize_t)PAGE)
		fail("write");
	if (version % 4 == 0)
		fdatasync(fd);
}

static void change_mmap(int fd, unsigned int page)
{
	uint64_t *words = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, page * PAGE);
	size_t i;

	if (words == MAP_FAILED)
		fail("mmap");

	/* Only the first word of a sector: the rest keeps what it has. */
	for (i = 0; i < PAGE / 8; i += SECTOR / 8)
		words[i] = version;
	if (version % 4 == 0)
		msync(words, PAGE, MS_SYNC);
	/* Pages that are mapped twice are not evicted. */
	munmap(words, PAGE);
}

static void change_punch(int fd, uint64_t *data, unsigned int page)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page * PAGE, PAGE))
		fail("punch");
	/* While only the hole is there: reads have to be of 0 or newer. */
	change_buffered(fd, data, page);
}

static void change_truncate(int fd, uint64_t *data, unsigned int page)
{
	unsigned int i;

	for (i = page; i < PAGES; i++)
		begun[i] = version;
	if (ftruncate(fd, page * PAGE) || ftruncate(fd, PAGES * PAGE))
		fail("ftruncate");
	for (i = page; i < PAGES; i++) {
		change_buffered(fd, data, i);
		done[i] = version;
	}
}

static void *changer(void *arg)
{
	static const char * const ways[] = { "direct", "buffered", "mmap", "punch", "truncate" };
	uint64_t *data = aligned_alloc(PAGE, PAGE);
	int fd = open_file(O_RDWR), direct = open_file(O_RDWR | O_DIRECT);
	uint32_t state = 12345;

	(void)arg;
	while (!stop) {
		unsigned int page = draw(&state) % PAGES;
		const char *how = way;

		if (!strcmp(way, "mixed"))
			how = ways[draw(&state) % 4];
		if (!strcmp(how, "truncate"))
			page = PAGES - 1 - page % 8;
		version++;
		begun[page] = version;
		if (!strcmp(how, "direct"))
			change_direct(direct, data, page);
		else if (!strcmp(how, "buffered"))
			change_buffered(fd, data, page);
		else if (!strcmp(how, "mmap"))
			change_mmap(fd, page);
		else if (!strcmp(how, "punch"))
			change_punch(fd, data, page);
		else
			change_truncate(fd, data, page);
		done[page] = version;
		changes++;
		usleep(draw(&state) % 3000);
	}
	return NULL;
}

/* 0 may be seen where a hole comes and goes. */
static int hole_possible(void)
{
	return strcmp(way, "direct") && strcmp(way, "buffered") && strcmp(way, "mmap");
}

static void *reader(void *arg)
{
	uint32_t state = 777 + (uintptr_t)arg * 1000;
	uint64_t *data = aligned_alloc(PAGE, PAGE);
	int fd = open_file(O_RDONLY);
	size_t i;

	if (arg)
		posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	while (!stop) {
		unsigned int page = draw(&state) % PAGES;
		uint64_t oldest = done[page];
		ssize_t n = pread(fd, data, PAGE, page * PAGE);

		if (n < 0)
			fail("read");
		for (i = 0; i < (size_t)n / 8; i += SECTOR / 8) {
			if (data[i] >= oldest && data[i] <= begun[page])
				continue;
			if (!data[i] && hole_possible() && begun[page] > oldest)
				continue;
			if (stale++ < 5)
				fprintf(stderr, "page %u sector %zu: %llu, but %llu was complete, %llu begun\n",
					page, i / (SECTOR / 8), (unsigned long long)data[i],
					(unsigned long long)oldest,
					(unsigned long long)begun[page]);
			break;
		}
		reads++;
	}
	return NULL;
}

static void *evicter(void *arg)
{
	int fd = open_file(O_RDONLY);
	uint32_t state = 99;

	(void)arg;
	while (!stop) {
		size_t first = draw(&state) % PAGES, n = 1 + draw(&state) % 16;

		if (first + n > PAGES)
			n = PAGES - first;
		evict_once(fd, first, n);
		evictions++;
		/* What is still dirty cannot go. */
		if (evictions % 16 == 0)
			fdatasync(fd);
		/* Sometimes the put is sent before the next read, sometimes not. */
		usleep(draw(&state) % 4000);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static void *(* const jobs[])(void *) = { changer, reader, reader, evicter };
	char name[300];
	pthread_t thread[4];
	uint64_t hits;
	size_t i;
	int fd;

	if (argc != 4) {
		fprintf(stderr, "usage: race DIR SECONDS WAY\n");
		return 2;
	}
	snprintf(name, sizeof(name), "%s/race", argv[1]);
	path = name;
	way = argv[3];
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || ftruncate(fd, PAGES * PAGE))
		fail(path);
	{
		static uint64_t data[PAGE / 8];

		for (i = 0; i < PAGES; i++)
			change_buffered(fd, data, i);
	}
	fsync(fd);
	hits = puma_stat("get_hit");
	for (i = 0; i < 4; i++)
		if (pthread_create(&thread[i], NULL, jobs[i], (void *)(uintptr_t)(i == 2)))
			fail("thread");
	sleep(atoi(argv[2]));
	stop = 1;
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	unlink(path);
	printf("changes %llu reads %llu evictions %llu hits %llu stale %llu\n",
	       (unsigned long long)changes, (unsigned long long)reads,
	       (unsigned long long)evictions,
	       (unsigned long long)(puma_stat("get_hit") - hits), (unsigned long long)stale);
	return stale != 0;
}
