// SPDX-License-Identifier: GPL-2.0
/*
 * hog MIB SECONDS: touches that much memory, says how long it took, keeps it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	size_t len = argc == 3 ? strtoul(argv[1], NULL, 0) << 20 : 0, i;
	struct timespec a, b;
	char *mem;

	if (!len) {
		fprintf(stderr, "usage: hog MIB SECONDS\n");
		return 2;
	}
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (i = 0; i < len; i += 4096)
		mem[i] = i >> 12 | 1;
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("touched %zu MiB in %ld ms\n", len >> 20,
	       (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000);
	fflush(stdout);
	sleep(atoi(argv[2]));
	for (i = 0; i < len; i += 4096) {
		if (!mem[i]) {
			printf("memory was lost\n");
			return 1;
		}
	}
	return 0;
}
