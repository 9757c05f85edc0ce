// SPDX-License-Identifier: GPL-2.0
/*
 * A reader whose every read misses the page cache, whatever happens around it.
 *
 *	steady make FILE PAGES GEN		makes a file and evicts it
 *	steady run FILE GEN SECONDS [THREADS]	reads random pages, evicts each
 *	steady all FILE GEN			reads all pages once, in order
 *
 * Compares every byte, and prints "reads N errors N worst N ms hits N".
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>

#include "pages.h"

static const char *path;
static unsigned int gen;
static size_t pages;
static double end;
static _Atomic uint64_t reads, errors, worst_us;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static int open_file(void)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		fail(path);
	pages = st.st_size / PAGE;
	return fd;
}

static void read_one(int fd, size_t nr)
{
	uint8_t got[PAGE], want[PAGE];
	double begin = now();
	ssize_t n = pread(fd, got, PAGE, nr * PAGE);
	uint64_t us = (now() - begin) * 1e6;

	if (us > worst_us)
		worst_us = us;
	reads++;
	make_page(want, gen, nr);
	if (n == (ssize_t)PAGE && !memcmp(got, want, PAGE))
		return;
	if (errors++ < 5)
		fprintf(stderr, "page %zu: read returned %zd, the page begins %016llx %llu\n", nr, n,
			*(unsigned long long *)got, ((unsigned long long *)got)[1]);
}

static void *reader(void *arg)
{
	uint64_t state = 88172645463325252 + (uintptr_t)arg * 1000003;
	int fd = open_file();

	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	while (now() < end) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		read_one(fd, state % pages);
		evict_once(fd, state % pages, 1);
	}
	close(fd);
	return NULL;
}

static int make(size_t count)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	uint8_t data[PAGE];
	size_t i;

	for (i = 0; i < count; i++) {
		make_page(data, gen, i);
		if (fd < 0 || write(fd, data, PAGE) != (ssize_t)PAGE)
			fail(path);
	}
	if (fsync(fd))
		fail(path);
	return pages_evict(fd, 0, count) != 0;
}

static void run(unsigned int seconds, uintptr_t threads)
{
	pthread_t thread[64];
	uintptr_t i;

	end = now() + seconds;
	for (i = 0; i < threads; i++)
		if (pthread_create(&thread[i], NULL, reader, (void *)i))
			fail("thread");
	for (i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	uint64_t hits = puma_stat("get_hit");
	size_t i;
	int fd;

	if (argc > 3) {
		path = argv[2];
		gen = strtoul(argv[3], NULL, 0);
	}
	if (!strcmp(verb, "make") && argc == 5) {
		gen = strtoul(argv[4], NULL, 0);
		return make(strtoul(argv[3], NULL, 0));
	}
	if (!strcmp(verb, "run") && (argc == 5 || argc == 6)) {
		i = argc == 6 ? strtoul(argv[5], NULL, 0) : 1;
		run(strtoul(argv[4], NULL, 0), i < 64 ? i : 64);
	} else if (!strcmp(verb, "all") && argc == 4) {
		fd = open_file();
		for (i = 0; i < pages; i++)
			read_one(fd, i);
	} else {
		fprintf(stderr, "usage: steady make FILE PAGES GEN | run FILE GEN SECONDS [THREADS] |\n"
			"\tall FILE GEN\n");
		return 2;
	}
	printf("reads %llu errors %llu worst %llu ms hits %llu\n", (unsigned long long)reads,
	       (unsigned long long)errors, (unsigned long long)(worst_us / 1000),
	       (unsigned long long)(puma_stat("get_hit") - hits));
	return errors != 0;
}
