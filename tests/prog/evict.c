// SPDX-License-Identifier: GPL-2.0
/*
 * Throws pages of a file out of the page cache, for certain, as reclaim does.
 *
 *	evict FILE [FIRST COUNT]		those pages, or all
 *	evict -n FILE [FIRST COUNT]		only counts those in the cache
 *
 * Prints "pages N resident M".  Without -n it fails if M is not 0 at the end;
 * all that PUMA puts away is on the wire then.
 */
#define _GNU_SOURCE
#include <sys/stat.h>

#include "pages.h"

int main(int argc, char **argv)
{
	size_t first = 0, count, resident;
	int look = argc > 1 && !strcmp(argv[1], "-n");
	struct stat st;
	int fd;

	argv += look;
	argc -= look;
	if (argc != 2 && argc != 4) {
		fprintf(stderr, "usage: evict [-n] FILE [FIRST COUNT]\n");
		return 2;
	}
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		fail(argv[1]);
	count = (st.st_size + PAGE - 1) / PAGE;
	if (argc == 4) {
		first = strtoul(argv[2], NULL, 0);
		count = strtoul(argv[3], NULL, 0);
	}
	resident = look ? pages_resident(fd, first, count) : pages_evict(fd, first, count);
	printf("pages %zu resident %zu\n", count, resident);
	return !look && resident;
}
