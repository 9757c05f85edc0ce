// SPDX-License-Identifier: GPL-2.0
/*
 * Events that only btrfs has: data that come compressed from user space, and
 * files of several subvolumes with one inode number.
 */
#define _GNU_SOURCE
#include <linux/btrfs.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>

#include "events.h"

#define AT	(8 * PAGE)
#define LEN	(8 * PAGE)
#define DIRS	3

/* -- a stream of one byte, many times, as zlib would write it */

struct bits {
	uint8_t data[1000];
	size_t n;
};

static void put_bits(struct bits *to, unsigned int value, int count)
{
	for (; count; count--, value >>= 1, to->n++)
		to->data[to->n / 8] |= (value & 1) << to->n % 8;
}

/* Huffman codes begin with their highest bit. */
static void put_code(struct bits *to, unsigned int code, int count)
{
	while (count--)
		put_bits(to, code >> count & 1, 1);
}

/* A literal, and copies of 258 bytes from one byte before; @byte is below 144. */
static size_t deflate_run(struct bits *to, uint8_t byte, size_t len)
{
	uint32_t one = 1, two = 0;
	size_t i;

	put_bits(to, 0x0178, 16);
	put_bits(to, 3, 3);		/* the last block, with fixed codes */
	put_code(to, 0x30 + byte, 8);
	for (i = 1; i + 258 <= len; i += 258) {
		put_code(to, 0xc5, 8);
		put_code(to, 0, 5);
	}
	for (; i < len; i++)
		put_code(to, 0x30 + byte, 8);
	put_code(to, 0, 7);
	to->n = (to->n + 7) / 8 * 8;
	for (i = 0; i < len; i++) {
		one = (one + byte) % 65521;
		two = (two + one) % 65521;
	}
	one |= two << 16;
	for (i = 0; i < 4; i++)
		put_bits(to, one >> (24 - 8 * i) & 0xff, 8);
	return to->n / 8;
}

static int encoded_write(struct file *f)
{
	struct bits stream = {};
	struct iovec iov = { .iov_base = stream.data };
	struct btrfs_ioctl_encoded_io_args args = {
		.iov = &iov,
		.iovcnt = 1,
		.offset = AT,
		.len = LEN,
		.unencoded_len = LEN,
		.compression = BTRFS_ENCODED_IO_COMPRESSION_ZLIB,
	};
	uint8_t byte = 0x40 + f->gen % 64;

	if (file_fs(f) != FS_BTRFS)
		return skip("BTRFS_IOC_ENCODED_WRITE: btrfs only");
	iov.iov_len = deflate_run(&stream, byte, LEN);
	if (ioctl(f->fd, BTRFS_IOC_ENCODED_WRITE, &args) < 0)
		return refused("BTRFS_IOC_ENCODED_WRITE");
	memset(f->want + AT, byte, LEN);
	return 0;
}

/* -- subvolumes */

/* Up to three directories beside the path of the event, each with a file. */
struct tree {
	char parent[300], base[300];
	int dir;			/* of the parent */
	struct file file[DIRS];
};

static int tree_begin(struct tree *t, struct file *f)
{
	struct statfs st;
	char *slash;
	int i;

	memset(t, 0, sizeof(*t));
	strcpy(t->parent, f->path);
	slash = strrchr(t->parent, '/');
	strcpy(t->base, slash + 1);
	*slash = 0;
	for (i = 0; i < DIRS; i++) {
		t->file[i].fd = -1;
		t->file[i].gen = f->gen + 1000 * i;
		t->file[i].racing = f->racing;
		snprintf(t->file[i].path, sizeof(t->file[i].path), "%.200s.%d/file", f->path, i);
	}
	t->dir = open(t->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->dir < 0 || fstatfs(t->dir, &st))
		return wrong_errno(t->parent);
	return (uint32_t)st.f_type == FS_BTRFS ? 0 : skip("subvolumes: btrfs only");
}

static int subvolume_make(struct tree *t, int i)
{
	struct btrfs_ioctl_vol_args args = {};

	snprintf(args.name, sizeof(args.name), "%.200s.%d", t->base, i);
	return ioctl(t->dir, BTRFS_IOC_SUBVOL_CREATE, &args) ?
		wrong_errno("BTRFS_IOC_SUBVOL_CREATE") : 0;
}

static int subvolume_delete(struct tree *t, int i)
{
	struct btrfs_ioctl_vol_args args = {};

	snprintf(args.name, sizeof(args.name), "%.200s.%d", t->base, i);
	return ioctl(t->dir, BTRFS_IOC_SNAP_DESTROY, &args) ?
		wrong_errno("BTRFS_IOC_SNAP_DESTROY") : 0;
}

/* Subvolume @to becomes a snapshot of @from, its file included. */
static int snapshot_make(struct tree *t, int from, int to)
{
	struct btrfs_ioctl_vol_args_v2 args = {};
	struct file *f = &t->file[to];
	char path[300];
	int ret;

	snprintf(path, sizeof(path), "%.200s", t->file[from].path);
	*strrchr(path, '/') = 0;
	args.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(args.name, sizeof(args.name), "%.200s.%d", t->base, to);
	ret = ioctl(t->dir, BTRFS_IOC_SNAP_CREATE_V2, &args);
	close(args.fd);
	if (ret)
		return wrong_errno("BTRFS_IOC_SNAP_CREATE_V2");
	model_write(f, 0, t->file[from].want, t->file[from].size);
	if (f->racing)
		racers_add(f);
	return file_reopen(f, O_RDWR);
}

static int tree_end(struct tree *t, int ret)
{
	struct stat st;
	int i;

	for (i = 0; i < DIRS; i++) {
		char path[300];

		file_end(&t->file[i]);
		snprintf(path, sizeof(path), "%.200s", t->file[i].path);
		*strrchr(path, '/') = 0;
		if (!stat(path, &st) && subvolume_delete(t, i))
			ret = -1;
	}
	if (t->dir >= 0)
		close(t->dir);
	return ret;
}

static int same_number(const struct file *a, const struct file *b)
{
	struct stat one, two;

	if (fstat(a->fd, &one) || fstat(b->fd, &two))
		return wrong_errno("fstat");
	return one.st_ino == two.st_ino ? 0 :
		wrong("inode numbers %lu and %lu, so nothing was tested",
		      (unsigned long)one.st_ino, (unsigned long)two.st_ino);
}

/* Each of two files with one number is written, and both are looked at. */
static int write_both(struct file *a, struct file *b)
{
	return same_number(a, b) ||
	       direct_write_at(a, 8 * PAGE, 8 * PAGE) || check(a) || check(b) ||
	       write_at(b, 5 * PAGE + 100, 10) || check(a) || check(b);
}

static int subvolumes(struct file *f)
{
	struct tree t;
	int ret = tree_begin(&t, f);

	ret = ret || subvolume_make(&t, 0) || subvolume_make(&t, 1) ||
	      file_make(&t.file[0], FULL) || file_make(&t.file[1], FULL) ||
	      write_both(&t.file[0], &t.file[1]);
	return tree_end(&t, ret ? -1 : 0);
}

static int snapshots(struct file *f)
{
	struct tree t;
	int ret = tree_begin(&t, f);

	ret = ret || subvolume_make(&t, 0) || file_make(&t.file[0], FULL) ||
	      snapshot_make(&t, 0, 1) || check(&t.file[1]) ||
	      write_both(&t.file[0], &t.file[1]) ||
	      snapshot_make(&t, 1, 2) || prove_entries(&t.file[2]) ||
	      write_both(&t.file[1], &t.file[2]) || check(&t.file[0]);
	return tree_end(&t, ret ? -1 : 0);
}

/* A subvolume of the same name, and in it a file of the same number. */
static int subvolume_again(struct file *f)
{
	struct file *old, *new;
	struct tree t;
	int ret = tree_begin(&t, f);

	old = &t.file[0];
	new = &t.file[1];
	if (ret || subvolume_make(&t, 0) || file_make(old, FULL) || subvolume_delete(&t, 0) ||
	    subvolume_make(&t, 0))
		return tree_end(&t, -1);
	strcpy(new->path, old->path);
	new->fd = open(new->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (new->fd < 0)
		ret = wrong_errno("open");
	/* No byte of it is ever written: all 0. */
	ret = ret || same_number(old, new) || resize(new, FULL) || check(new) ||
	      direct_write_at(new, 8 * PAGE, 8 * PAGE) || check(new);
	return tree_end(&t, ret ? -1 : 0);
}

const struct event events_btrfs[] = {
	{ "encoded_write", encoded_write, FULL, 0 },
	{ "subvolumes", subvolumes, 0, OWN_FILES },
	{ "snapshots", snapshots, 0, OWN_FILES },
	{ "subvolume_again", subvolume_again, 0, OWN_FILES },
	{}
};
