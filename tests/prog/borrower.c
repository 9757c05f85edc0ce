// SPDX-License-Identifier: GPL-2.0
/*
 * borrower ADDRESS all|CASE...: a borrower in user space that behaves badly
 * towards a kernel's lender, and looks at what that does.
 *
 * One line a case: "ok NAME" or "not ok NAME: why".
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <sys/resource.h>

#include "wire.h"

#define MANY	100
#define LIMIT	64		/* borrowers that a lender takes */

static struct sockaddr_in to = { .sin_family = AF_INET };
static char why[300];
static struct lease lease;

static int wrong(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return -1;
}

static int dial(void)
{
	struct timeval limit = { .tv_sec = 10 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	no_delay(fd);
	if (connect(fd, (void *)&to, sizeof(to))) {
		close(fd);
		return wrong("connect: %s", strerror(errno));
	}
	return fd;
}

/* The next frame of a type; others are skipped. Its meta and data go to @to. */
static int next_frame(int fd, int type, struct header *h, void *meta, size_t room)
{
	static uint8_t skip[sizeof(struct dropped) + PAGE_BYTES];

	for (;;) {
		if (receive_all(fd, h, sizeof(*h)))
			return wrong("no frame of type %d: %s", type, strerror(errno));
		if (h->len > sizeof(skip))
			return wrong("a frame of type %u has length %u", h->type, h->len);
		if (receive_all(fd, skip, h->len))
			return wrong("half a frame of type %u", h->type);
		if (h->type != type)
			continue;
		memcpy(meta, skip, h->len < room ? h->len : room);
		return 0;
	}
}

/* Through HELLO and LEASE. */
static int greet(void)
{
	struct hello hello = good_hello(), theirs;
	struct header h;
	int fd = dial();

	if (fd < 0)
		return -1;
	if (send_frame(fd, (struct header){ .type = HELLO }, &hello, sizeof(hello), NULL, 0))
		return wrong("send: %s", strerror(errno));
	if (next_frame(fd, HELLO, &h, &theirs, sizeof(theirs)))
		return -1;
	if (theirs.magic != MAGIC || theirs.version != 1 || theirs.page_size != PAGE_BYTES)
		return wrong("a strange HELLO");
	/* It grows while the leases of those that are gone are taken back. */
	do {
		if (next_frame(fd, LEASE, &h, &lease, sizeof(lease)))
			return -1;
	} while (!lease.segments);
	return fd;
}

/* The lender has to hang up within seconds. */
static int hung_up(int fd, double seconds)
{
	double begin = seconds_now();
	char bin[4096];
	ssize_t n;

	do {
		n = recv(fd, bin, sizeof(bin), 0);
	} while (n > 0);
	if (n < 0 && errno != ECONNRESET && errno != EPIPE)
		return wrong("the connection stays open (%s)", strerror(errno));
	if (seconds_now() - begin > seconds)
		return wrong("hung up only after %.1f s", seconds_now() - begin);
	return 0;
}

static void fill(uint8_t *data, uint64_t token)
{
	size_t i;

	for (i = 0; i < PAGE_BYTES; i++)
		data[i] = token * 31 + i * 7 + i / 256;
}

static int put_page(int fd, uint32_t nr, uint64_t token)
{
	struct put put = { .slot = nr, .token = token, .sum = token * 3, .seal = token * 5 };
	uint8_t data[PAGE_BYTES];

	fill(data, token);
	if (send_frame(fd, (struct header){ .type = PUT, .nr = 1 }, &put, sizeof(put), data,
		       sizeof(data)))
		return wrong("put: %s", strerror(errno));
	return 0;
}

/* 1: the page came back right; 0: gone; -1: something else. */
static int get_page(int fd, uint32_t nr, uint64_t token, uint8_t flags)
{
	struct get get = { .slot = nr, .token = token };
	struct { struct seals seals; uint8_t data[PAGE_BYTES]; } page;
	uint8_t want[PAGE_BYTES];
	static uint32_t id;
	struct header h;

	if (send_frame(fd, (struct header){ .type = GET, .nr = 1, .id = ++id, .flags = flags },
		       &get, sizeof(get), NULL, 0))
		return wrong("get: %s", strerror(errno));
	do {
		if (receive_all(fd, &h, sizeof(h)))
			return wrong("no answer: %s", strerror(errno));
		if (h.type == DROPPED || h.type == LEASE) {
			uint8_t skip[sizeof(struct dropped)];

			if (h.len > sizeof(skip) || receive_all(fd, skip, h.len))
				return wrong("a bad frame of type %u", h.type);
			continue;
		}
		break;
	} while (1);
	if (h.id != id || h.nr || (h.type != GONE && h.type != PAGE_IS))
		return wrong("answer of type %u, id %u, nr %u", h.type, h.id, h.nr);
	if (h.type == GONE)
		return 0;
	if (h.len != sizeof(page) || receive_all(fd, &page, sizeof(page)))
		return wrong("half an answer");
	fill(want, token);
	if (page.seals.sum != token * 3 || page.seals.seal != token * 5 ||
	    memcmp(page.data, want, sizeof(want)))
		return wrong("another page came back");
	return 1;
}

static int expect(int fd, uint32_t nr, uint64_t token, uint8_t flags, int want, const char *what)
{
	int got = get_page(fd, nr, token, flags);

	if (got >= 0 && got != want)
		return wrong("%s: %s", what, got ? "the page came back" : "gone");
	return got < 0 ? -1 : 0;
}

/* -- cases; each gets its own connection and says what was wrong */

static int put_and_get(void)
{
	int fd = greet(), ret;

	ret = fd < 0 || put_page(fd, 5, 1001) || put_page(fd, 6, 1002) ||
	      expect(fd, 5, 1001, 0, 1, "good token") ||
	      expect(fd, 5, 1001, 0, 1, "good token again") ||
	      expect(fd, 5, 1002, 0, 0, "token of another slot") ||
	      expect(fd, 5, 0, 0, 0, "token 0") ||
	      expect(fd, 7, 0, 0, 0, "empty slot, token 0") ||
	      expect(fd, 6, 1002, CONSUME, 1, "consume") ||
	      expect(fd, 6, 1002, 0, 0, "consumed") ||
	      put_page(fd, 5, 1003) ||
	      expect(fd, 5, 1001, 0, 0, "overwritten") ||
	      expect(fd, 5, 1003, 0, 1, "the new one") ||
	      expect(fd, lease.segments * SEGMENT, 1003, 0, 0, "beyond the lease") ||
	      expect(fd, 0xffffffff, 1003, 0, 0, "far beyond the lease");
	close(fd);
	return ret ? -1 : 0;
}

/* Refused or hung up on: never stored, never a crash. */
static int put_out_of_range(void)
{
	static const uint32_t far[] = { SEGMENT * 4096U - 1, SEGMENT * 4096U, 0x7fffffff, 0xffffffff };
	size_t i;

	for (i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
		int fd = greet(), got;

		if (fd < 0 || put_page(fd, far[i], 77))
			return -1;
		got = get_page(fd, far[i], 77, 0);
		close(fd);
		if (got > 0)
			return wrong("slot %u was stored", far[i]);
	}
	return 0;
}

/* A session of its own for every borrower: no page of one shows to another. */
static int others_pages(void)
{
	int one = greet(), two = one < 0 ? -1 : greet(), ret;

	ret = two < 0 || put_page(one, 9, 4242) || expect(one, 9, 4242, 0, 1, "own page") ||
	      expect(two, 9, 4242, 0, 0, "page of somebody else") ||
	      expect(two, 9, 4242, CONSUME, 0, "page of somebody else") ||
	      expect(one, 9, 4242, 0, 1, "own page again");
	close(one);
	close(two);
	return ret ? -1 : 0;
}

static int bad_frame_after(int fd, struct header h, size_t body)
{
	static uint8_t zero[BATCH * (PAGE_BYTES + 64)];

	if (fd < 0)
		return -1;
	/* The lender may hang up before all of it is out. */
	send_all(fd, &h, sizeof(h));
	send_all(fd, zero, body);
	return hung_up(fd, 2);
}

static int bad_frames(void)
{
	const uint32_t put1 = sizeof(struct put) + PAGE_BYTES;
	const struct {
		const char *what;
		struct header h;
		size_t body;
	} bad[] = {
		{ "type 0", { .type = 0 }, 0 },
		{ "type 11", { .type = 11 }, 0 },
		{ "type 255", { .type = 255, .len = 100 }, 100 },
		{ "HELLO again", { .type = HELLO, .len = sizeof(struct hello) }, sizeof(struct hello) },
		{ "LEASE", { .type = LEASE, .len = sizeof(struct lease) }, sizeof(struct lease) },
		{ "PAGE", { .type = PAGE_IS, .len = 16 + PAGE_BYTES }, 16 + PAGE_BYTES },
		{ "GONE", { .type = GONE }, 0 },
		{ "DROPPED", { .type = DROPPED, .len = sizeof(struct dropped) },
		  sizeof(struct dropped) },
		{ "PONG", { .type = PONG, .len = sizeof(struct ping) }, sizeof(struct ping) },
		{ "PUT of 0 pages", { .type = PUT }, 0 },
		{ "PUT of 33 pages", { .type = PUT, .nr = 33, .len = 33 * put1 }, 33 * put1 },
		{ "PUT of 65535 pages", { .type = PUT, .nr = 65535, .len = put1 }, put1 },
		{ "PUT too short", { .type = PUT, .nr = 1, .len = put1 - 1 }, put1 - 1 },
		{ "PUT too long", { .type = PUT, .nr = 1, .len = put1 + 1 }, put1 + 1 },
		{ "PUT of 4 GiB", { .type = PUT, .nr = 1, .len = 0xffffffff }, put1 },
		{ "PUT with a flag", { .type = PUT, .nr = 1, .len = put1, .flags = 1 }, put1 },
		{ "GET of 0 pages", { .type = GET }, 0 },
		{ "GET of 33 pages", { .type = GET, .nr = 33, .len = 33 * sizeof(struct get) },
		  33 * sizeof(struct get) },
		{ "GET with a length of 0", { .type = GET, .nr = 1 }, 0 },
		{ "GET with a bad flag", { .type = GET, .nr = 1, .len = sizeof(struct get),
					   .flags = 2 }, sizeof(struct get) },
		{ "PING too long", { .type = PING, .len = sizeof(struct ping) + 8 },
		  sizeof(struct ping) + 8 },
		{ "PING with puts set", { .type = PING, .len = sizeof(struct ping), .puts = 1 },
		  sizeof(struct ping) },
	};
	size_t i;
	int fd;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char copy[sizeof(why)];

		fd = greet();
		if (!bad_frame_after(fd, bad[i].h, bad[i].body)) {
			close(fd);
			continue;
		}
		strcpy(copy, why);
		return wrong("%s: %.200s", bad[i].what, copy);
	}
	/* Before HELLO nothing else is taken. */
	fd = dial();
	if (bad_frame_after(fd, (struct header){ .type = PING, .len = sizeof(struct ping) },
			    sizeof(struct ping)))
		return -1;
	close(fd);
	fd = dial();
	if (bad_frame_after(fd, (struct header){ .type = GET, .nr = 1, .len = sizeof(struct get) },
			    sizeof(struct get)))
		return -1;
	close(fd);
	return 0;
}

static int refused_with(struct hello hello, uint32_t reason, const char *what, int stay)
{
	struct refuse refuse;
	struct header h;
	int fd = dial(), ret;

	if (fd < 0)
		return -1;
	send_frame(fd, (struct header){ .type = HELLO }, &hello, sizeof(hello), NULL, 0);
	ret = next_frame(fd, REFUSE, &h, &refuse, sizeof(refuse));
	if (!ret && refuse.reason != reason)
		ret = wrong("%s: refused with reason %u, not %u", what, refuse.reason, reason);
	/* It is for the refused to hang up, but not for ever. */
	if (!ret && stay)
		ret = hung_up(fd, 9);
	close(fd);
	return ret;
}

static int bad_hellos(void)
{
	struct hello h = good_hello();

	h.magic++;
	if (refused_with(h, 1, "magic", 0))
		return -1;
	h = good_hello();
	h.version = h.min_version = 2;
	if (refused_with(h, 1, "newer version", 0))
		return -1;
	h.version = h.min_version = 0;
	if (refused_with(h, 1, "older version", 0))
		return -1;
	h.version = 1;
	h.min_version = 2;
	if (refused_with(h, 1, "impossible versions", 0))
		return -1;
	h = good_hello();
	h.page_size = 16384;
	return refused_with(h, 2, "page size", 1);
}

/* A newer peer that still speaks our version, with features we do not know. */
static int newer_hello(void)
{
	struct hello hello = good_hello();
	struct header h;
	int fd = dial(), ret;

	hello.version = 7;
	hello.features = ~0ULL;
	if (fd < 0)
		return -1;
	send_frame(fd, (struct header){ .type = HELLO }, &hello, sizeof(hello), NULL, 0);
	ret = next_frame(fd, LEASE, &h, &lease, sizeof(lease)) || put_page(fd, 1, 11) ||
	      expect(fd, 1, 11, 0, 1, "newer peer");
	close(fd);
	return ret ? -1 : 0;
}

static int byte_by_byte(void)
{
	struct hello hello = good_hello();
	struct { struct header h; struct hello hello; } first = {
		.h = { .type = HELLO, .len = sizeof(hello) }, .hello = hello };
	struct { struct header h; struct get get; } get = {
		.h = { .type = GET, .nr = 1, .len = sizeof(struct get), .id = 99 },
		.get = { .slot = 3, .token = 33 } };
	struct header h;
	size_t i;
	int fd = dial();

	if (fd < 0)
		return -1;
	for (i = 0; i < sizeof(first); i++)
		if (send_all(fd, (char *)&first + i, 1))
			return wrong("send: %s", strerror(errno));
	if (next_frame(fd, LEASE, &h, &lease, sizeof(lease)) || put_page(fd, 3, 33))
		return -1;
	for (i = 0; i < sizeof(get); i++)
		if (send_all(fd, (char *)&get + i, 1))
			return wrong("send: %s", strerror(errno));
	do {
		uint8_t body[sizeof(struct dropped) + PAGE_BYTES];

		if (receive_all(fd, &h, sizeof(h)) || h.len > sizeof(body) ||
		    receive_all(fd, body, h.len))
			return wrong("no answer to a get in pieces");
	} while (h.type != PAGE_IS);
	close(fd);
	return h.id == 99 ? 0 : wrong("answer to request %u", h.id);
}

/* Half a page, then nothing: given up after some seconds. */
static int half_put(void)
{
	struct header h = { .type = PUT, .nr = 32, .len = 32 * (sizeof(struct put) + PAGE_BYTES) };
	static uint8_t body[10000];
	int fd = greet(), ret;

	if (fd < 0)
		return -1;
	send_all(fd, &h, sizeof(h));
	send_all(fd, body, sizeof(body));
	ret = hung_up(fd, 9);
	close(fd);
	return ret;
}

/* Ask for very much and read nothing of it. */
static int greedy(void)
{
	struct get get[BATCH];
	struct timeval limit = { .tv_sec = 1 };
	int fd = greet(), i, sent = 0;

	if (fd < 0)
		return -1;
	for (i = 0; i < BATCH; i++) {
		get[i] = (struct get){ .slot = i, .token = 500 + i };
		if (put_page(fd, i, 500 + i))
			return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	for (i = 0; i < 20000; i++) {
		if (send_frame(fd, (struct header){ .type = GET, .nr = BATCH, .id = i }, get,
			       sizeof(get), NULL, 0))
			break;
		sent++;
	}
	close(fd);
	/* 20000 * 32 pages would be 2.5 GiB. */
	return sent < 20000 ? 0 : wrong("all gets were taken");
}

static int reset_in_frame(void)
{
	struct linger now = { .l_onoff = 1 };
	struct header h = { .type = PUT, .nr = 4, .len = 4 * (sizeof(struct put) + PAGE_BYTES) };
	static uint8_t body[7000];
	int i;

	for (i = 0; i < 50; i++) {
		int fd = greet();

		if (fd < 0)
			return -1;
		put_page(fd, i, i + 1);
		send_all(fd, &h, sizeof(h));
		send_all(fd, body, i * 140);
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(fd);
	}
	return 0;
}

static int noise(void)
{
	static uint8_t bytes[100000];
	unsigned int seed = 1;
	size_t i;
	int try;

	for (try = 0; try < 20; try++) {
		int fd = try & 1 ? greet() : dial();

		if (fd < 0)
			return -1;
		for (i = 0; i < sizeof(bytes); i++)
			bytes[i] = rand_r(&seed) >> 7;
		if (try & 2)
			bytes[0] = 1 + try % 10;	/* a type that exists */
		send_all(fd, bytes, sizeof(bytes));
		if (hung_up(fd, 9))
			return -1;
		close(fd);
	}
	return 0;
}

/* What a lender did to a new connection: 1 took it, 0 refused it, one way or the other. */
static int taken(int fd)
{
	struct header h = {};
	ssize_t n;

	if (fd < 0)
		return 0;
	n = recv(fd, &h, sizeof(h), MSG_DONTWAIT);
	return n == sizeof(h) && h.type == HELLO;
}

/* More than a lender takes; those that say nothing are hung up on. */
static int many(void)
{
	double begin = seconds_now();
	int fd[MANY], i, kept = 0, ret = 0;

	for (i = 0; i < MANY; i++)
		fd[i] = dial();
	sleep_ms(500);
	for (i = 0; i < MANY; i++)
		kept += taken(fd[i]);
	if (kept > LIMIT || kept < LIMIT / 4)
		ret = wrong("%d of %d connections were taken, in %.1f s", kept, MANY,
			    seconds_now() - begin);
	begin = seconds_now();
	for (i = 0; i < MANY; i++)
		if (fd[i] >= 0 && !ret && hung_up(fd[i], 12))
			ret = -1;
	if (!ret && seconds_now() - begin > 12)
		ret = wrong("silent connections were kept for %.0f s", seconds_now() - begin);
	for (i = 0; i < MANY; i++)
		close(fd[i]);
	return ret;
}

static const struct {
	const char *name;
	int (*run)(void);
} cases[] = {
	{ "put_and_get", put_and_get },
	{ "put_out_of_range", put_out_of_range },
	{ "others_pages", others_pages },
	{ "bad_frames", bad_frames },
	{ "bad_hellos", bad_hellos },
	{ "newer_hello", newer_hello },
	{ "byte_by_byte", byte_by_byte },
	{ "reset_in_frame", reset_in_frame },
	{ "noise", noise },
	{ "greedy", greedy },
	{ "half_put", half_put },
	{ "many", many },
	{ "put_and_get_again", put_and_get },
};

int main(int argc, char **argv)
{
	struct rlimit files = { 1000, 1000 };
	int bad = 0, a;
	size_t i;

	if (argc < 3 || !inet_aton(argv[1], &to.sin_addr)) {
		fprintf(stderr, "usage: borrower ADDRESS all|CASE...\n");
		return 2;
	}
	to.sin_port = htons(PORT);
	setrlimit(RLIMIT_NOFILE, &files);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (a = 2; a < argc; a++)
			if (!strcmp(argv[a], cases[i].name) || !strcmp(argv[a], "all"))
				break;
		if (a == argc)
			continue;
		why[0] = 0;
		if (cases[i].run()) {
			printf("not ok %s: %s\n", cases[i].name, why);
			bad = 1;
		} else {
			printf("ok %s\n", cases[i].name);
		}
		fflush(stdout);
	}
	return bad;
}
