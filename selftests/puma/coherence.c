// SPDX-License-Identifier: GPL-2.0
/*
 * Changes files while a lender holds their pages, and reads them back.
 *
 *	coherence all DIR [-CASE...]	every case but those named
 *	coherence only DIR CASE...	those cases
 *	coherence list			names of the cases
 *
 * A case makes a file, proves that a lender has every page of it and gives it
 * back right (all reads are hits, then all evictions say "kept"), changes the
 * file while none of it is in the page cache, and compares what reads return
 * with what has to be there: at once, and again after evictions, and with what
 * O_DIRECT reads.  One line a case: "ok NAME (...)" or "not ok NAME: why".
 *
 * For events that a shell makes (remount, another mode, ...):
 *
 *	coherence prepare FILE PAGES GEN	a file whose pages all have entries
 *	coherence entries FILE PAGES		evict; how many pages had entries
 *	coherence check FILE PAGES GEN [PAGE GEN2]	compare; prints the hits
 *	coherence block FILE PAGE		number of its block on the device
 *	coherence patch DEVICE BLOCK PAGE GEN	change it there
 */
#define _GNU_SOURCE
#include <linux/aio_abi.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>

#include "pages.h"

#define EXT4_INLINE_DATA	0x10000000

#define PAGES	48UL		/* of a test's file, unless it says otherwise */
#define TRIES	12

struct file {
	char path[300];
	int fd;
	uint8_t *want;		/* what has to be in it */
	size_t size, room;
	unsigned int gen;
	uint64_t hits;		/* of all checks */
};

static char why[400];

static int wrong(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return -1;
}

static int wrong_errno(const char *what)
{
	return wrong("%s: %s", what, strerror(errno));
}

static void model_grow(struct file *f, size_t size)
{
	size_t room = (size + PAGE - 1) / PAGE * PAGE;

	if (room > f->room) {
		f->want = realloc(f->want, room);
		f->room = room;
	}
	if (size > f->size)
		memset(f->want + f->size, 0, size - f->size);
	f->size = size;
}

static void model_write(struct file *f, size_t at, const void *data, size_t len)
{
	if (at + len > f->size)
		model_grow(f, at + len);
	memcpy(f->want + at, data, len);
}

static void model_zero(struct file *f, size_t at, size_t len)
{
	if (at < f->size)
		memset(f->want + at, 0, at + len > f->size ? f->size - at : len);
}

static size_t file_pages(const struct file *f)
{
	return (f->size + PAGE - 1) / PAGE;
}

/* Bytes of a new generation, aligned for O_DIRECT. */
static uint8_t *new_bytes(struct file *f, size_t first_page, size_t len)
{
	size_t i, pages = (len + PAGE - 1) / PAGE;
	uint8_t *data = aligned_alloc(PAGE, pages * PAGE);

	f->gen++;
	for (i = 0; i < pages; i++)
		make_page(data + i * PAGE, f->gen, first_page + i);
	return data;
}

/* Compare @got with the model; -1 and a reason on the first difference. */
static int compare(const struct file *f, const uint8_t *got, size_t len, const char *how)
{
	uint64_t word, num;
	size_t i;

	if (len != f->size)
		return wrong("%s: %zu bytes instead of %zu", how, len, f->size);
	if (!memcmp(got, f->want, len))
		return 0;
	for (i = 0; got[i] == f->want[i]; i++)
		;
	memcpy(&word, got + i / PAGE * PAGE, 8);
	memcpy(&num, got + i / PAGE * PAGE + 8, 8);
	return wrong("%s: page %zu byte %zu is %02x, not %02x (page begins %016llx %llu)", how,
		     i / PAGE, i % PAGE, got[i], f->want[i], (unsigned long long)word,
		     (unsigned long long)num);
}

static int read_compare(struct file *f, int fd, const char *how)
{
	size_t room = (f->size / PAGE + 2) * PAGE, len = 0;
	uint8_t *got = aligned_alloc(PAGE, room);
	uint64_t before = puma_stat("get_hit");
	ssize_t n;
	int ret;

	memset(got, 0xaa, room);
	while (len < room) {
		size_t step = room - len < 4 * PAGE ? room - len : 4 * PAGE;

		n = pread(fd, got + len, step, len);
		if (n < 0) {
			free(got);
			return wrong("%s: read: %s", how, strerror(errno));
		}
		len += n;
		if (!n || len % PAGE)
			break;
	}
	ret = compare(f, got, len, how);
	free(got);
	f->hits = puma_stat("get_hit") - before;
	return ret;
}

static int evict_file(struct file *f)
{
	size_t left = pages_evict(f->fd, 0, file_pages(f));

	return left ? wrong("%zu of %zu pages cannot be evicted", left, file_pages(f)) : 0;
}

/* Two pages can have the same tag; the older entry of the two is lost then. */
static int nearly_all(uint64_t some, uint64_t all)
{
	return some + (all > 1) + all / 200 >= all;
}

/*
 * Every page of the file is away and has an entry that works: read once, all
 * hits; evicted again, all kept.  A busy machine may need several tries,
 * because what misses a deadline loses its entry.
 */
static int prove_entries(struct file *f)
{
	uint64_t kept = 0, hits = 0, n = file_pages(f);
	uint64_t throttled = puma_stat("get_throttled");
	int try;

	for (try = 0; try < TRIES; try++) {
		if (try == TRIES / 2 && puma_stat("get_throttled") != throttled)
			puma_borrow_anew();
		if (evict_file(f) || read_compare(f, f->fd, "while preparing"))
			return -1;
		hits = f->hits;
		kept = puma_stat("put_kept");
		if (evict_file(f))
			return -1;
		kept = puma_stat("put_kept") - kept;
		if (nearly_all(hits, n) && nearly_all(kept, n))
			break;
		usleep(20000 << (try < 5 ? try : 5));
	}
	if (try == TRIES)
		return wrong("no entries to test with: of %llu pages %llu hit, %llu kept",
			     (unsigned long long)n, (unsigned long long)hits,
			     (unsigned long long)kept);
	if (!puma_stat("index_entries"))
		return wrong("index_entries is 0");
	if (pages_resident(f->fd, 0, n))
		return wrong("pages are in the cache before the change");
	return 0;
}

static int file_fill(struct file *f, size_t size)
{
	uint8_t *data;
	ssize_t n;

	f->fd = open(f->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (f->fd < 0)
		return wrong_errno("open");
	data = new_bytes(f, 0, size);
	model_write(f, 0, data, size);
	n = pwrite(f->fd, data, size, 0);
	free(data);
	if (n != (ssize_t)size || fsync(f->fd))
		return wrong_errno("write");
	return 0;
}

static int file_make(struct file *f, size_t size)
{
	return file_fill(f, size) ? -1 : prove_entries(f);
}

static void file_end(struct file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	unlink(f->path);
	free(f->want);
}

/* Reads of all kinds return what has to be there, now and after evictions. */
static int check(struct file *f)
{
	char how[40];
	int fd, ret, i;

	if (read_compare(f, f->fd, "read at once"))
		return -1;
	for (i = 1; i <= 3; i++) {
		snprintf(how, sizeof(how), "read after eviction %d", i);
		if (evict_file(f) || read_compare(f, f->fd, how))
			return -1;
	}
	fd = open(f->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return errno == EINVAL ? 0 : wrong_errno("open O_DIRECT");
	ret = read_compare(f, fd, "read with O_DIRECT");
	close(fd);
	return ret;
}

/* -- changes: nothing of the file is in the page cache when they begin */

static int direct_write_at(struct file *f, size_t at, size_t len)
{
	uint8_t *data = new_bytes(f, at / PAGE, len);
	int fd = open(f->path, O_WRONLY | O_DIRECT | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return wrong_errno("open O_DIRECT");
	n = pwrite(fd, data, len, at);
	model_write(f, at, data, len);
	free(data);
	close(fd);
	return n == (ssize_t)len ? 0 : wrong_errno("direct write");
}

static int direct_write(struct file *f)
{
	return direct_write_at(f, 8 * PAGE, 8 * PAGE);
}

static int direct_write_sector(struct file *f)
{
	return direct_write_at(f, 5 * PAGE + 1024, 512);
}

static int direct_write_extend(struct file *f)
{
	return direct_write_at(f, (PAGES - 2) * PAGE, 6 * PAGE);
}

static int direct_write_hole(struct file *f)
{
	if (ftruncate(f->fd, 2 * PAGES * PAGE))
		return wrong_errno("ftruncate");
	model_grow(f, 2 * PAGES * PAGE);
	/* The holes have entries too. */
	if (prove_entries(f))
		return -1;
	return direct_write_at(f, (PAGES + 7) * PAGE, 9 * PAGE);
}

static int direct_write_twice(struct file *f)
{
	/* A reader in between brings the pages back into the cache. */
	return direct_write(f) || read_compare(f, f->fd, "read between") ||
	       direct_write(f) || evict_file(f) || direct_write(f);
}

static int direct_write_aio(struct file *f)
{
	uint8_t *data = new_bytes(f, 16, 16 * PAGE);
	int i, fd = open(f->path, O_WRONLY | O_DIRECT | O_CLOEXEC);
	struct iocb cb[4] = {}, *list[4];
	struct io_event event[4];
	aio_context_t ctx = 0;

	if (fd < 0 || syscall(SYS_io_setup, 4, &ctx))
		return wrong_errno("io_setup");
	for (i = 0; i < 4; i++) {
		cb[i].aio_lio_opcode = IOCB_CMD_PWRITE;
		cb[i].aio_fildes = fd;
		cb[i].aio_buf = (uintptr_t)(data + i * 4 * PAGE);
		cb[i].aio_nbytes = 4 * PAGE;
		cb[i].aio_offset = (16 + i * 4) * PAGE;
		list[i] = &cb[i];
	}
	if (syscall(SYS_io_submit, ctx, 4, list) != 4)
		return wrong_errno("io_submit");
	if (syscall(SYS_io_getevents, ctx, 4, 4, event, NULL) != 4)
		return wrong_errno("io_getevents");
	for (i = 0; i < 4; i++)
		if (event[i].res != (long long)(4 * PAGE))
			return wrong("aio write returned %lld", (long long)event[i].res);
	model_write(f, 16 * PAGE, data, 16 * PAGE);
	syscall(SYS_io_destroy, ctx);
	close(fd);
	free(data);
	return 0;
}

static int resize(struct file *f, size_t size)
{
	if (ftruncate(f->fd, size))
		return wrong_errno("ftruncate");
	model_grow(f, size);
	return 0;
}

static int truncate_extend(struct file *f)
{
	return resize(f, 8 * PAGE + 100) || resize(f, PAGES * PAGE);
}

static int truncate_zero(struct file *f)
{
	return resize(f, 0) || resize(f, PAGES * PAGE);
}

static int truncate_path(struct file *f)
{
	if (truncate(f->path, PAGE) || truncate(f->path, PAGES * PAGE))
		return wrong_errno("truncate");
	model_grow(f, PAGE);
	model_grow(f, PAGES * PAGE);
	return 0;
}

static int open_trunc(struct file *f)
{
	int fd = open(f->path, O_RDWR | O_TRUNC | O_CLOEXEC);

	if (fd < 0)
		return wrong_errno("open");
	close(fd);
	model_grow(f, 0);
	return resize(f, PAGES * PAGE);
}

static int buffered_write_at(struct file *f, size_t at, size_t len)
{
	uint8_t *data = new_bytes(f, at / PAGE, len);
	ssize_t n = pwrite(f->fd, data, len, at);

	model_write(f, at, data, len);
	free(data);
	return n == (ssize_t)len ? 0 : wrong_errno("write");
}

static int write_part(struct file *f)
{
	return buffered_write_at(f, 5 * PAGE + 100, 10);
}

static int write_whole(struct file *f)
{
	return buffered_write_at(f, 5 * PAGE, 3 * PAGE);
}

static int write_after_hit(struct file *f)
{
	/* The page comes from the lender, its entry stays, and then it changes. */
	if (read_compare(f, f->fd, "read before"))
		return -1;
	return buffered_write_at(f, 5 * PAGE + 100, 10) ||
	       buffered_write_at(f, 9 * PAGE, PAGE);
}

static int write_span(struct file *f)
{
	return buffered_write_at(f, 3 * PAGE + 1000, 9 * PAGE + 77);
}

static int write_append(struct file *f)
{
	return buffered_write_at(f, f->size, 3 * PAGE);
}

/* The file ends inside a page: what is behind the end must be 0 later. */
static int write_beyond_end(struct file *f)
{
	return buffered_write_at(f, (PAGES + 2) * PAGE + 50, 100);
}

static int direct_write_beyond_end(struct file *f)
{
	return direct_write_at(f, (PAGES + 2) * PAGE, 2 * PAGE);
}

static int extend_beyond_end(struct file *f)
{
	return resize(f, (PAGES + 5) * PAGE);
}

static int fallocate_beyond_end(struct file *f)
{
	if (fallocate(f->fd, 0, 0, (PAGES + 5) * PAGE))
		return wrong_errno("fallocate");
	model_grow(f, (PAGES + 5) * PAGE);
	return 0;
}

static int garbage(struct file *f, int keep_dirty)
{
	size_t last = f->size / PAGE, in_page = f->size % PAGE;
	uint8_t *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, last * PAGE);

	if (map == MAP_FAILED)
		return wrong_errno("mmap");
	memset(map + in_page, 0x5a, PAGE - in_page);
	if (!keep_dirty && msync(map, PAGE, MS_SYNC))
		return wrong_errno("msync");
	memset(map + in_page + 10, 0xa5, PAGE - in_page - 10);
	munmap(map, PAGE);
	return 0;
}

/* Bytes that a mapping wrote behind the end never become visible. */
static int mmap_garbage(struct file *f)
{
	if (garbage(f, 0) || evict_file(f) || read_compare(f, f->fd, "read the garbage") ||
	    evict_file(f))
		return -1;
	return resize(f, (PAGES + 5) * PAGE);
}

static int mmap_garbage_write(struct file *f)
{
	if (garbage(f, 1) || evict_file(f))
		return -1;
	return write_beyond_end(f);
}

static int mmap_write(struct file *f)
{
	uint8_t *map = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	uint8_t *data = new_bytes(f, 11, 20);

	if (map == MAP_FAILED)
		return wrong_errno("mmap");
	memcpy(map + 11 * PAGE + 3000, data, 20);
	model_write(f, 11 * PAGE + 3000, data, 20);
	/* And one that was read through the mapping first. */
	if (memcmp(map + 20 * PAGE, f->want + 20 * PAGE, PAGE))
		return wrong("a mapping shows wrong bytes");
	memcpy(map + 20 * PAGE + 1, data, 20);
	model_write(f, 20 * PAGE + 1, data, 20);
	if (msync(map, f->size, MS_SYNC))
		return wrong_errno("msync");
	munmap(map, f->size);
	free(data);
	return 0;
}

static int allocate(struct file *f, int mode, size_t at, size_t len)
{
	return fallocate(f->fd, mode, at, len) ? wrong_errno("fallocate") : 0;
}

static int punch_hole(struct file *f)
{
	model_zero(f, 4 * PAGE, 6 * PAGE);
	return allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4 * PAGE, 6 * PAGE);
}

static int punch_hole_part(struct file *f)
{
	model_zero(f, 4 * PAGE + 10, 3 * PAGE);
	model_zero(f, 20 * PAGE + 100, 200);
	return allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4 * PAGE + 10, 3 * PAGE) ||
	       allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 20 * PAGE + 100, 200);
}

static int zero_range(struct file *f)
{
	model_zero(f, 4 * PAGE, 6 * PAGE);
	model_zero(f, 30 * PAGE + 7, 2 * PAGE);
	return allocate(f, FALLOC_FL_ZERO_RANGE, 4 * PAGE, 6 * PAGE) ||
	       allocate(f, FALLOC_FL_ZERO_RANGE, 30 * PAGE + 7, 2 * PAGE);
}

static int collapse_range(struct file *f)
{
	memmove(f->want + 4 * PAGE, f->want + 10 * PAGE, f->size - 10 * PAGE);
	model_grow(f, f->size - 6 * PAGE);
	return allocate(f, FALLOC_FL_COLLAPSE_RANGE, 4 * PAGE, 6 * PAGE);
}

static int insert_range(struct file *f)
{
	size_t old = f->size;

	model_grow(f, old + 6 * PAGE);
	memmove(f->want + 10 * PAGE, f->want + 4 * PAGE, old - 4 * PAGE);
	memset(f->want + 4 * PAGE, 0, 6 * PAGE);
	return allocate(f, FALLOC_FL_INSERT_RANGE, 4 * PAGE, 6 * PAGE);
}

/* What a cut-off part had is not there when it is allocated again. */
static int punch_allocate(struct file *f)
{
	return punch_hole(f) || allocate(f, 0, 2 * PAGE, 12 * PAGE);
}

/* Blocks change hands between two files, both of which have entries. */
static int move_extents(struct file *f)
{
	struct {
		uint32_t reserved, donor_fd;
		uint64_t orig_start, donor_start, len, moved_len;
	} move = {};
	struct stat st;
	struct file donor = { .fd = -1, .gen = 1000 };
	size_t unit;
	int ret;

	snprintf(donor.path, sizeof(donor.path), "%.250s.donor", f->path);
	ret = file_make(&donor, PAGES * PAGE);
	if (!ret && fstat(f->fd, &st))
		ret = wrong_errno("fstat");
	if (!ret) {
		unit = PAGE / st.st_blksize ?: 1;
		move.donor_fd = donor.fd;
		move.orig_start = move.donor_start = 8 * unit;
		move.len = 16 * unit;
		if (ioctl(f->fd, _IOWR('f', 15, typeof(move)), &move))
			ret = wrong_errno("EXT4_IOC_MOVE_EXT");
		else if (!move.moved_len)
			ret = wrong("EXT4_IOC_MOVE_EXT moved nothing");
	}
	/* The first file keeps its data; the donor gets what O_DIRECT says. */
	if (!ret) {
		uint8_t *got = aligned_alloc(PAGE, donor.size);
		int fd = open(donor.path, O_RDONLY | O_DIRECT | O_CLOEXEC);

		if (fd < 0 || pread(fd, got, donor.size, 0) != (ssize_t)donor.size)
			ret = wrong_errno("donor");
		else if (!memcmp(got, donor.want, donor.size))
			ret = wrong("the donor has not changed, so nothing was tested");
		memcpy(donor.want, got, donor.size);
		free(got);
		close(fd);
		if (!ret && check(&donor)) {
			char copy[sizeof(why)];

			strcpy(copy, why);
			ret = wrong("donor: %.300s", copy);
		}
	}
	file_end(&donor);
	return ret;
}

/* The number of a deleted file's inode comes back with another file. */
static int inode_reuse(struct file *f)
{
	char path[320];
	struct stat old, new;
	int i, fd = -1;

	if (fstat(f->fd, &old))
		return wrong_errno("fstat");
	close(f->fd);
	f->fd = -1;
	if (unlink(f->path))
		return wrong_errno("unlink");
	/* Others may be free as well: take them all until it is there. */
	for (i = 0; i < 2000; i++) {
		snprintf(path, sizeof(path), "%s.%d", f->path, i);
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (fd < 0 || fstat(fd, &new))
			break;
		if (new.st_ino == old.st_ino)
			break;
		close(fd);
		fd = -1;
	}
	if (fd >= 0 && rename(path, f->path))
		return wrong_errno("rename");
	while (--i >= 0) {
		snprintf(path, sizeof(path), "%s.%d", f->path, i);
		unlink(path);
	}
	if (fd < 0)
		return wrong("inode %lu was not used again", (unsigned long)old.st_ino);
	f->fd = fd;
	model_grow(f, 0);
	/* No byte of it is ever written: all 0. */
	if (resize(f, PAGES * PAGE))
		return -1;
	return 0;
}

/* 60 bytes that live in the inode: changed without ever being dirty. */
static int inline_data(struct file *f)
{
	int flags;

	if (ioctl(f->fd, FS_IOC_GETFLAGS, &flags))
		return wrong_errno("FS_IOC_GETFLAGS");
	if (!(flags & EXT4_INLINE_DATA))
		return wrong("the file's data are not inline");
	if (read_compare(f, f->fd, "read before"))
		return -1;
	return buffered_write_at(f, 20, 10);
}

static int inline_data_cold(struct file *f)
{
	return buffered_write_at(f, 20, 10);
}

static int inline_data_grow(struct file *f)
{
	/* In two steps: one write to the third page would be ext4's own trouble. */
	if (buffered_write_at(f, 30, 3000))
		return -1;
	if (fsync(f->fd))
		return wrong_errno("fsync");
	return buffered_write_at(f, PAGE - 10, 2 * PAGE);
}

/* A swap file is written behind the page cache's back. */
static int swap_file(struct file *f)
{
	size_t i, len = 8 << 20, found = 0;
	uint32_t *head;
	uint8_t *mem;
	ssize_t n;
	int fd;

	head = aligned_alloc(PAGE, PAGE);
	memset(head, 0, PAGE);
	head[256] = 1;				/* version */
	head[257] = f->size / PAGE - 1;		/* last page */
	memcpy((char *)head + PAGE - 10, "SWAPSPACE2", 10);
	fd = open(f->path, O_WRONLY | O_DIRECT | O_CLOEXEC);
	n = pwrite(fd, head, PAGE, 0);
	close(fd);
	model_write(f, 0, head, PAGE);
	free(head);
	if (n != PAGE || fsync(f->fd))
		return wrong_errno("write");
	if (prove_entries(f))
		return -1;
	if (swapon(f->path, 0))
		return wrong_errno("swapon");
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (i = 0; i < len; i += PAGE)
		make_page(mem + i, 7777, i / PAGE);
	madvise(mem, len, MADV_PAGEOUT);
	for (i = 0; i < len; i += PAGE)
		if (*(uint64_t *)(mem + i) != (0x7061676500000000 | 7777))
			found++;
	if (swapoff(f->path))
		return wrong_errno("swapoff");
	munmap(mem, len);
	if (found)
		return wrong("%zu pages of swapped memory are wrong", found);
	/* What is in it now only the disk knows. */
	fd = open(f->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	mem = aligned_alloc(PAGE, f->size);
	n = pread(fd, mem, f->size, 0);
	close(fd);
	if (n != (ssize_t)f->size)
		return wrong_errno("read O_DIRECT");
	for (i = PAGE, found = 0; i < f->size; i += PAGE)
		found += !!memcmp(mem + i, f->want + i, PAGE);
	memcpy(f->want, mem, f->size);
	free(mem);
	return found ? 0 : wrong("nothing was swapped out, so nothing was tested");
}

/* Nothing changes: everything must be a hit, and right.  Proves the others. */
static int control(struct file *f)
{
	if (read_compare(f, f->fd, "read"))
		return -1;
	if (!nearly_all(f->hits, file_pages(f)))
		return wrong("%llu hits of %zu pages", (unsigned long long)f->hits, file_pages(f));
	return 0;
}

#define FULL	(PAGES * PAGE)
#define ODD	(PAGES * PAGE - PAGE + 100)

static const struct test {
	const char *name;
	int (*change)(struct file *f);
	size_t size;
} tests[] = {
	{ "control", control, FULL },
	{ "direct_write", direct_write, FULL },
	{ "direct_write_sector", direct_write_sector, FULL },
	{ "direct_write_extend", direct_write_extend, FULL },
	{ "direct_write_hole", direct_write_hole, FULL },
	{ "direct_write_twice", direct_write_twice, FULL },
	{ "direct_write_aio", direct_write_aio, FULL },
	{ "direct_write_beyond_end", direct_write_beyond_end, ODD },
	{ "truncate_extend", truncate_extend, FULL },
	{ "truncate_zero", truncate_zero, FULL },
	{ "truncate_path", truncate_path, FULL },
	{ "open_trunc", open_trunc, FULL },
	{ "write_part", write_part, FULL },
	{ "write_whole", write_whole, FULL },
	{ "write_after_hit", write_after_hit, FULL },
	{ "write_span", write_span, FULL },
	{ "write_append", write_append, ODD },
	{ "write_beyond_end", write_beyond_end, ODD },
	{ "extend_beyond_end", extend_beyond_end, ODD },
	{ "fallocate_beyond_end", fallocate_beyond_end, ODD },
	{ "mmap_garbage", mmap_garbage, ODD },
	{ "mmap_garbage_write", mmap_garbage_write, ODD },
	{ "mmap_write", mmap_write, FULL },
	{ "punch_hole", punch_hole, FULL },
	{ "punch_hole_part", punch_hole_part, FULL },
	{ "punch_allocate", punch_allocate, FULL },
	{ "zero_range", zero_range, FULL },
	{ "collapse_range", collapse_range, FULL },
	{ "insert_range", insert_range, FULL },
	{ "move_extents", move_extents, FULL },
	{ "inode_reuse", inode_reuse, FULL },
	{ "swap_file", swap_file, 4 << 20 },
	{ "inline_data", inline_data, 60 },
	{ "inline_data_cold", inline_data_cold, 60 },
	{ "inline_data_grow", inline_data_grow, 60 },
};

#define NR_TESTS	(sizeof(tests) / sizeof(tests[0]))

static int run(const struct test *t, const char *dir)
{
	struct file f = { .fd = -1 };
	uint64_t bad = puma_stat("verify_mismatch");
	int ret;

	snprintf(f.path, sizeof(f.path), "%s/%s", dir, t->name);
	ret = file_make(&f, t->size);
	if (!ret)
		ret = t->change(&f);
	if (!ret)
		ret = check(&f);
	if (!ret && puma_stat("verify_mismatch") != bad)
		ret = wrong("verify mode found pages that differ from the disk");
	/* By then new entries were made and used. */
	if (ret)
		printf("not ok %s: %s\n", t->name, why);
	else
		printf("ok %s\n", t->name);
	fflush(stdout);
	file_end(&f);
	return ret;
}

static int run_cases(const char *dir, char **names, int only)
{
	size_t i;
	int bad = 0;

	for (i = 0; i < NR_TESTS; i++) {
		char **n;

		for (n = names; *n && strcmp(*n + !only, tests[i].name); n++)
			;
		if (!*n == !only)
			bad |= run(&tests[i], dir);
	}
	return !!bad;
}

/* -- for events from outside */

static void file_model(struct file *f, char **argv)
{
	f->size = f->room = strtoul(argv[1], NULL, 0) * PAGE;
	f->want = malloc(f->size);
	for (size_t i = 0; i < f->size / PAGE; i++)
		make_page(f->want + i * PAGE, strtoul(argv[2], NULL, 0), i);
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

static int prepare(char **argv)
{
	struct file f = { .fd = -1 };

	f.gen = strtoul(argv[2], NULL, 0) - 1;
	snprintf(f.path, sizeof(f.path), "%s", argv[0]);
	if (access(f.path, F_OK)) {
		if (file_fill(&f, strtoul(argv[1], NULL, 0) * PAGE))
			goto bad;
	} else {
		file_model(&f, argv);
		file_open(&f, f.path);
	}
	if (prove_entries(&f))
		goto bad;
	printf("entries %zu\n", file_pages(&f));
	return 0;
bad:
	fprintf(stderr, "prepare: %s\n", why);
	return 1;
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

		make_page(f.want + page * PAGE, strtoul(argv[4], NULL, 0), page);
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

	make_page(data, strtoul(argv[3], NULL, 0), strtoul(argv[2], NULL, 0));
	if (fd < 0 || pwrite(fd, data, PAGE, strtoul(argv[1], NULL, 0) * PAGE) != (ssize_t)PAGE)
		fail(argv[0]);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	size_t i;

	if (!strcmp(verb, "list") && argc == 2) {
		for (i = 0; i < NR_TESTS; i++)
			puts(tests[i].name);
		return 0;
	}
	if (!strcmp(verb, "all") && argc >= 3)
		return run_cases(argv[2], argv + 3, 0);
	if (!strcmp(verb, "only") && argc >= 3)
		return run_cases(argv[2], argv + 3, 1);
	if (!strcmp(verb, "prepare") && argc == 5)
		return prepare(argv + 2);
	if (!strcmp(verb, "entries") && argc == 4)
		return entries(argv + 2);
	if (!strcmp(verb, "check") && (argc == 5 || argc == 7))
		return check_file(argv + 2, argc - 2);
	if (!strcmp(verb, "block") && argc == 4)
		return block_of(argv + 2);
	if (!strcmp(verb, "patch") && argc == 6)
		return patch(argv + 2);
	fprintf(stderr, "usage: coherence list | all DIR [-CASE...] | only DIR CASE... | prepare FILE PAGES GEN |\n"
		"\tentries FILE PAGES | check FILE PAGES GEN [PAGE GEN] | block FILE PAGE |\n"
		"\tpatch DEVICE BLOCK PAGE GEN\n");
	return 2;
}
