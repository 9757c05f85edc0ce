// SPDX-License-Identifier: GPL-2.0
/*
 * Files with a model of what has to be in them; see file.h.
 */
#define _GNU_SOURCE
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#include "events.h"

#define TRIES		12
#define READ_STEP	(4 * PAGE)

struct totals totals;
char why[400];
int skipped;
int file_runs;

int wrong(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return -1;
}

int wrong_errno(const char *what)
{
	return wrong("%s: %s", what, strerror(errno));
}

int skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	skipped = 1;
	return -1;
}

int refused(const char *what)
{
	switch (errno) {
	case EOPNOTSUPP:
	case ENOTTY:
	case ENOSYS:
	case ENODEV:
		return skip("%s: %s", what, strerror(errno));
	}
	return wrong_errno(what);
}

int shell(const char *fmt, ...)
{
	char command[5000];
	int status;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	status = system(command);
	return status != -1 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* -- the model */

void model_grow(struct file *f, size_t size)
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

void model_write(struct file *f, size_t at, const void *data, size_t len)
{
	if (at + len > f->size)
		model_grow(f, at + len);
	memcpy(f->want + at, data, len);
}

void model_zero(struct file *f, size_t at, size_t len)
{
	if (at < f->size)
		memset(f->want + at, 0, at + len > f->size ? f->size - at : len);
}

/* All of a file, PAGE-aligned; returns its length or -1. */
static ssize_t read_all(int fd, uint8_t *to, size_t room)
{
	size_t len = 0;
	ssize_t n;

	while (len < room) {
		n = pread(fd, to + len, room - len < READ_STEP ? room - len : READ_STEP, len);
		if (n < 0)
			return -1;
		len += n;
		if (!n || len % PAGE)
			break;
	}
	return len;
}

int model_from_disk(struct file *f)
{
	int fd = file_open_direct(f, O_RDONLY);
	uint8_t *got;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st))
		return wrong_errno("open O_DIRECT");
	got = aligned_alloc(PAGE, (st.st_size / PAGE + 2) * PAGE);
	n = read_all(fd, got, (st.st_size / PAGE + 2) * PAGE);
	close(fd);
	if (n == st.st_size) {
		model_grow(f, n);
		memcpy(f->want, got, n);
	}
	free(got);
	return n == st.st_size ? 0 : wrong("read O_DIRECT: %zd bytes of %lld", n,
					   (long long)st.st_size);
}

/* Compare @got with the model; -1 and a reason if it differs. */
static int compare(const struct file *f, const uint8_t *got, size_t len, const char *how)
{
	size_t i, first, bad = 0;
	uint64_t word, num;

	totals.pages += (len + PAGE - 1) / PAGE;
	if (len != f->size) {
		totals.stale++;
		return wrong("%s: %zu bytes instead of %zu", how, len, f->size);
	}
	if (!memcmp(got, f->want, len))
		return 0;
	for (first = 0; got[first] == f->want[first]; first++)
		;
	for (i = first; i < len; i++)
		bad += got[i] != f->want[i];
	totals.stale += bad;
	i = first;
	memcpy(&word, got + i / PAGE * PAGE, 8);
	memcpy(&num, got + i / PAGE * PAGE + 8, 8);
	return wrong("%s: page %zu byte %zu is %02x, not %02x (%zu differ; page is %016llx %llu)",
		     how, i / PAGE, i % PAGE, got[i], f->want[i], bad, (unsigned long long)word,
		     (unsigned long long)num);
}

int read_compare(struct file *f, int fd, const char *how)
{
	size_t room = (f->size / PAGE + 2) * PAGE;
	uint8_t *got = aligned_alloc(PAGE, room);
	uint64_t before = puma_stat("get_hit");
	ssize_t len;
	int ret;

	memset(got, 0xaa, room);
	len = read_all(fd, got, room);
	if (len < 0)
		ret = wrong("%s: read: %s", how, strerror(errno));
	else
		ret = compare(f, got, len, how);
	free(got);
	f->hits = puma_stat("get_hit") - before;
	return ret;
}

/* -- files */

size_t file_pages(const struct file *f)
{
	return (f->size + PAGE - 1) / PAGE;
}

unsigned long file_fs(const struct file *f)
{
	struct statfs st;

	return fstatfs(f->fd, &st) ? 0 : (uint32_t)st.f_type;
}

int file_open_direct(const struct file *f, int flags)
{
	return open(f->path, flags | O_DIRECT | O_CLOEXEC);
}

/* With file_runs, words come in runs of 16, which any method compresses. */
void fill_page(uint8_t *to, unsigned int gen, uint64_t nr)
{
	uint64_t *word = (uint64_t *)to;
	size_t i;

	make_page(to, gen, nr);
	for (i = 16; file_runs && i < PAGE / 8; i++)
		word[i] = word[i & ~15UL];
}

uint8_t *new_bytes(struct file *f, size_t first_page, size_t len)
{
	size_t i, pages = (len + PAGE - 1) / PAGE;
	uint8_t *data = aligned_alloc(PAGE, pages * PAGE);

	f->gen++;
	for (i = 0; i < pages; i++)
		fill_page(data + i * PAGE, f->gen, first_page + i);
	return data;
}

int evict_file(struct file *f)
{
	size_t at, left, n = file_pages(f);

	if (!f->racing) {
		left = pages_evict(f->fd, 0, n);
		return left ? wrong("%zu of %zu pages cannot be evicted", left, n) : 0;
	}
	/* The racers bring them back. */
	fdatasync(f->fd);
	for (at = 0; at < n; at += EVICT_CHUNK)
		evict_once(f->fd, at, n - at < EVICT_CHUNK ? n - at : EVICT_CHUNK);
	return 0;
}

/* Two pages can have the same tag; the older entry of the two is lost then. */
int nearly_all(uint64_t some, uint64_t all)
{
	return some + (all > 1) + all / 200 >= all;
}

/* Evict; how many pages are with a lender after that. */
static int evict_count(struct file *f, uint64_t *away)
{
	uint64_t before = puma_stat("put_kept") + puma_stat("put_sent");

	if (evict_file(f))
		return -1;
	*away = puma_stat("put_kept") + puma_stat("put_sent") - before;
	return 0;
}

/*
 * Every page of the file is away and has an entry that works: read once, all
 * hits; evicted again, all kept, or sent if the hits took them (exclusive). A
 * busy machine may need several tries, because what misses a deadline loses
 * its entry.
 */
int prove_entries(struct file *f)
{
	uint64_t away = 0, hits = 0, n = file_pages(f);
	uint64_t throttled = puma_stat("get_throttled");
	int try;

	if (f->racing)
		return evict_file(f);
	for (try = 0; try < TRIES; try++) {
		if (try == TRIES / 2 && puma_stat("get_throttled") != throttled)
			puma_borrow_anew();
		if (evict_file(f) || read_compare(f, f->fd, "while preparing"))
			return -1;
		hits = f->hits;
		if (evict_count(f, &away))
			return -1;
		if (nearly_all(hits, n) && nearly_all(away, n))
			break;
		usleep(20000 << (try < 5 ? try : 5));
	}
	if (try == TRIES)
		return wrong("no entries to test with: of %llu pages %llu hit, %llu were put",
			     (unsigned long long)n, (unsigned long long)hits,
			     (unsigned long long)away);
	if (!puma_stat("index_entries"))
		return wrong("index_entries is 0");
	if (pages_resident(f->fd, 0, n))
		return wrong("pages are in the cache before the change");
	return 0;
}

int file_fill(struct file *f, size_t size)
{
	uint8_t *data;
	int flags;
	ssize_t n;

	f->fd = open(f->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (f->fd < 0)
		return wrong("open %.250s: %s", f->path, strerror(errno));
	if (f->nocow && file_fs(f) == FS_BTRFS) {
		flags = FS_NOCOW_FL;
		if (ioctl(f->fd, FS_IOC_SETFLAGS, &flags))
			return wrong_errno("FS_NOCOW_FL");
	}
	data = new_bytes(f, 0, size);
	model_write(f, 0, data, size);
	n = pwrite(f->fd, data, size, 0);
	free(data);
	if (n != (ssize_t)size || fsync(f->fd))
		return wrong_errno("write");
	if (f->racing)
		racers_add(f);
	return 0;
}

int file_make(struct file *f, size_t size)
{
	return file_fill(f, size) ? -1 : prove_entries(f);
}

struct file *file_peer(struct file *f, size_t size)
{
	struct file *peer = calloc(1, sizeof(*peer));

	peer->fd = -1;
	peer->gen = 1000 + f->gen;
	peer->racing = f->racing;
	peer->nocow = f->nocow;
	snprintf(peer->path, sizeof(peer->path), "%.250s.peer", f->path);
	f->peer = peer;
	return file_make(peer, size) ? NULL : peer;
}

void file_end(struct file *f)
{
	if (f->peer) {
		file_end(f->peer);
		free(f->peer);
		f->peer = NULL;
	}
	racers_remove(f);
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	unlink(f->path);
	free(f->want);
	f->want = NULL;
}

int file_reopen(struct file *f, int flags)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = open(f->path, flags | O_CLOEXEC);
	return f->fd < 0 ? wrong_errno("open") : 0;
}

int check(struct file *f)
{
	char how[40];
	int fd, ret, i;

	if (read_compare(f, f->fd, "read at once"))
		return -1;
	for (i = 1; i <= 2; i++) {
		snprintf(how, sizeof(how), "read after eviction %d", i);
		if (evict_file(f) || read_compare(f, f->fd, how))
			return -1;
	}
	fd = file_open_direct(f, O_RDONLY);
	if (fd < 0)
		return errno == EINVAL ? 0 : wrong_errno("open O_DIRECT");
	ret = read_compare(f, fd, "read with O_DIRECT");
	close(fd);
	return ret;
}

/* -- changes that several events are made of */

int write_at(struct file *f, size_t at, size_t len)
{
	uint8_t *data = new_bytes(f, at / PAGE, len);
	ssize_t n = pwrite(f->fd, data, len, at);

	model_write(f, at, data, len);
	free(data);
	return n == (ssize_t)len ? 0 : wrong_errno("write");
}

int direct_write_at(struct file *f, size_t at, size_t len)
{
	int fd = file_open_direct(f, O_WRONLY);
	uint8_t *data;
	ssize_t n;

	if (fd < 0)
		return wrong_errno("open O_DIRECT");
	data = new_bytes(f, at / PAGE, len);
	n = pwrite(fd, data, len, at);
	model_write(f, at, data, len);
	free(data);
	close(fd);
	return n == (ssize_t)len ? 0 : wrong_errno("direct write");
}

int resize(struct file *f, size_t size)
{
	if (ftruncate(f->fd, size))
		return wrong_errno("ftruncate");
	model_grow(f, size);
	return 0;
}

/* -- where the file is */

static int extent_of(const struct file *f, size_t page, struct fiemap_extent *extent)
{
	char room[sizeof(struct fiemap) + sizeof(*extent)] = {};
	struct fiemap *map = (struct fiemap *)room;

	map->fm_start = page * PAGE;
	map->fm_length = PAGE;
	map->fm_flags = FIEMAP_FLAG_SYNC;
	map->fm_extent_count = 1;
	if (ioctl(f->fd, FS_IOC_FIEMAP, map) || !map->fm_mapped_extents)
		return -1;
	memcpy(extent, map->fm_extents, sizeof(*extent));
	return 0;
}

int file_inline(const struct file *f)
{
	struct fiemap_extent extent;

	return !extent_of(f, 0, &extent) && (extent.fe_flags & FIEMAP_EXTENT_DATA_INLINE);
}

/* On btrfs the addresses are not those of a device. */
uint64_t disk_address(const struct file *f, size_t page)
{
	const uint32_t unknown = FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC |
				 FIEMAP_EXTENT_ENCODED | FIEMAP_EXTENT_NOT_ALIGNED;
	struct fiemap_extent extent;

	if (file_fs(f) == FS_BTRFS || extent_of(f, page, &extent) || (extent.fe_flags & unknown))
		return 0;
	return extent.fe_physical + page * PAGE - extent.fe_logical;
}

int patch_disk(struct file *f, size_t page)
{
	uint64_t at = disk_address(f, page);
	uint8_t *data;
	ssize_t n;
	int fd;

	if (!at)
		return skip("where the file is on the device is not known");
	fd = open(mount_dev, O_WRONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return skip("%.250s: %s", mount_dev, strerror(errno));
	data = new_bytes(f, page, PAGE);
	n = pwrite(fd, data, PAGE, at);
	close(fd);
	model_write(f, page * PAGE, data, PAGE);
	free(data);
	return n == (ssize_t)PAGE ? 0 : wrong_errno("write to the device");
}
