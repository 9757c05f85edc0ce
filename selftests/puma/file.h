/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A file with a model: what has to be in it, byte for byte.
 *
 * The events (events_*.c) change file and model together. Then all kinds of
 * reads are compared with the model, before and after the pages were evicted.
 */
#ifndef PUMA_FILE_H
#define PUMA_FILE_H

#include "pages.h"

#define PAGES	48UL			/* of a file, unless an event says otherwise */
#define FULL	(PAGES * PAGE)
#define ODD	(PAGES * PAGE - PAGE + 100)	/* ends inside a page */

/* statfs(2): what a file is on */
#define FS_EXT4		0xEF53UL
#define FS_XFS		0x58465342UL
#define FS_BTRFS	0x9123683EUL
#define FS_F2FS		0xF2F52010UL

struct file {
	char path[300];
	int fd;
	uint8_t *want;		/* what has to be in it */
	size_t size, room;
	unsigned int gen;
	uint64_t hits;		/* of the last reading */
	int racing;		/* others evict and read it all the time */
	int nocow;		/* btrfs: written in place */
	int raced;		/* known to the racers */
	struct file *peer;	/* a second file, see file_peer() */
};

/* Of the whole run. */
struct totals {
	uint64_t events, pages, stale;
};

extern struct totals totals;
extern char why[400];		/* what was wrong, or why an event was left out */
extern int skipped;		/* the event cannot be made here */
extern int file_runs;		/* contents that can be compressed */

/* All return -1, so that they can be what a failing function returns. */
int wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int wrong_errno(const char *what);
int skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A system call failed: skip if that says that there is no such thing here. */
int refused(const char *what);

void model_grow(struct file *f, size_t size);
void model_write(struct file *f, size_t at, const void *data, size_t len);
void model_zero(struct file *f, size_t at, size_t len);
/* The disk says what is right, where nothing else can. */
int model_from_disk(struct file *f);

size_t file_pages(const struct file *f);
unsigned long file_fs(const struct file *f);
int file_open_direct(const struct file *f, int flags);
void fill_page(uint8_t *to, unsigned int gen, uint64_t nr);
/* Bytes of a new generation, aligned for O_DIRECT; to be freed. */
uint8_t *new_bytes(struct file *f, size_t first_page, size_t len);

/* Make the file and write it; nothing is evicted. */
int file_fill(struct file *f, size_t size);
/* And prove that every page of it is away and comes back right. */
int file_make(struct file *f, size_t size);
int prove_entries(struct file *f);
/* A second file that an event needs, made as file_make() does. */
struct file *file_peer(struct file *f, size_t size);
/* Close, delete, forget. */
void file_end(struct file *f);
/* Close and open again; nobody may have it open for writing with O_RDONLY. */
int file_reopen(struct file *f, int flags);

int evict_file(struct file *f);
int read_compare(struct file *f, int fd, const char *how);
/* Reads of all kinds return what has to be there, now and after evictions. */
int check(struct file *f);
int nearly_all(uint64_t some, uint64_t all);

/* Changes that several events are made of. */
int write_at(struct file *f, size_t at, size_t len);
int direct_write_at(struct file *f, size_t at, size_t len);
int resize(struct file *f, size_t size);

/* Change a page on the device, behind the file system; skip() if impossible. */
int patch_disk(struct file *f, size_t page);
/* Where a page is on the device, in bytes; 0 if nobody can say. */
uint64_t disk_address(const struct file *f, size_t page);
/* Is the file inside the inode? */
int file_inline(const struct file *f);

/* A shell command; 0 if it succeeded. */
int shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif /* PUMA_FILE_H */
