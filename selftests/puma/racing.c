// SPDX-License-Identifier: GPL-2.0
/*
 * Threads that evict and read files all the time, while an event happens to
 * them, and waits at PUMA's delay points if the kernel has them.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "events.h"

#define DELAYS		"/sys/kernel/debug/puma/delay_us"
#define MOST_DELAYS	16
#define DELAY_LEAST_US	200
#define DELAY_RANGE_US	3000	/* for each page that comes by */
#define DELAY_TIME_US	10000	/* how long that lasts, and the pause after it */
#define MOST_FILES	8
#define ROUNDS		4	/* before a file is opened anew */

static char paths[MOST_FILES][300];
static pthread_mutex_t paths_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t threads[2], delay_thread;
static atomic_int stop;
static _Atomic uint64_t errors;
static char delay_names[MOST_DELAYS][64];
static unsigned int seed;

int racers_apart;

static uint32_t draw(unsigned int *state)
{
	*state = *state * 1103515245 + 12345;
	return *state >> 16;
}

/* -- delay points */

int delay_points(void)
{
	struct dirent *entry;
	int n = 0;
	DIR *dir;

	dir = opendir(DELAYS);
	while (dir && n < MOST_DELAYS && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(delay_names[n++], sizeof(delay_names[0]), "%.60s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	return n;
}

void delay_set(const char *name, unsigned int us)
{
	char path[200];
	int fd;

	snprintf(path, sizeof(path), DELAYS "/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	dprintf(fd, "%u\n", us);
	close(fd);
}

/* One point after the other, in bursts, so that pages flow in between. */
static void *delayer(void *arg)
{
	unsigned int state = seed + 9;
	int n = delay_points();

	(void)arg;
	while (n && !stop) {
		const char *name = delay_names[draw(&state) % n];

		delay_set(name, DELAY_LEAST_US + draw(&state) % DELAY_RANGE_US);
		usleep(draw(&state) % DELAY_TIME_US);
		delay_set(name, 0);
		usleep(draw(&state) % DELAY_TIME_US);
	}
	return NULL;
}

/* -- files */

void racers_add(struct file *f)
{
	int i;

	pthread_mutex_lock(&paths_lock);
	for (i = 0; i < MOST_FILES && !f->raced; i++) {
		if (paths[i][0])
			continue;
		strcpy(paths[i], f->path);
		f->raced = i + 1;
	}
	pthread_mutex_unlock(&paths_lock);
}

void racers_remove(struct file *f)
{
	pthread_mutex_lock(&paths_lock);
	if (f->raced)
		paths[f->raced - 1][0] = 0;
	f->raced = 0;
	pthread_mutex_unlock(&paths_lock);
}

/* A file may be gone, or be another one, each time. */
static int open_next(unsigned int nr)
{
	char path[300];

	pthread_mutex_lock(&paths_lock);
	strcpy(path, paths[nr % MOST_FILES]);
	pthread_mutex_unlock(&paths_lock);
	return path[0] ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

/* -- processors */

static void only_on(int first, int last)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (; first <= last; first++)
		CPU_SET(first, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

void racers_part(int racer)
{
	int last = sysconf(_SC_NPROCESSORS_ONLN) - 1;

	if (racers_apart && last > 0)
		only_on(racer ? 1 : 0, racer ? last : 0);
}

void racers_unpart(void)
{
	if (racers_apart)
		only_on(0, sysconf(_SC_NPROCESSORS_ONLN) - 1);
}

/* -- threads */

static void evict_some(int fd, size_t pages, unsigned int *state)
{
	size_t first = draw(state) % 2 ? 0 : draw(state) % pages;

	evict_once(fd, first, pages - first < EVICT_CHUNK ? pages - first : EVICT_CHUNK);
}

static void read_some(int fd, size_t pages, unsigned int *state)
{
	static uint8_t data[4 * PAGE];
	size_t first = draw(state) % 2 ? 0 : draw(state) % pages;

	for (; first < pages && !stop; first += 4)
		if (pread(fd, data, sizeof(data), first * PAGE) < 0)
			errors++;
}

static void *racer(void *arg)
{
	void (*act)(int fd, size_t pages, unsigned int *state) = arg ? evict_some : read_some;
	unsigned int state = seed + !!arg, nr;
	struct stat st;
	int fd, i;

	racers_part(1);
	for (nr = 0; !stop; nr++) {
		fd = open_next(nr);
		for (i = 0; fd >= 0 && i < ROUNDS && !stop; i++) {
			if (!fstat(fd, &st) && st.st_size > 0)
				act(fd, (st.st_size + PAGE - 1) / PAGE, &state);
			usleep(draw(&state) % (arg ? 2000 : 200));
		}
		if (fd >= 0)
			close(fd);
		else if (nr % MOST_FILES == 0)
			usleep(200);
	}
	return NULL;
}

void racers_start(unsigned int number)
{
	uintptr_t i;

	seed = number;
	stop = 0;
	for (i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, racer, (void *)i))
			fail("thread");
	if (!racers_apart && pthread_create(&delay_thread, NULL, delayer, NULL))
		fail("thread");
	/* The event comes at any moment of theirs. */
	usleep(5000 + draw(&seed) % 20000);
	racers_part(0);
}

void racers_stop(void)
{
	int i;

	usleep(draw(&seed) % 5000);
	stop = 1;
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	if (!racers_apart)
		pthread_join(delay_thread, NULL);
	racers_unpart();
}

uint64_t racers_errors(void)
{
	return errors;
}
