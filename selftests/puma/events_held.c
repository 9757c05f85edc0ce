// SPDX-License-Identifier: GPL-2.0
/*
 * Events during which somebody holds pages of the file or reads them all the time,
 * or that take so long that old pages come back and go away again meanwhile.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>

#include "events.h"

#define PIPE_PAGES	8UL		/* fewer than a pipe holds */
#define PIPE_AT		4UL
#define SLOW_PAGES	4UL
#define SLOW_AT		(8 * PAGE)
#define SLOW_US		100000		/* for each of them */
#define SLOW_TRIES	8
#define READS		250		/* btrfs does not go on while a page comes back */

/* -- pages that reclaim wants and cannot have */

/* Pages of the file that are in a pipe have one reference too many. */
static int hold_pages(struct file *f, int *pipe_fd)
{
	loff_t at = PIPE_AT * PAGE;
	size_t left = PIPE_PAGES * PAGE;
	ssize_t n;

	if (pipe2(pipe_fd, O_CLOEXEC))
		return wrong_errno("pipe");
	while (left) {
		n = splice(f->fd, &at, pipe_fd[1], NULL, left, 0);
		if (n <= 0)
			return wrong_errno("splice");
		left -= n;
	}
	return 0;
}

static int drop_unmapped(struct file *f)
{
	if (posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED))
		return wrong_errno("POSIX_FADV_DONTNEED");
	return 0;
}

/*
 * Reclaim publishes the entry of a page, and then finds that it must stay.
 * What was not sent must not look as if it were on its way.
 */
static int pinned(struct file *f)
{
	uint64_t before = puma_stat("put_retracted"), retracted = 0, queued;
	int pipe_fd[2], tries, ret;

	/* New contents, so that no page has an entry. */
	if (write_at(f, 0, FULL) || fsync(f->fd) || hold_pages(f, pipe_fd))
		return -1;
	/* Pages that are not on the LRU lists yet are not looked at. */
	for (tries = 0; tries < EVICT_TRIES && retracted < PIPE_PAGES; tries++) {
		evict_once(f->fd, 0, PAGES);
		puts_settle();
		retracted = puma_stat("put_retracted") - before;
	}
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	if (f->racing)
		return 0;
	if (retracted < PIPE_PAGES || !pages_resident(f->fd, PIPE_AT, PIPE_PAGES))
		return wrong("%llu puts were taken back, not %lu", (unsigned long long)retracted,
			     PIPE_PAGES);
	queued = puma_stat("get_queued");
	ret = drop_unmapped(f) || read_compare(f, f->fd, "read what was taken back");
	if (!ret && puma_stat("get_queued") != queued)
		ret = wrong("%llu pages seem to be on their way to a lender",
			    (unsigned long long)(puma_stat("get_queued") - queued));
	return ret;
}

/* -- a direct write that takes its time */

struct slow_write {
	int fd;
	uint8_t *data;
	ssize_t n;
	atomic_int over;
};

static void *slow_write(void *arg)
{
	struct slow_write *w = arg;

	w->n = pwrite(w->fd, w->data, SLOW_PAGES * PAGE, SLOW_AT);
	w->over = 1;
	return NULL;
}

/* Until the write has begun to take its data from @from; -1 if it never does. */
static int wait_begun(const struct slow_write *w, struct file *from)
{
	int i;

	for (i = 0; i < 2000 && !w->over; i++) {
		if (pages_resident(from->fd, 0, SLOW_PAGES))
			return 0;
		usleep(500);
	}
	return -1;
}

/* Old pages come back and go away; 1 if all of that was during the write. */
static int put_meanwhile(struct file *f, const struct slow_write *w, struct file *from)
{
	uint8_t page[PAGE];
	size_t i;

	if (wait_begun(w, from))
		return 0;
	for (i = 0; i < SLOW_PAGES; i++)
		if (pread(f->fd, page, PAGE, SLOW_AT + i * PAGE) != (ssize_t)PAGE ||
		    memcmp(page, f->want + SLOW_AT + i * PAGE, PAGE))
			return 0;
	return !pages_evict(f->fd, 0, file_pages(f)) && !w->over;
}

/*
 * The disk is new, the entries are not erased yet, nothing is cached: what a
 * reader brings into the page cache now stays there.
 */
static void read_before_erase(struct file *f, const struct slow_write *w)
{
	int fd = file_open_direct(f, O_RDONLY);
	uint8_t *page = aligned_alloc(PAGE, PAGE);
	size_t i;

	delay_set("inval_erase", SLOW_US);
	delay_set("get_lookup", 0);
	while (!w->over && pread(fd, page, PAGE, SLOW_AT) == (ssize_t)PAGE &&
	       !memcmp(page, f->want + SLOW_AT, PAGE))
		;
	/* Not before the write drops what is cached: there must be nothing. */
	usleep(SLOW_US / 4);
	for (i = 0; i < SLOW_PAGES && !w->over; i++)
		if (pread(f->fd, page, PAGE, SLOW_AT + i * PAGE) < 0)
			break;
	delay_set("inval_erase", 0);
	free(page);
	close(fd);
}

/*
 * The data of the write are pages of another file that a lender has, and to get
 * each of them takes long. By then the write has dropped what was cached of the
 * file; what comes back before it is over is old.
 */
static int write_slowly(struct file *f, struct file *from, int read_early)
{
	struct slow_write w = { .fd = file_open_direct(f, O_WRONLY) };
	pthread_t thread;
	int ret;

	if (w.fd < 0)
		return wrong_errno("open O_DIRECT");
	w.data = (uint8_t *)pages_map(from->fd, 0, SLOW_PAGES);
	delay_set("get_lookup", SLOW_US);
	if (pthread_create(&thread, NULL, slow_write, &w))
		fail("thread");
	ret = put_meanwhile(f, &w, from);
	delay_set("get_lookup", 0);
	if (ret > 0 && read_early)
		read_before_erase(f, &w);
	pthread_join(thread, NULL);
	munmap(w.data, SLOW_PAGES * PAGE);
	close(w.fd);
	model_write(f, SLOW_AT, from->want, SLOW_PAGES * PAGE);
	if (w.n != (ssize_t)(SLOW_PAGES * PAGE))
		return wrong_errno("direct write");
	return ret;
}

static int slow_writes(struct file *f, int read_early)
{
	struct file *from;
	int try, ret = 0;

	if (delay_points() < 1 || sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return skip("needs delay points (CONFIG_PUMA_DELAY) and two processors");
	if (strstr(mount_options, "data=journal"))
		return skip("direct writes go through the page cache with data=journal");
	from = file_peer(f, FULL);
	if (!from || posix_fadvise(f->fd, 0, 0, POSIX_FADV_RANDOM))
		return -1;
	for (try = 0; !ret && try < SLOW_TRIES; try++) {
		if (try && (write_at(f, SLOW_AT, SLOW_PAGES * PAGE) || prove_entries(f) ||
			    prove_entries(from)))
			return -1;
		ret = write_slowly(f, from, read_early);
		if (read_compare(f, f->fd, "read after the write"))
			return -1;
	}
	if (ret < 0)
		return -1;
	/* btrfs takes the data first, and then drops pages. */
	return ret || file_fs(f) == FS_BTRFS ? 0 :
		wrong("no old page was put away during a write, so nothing was tested");
}

/* Nothing is cached when it is over. */
static int direct_write_slow(struct file *f)
{
	return slow_writes(f, 0);
}

/* Somebody reads when the disk is new and the entries are still there. */
static int direct_write_read(struct file *f)
{
	return slow_writes(f, 1);
}

/* -- a page that somebody reads all the time */

struct reading {
	int fd;
	off_t at;
	atomic_int over;
};

static void *read_on(void *arg)
{
	struct reading *r = arg;
	uint8_t page[PAGE];
	int i;

	racers_part(1);
	for (i = 0; i < READS && !r->over; i++) {
		if (pread(r->fd, page, PAGE, r->at) != (ssize_t)PAGE)
			return "read failed";
		usleep(200);
	}
	return NULL;
}

/* The last page of each hole comes back while it is made. */
static int punch_hole_end(struct file *f)
{
	struct reading r = { .fd = f->fd };
	void *failed = NULL;
	pthread_t thread;
	int ret = 0;
	size_t at;

	for (at = 4 * PAGE; !ret && !failed && at < f->size; at += 8 * PAGE) {
		r.at = at + PAGE;
		r.over = 0;
		if (pthread_create(&thread, NULL, read_on, &r))
			fail("thread");
		usleep(2000);
		racers_part(0);
		ret = fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 2 * PAGE) ?
			refused("fallocate") : 0;
		racers_unpart();
		r.over = 1;
		pthread_join(thread, &failed);
		model_zero(f, at, 2 * PAGE);
	}
	return ret ? ret : failed ? wrong("%s", (char *)failed) : 0;
}

const struct event events_held[] = {
	{ "pinned", pinned, FULL, 0 },
	{ "direct_write_slow", direct_write_slow, FULL, ALONE },
	{ "direct_write_read", direct_write_read, FULL, ALONE },
	{ "punch_hole_end", punch_hole_end, FULL, ALONE },
	{}
};
