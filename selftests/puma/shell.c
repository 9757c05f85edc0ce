// SPDX-License-Identifier: GPL-2.0
/*
 * What shell scripts call, for events that they make themselves: a file whose
 * pages are known, and looking at them again. See coherence.c for the usage.
 */
#define _GNU_SOURCE
#include <linux/fs.h>

#include "events.h"

static void file_model(struct file *f, char **argv)
{
	size_t i;

	f->size = strtoul(argv[1], NULL, 0) * PAGE;
	f->room = f->size;
	f->want = malloc(f->size);
	for (i = 0; i < f->size / PAGE; i++)
		fill_page(f->want + i * PAGE, strtoul(argv[2], NULL, 0), i);
	snprintf(f->path, sizeof(f->path), "%s", argv[0]);
}

static int file_open(struct file *f, const char *path)
{
	f->fd = open(path, O_RDWR | O_CLOEXEC);
	if (f->fd < 0 && errno == EROFS)
		f->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (f->fd < 0)
		fail(path);
	return f->fd;
}

static int fill(char **argv)
{
	struct file f = { .fd = -1, .gen = strtoul(argv[2], NULL, 0) - 1 };

	snprintf(f.path, sizeof(f.path), "%s", argv[0]);
	if (!file_fill(&f, strtoul(argv[1], NULL, 0) * PAGE))
		return 0;
	fprintf(stderr, "fill: %s\n", why);
	return 1;
}

static int prepare(char **argv)
{
	struct file f = { .fd = -1 };

	if (access(argv[0], F_OK) && fill(argv))
		return 1;
	file_model(&f, argv);
	file_open(&f, f.path);
	if (prove_entries(&f)) {
		fprintf(stderr, "prepare: %s\n", why);
		return 1;
	}
	printf("entries %zu\n", file_pages(&f));
	return 0;
}

static int entries(char **argv)
{
	size_t n = strtoul(argv[1], NULL, 0);
	struct file f = { .fd = -1 };
	uint64_t kept;

	file_open(&f, argv[0]);
	kept = puma_stat("put_kept");
	if (pages_evict(f.fd, 0, n))
		return 2;
	printf("kept %llu\n", (unsigned long long)(puma_stat("put_kept") - kept));
	return 0;
}

static int check_file(char **argv, int argc)
{
	struct file f = { .fd = -1 };

	file_model(&f, argv);
	file_open(&f, f.path);
	if (argc == 5) {
		size_t page = strtoul(argv[3], NULL, 0);

		fill_page(f.want + page * PAGE, strtoul(argv[4], NULL, 0), page);
	}
	if (read_compare(&f, f.fd, "read")) {
		printf("wrong: %s\n", why);
		return 1;
	}
	printf("right, hits %llu\n", (unsigned long long)f.hits);
	return 0;
}

static int block_of(char **argv)
{
	int fd = open(argv[0], O_RDONLY | O_CLOEXEC), block = atoi(argv[1]);

	if (fd < 0 || ioctl(fd, FIBMAP, &block) || !block)
		fail(argv[0]);
	printf("%d\n", block);
	return 0;
}

static int patch(char **argv)
{
	int fd = open(argv[0], O_WRONLY | O_DIRECT | O_CLOEXEC);
	uint8_t *data = aligned_alloc(PAGE, PAGE);

	fill_page(data, strtoul(argv[3], NULL, 0), strtoul(argv[2], NULL, 0));
	if (fd < 0 || pwrite(fd, data, PAGE, strtoul(argv[1], NULL, 0) * PAGE) != (ssize_t)PAGE)
		fail(argv[0]);
	return 0;
}

/* The exit status, or -1 if this is none of the verbs. */
int shell_verb(int argc, char **argv)
{
	const char *verb = argv[0];

	if (!strcmp(verb, "fill") && argc == 4)
		return fill(argv + 1);
	if (!strcmp(verb, "prepare") && argc == 4)
		return prepare(argv + 1);
	if (!strcmp(verb, "entries") && argc == 3)
		return entries(argv + 1);
	if (!strcmp(verb, "check") && (argc == 4 || argc == 6))
		return check_file(argv + 1, argc - 1);
	if (!strcmp(verb, "block") && argc == 3)
		return block_of(argv + 1);
	if (!strcmp(verb, "patch") && argc == 5)
		return patch(argv + 1);
	return -1;
}
