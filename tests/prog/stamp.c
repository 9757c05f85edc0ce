// SPDX-License-Identifier: GPL-2.0
/*
 * Files of which every 4 KiB block says where it belongs.
 *
 *	stamp fill FILE SIZE SEED	make FILE of SIZE bytes (suffix K, M, G)
 *	stamp check FILE SEED		read all of it, in file order
 *	stamp random FILE SEED COUNT [THREADS]	read COUNT blocks in random order
 *
 * A block is 512 words of 64 bits: seed, block number, and a pseudo random
 * sequence that follows from both, so that a stale block, a block from another
 * place or another file, zeroes and single wrong bits are all found and told
 * apart.  random and check print "blocks N errors M" and fail if M is not 0.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK	4096
#define WORDS	(BLOCK / sizeof(uint64_t))
#define BATCH	64			/* blocks per system call of fill and check */
#define SHOWN	10			/* errors printed in full */

static const char *file;
static uint64_t seed;
static uint64_t file_blocks;
static uint64_t errors;

static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static void make_block(uint64_t *words, uint64_t number)
{
	uint64_t state = seed * 0x2545f4914f6cdd1d ^ number;
	size_t i;

	words[0] = seed;
	words[1] = number;
	for (i = 2; i < WORDS; i++)
		words[i] = next(&state);
}

static void check_block(const uint64_t *words, uint64_t number)
{
	uint64_t want[WORDS], nth;
	size_t i;

	make_block(want, number);
	if (!memcmp(words, want, BLOCK))
		return;
	nth = __atomic_add_fetch(&errors, 1, __ATOMIC_RELAXED);
	if (nth > SHOWN)
		return;
	for (i = 0; words[i] == want[i]; i++)
		;
	if (i < 2)
		fprintf(stderr, "%s: block %" PRIu64 ": has seed %" PRIx64 " block %" PRIu64
			", not seed %" PRIx64 "\n", file, number, words[0], words[1], seed);
	else
		fprintf(stderr, "%s: block %" PRIu64 ": byte %zu is wrong: %016" PRIx64
			", not %016" PRIx64 "\n", file, number, i * 8, words[i], want[i]);
}

static void die(const char *what)
{
	fprintf(stderr, "stamp: %s: %s: %s\n", file, what, strerror(errno));
	exit(2);
}

static uint64_t parse_size(const char *text)
{
	char *end;
	uint64_t size = strtoull(text, &end, 0);

	switch (*end) {
	case 'G': size *= 1024; /* fall through */
	case 'M': size *= 1024; /* fall through */
	case 'K': size *= 1024; end++;
	}
	if (*end || !size || size % BLOCK) {
		fprintf(stderr, "stamp: bad size '%s': a multiple of 4K is needed\n", text);
		exit(2);
	}
	return size;
}

static uint64_t parse_number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 0);

	if (*end || end == text) {
		fprintf(stderr, "stamp: bad number '%s'\n", text);
		exit(2);
	}
	return value;
}

static int fill(uint64_t size)
{
	static uint64_t words[BATCH][WORDS];
	uint64_t number = 0, blocks = size / BLOCK;
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0)
		die("open");
	while (number < blocks) {
		uint64_t batch = blocks - number < BATCH ? blocks - number : BATCH, i;
		char *at = (char *)words;
		size_t left = batch * BLOCK;

		for (i = 0; i < batch; i++)
			make_block(words[i], number + i);
		while (left) {
			ssize_t n = write(fd, at, left);

			if (n < 0)
				die("write");
			at += n;
			left -= n;
		}
		number += batch;
	}
	if (fsync(fd) || close(fd))
		die("close");
	return 0;
}

static int open_file(void)
{
	struct stat st;
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st))
		die("open");
	file_blocks = st.st_size / BLOCK;
	if (!file_blocks || st.st_size % BLOCK) {
		fprintf(stderr, "stamp: %s: %lld bytes is not a number of 4 KiB blocks\n",
			file, (long long)st.st_size);
		exit(2);
	}
	return fd;
}

static uint64_t check_all(void)
{
	static uint64_t words[BATCH][WORDS];
	int fd = open_file();
	uint64_t number = 0;

	while (number < file_blocks) {
		ssize_t n = pread(fd, words, sizeof(words), number * BLOCK), i;

		if (n < 0)
			die("read");
		if (n < BLOCK) {
			fprintf(stderr, "stamp: %s: ends early at block %" PRIu64 "\n", file, number);
			exit(2);
		}
		for (i = 0; i < n / BLOCK; i++)
			check_block(words[i], number++);
	}
	close(fd);
	return number;
}

struct job {
	pthread_t thread;
	uint64_t state, count;
};

static void *random_reader(void *arg)
{
	struct job *job = arg;
	uint64_t words[WORDS];
	int fd = open_file();

	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	while (job->count--) {
		uint64_t number = next(&job->state) % file_blocks;
		ssize_t n = pread(fd, words, BLOCK, number * BLOCK);

		if (n != BLOCK)
			die("read");
		check_block(words, number);
	}
	close(fd);
	return NULL;
}

static uint64_t check_random(uint64_t count, uint64_t threads)
{
	struct job *jobs = calloc(threads, sizeof(*jobs));
	uint64_t i;

	for (i = 0; i < threads; i++) {
		jobs[i].state = seed + 1000003 * (i + 1) + getpid();
		jobs[i].count = count / threads;
		if (pthread_create(&jobs[i].thread, NULL, random_reader, &jobs[i]))
			die("thread");
	}
	for (i = 0; i < threads; i++)
		pthread_join(jobs[i].thread, NULL);
	free(jobs);
	return count / threads * threads;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	uint64_t blocks;

	if (argc > 2)
		file = argv[2];
	if (!strcmp(verb, "fill") && argc == 5) {
		seed = parse_number(argv[4]);
		return fill(parse_size(argv[3]));
	}
	if (!strcmp(verb, "check") && argc == 4) {
		seed = parse_number(argv[3]);
		blocks = check_all();
	} else if (!strcmp(verb, "random") && (argc == 5 || argc == 6)) {
		uint64_t threads = argc == 6 ? parse_number(argv[5]) : 1;

		seed = parse_number(argv[3]);
		if (!threads || threads > 256) {
			fprintf(stderr, "stamp: bad number of threads '%s': 1 to 256\n", argv[5]);
			return 2;
		}
		close(open_file());
		blocks = check_random(parse_number(argv[4]), threads);
	} else {
		fprintf(stderr, "usage: stamp fill FILE SIZE SEED | check FILE SEED | "
			"random FILE SEED COUNT [THREADS]\n");
		return 2;
	}
	printf("blocks %" PRIu64 " errors %" PRIu64 "\n", blocks, errors);
	return errors ? 1 : 0;
}
