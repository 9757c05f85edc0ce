// SPDX-License-Identifier: GPL-2.0
/*
 * What a machine does that is put back to a snapshot and goes another way.
 *
 *	twin FILE DEVICE	FILE has one page, DEVICE is a disk that only says what to do
 *
 * Waits for a letter in the first sector of the disk, which somebody writes
 * there while the machine stands still. At once it writes a page of that letter
 * to the file and evicts it: in two runs from one snapshot the put has the same
 * place and the same name, but not the same contents. Then, for capital letters,
 * it waits and reads the page again.
 *
 * What happened is left in the second sector: "put", or "right hits N", or
 * "wrong LETTER hits N" with the letter of the page that was read.
 */
#define _GNU_SOURCE
#include <ctype.h>

#include "pages.h"

#define SECTOR	512
#define WAIT_US	2500000		/* until the twin's bytes on the wire are behind us */

static char *sector;

static int letter_on(int disk)
{
	if (pread(disk, sector, SECTOR, 0) != SECTOR)
		fail("read of the disk");
	return sector[0];
}

static void say_on(int disk, const char *text)
{
	memset(sector, 0, SECTOR);
	strcpy(sector, text);
	if (pwrite(disk, sector, SECTOR, SECTOR) != SECTOR)
		fail("write to the disk");
	puts(text);
}

static void put_page(int fd, int letter)
{
	static char page[PAGE];

	memset(page, letter, PAGE);
	if (pwrite(fd, page, PAGE, 0) != (ssize_t)PAGE)
		fail("write");
	if (pages_evict(fd, 0, 1))
		fail("evict");
}

static void get_page(int fd, int disk, int letter)
{
	uint64_t hits = puma_stat("get_hit");
	char page[PAGE], text[80];
	size_t i;

	if (pread(fd, page, PAGE, 0) != (ssize_t)PAGE)
		fail("read");
	hits = puma_stat("get_hit") - hits;
	for (i = 0; i < PAGE && page[i] == letter; i++)
		;
	if (i == PAGE)
		snprintf(text, sizeof(text), "right hits %llu", (unsigned long long)hits);
	else
		snprintf(text, sizeof(text), "wrong %02x hits %llu", page[i] & 0xff,
			 (unsigned long long)hits);
	say_on(disk, text);
}

int main(int argc, char **argv)
{
	int fd, disk, letter;

	if (argc != 3) {
		fprintf(stderr, "usage: twin FILE DEVICE\n");
		return 2;
	}
	sector = aligned_alloc(PAGE, PAGE);
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	disk = open(argv[2], O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || disk < 0)
		fail(fd < 0 ? argv[1] : argv[2]);
	put_page(fd, '-');
	say_on(disk, "waiting");
	while (!isalpha(letter = letter_on(disk)))
		usleep(5000);
	put_page(fd, letter);
	say_on(disk, "put");
	if (isupper(letter)) {
		usleep(WAIT_US);
		get_page(fd, disk, letter);
	}
	return 0;
}
