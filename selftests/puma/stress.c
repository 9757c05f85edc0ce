// SPDX-License-Identifier: GPL-2.0
/*
 * Time never runs backwards, for any sector of any file, whoever writes and
 * however it is read, while reclaim sends pages away and settings change.
 *
 *	stress DIR SECONDS [WAY...]
 *
 * Each file has one writer, which stamps sectors with file, page, generation
 * and a checksum; for each sector it notes the generation that is begun, the
 * one that is complete, and the last one that made a hole. Readers (buffered
 * with and without readahead, mmap, direct) demand a generation that is between
 * what was complete before they read and what was begun after it, and not below
 * what they saw before. Two threads evict: MADV_PAGEOUT and memory.reclaim. One
 * changes strategy, verify mode and the delays of PUMA, where there are any.
 * At the end nobody writes, and everything has to be of the last generation.
 *
 * Prints "writes N reads N evictions N switches N hits N stale N"; the exit
 * status is 1 if a read was stale.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "pages.h"

#define FILES		3
#define PAGES		64
#define SECTOR		512UL
#define SECTORS		(PAGE / SECTOR)		/* of a page */
#define ALL		(PAGES * SECTORS)	/* of a file */
#define READERS		4
#define DIRECT_READER	3
#define MOST		4			/* pages of one operation */
#define SHOWN		10
#define PUMA		"/sys/kernel/mm/puma/"
#define DELAYS		"/sys/kernel/debug/puma/delay_us/"
#define CGROUP		"/sys/fs/cgroup/"
#define HAVE_DATA	0x5e00

struct sector {
	uint64_t file, nr, generation, sum;
	uint8_t rest[SECTOR - 32];
};

struct state {
	_Atomic uint64_t begun, done, hole;
};

enum way { BUFFERED, PART, DIRECT, MAPPED, PUNCH, ZERO, TRUNCATE, NR_WAYS };
static const char * const way_name[NR_WAYS] = {
	"buffered", "part", "direct", "mmap", "punch", "zero", "truncate"
};

static char path[FILES][300];
static char cgroup[100];
static struct state state[FILES][ALL];
static enum way ways[NR_WAYS];
static size_t nr_ways;
static int on_f2fs;
static atomic_int stop, finished;
static _Atomic uint64_t writes, reads, evictions, switches, stale;

struct job {
	pthread_t thread;
	unsigned int nr;
	uint32_t random;
};

static uint32_t draw(struct job *job, uint32_t below)
{
	job->random = job->random * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)job->random * below >> 32);
}

static int open_file(unsigned int file, int flags)
{
	int fd = open(path[file], flags | O_CLOEXEC);

	if (fd < 0)
		fail(path[file]);
	return fd;
}

static uint64_t sum_of(const struct sector *s)
{
	uint64_t x = s->file * 0x9e3779b97f4a7c15 + s->nr * 0xc2b2ae3d27d4eb4f + s->generation;

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9;
	return x ^ x >> 32;
}

/* -- writers */

struct writer {
	struct job *job;
	unsigned int file;
	int fd, direct;
	uint64_t generation;
	struct sector *data;
};

/* Note that sectors change, and make what is to be written. */
static void begin(struct writer *w, size_t first, size_t count, int hole)
{
	size_t i;

	w->generation++;
	for (i = 0; i < count; i++) {
		struct state *st = &state[w->file][first + i];
		struct sector *s = &w->data[i];

		st->begun = w->generation;
		if (hole)
			st->hole = w->generation;
		s->file = HAVE_DATA + w->file;
		s->nr = first + i;
		s->generation = w->generation;
		s->sum = sum_of(s);
	}
}

static void complete(struct writer *w, size_t first, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		state[w->file][first + i].done = w->generation;
	writes++;
}

static void write_to(struct writer *w, int fd, size_t first, size_t count)
{
	size_t len = count * SECTOR;

	begin(w, first, count, 0);
	if (pwrite(fd, w->data, len, first * SECTOR) != (ssize_t)len)
		fail(fd == w->direct ? "direct write" : "write");
	complete(w, first, count);
}

static void write_mapped(struct writer *w, size_t first, size_t count)
{
	size_t len = count * SECTOR, i;
	struct sector *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd,
				  first * SECTOR);

	if (map == MAP_FAILED)
		fail("mmap");
	begin(w, first, count, 0);
	for (i = 0; i < count; i++) {
		/* A reader must not see half of a stamp. */
		volatile uint64_t *to = (volatile uint64_t *)&map[i];
		struct sector *s = &w->data[i];

		to[0] = 0;
		atomic_thread_fence(memory_order_seq_cst);
		to[1] = s->nr;
		to[2] = s->generation;
		to[3] = s->sum;
		atomic_thread_fence(memory_order_seq_cst);
		to[0] = s->file;
	}
	complete(w, first, count);
	if (!draw(w->job, 4) && msync(map, len, MS_SYNC))
		fail("msync");
	/* Pages that are mapped twice are not evicted. */
	munmap(map, len);
}

static void write_hole(struct writer *w, int mode, size_t first, size_t count)
{
	begin(w, first, count, 1);
	if (fallocate(w->fd, mode, first * SECTOR, count * SECTOR)) {
		/* Not every file system can do it. */
		if (errno != EOPNOTSUPP)
			fail("fallocate");
	}
	/* Before the hole is filled it can be seen. */
	if (!draw(w->job, 2))
		usleep(draw(w->job, 2000));
	write_to(w, w->fd, first, count);
}

static void write_truncate(struct writer *w)
{
	size_t first = (PAGES - 1 - draw(w->job, 8)) * SECTORS - draw(w->job, SECTORS);
	size_t at, n;

	begin(w, first, ALL - first, 1);
	if (ftruncate(w->fd, first * SECTOR))
		fail("ftruncate");
	if (ftruncate(w->fd, ALL * SECTOR))
		fail("ftruncate");
	for (at = first; at < ALL; at += n) {
		n = ALL - at < MOST * SECTORS ? ALL - at : MOST * SECTORS;
		write_to(w, w->fd, at, n);
	}
}

static void write_once(struct writer *w)
{
	size_t page = draw(w->job, PAGES - MOST), first = page * SECTORS;
	size_t count = (1 + draw(w->job, MOST)) * SECTORS;

	switch (ways[draw(w->job, nr_ways)]) {
	case BUFFERED:
		return write_to(w, w->fd, first, count);
	case PART:
		return write_to(w, w->fd, first + draw(w->job, SECTORS), 1 + draw(w->job, SECTORS));
	case DIRECT:
		return write_to(w, w->direct, first, count);
	case MAPPED:
		return write_mapped(w, first, count);
	case PUNCH:
		return write_hole(w, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, first, count);
	case ZERO:
		return write_hole(w, FALLOC_FL_ZERO_RANGE, first, count);
	default:
		return write_truncate(w);
	}
}

static void *writer(void *arg)
{
	struct job *job = arg;
	struct writer w = {
		.job = job,
		.file = job->nr,
		.fd = open_file(job->nr, O_RDWR),
		.direct = open_file(job->nr, O_RDWR | O_DIRECT),
		.data = aligned_alloc(PAGE, ALL * SECTOR),
	};
	size_t i;

	memset(w.data, 0xee, ALL * SECTOR);
	write_to(&w, w.fd, 0, ALL);
	finished++;
	for (i = 0; !stop; i++) {
		write_once(&w);
		/* What is dirty is not evicted. */
		if (!draw(job, 6))
			fdatasync(w.fd);
		usleep(draw(job, 3000));
	}
	fdatasync(w.fd);
	close(w.fd);
	close(w.direct);
	return NULL;
}

/* -- readers */

struct reader {
	struct job *job;
	const char *how;
	int fd[FILES], pipe[2];
	uint64_t seen[FILES][ALL];
	uint64_t done[MOST * SECTORS];	/* before the read */
	struct sector *data;
};

static void report(struct reader *r, unsigned int file, size_t nr, const struct sector *s,
		   const char *what, uint64_t least)
{
	struct state *st = &state[file][nr];

	if (stale++ >= SHOWN)
		return;
	fprintf(stderr, "%s read of file %u page %zu sector %zu: %s: has file %llx sector %llu generation %llu; at least %llu, begun %llu, complete %llu, hole %llu\n",
		r->how, file, nr / SECTORS, nr % SECTORS, what, (unsigned long long)s->file,
		(unsigned long long)s->nr, (unsigned long long)s->generation,
		(unsigned long long)least, (unsigned long long)st->begun,
		(unsigned long long)st->done, (unsigned long long)st->hole);
}

/*
 * f2fs drops what is cached of a hole before it takes the blocks away, and direct
 * reads do not wait for that: they get what was written back last. So they do on
 * a machine that does not borrow.
 */
static int old_is_right(const struct reader *r, const struct state *st, uint64_t done)
{
	return on_f2fs && r->job->nr == DIRECT_READER && st->hole > done;
}

/* One sector that was read; @done: what was complete before. */
static void judge(struct reader *r, unsigned int file, size_t nr, const struct sector *from,
		  uint64_t done)
{
	uint64_t *seen = &r->seen[file][nr], least = *seen > done ? *seen : done;
	struct state *st = &state[file][nr];
	struct sector s;

	memcpy(&s, from, 32);
	if (!s.file && !s.nr && !s.generation && !s.sum) {
		if (st->hole < least)
			report(r, file, nr, &s, "zeroes", least);
		return;
	}
	if (s.file != HAVE_DATA + file || s.nr != nr || s.sum != sum_of(&s)) {
		/* While it is written half of a stamp can be seen. */
		if (st->begun == done)
			report(r, file, nr, &s, "no stamp of this sector", least);
		return;
	}
	if (s.generation < least && old_is_right(r, st, done))
		return;
	if (s.generation < least)
		report(r, file, nr, &s, "old", least);
	else if (s.generation > st->begun)
		report(r, file, nr, &s, "not begun", least);
	else
		*seen = s.generation;
}

/* Through a mapping, and a pipe: beyond the end of the file that is no signal. */
static ssize_t read_mapped(struct reader *r, unsigned int file, size_t page, size_t pages)
{
	void *map = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, r->fd[file], page * PAGE);
	ssize_t n;

	if (map == MAP_FAILED)
		fail("mmap");
	n = write(r->pipe[1], map, pages * PAGE);
	if (n < 0 && errno == EFAULT)
		n = 0;
	if (n > 0 && read(r->pipe[0], r->data, n) != n)
		fail("pipe");
	munmap(map, pages * PAGE);
	return n;
}

static void read_once(struct reader *r, unsigned int file, size_t page, size_t pages)
{
	size_t i, n = pages * SECTORS, first = page * SECTORS;
	ssize_t len;

	for (i = 0; i < n; i++)
		r->done[i] = state[file][first + i].done;
	if (r->job->nr == 2)
		len = read_mapped(r, file, page, pages);
	else
		len = pread(r->fd[file], r->data, pages * PAGE, page * PAGE);
	if (len < 0 || (r->job->nr == READERS && len != (ssize_t)(pages * PAGE)))
		fail("read");
	/* What is missing was behind the end of a file that is being truncated. */
	for (i = 0; i < (size_t)len / SECTOR; i++)
		judge(r, file, first + i, &r->data[i], r->done[i]);
	reads++;
}

static void *reader(void *arg)
{
	static const char * const how[] = { "buffered", "random", "mmap", "direct", "last" };
	struct reader *r = calloc(1, sizeof(*r));
	struct job *job = arg;
	unsigned int file;

	r->job = job;
	r->how = how[job->nr];
	r->data = aligned_alloc(PAGE, MOST * PAGE);
	if (pipe(r->pipe))
		fail("pipe");
	for (file = 0; file < FILES; file++) {
		r->fd[file] = open_file(file, O_RDONLY | (job->nr == 3 ? O_DIRECT : 0));
		if (job->nr == 1)
			posix_fadvise(r->fd[file], 0, 0, POSIX_FADV_RANDOM);
	}
	while (!stop)
		read_once(r, draw(job, FILES), draw(job, PAGES - MOST + 1), 1 + draw(job, MOST));
	for (file = 0; file < FILES; file++)
		close(r->fd[file]);
	close(r->pipe[0]);
	close(r->pipe[1]);
	free(r->data);
	free(r);
	return NULL;
}

/* Nobody writes: the last generation, from the page cache, a lender and the disk. */
static void read_last(void)
{
	static const int flags[] = { 0, 0, O_DIRECT };
	struct job job = { .nr = READERS };
	struct reader *r = calloc(1, sizeof(*r));
	unsigned int file, i;
	size_t page;

	r->job = &job;
	r->how = "last";
	r->data = aligned_alloc(PAGE, MOST * PAGE);
	for (file = 0; file < FILES; file++) {
		for (i = 0; i < 3; i++) {
			r->fd[file] = open_file(file, O_RDONLY | flags[i]);
			for (page = 0; page < PAGES; page += MOST)
				read_once(r, file, page, MOST);
			if (!flags[i] && pages_evict(r->fd[file], 0, PAGES))
				fprintf(stderr, "pages cannot be evicted\n");
			close(r->fd[file]);
		}
	}
	free(r->data);
	free(r);
}

/* -- evictions and settings */

static void *pager(void *arg)
{
	struct job *job = arg;
	int fd[FILES];
	size_t i;

	for (i = 0; i < FILES; i++)
		fd[i] = open_file(i, O_RDONLY);
	while (!stop) {
		size_t first = draw(job, PAGES), n = 1 + draw(job, 16);

		evict_once(fd[draw(job, FILES)], first, first + n > PAGES ? PAGES - first : n);
		evictions++;
		/* Sometimes the put is sent before the next read, sometimes not. */
		usleep(draw(job, 3000));
	}
	return NULL;
}

static int set_file(const char *name, const char *value)
{
	int fd = open(name, O_WRONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -1;
	ret = write(fd, value, strlen(value)) < 0 ? -1 : 0;
	close(fd);
	return ret;
}

static void *reclaimer(void *arg)
{
	char name[sizeof(cgroup) + 20];
	struct job *job = arg;

	snprintf(name, sizeof(name), "%s/memory.reclaim", cgroup);
	while (!stop) {
		set_file(name, "128K");
		evictions++;
		usleep(1000 + draw(job, 20000));
	}
	return NULL;
}

static void set_delays(struct job *job, uint32_t most)
{
	DIR *dir = opendir(DELAYS);
	struct dirent *e;
	char name[300], value[20];

	while (dir && (e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), DELAYS "%s", e->d_name);
		snprintf(value, sizeof(value), "%u", most && draw(job, 2) ? draw(job, most) : 0);
		if (set_file(name, value))
			fail(name);
	}
	if (dir)
		closedir(dir);
}

/* A lender that a busy machine made miss deadlines is left alone for a minute. */
static void forgive(uint64_t *hits, uint64_t *throttled)
{
	uint64_t h = puma_stat("get_hit"), t = puma_stat("get_throttled");

	if (h < *hits + 10 && t > *throttled + 100)
		puma_borrow_anew();
	*hits = h;
	*throttled = t;
}

static void *switcher(void *arg)
{
	static const char * const strategy[] = { "exclusive", "noninclusive" };
	uint64_t hits = puma_stat("get_hit"), throttled = puma_stat("get_throttled");
	struct job *job = arg;

	if (access(PUMA, F_OK))
		return NULL;
	while (!stop) {
		if (set_file(PUMA "strategy", strategy[switches & 1]))
			fail("strategy");
		set_file(PUMA "verify", draw(job, 4) ? "0" : "1");
		set_delays(job, 400);
		if (++switches % 8 == 0)
			forgive(&hits, &throttled);
		usleep(50000 + draw(job, 200000));
	}
	set_delays(job, 0);
	set_file(PUMA "verify", "0");
	set_file(PUMA "strategy", "noninclusive");
	return NULL;
}

/* Readers, writers and evictors in a group of their own, so that it can be reclaimed. */
static void make_cgroup(void)
{
	char name[sizeof(cgroup) + 20], pid[20];

	set_file(CGROUP "cgroup.subtree_control", "+memory");
	snprintf(cgroup, sizeof(cgroup), CGROUP "stress-%d", getpid());
	snprintf(name, sizeof(name), "%s/cgroup.procs", cgroup);
	snprintf(pid, sizeof(pid), "%d", getpid());
	if (access(CGROUP "cgroup.controllers", F_OK) || mkdir(cgroup, 0755) ||
	    set_file(name, pid)) {
		fprintf(stderr, "no memory.reclaim here\n");
		cgroup[0] = 0;
	}
}

static void leave_cgroup(void)
{
	char pid[20];

	if (!cgroup[0])
		return;
	snprintf(pid, sizeof(pid), "%d", getpid());
	set_file(CGROUP "cgroup.procs", pid);
	rmdir(cgroup);
}

/* -- all together */

static void add_way(const char *name)
{
	enum way way;

	for (way = 0; way < NR_WAYS; way++)
		if (!strcmp(way_name[way], name))
			break;
	if (way == NR_WAYS || nr_ways == NR_WAYS) {
		fprintf(stderr, "stress: there is no way '%s' to write\n", name);
		exit(2);
	}
	ways[nr_ways++] = way;
}

static struct job *start(struct job *job, void *(*run)(void *), unsigned int nr)
{
	job->nr = nr;
	job->random = 2463534242U + 77777 * nr + (uintptr_t)job % 65536 + getpid();
	if (pthread_create(&job->thread, NULL, run, job))
		fail("thread");
	return job + 1;
}

static void make_files(const char *dir)
{
	unsigned int i;
	int fd;

	for (i = 0; i < FILES; i++) {
		snprintf(path[i], sizeof(path[i]), "%s/stress-%u", dir, i);
		fd = open(path[i], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		if (fd < 0 || ftruncate(fd, ALL * SECTOR))
			fail(path[i]);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	struct job jobs[FILES + READERS + 3], *end = jobs, *job;
	struct statfs fs;
	uint64_t hits;
	unsigned int i;

	if (argc < 3 || atoi(argv[2]) < 1) {
		fprintf(stderr, "usage: stress DIR SECONDS [buffered|part|direct|mmap|punch|zero|truncate]...\n");
		return 2;
	}
	for (i = 3; i < (unsigned int)argc; i++)
		add_way(argv[i]);
	if (argc == 3)
		for (i = 0; i < NR_WAYS; i++)
			add_way(way_name[i]);
	on_f2fs = !statfs(argv[1], &fs) && fs.f_type == F2FS_SUPER_MAGIC;
	make_files(argv[1]);
	make_cgroup();
	hits = puma_stat("get_hit");
	for (i = 0; i < FILES; i++)
		end = start(end, writer, i);
	while (finished < FILES)
		usleep(1000);
	for (i = 0; i < READERS; i++)
		end = start(end, reader, i);
	end = start(end, pager, 0);
	end = start(end, switcher, 0);
	if (cgroup[0])
		end = start(end, reclaimer, 0);
	sleep(atoi(argv[2]));
	stop = 1;
	for (job = jobs; job < end; job++)
		pthread_join(job->thread, NULL);
	read_last();
	leave_cgroup();
	for (i = 0; i < FILES; i++)
		unlink(path[i]);
	printf("writes %llu reads %llu evictions %llu switches %llu hits %llu stale %llu\n",
	       (unsigned long long)writes, (unsigned long long)reads,
	       (unsigned long long)evictions, (unsigned long long)switches,
	       (unsigned long long)(puma_stat("get_hit") - hits), (unsigned long long)stale);
	return stale != 0;
}
