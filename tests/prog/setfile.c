// SPDX-License-Identifier: GPL-2.0
/*
 * setfile PATH VALUE: writes VALUE with one write(2) and reports the error of
 * the kernel by name, which a shell's redirection hides.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	size_t len;
	ssize_t n;
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: setfile PATH VALUE\n");
		return 2;
	}
	fd = open(argv[1], O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "%s: open: %s\n", argv[1], strerrorname_np(errno));
		return 1;
	}
	len = strlen(argv[2]);
	n = write(fd, argv[2], len);
	if (n < 0) {
		fprintf(stderr, "%s: write: %s\n", argv[1], strerrorname_np(errno));
		return 1;
	}
	if ((size_t)n != len) {
		fprintf(stderr, "%s: only %zd of %zu bytes taken\n", argv[1], n, len);
		return 1;
	}
	if (close(fd)) {
		fprintf(stderr, "%s: close: %s\n", argv[1], strerrorname_np(errno));
		return 1;
	}
	return 0;
}
