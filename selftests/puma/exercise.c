// SPDX-License-Identifier: GPL-2.0
/*
 * Changes a file in every way there is, throws its pages out of the page cache
 * in between, and compares all that it reads with a copy in memory.
 *
 *	exercise --file PATH [--seed N] [--ops N] [--size BYTES] [--evict N] [--check N]
 *	exercise --file PATH --replay LOG
 *
 * Everything follows from the seed. Every ROUND operations the file is deleted
 * and made anew; after a failure all operations of the round are printed, so
 * the log alone is enough for --replay. Pages go to a lender by evictions (one
 * in --evict operations), so most reads that follow come from there. What the
 * file system cannot do is found out first, listed, and left out.
 *
 * Prints "operations N reads N evictions N remote_hits N bytes_compared N".
 * Exit status: 0 all right, 1 wrong bytes or a failed operation, 2 cannot run.
 */
#define _GNU_SOURCE
#include "exercise.h"

#define ROUND		1000
#define LOG		(2 * ROUND)	/* checks are logged too */
#define PROBE_BLOCKS	16
#define CGROUP		"/sys/fs/cgroup"

static struct step logged[LOG];
static size_t nr_logged;
static uint64_t first_hit;
static char cgroup[100];

/* -- failure */

static void leave_cgroup(void)
{
	int to;

	if (!cgroup[0])
		return;
	to = open(CGROUP "/cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (to >= 0) {
		dprintf(to, "%d", getpid());
		close(to);
	}
	rmdir(cgroup);
}

static void print_step(const struct step *s)
{
	printf("log %u %s %llu %llu %llu\n", s->nr, s->op->name, (unsigned long long)s->a,
	       (unsigned long long)s->b, (unsigned long long)s->c);
}

static void wrong(const char *fmt, ...)
{
	va_list ap;
	size_t i;

	for (i = 0; i < nr_logged; i++)
		print_step(&logged[i]);
	printf("wrong: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\nthe lines that begin with 'log' can be given to --replay\n");
	exit(1);
}

/* -- evictions */

static int run_evict(struct step *s)
{
	size_t left = pages_evict(fd, 0, (size + PAGE - 1) / PAGE);

	if (left)
		wrong("step %u: %zu pages cannot be evicted", s->nr, left);
	evictions++;
	return 0;
}

/* Whatever is clean; what is put may not be sent when the next step begins. */
static int run_evict_some(struct step *s)
{
	size_t first = s->a / PAGE, n = 1 + s->b / PAGE, pages = (size + PAGE - 1) / PAGE;

	if (first >= pages)
		return 0;
	n = clip(first, n, pages);
	evict_once(fd, first, n < EVICT_CHUNK ? n : EVICT_CHUNK);
	evictions++;
	return 0;
}

static int run_reclaim(struct step *s)
{
	char file[sizeof(cgroup) + 20];
	int to;

	(void)s;
	snprintf(file, sizeof(file), "%s/memory.reclaim", cgroup);
	to = open(file, O_WRONLY | O_CLOEXEC);
	if (to < 0)
		return errno == ENOENT ? EOPNOTSUPP : errno;
	/* Fails when there is less: not of interest here. */
	dprintf(to, "%zuK", max >> 11);
	close(to);
	evictions++;
	return 0;
}

static void make_cgroup(void)
{
	char file[sizeof(cgroup) + 20];
	int to = open(CGROUP "/cgroup.subtree_control", O_WRONLY | O_CLOEXEC);

	if (to < 0)
		return;
	snprintf(cgroup, sizeof(cgroup), CGROUP "/exercise-%d", getpid());
	dprintf(to, "+memory");
	close(to);
	if (mkdir(cgroup, 0755)) {
		cgroup[0] = 0;
		return;
	}
	atexit(leave_cgroup);
	snprintf(file, sizeof(file), "%s/cgroup.procs", cgroup);
	to = open(file, O_WRONLY | O_CLOEXEC);
	if (to < 0 || dprintf(to, "%d", getpid()) < 0)
		fail(file);
	close(to);
}

/* -- all of them */

static const struct op ops[] = {
	{ "read",		200, pick_any,		run_read, 0 },
	{ "map_read",		120, pick_inside,	run_map_read, 0 },
	{ "direct_read",	 40, pick_direct,	run_direct_read, 1 },
	{ "write",		140, pick_any,		run_write, 0 },
	{ "map_write",		 90, pick_any,		run_map_write, 0 },
	{ "direct_write",	 60, pick_direct,	run_direct_write, 1 },
	{ "truncate",		 40, pick_size,		run_truncate, 0 },
	{ "fallocate",		 20, pick_any,		run_fallocate, 1 },
	{ "punch",		 40, pick_any,		run_punch, 1 },
	{ "zero",		 35, pick_any,		run_zero, 1 },
	{ "collapse",		 20, pick_collapse,	run_collapse, 1 },
	{ "insert",		 20, pick_insert,	run_insert, 1 },
	{ "copy",		 30, pick_copy,		run_copy, 1 },
	{ "clone",		 30, pick_clone,	run_clone, 1 },
	{ "dedupe",		 10, pick_clone,	run_dedupe, 1 },
	{ "reopen",		 15, pick_variant,	run_reopen, 0 },
	{ "fsync",		 10, pick_variant,	run_fsync, 0 },
	{ "sync_range",		 10, pick_any,		run_sync_range, 0 },
	{ "advise",		 20, pick_any,		run_advise, 0 },
	/* Not drawn like the others. */
	{ "new_file",		  0, pick_variant,	run_new_file, 0 },
	{ "evict",		  0, pick_variant,	run_evict, 0 },
	{ "evict_some",		  0, pick_any,		run_evict_some, 0 },
	{ "reclaim",		  0, pick_variant,	run_reclaim, 1 },
};

#define NR_OPS	ARRAY_SIZE(ops)

static int missing[NR_OPS];	/* what the file system cannot do */

static const struct op *op_named(const char *name)
{
	size_t i;

	for (i = 0; i < NR_OPS; i++)
		if (!strcmp(ops[i].name, name))
			return &ops[i];
	fprintf(stderr, "exercise: there is no operation '%s'\n", name);
	exit(2);
}

static void perform(struct step *s)
{
	struct stat st;
	int err;

	if (nr_logged == LOG) {		/* only a long replay comes here */
		memmove(logged, logged + ROUND, ROUND * sizeof(*s));
		nr_logged = ROUND;
	}
	logged[nr_logged++] = *s;
	err = s->op->run(s);
	if (err)
		wrong("step %u %s: %s", s->nr, s->op->name, strerror(err));
	if (fstat(fd, &st))
		fail(path);
	if ((size_t)st.st_size != size)
		wrong("step %u %s: the file has %lld bytes instead of %zu", s->nr, s->op->name,
		      (long long)st.st_size, size);
}

/* Read all of it. */
static void check_all(uint32_t nr, const char *how)
{
	struct step s = { .nr = nr, .op = op_named(how) };

	for (s.a = 0; s.a < size; s.a += s.b) {
		s.b = MOST;
		perform(&s);
	}
}

static void perform_plain(uint32_t nr, const char *name)
{
	struct step s = { .nr = nr, .op = op_named(name) };

	perform(&s);
}

static const struct op *pick_eviction(void)
{
	static const char * const kind[] = { "evict", "evict", "evict_some", "reclaim" };
	const struct op *op = op_named(kind[draw(4)]);

	return missing[op - ops] ? op_named("evict") : op;
}

static const struct op *pick_op(void)
{
	static unsigned int total;
	unsigned int i, at;

	if (!total)
		for (i = 0; i < NR_OPS; i++)
			total += missing[i] ? 0 : ops[i].weight;
	at = draw(total);
	for (i = 0; i < NR_OPS; i++) {
		unsigned int weight = missing[i] ? 0 : ops[i].weight;

		if (at < weight)
			return &ops[i];
		at -= weight;
	}
	return &ops[0];
}

static int cannot(int err)
{
	return err == EOPNOTSUPP || err == EINVAL || err == ENOTTY || err == ENOSYS ||
	       err == EXDEV || err == EBADF;
}

/* What file system and kernel cannot do: try each once. */
static void probe(void)
{
	unsigned int i, nr = 0;
	int err;

	printf("unsupported:");
	for (i = 0; i < NR_OPS; i++) {
		struct step s = { .op = &ops[i], .a = 2 * block, .b = block, .c = 8 * block };
		struct step all = { .op = op_named("write"), .b = PROBE_BLOCKS * block };

		if (!ops[i].optional)
			continue;
		err = run_new_file(&all) ?: run_write(&all) ?: run_fsync(&all) ?: ops[i].run(&s);
		if (err && !cannot(err)) {
			fprintf(stderr, "exercise: %s: %s\n", ops[i].name, strerror(err));
			exit(2);
		}
		missing[i] = !!err;
		nr += !!err;
		if (err)
			printf(" %s", ops[i].name);
	}
	printf("%s\n", nr ? "" : " none");
}

static void find_alignment(void)
{
	struct statfs st;
	struct statx sx;

	if (statfs(path, &st))
		fail(path);
	block = st.f_bsize;
	if (block < 512 || block > PAGE)
		block = PAGE;
	align = block;
#ifdef STATX_DIOALIGN
	if (!statx(AT_FDCWD, path, 0, STATX_DIOALIGN, &sx) && sx.stx_mask & STATX_DIOALIGN &&
	    sx.stx_dio_offset_align)
		align = sx.stx_dio_offset_align;
#else
	(void)sx;
#endif
}

static void exercise(uint64_t nr_ops, unsigned int evict, unsigned int check)
{
	struct step s;
	uint64_t nr;

	for (nr = 1; nr <= nr_ops; nr++) {
		if (nr % ROUND == 1) {
			nr_logged = 0;
			perform_plain(nr, "new_file");
		}
		memset(&s, 0, sizeof(s));
		do {
			s.op = draw(evict) ? pick_op() : pick_eviction();
		} while (s.op->pick(&s));
		s.nr = nr;
		perform(&s);
		if (nr % check == 0) {
			if (draw(2))
				perform_plain(nr, "evict");
			check_all(nr, "read");
		}
	}
	check_all(nr, "map_read");
	perform_plain(nr, "evict");
	check_all(nr, "read");
	if (!missing[op_named("direct_read") - ops])
		check_all(nr, "direct_read");
}

static uint64_t replay(const char *name)
{
	unsigned long long a, b, c;
	char line[200], op[50];
	FILE *log = fopen(name, "r");
	uint64_t count = 0;
	struct step s;

	if (!log)
		fail(name);
	perform_plain(0, "new_file");
	while (fgets(line, sizeof(line), log)) {
		/* Behind whatever a test put in front of it. */
		char *at = strstr(line, "log ");

		if (!at || sscanf(at, "log %u %49s %llu %llu %llu", &s.nr, op, &a, &b, &c) != 5)
			continue;
		s.op = op_named(op);
		s.a = a;
		s.b = b;
		s.c = c;
		perform(&s);
		count++;
	}
	fclose(log);
	return count;
}

static uint64_t opt_seed = 1, opt_ops = 10000, opt_size = 256 << 10;
static uint64_t opt_evict = 20, opt_check = 500;
static const char *opt_log;

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 0);

	if (*end == 'K' || *end == 'M')
		value <<= *end++ == 'K' ? 10 : 20;
	if (*end || end == text || !value) {
		fprintf(stderr, "exercise: bad number '%s'\n", text);
		exit(2);
	}
	return value;
}

static void prepare(void)
{
	size_t room = (opt_size + PAGE - 1) / PAGE * PAGE + PAGE;

	max = opt_size;
	if (max < PROBE_BLOCKS * PAGE) {
		fprintf(stderr, "exercise: --size: at least %lu\n", PROBE_BLOCKS * PAGE);
		exit(2);
	}
	want = aligned_alloc(PAGE, room);
	data = aligned_alloc(PAGE, room);
	got = aligned_alloc(PAGE, room);
	memset(want, 0, room);
	if (open_file(O_CREAT))
		fail(path);
	make_cgroup();
	find_alignment();
	probe();
	first_hit = puma_stat("get_hit");
	reads = 0;
	evictions = 0;
	compared = 0;
	size = 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: exercise --file NEW-FILE [--seed N] [--ops N] [--size BYTES] [--evict N] [--check N] |\n"
		"\t--file NEW-FILE --replay LOG\n");
	return 2;
}

static int parse(int argc, char **argv)
{
	static const struct {
		const char *name;
		uint64_t *value;
	} numbers[] = {
		{ "--seed", &opt_seed }, { "--ops", &opt_ops }, { "--size", &opt_size },
		{ "--evict", &opt_evict }, { "--check", &opt_check },
	};
	size_t i;
	int at;

	for (at = 1; at + 1 < argc; at += 2) {
		for (i = 0; i < ARRAY_SIZE(numbers); i++)
			if (!strcmp(argv[at], numbers[i].name))
				break;
		if (i < ARRAY_SIZE(numbers))
			*numbers[i].value = number(argv[at + 1]);
		else if (!strcmp(argv[at], "--file"))
			path = argv[at + 1];
		else if (!strcmp(argv[at], "--replay"))
			opt_log = argv[at + 1];
		else
			return -1;
	}
	return at == argc && path ? 0 : -1;
}

int main(int argc, char **argv)
{
	uint64_t nr;

	if (parse(argc, argv))
		return usage();
	if (!access(path, F_OK)) {
		fprintf(stderr, "exercise: %s exists\n", path);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	prepare();
	rng = opt_seed * 0x2545f4914f6cdd1d;
	printf("seed %llu, blocks of %zu, direct I/O of %zu\n", (unsigned long long)opt_seed,
	       block, align);
	nr = opt_ops;
	if (opt_log)
		nr = replay(opt_log);
	else
		exercise(opt_ops, opt_evict, opt_check);
	unlink(path);
	printf("operations %llu reads %llu evictions %llu remote_hits %llu bytes_compared %llu\n",
	       (unsigned long long)nr, (unsigned long long)reads, (unsigned long long)evictions,
	       (unsigned long long)(puma_stat("get_hit") - first_hit),
	       (unsigned long long)compared);
	return 0;
}
