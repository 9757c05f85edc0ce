// SPDX-License-Identifier: GPL-2.0
/*
 * Changes files in all ways there are, while a lender has their pages, and
 * reads them back. The machine has to borrow (run_puma.sh says how).
 *
 *	coherence [OPTION...] all DIR [-EVENT...]	every event but those
 *	coherence [OPTION...] only DIR EVENT...		those events
 *	coherence list					their names
 *
 *	-a	only with the entries alive before the event
 *	-r	only with evictions and reads racing with it
 *	-n N	rounds of each race (3)
 *	-s	the event has the first processor for itself, and there are no delay
 *		points: for those who make it wait somewhere else
 *	-z	files whose contents can be compressed
 *	-d DEV	device mapper device below DIR, whose writes may be made to fail
 *
 * alive: makes a file, proves that a lender has every page of it and gives it
 * back right (all reads are hits, then no eviction is lost), makes the event
 * while none of it is in the page cache, and compares what reads return with
 * what has to be there: at once, after evictions, and with O_DIRECT.
 *
 * racing: other threads evict and read the file while the event happens, with
 * waits at PUMA's delay points (CONFIG_PUMA_DELAY); then the same comparison.
 *
 * TAP on the standard output. An event that the file system does not know is
 * skipped, with the reason.
 *
 * For shell scripts that make an event themselves:
 *
 *	coherence [-z] fill FILE PAGES GEN	a file
 *	coherence [-z] prepare FILE PAGES GEN	and all its pages have entries
 *	coherence entries FILE PAGES		evict; how many pages had entries
 *	coherence [-z] check FILE PAGES GEN [PAGE GEN2]	compare; prints the hits
 *	coherence block FILE PAGE		number of its block on the device
 *	coherence patch DEVICE BLOCK PAGE GEN	change it there
 */
#define _GNU_SOURCE
#include <limits.h>
#include <sys/stat.h>

#include "../kselftest.h"
#include "events.h"

#define SYSFS		"/sys/kernel/mm/puma/"
#define ROUNDS		3

static const struct event * const groups[] = {
	events_write, events_direct, events_range, events_clone, events_fs, events_btrfs,
	events_admin, events_held,
};

static int rounds = ROUNDS;
static int alive = 1, racing = 1;

static const struct event *event_next(const struct event *e)
{
	static size_t group;

	if (!e) {
		group = 0;
		return groups[0];
	}
	e++;
	if (!e->name && ++group < ARRAY_SIZE(groups))
		e = groups[group];
	return e->name ? e : NULL;
}

#define for_each_event(e) for ((e) = event_next(NULL); (e); (e) = event_next(e))

static const struct event *event_find(const char *name)
{
	const struct event *e;

	for_each_event(e)
		if (!strcmp(e->name, name))
			break;
	return e;
}

/* -- one event */

static int peer_check(struct file *peer)
{
	char what[sizeof(why)];

	peer->racing = 0;
	if (!check(peer))
		return 0;
	strcpy(what, why);
	return wrong("the other file: %.300s", what);
}

static int event_make(const struct event *e, const char *dir, int races, unsigned int seed)
{
	struct file f = { .fd = -1, .racing = races, .nocow = e->flags & NOCOW };
	uint64_t bad = puma_stat("verify_mismatch"), errors = racers_errors();
	int ret = 0;

	skipped = 0;
	snprintf(f.path, sizeof(f.path), "%s/%s", dir, e->name);
	if (!(e->flags & OWN_FILES))
		ret = file_make(&f, e->size);
	if (!ret) {
		if (races)
			racers_start(seed);
		ret = e->change(&f);
		if (races)
			racers_stop();
	}
	f.racing = 0;
	if (!ret && !(e->flags & OWN_FILES))
		ret = check(&f);
	if (!ret && f.peer)
		ret = peer_check(f.peer);
	if (!ret && puma_stat("verify_mismatch") != bad)
		ret = wrong("verify mode found pages that differ from the disk");
	if (!ret && racers_errors() != errors)
		ret = wrong("%llu reads failed meanwhile",
			    (unsigned long long)(racers_errors() - errors));
	file_end(&f);
	return ret;
}

static void event_result(const struct event *e, const char *variant, int ret)
{
	if (ret && skipped) {
		ksft_test_result_skip("%s %s: %s\n", e->name, variant, why);
		return;
	}
	totals.events++;
	if (ret)
		ksft_test_result_fail("%s %s: %s\n", e->name, variant, why);
	else
		ksft_test_result_pass("%s %s\n", e->name, variant);
}

static void event_run(const struct event *e, const char *dir)
{
	static unsigned int seed = 1;
	int round, ret = 0;

	if (alive)
		event_result(e, "alive", event_make(e, dir, 0, 0));
	if (!racing || (e->flags & ALONE))
		return;
	for (round = 0; round < rounds && !ret; round++)
		ret = event_make(e, dir, 1, seed++);
	event_result(e, "racing", ret);
}

/* -- all of them */

/* The mount that the directory is on: the deepest one above it. */
static void mount_find(const char *dir)
{
	char at[sizeof(mount_dir)], dev[sizeof(mount_dev)], type[sizeof(mount_type)];
	char line[8192], options[sizeof(mount_options)], path[PATH_MAX];
	FILE *list = fopen("/proc/self/mountinfo", "r");
	size_t best = 0, len;

	if (!list || !realpath(dir, path))
		ksft_exit_fail_msg("%s: %s\n", dir, strerror(errno));
	while (fgets(line, sizeof(line), list)) {
		char *rest = strstr(line, " - ");

		if (!rest || sscanf(line, "%*s %*s %*s %*s %999s", at) != 1 ||
		    sscanf(rest, " - %99s %999s %1999s", type, dev, options) != 3)
			continue;
		len = strlen(at);
		if (len < best || strncmp(path, at, len) ||
		    (len > 1 && path[len] && path[len] != '/'))
			continue;
		best = len;
		strcpy(mount_dir, strcmp(at, path) ? "" : at);
		strcpy(mount_dev, dev);
		strcpy(mount_type, type);
		strcpy(mount_options, options);
	}
	fclose(list);
}

static void setting(const char *name, char *to, size_t room)
{
	char path[100];
	FILE *file;

	snprintf(path, sizeof(path), SYSFS "%s", name);
	file = fopen(path, "r");
	if (!file || !fgets(to, room, file))
		to[0] = 0;
	to[strcspn(to, "\n")] = 0;
	if (file)
		fclose(file);
}

static int list_has(const char *list, const char *name)
{
	size_t len = strlen(name);
	const char *p;

	for (p = list; *p; p += !!*p) {
		size_t word = strcspn(p, ",");

		if (word == len && !strncmp(p, name, len))
			return 1;
		p += word;
	}
	return 0;
}

/* Without a lender there is nothing to test. */
static void need_puma(void)
{
	char mode[32], fs[300], strategy[32];
	int i;

	setting("mode", mode, sizeof(mode));
	setting("fs", fs, sizeof(fs));
	setting("strategy", strategy, sizeof(strategy));
	if (!mode[0])
		ksft_exit_skip("this kernel has no PUMA\n");
	if (strcmp(mode, "borrow"))
		ksft_exit_skip("this machine does not borrow (mode is %s)\n", mode);
	if (!list_has(fs, mount_type))
		ksft_exit_skip("%s is not in " SYSFS "fs (%s)\n", mount_type, fs);
	for (i = 0; i < 500 && shell("grep -qs '[1-9]' " SYSFS "lenders/*/lease_pages"); i++)
		usleep(20000);
	if (i == 500)
		ksft_exit_skip("no lender has granted room\n");
	ksft_print_msg("%s on %s, strategy %s, %d delay points\n", mount_type, mount_dev, strategy,
		       delay_points());
}

static int chosen(const struct event *e, char **names, int only)
{
	char **n;

	for (n = names; *n && strcmp(*n + !only, e->name); n++)
		;
	return !*n == !only;
}

static unsigned int results(const struct event *e)
{
	return alive + (racing && !(e->flags & ALONE));
}

static int run_events(const char *dir, char **names, int only)
{
	uint64_t hits = puma_stat("get_hit");
	const struct event *e;
	unsigned int plan = 0;
	char **n;

	ksft_print_header();
	for (n = names; *n; n++)
		if (!event_find(*n + !only))
			ksft_exit_fail_msg("there is no event %s\n", *n);
	mount_find(dir);
	need_puma();
	for_each_event(e)
		plan += chosen(e, names, only) ? results(e) : 0;
	ksft_set_plan(plan);
	for_each_event(e)
		if (chosen(e, names, only) && results(e))
			event_run(e, dir);
	ksft_print_msg("events %llu pages_verified %llu remote_hits %llu stale_bytes %llu\n",
		       (unsigned long long)totals.events, (unsigned long long)totals.pages,
		       (unsigned long long)(puma_stat("get_hit") - hits),
		       (unsigned long long)totals.stale);
	ksft_finished();
}

static int list_events(void)
{
	const struct event *e;

	for_each_event(e)
		puts(e->name);
	return 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: coherence [-a | -r] [-n ROUNDS] [-s] [-z] [-d DM-DEVICE]\n"
		"\t\t{all DIR [-EVENT...] | only DIR EVENT...}\n"
		"\tcoherence list\n"
		"\tcoherence [-z] {fill | prepare} FILE PAGES GEN\n"
		"\tcoherence entries FILE PAGES\n"
		"\tcoherence [-z] check FILE PAGES GEN [PAGE GEN]\n"
		"\tcoherence block FILE PAGE\n"
		"\tcoherence patch DEVICE BLOCK PAGE GEN\n");
	return 2;
}

int main(int argc, char **argv)
{
	int option, ret;

	while ((option = getopt(argc, argv, "+arsn:zd:")) != -1) {
		if (option == 'a')
			racing = 0;
		else if (option == 'r')
			alive = 0;
		else if (option == 's')
			racers_apart = 1;
		else if (option == 'n')
			rounds = atoi(optarg);
		else if (option == 'z')
			file_runs = 1;
		else if (option == 'd')
			dm_name = optarg;
		else
			return usage();
	}
	argc -= optind;
	argv += optind;
	if (argc == 1 && !strcmp(argv[0], "list"))
		return list_events();
	if (argc >= 2 && !strcmp(argv[0], "all"))
		return run_events(argv[1], argv + 2, 0);
	if (argc >= 3 && !strcmp(argv[0], "only"))
		return run_events(argv[1], argv + 2, 1);
	ret = argc ? shell_verb(argc, argv) : -1;
	return ret < 0 ? usage() : ret;
}
