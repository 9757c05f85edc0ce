// SPDX-License-Identifier: GPL-2.0
/*
 * Events that change what a file is: another inode of the same number, another
 * generation, verified, encrypted, or written in a transaction.
 */
#define _GNU_SOURCE
#include <linux/f2fs.h>
#include <linux/fs.h>
#include <linux/fscrypt.h>
#include <linux/fsverity.h>
#include <sys/stat.h>

#include "events.h"

#define REUSE_TRIES	400
#define BUSY_TRIES	50

/* A new file whose inode has this number; -1 if there is none. */
static int file_numbered(const struct file *f, ino_t number)
{
	char path[320];
	struct stat st;
	int i, fd = -1;

	/* Others may be free as well: take them all until it is there. */
	for (i = 0; i < REUSE_TRIES; i++) {
		snprintf(path, sizeof(path), "%s.%d", f->path, i);
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (fd < 0 || fstat(fd, &st) || st.st_ino == number)
			break;
		close(fd);
		fd = -1;
	}
	if (fd >= 0 && rename(path, f->path))
		wrong_errno("rename");
	while (--i >= 0) {
		snprintf(path, sizeof(path), "%s.%d", f->path, i);
		unlink(path);
	}
	return fd;
}

/* The number of a deleted file's inode comes back with another file. */
static int inode_reuse(struct file *f)
{
	struct stat old;
	int try;

	if (fstat(f->fd, &old))
		return wrong_errno("fstat");
	close(f->fd);
	f->fd = -1;
	if (unlink(f->path))
		return wrong_errno("unlink");
	for (try = 0; try < 3 && f->fd < 0; try++) {
		/* Some file systems free a deleted inode later. */
		sync();
		f->fd = file_numbered(f, old.st_ino);
	}
	if (f->fd < 0)
		return skip("inode number %lu is not used again soon", (unsigned long)old.st_ino);
	model_grow(f, 0);
	/* No byte of it is ever written: all 0. */
	return resize(f, FULL);
}

/*
 * The generation is a part of the name that PUMA gives a file. ext4 has to
 * refuse while the machine borrows; where it does not, an old name must not
 * come to life again.
 */
static int set_version(struct file *f)
{
	const unsigned long set = _IOW('v', 2, long);	/* FS_IOC_SETVERSION */
	int old, new;

	if (ioctl(f->fd, FS_IOC_GETVERSION, &old))
		return refused("FS_IOC_GETVERSION");
	new = old + 1;
	if (ioctl(f->fd, set, &new)) {
		if (errno == ENOTTY && file_fs(f) == FS_EXT4)
			return 0;
		return refused("FS_IOC_SETVERSION");
	}
	if (direct_write_at(f, 8 * PAGE, 8 * PAGE))
		return -1;
	return ioctl(f->fd, set, &old) ? wrong_errno("FS_IOC_SETVERSION back") : 0;
}

/* Pages of a lender would not be verified, so none may be used. */
static int verity(struct file *f)
{
	struct fsverity_enable_arg arg = {
		.version = 1,
		.hash_algorithm = FS_VERITY_HASH_ALG_SHA256,
		.block_size = PAGE,
	};

	if (file_reopen(f, O_RDONLY))
		return -1;
	if (ioctl(f->fd, FS_IOC_ENABLE_VERITY, &arg))
		return refused("FS_IOC_ENABLE_VERITY");
	if (evict_file(f) || read_compare(f, f->fd, "read verified"))
		return -1;
	if (f->hits && !f->racing)
		return wrong("%llu pages of a verified file came from a lender",
			     (unsigned long long)f->hits);
	return 0;
}

static int add_key(int dir, struct fscrypt_key_specifier *who)
{
	struct {
		struct fscrypt_add_key_arg arg;
		uint8_t raw[64];
	} key = {};
	size_t i;

	key.arg.key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER;
	key.arg.raw_size = sizeof(key.raw);
	for (i = 0; i < sizeof(key.raw); i++)
		key.raw[i] = i * 7 + 1;
	if (ioctl(dir, FS_IOC_ADD_ENCRYPTION_KEY, &key))
		return refused("FS_IOC_ADD_ENCRYPTION_KEY");
	*who = key.arg.key_spec;
	return 0;
}

/* What is encrypted on the disk must not leave the machine in plain text. */
static int encrypted_file(struct file *f)
{
	uint64_t put;

	if (file_fill(f, FULL))
		return -1;
	put = puma_stat("put_sent") + puma_stat("put_kept");
	if (evict_file(f) || read_compare(f, f->fd, "read encrypted") || evict_file(f))
		return -1;
	put = puma_stat("put_sent") + puma_stat("put_kept") - put;
	if (put || f->hits)
		return wrong("%llu pages of an encrypted file were put, %llu came back",
			     (unsigned long long)put, (unsigned long long)f->hits);
	return direct_write_at(f, 8 * PAGE, 8 * PAGE) || check(f);
}

static int encrypt(struct file *f)
{
	struct fscrypt_policy_v2 policy = {
		.version = FSCRYPT_POLICY_V2,
		.contents_encryption_mode = FSCRYPT_MODE_AES_256_XTS,
		.filenames_encryption_mode = FSCRYPT_MODE_AES_256_CTS,
		.flags = FSCRYPT_POLICY_FLAGS_PAD_32,
	};
	struct fscrypt_remove_key_arg gone = {};
	struct file in = { .fd = -1, .gen = 500 };
	char path[310];
	int dir, ret;

	snprintf(path, sizeof(path), "%s.dir", f->path);
	snprintf(in.path, sizeof(in.path), "%.280s.dir/file", f->path);
	if (mkdir(path, 0755))
		return wrong_errno("mkdir");
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ret = add_key(dir, &gone.key_spec);
	if (!ret) {
		memcpy(policy.master_key_identifier, gone.key_spec.u.identifier,
		       sizeof(policy.master_key_identifier));
		if (ioctl(dir, FS_IOC_SET_ENCRYPTION_POLICY, &policy))
			ret = refused("FS_IOC_SET_ENCRYPTION_POLICY");
		else
			ret = encrypted_file(&in);
		file_end(&in);
		ioctl(dir, FS_IOC_REMOVE_ENCRYPTION_KEY, &gone);
	}
	close(dir);
	if (rmdir(path) && !ret)
		ret = wrong_errno("rmdir");
	return ret;
}

/*
 * -- f2fs: writes that become visible to all or to nobody
 *
 * A page that was written, evicted and read again before the commit shows the
 * old block, and stays in the page cache, without PUMA too. So nobody reads
 * during a transaction that is committed.
 */

/*
 * The new pages reach the disk and leave the cache without being put; what comes
 * back then are the old blocks, and these are evicted.
 */
static int atomic_write(struct file *f)
{
	const int all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
			SYNC_FILE_RANGE_WAIT_AFTER;
	uint8_t page[PAGE];
	size_t i;

	if (file_fs(f) != FS_F2FS)
		return skip("F2FS_IOC_START_ATOMIC_WRITE: f2fs only");
	if (ioctl(f->fd, F2FS_IOC_START_ATOMIC_WRITE))
		return refused("F2FS_IOC_START_ATOMIC_WRITE");
	if (write_at(f, 8 * PAGE, 8 * PAGE) || write_at(f, 30 * PAGE + 100, 200))
		return -1;
	if (sync_file_range(f->fd, 0, 0, all))
		return wrong_errno("sync_file_range");
	if (posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED))
		return wrong_errno("POSIX_FADV_DONTNEED");
	for (i = 0; i < file_pages(f); i++)
		if (pread(f->fd, page, PAGE, i * PAGE) != (ssize_t)PAGE)
			return wrong_errno("read");
	return evict_file(f);
}

/* The inode leaves memory and comes back: by now the file is as any other. */
static int next_life(struct file *f)
{
	if (evict_file(f))
		return -1;
	close(f->fd);
	f->fd = -1;
	if (shell("echo 2 >/proc/sys/vm/drop_caches"))
		return wrong("drop_caches failed");
	return file_reopen(f, O_RDWR);
}

static int atomic_commit(struct file *f)
{
	if (atomic_write(f))
		return -1;
	if (ioctl(f->fd, F2FS_IOC_COMMIT_ATOMIC_WRITE))
		return wrong_errno("F2FS_IOC_COMMIT_ATOMIC_WRITE");
	if (read_compare(f, f->fd, "read after the commit"))
		return -1;
	return next_life(f);
}

static int atomic_abort(struct file *f)
{
	uint8_t *old = malloc(f->size);
	int ret;

	memcpy(old, f->want, f->size);
	ret = atomic_write(f);
	if (!ret && ioctl(f->fd, F2FS_IOC_ABORT_ATOMIC_WRITE))
		ret = wrong_errno("F2FS_IOC_ABORT_ATOMIC_WRITE");
	memcpy(f->want, old, f->size);
	free(old);
	return ret;
}

const struct event events_fs[] = {
	{ "inode_reuse", inode_reuse, FULL, 0 },
	{ "set_version", set_version, FULL, 0 },
	{ "verity", verity, FULL, 0 },
	{ "encrypt", encrypt, 0, OWN_FILES | ALONE },
	{ "atomic_commit", atomic_commit, FULL, ALONE },
	{ "atomic_abort", atomic_abort, FULL, 0 },
	{}
};
