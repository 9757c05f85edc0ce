// SPDX-License-Identifier: GPL-2.0
/*
 * lender MODE: a lender in user space, good or bad in one of many ways.
 *
 * Listens at PUMA's port; one connection at a time.  Keeps pages like a real
 * one, up to SEGMENTS segments, and misbehaves as MODE says.  On SIGTERM it
 * prints "connections N puts N gets N" and ends.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>

#include "wire.h"

#define SEGMENTS	2U
#define SLOTS		(SEGMENTS * SEGMENT)

static struct slot {
	uint64_t token;
	struct seals seals;
	uint8_t *data;
} slot[SLOTS];

static const char *mode;
static uint64_t connections, puts_seen, gets_seen;
static uint32_t digest;		/* over this connection, see puts_with() */

static int mode_is(const char *name)
{
	return !strcmp(mode, name);
}

static void on_term(int sig)
{
	char text[100];
	int len = snprintf(text, sizeof(text), "connections %llu puts %llu gets %llu\n",
			   (unsigned long long)connections, (unsigned long long)puts_seen,
			   (unsigned long long)gets_seen);

	(void)sig;
	_exit(write(1, text, len) != len);
}

static uint64_t noise(void)
{
	static uint64_t state = 88172645463325252;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void make_noise(void *to, size_t len)
{
	uint8_t *at = to;

	while (len--)
		*at++ = noise();
}

static void forget_all(void)
{
	size_t i;

	for (i = 0; i < SLOTS; i++) {
		free(slot[i].data);
		memset(&slot[i], 0, sizeof(slot[i]));
	}
	digest = 0;
}

/* Keep the connection but do nothing, until the peer has had enough. */
static int fall_silent(int fd)
{
	char bin[4096];

	while (recv(fd, bin, sizeof(bin), 0) > 0)
		;
	return -1;
}

/* Not even read. */
static int play_dead(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	while (poll(&p, 1, -1) < 0)
		;
	return -1;
}

static int say_hello(int fd)
{
	struct hello hello = good_hello();
	struct header h = { .type = HELLO };

	if (mode_is("magic"))
		hello.magic ^= 1;
	if (mode_is("version"))
		hello.version = hello.min_version = 99;
	if (mode_is("old-version"))
		hello.version = hello.min_version = 0;
	if (mode_is("page-size"))
		hello.page_size = 65536;
	if (mode_is("no-hello"))
		return fall_silent(fd);
	if (mode_is("hang-up"))
		return -1;
	if (mode_is("mirror")) {	/* its own HELLO comes back */
		struct { struct header h; struct hello hello; } theirs;

		return receive_all(fd, &theirs, sizeof(theirs)) ||
		       send_all(fd, &theirs, sizeof(theirs)) ? -1 : 0;
	}
	if (mode_is("half-hello")) {
		send_all(fd, &h, sizeof(h));
		return -1;
	}
	if (mode_is("noise")) {
		uint8_t bytes[20000];

		make_noise(bytes, sizeof(bytes));
		return send_all(fd, bytes, sizeof(bytes));
	}
	if (send_frame(fd, h, &hello, sizeof(hello), NULL, 0))
		return -1;
	if (mode_is("hello-twice"))
		return send_frame(fd, h, &hello, sizeof(hello), NULL, 0);
	return 0;
}

static int grant(int fd)
{
	struct lease lease = { .segments = SEGMENTS, .room = SLOTS };
	struct header h = { .type = LEASE };

	if (mode_is("no-lease"))
		return 0;
	if (mode_is("lease-too-big"))
		lease.segments = 4097;
	if (mode_is("lease-biggest"))
		lease.segments = 4096;
	return send_frame(fd, h, &lease, sizeof(lease), NULL, 0);
}

/* What is wrong before anybody asks for anything. */
static int greet(int fd)
{
	struct ping ping = { .time = 1 };
	struct dropped dropped = { .segment = 4096 };
	struct get get = {};
	struct put put = {};
	static uint8_t page[PAGE_BYTES];
	uint8_t bytes[20000];

	if (mode_is("noise-after-lease")) {
		make_noise(bytes, sizeof(bytes));
		return send_all(fd, bytes, sizeof(bytes));
	}
	if (mode_is("sends-ping"))
		return send_frame(fd, (struct header){ .type = PING }, &ping, sizeof(ping), NULL, 0);
	if (mode_is("sends-get"))
		return send_frame(fd, (struct header){ .type = GET, .nr = 1 }, &get, sizeof(get),
				  NULL, 0);
	if (mode_is("sends-put"))
		return send_frame(fd, (struct header){ .type = PUT, .nr = 1 }, &put, sizeof(put),
				  page, sizeof(page));
	if (mode_is("type-0"))
		return send_frame(fd, (struct header){ .type = 0 }, NULL, 0, NULL, 0);
	if (mode_is("type-200"))
		return send_frame(fd, (struct header){ .type = 200 }, NULL, 0, NULL, 0);
	if (mode_is("flags"))
		return send_frame(fd, (struct header){ .type = PONG, .flags = 0x80 }, &ping,
				  sizeof(ping), NULL, 0);
	if (mode_is("spare"))
		return send_frame(fd, (struct header){ .type = PONG, .puts = 1 }, &ping,
				  sizeof(ping), NULL, 0);
	if (mode_is("length"))
		return send_frame(fd, (struct header){ .type = PONG, .len = 0xffffffff }, &ping,
				  sizeof(ping), NULL, 0);
	if (mode_is("dropped-far"))
		return send_frame(fd, (struct header){ .type = DROPPED }, &dropped, sizeof(dropped),
				  NULL, 0);
	return 0;
}

static int send_page(int fd, uint32_t id, uint16_t nr, const struct seals *seals,
		     const uint8_t *data)
{
	struct header h = { .type = PAGE_IS, .nr = nr, .id = id, .puts = digest };

	return send_frame(fd, h, seals, sizeof(*seals), data, PAGE_BYTES);
}

static struct slot *another_slot(uint32_t not)
{
	uint32_t i;

	for (i = 1; i < SLOTS; i++)
		if (slot[(not + i) % SLOTS].data)
			return &slot[(not + i) % SLOTS];
	return &slot[not];
}

/* Half of a page frame; the rest never comes, or much too slowly. */
static int send_half(int fd, uint32_t id, uint16_t nr, const struct slot *s)
{
	struct header h = { .type = PAGE_IS, .nr = nr, .id = id, .len = 16 + PAGE_BYTES,
			    .puts = digest };
	uint8_t frame[sizeof(h) + 16 + PAGE_BYTES];
	size_t at = sizeof(frame) / 2;

	memcpy(frame, &h, sizeof(h));
	memcpy(frame + sizeof(h), &s->seals, 16);
	memcpy(frame + sizeof(h) + 16, s->data, PAGE_BYTES);
	if (send_all(fd, frame, at) || mode_is("cut-off"))
		return -1;
	if (mode_is("half-silent"))
		return fall_silent(fd);
	for (; at < sizeof(frame); at++) {	/* trickle */
		if (send_all(fd, frame + at, 1))
			return -1;
		sleep_ms(50);
	}
	return 0;
}

static int answer(int fd, uint32_t id, uint16_t nr, const struct get *get, uint8_t flags)
{
	struct header gone = { .type = GONE, .nr = nr, .id = id, .puts = digest };
	struct slot *s = &slot[get->slot % SLOTS];
	uint8_t data[PAGE_BYTES];
	struct seals seals;

	if (get->slot >= SLOTS || !s->data || s->token != get->token || mode_is("gone"))
		return send_frame(fd, gone, NULL, 0, NULL, 0);
	memcpy(data, s->data, PAGE_BYTES);
	seals = s->seals;
	if (mode_is("flip"))
		data[noise() % PAGE_BYTES] ^= 1 << noise() % 8;
	if (mode_is("zeroes"))
		memset(data, 0, PAGE_BYTES);
	if (mode_is("sum"))
		seals.sum++;
	if (mode_is("another-life"))
		digest ^= 0x10000;
	if (mode_is("swap")) {		/* data and seal of another page */
		memcpy(data, another_slot(get->slot)->data, PAGE_BYTES);
		seals = another_slot(get->slot)->seals;
	}
	if (mode_is("cut-off") || mode_is("half-silent") || mode_is("trickle"))
		return send_half(fd, id, nr, s);
	if (mode_is("no-answer"))
		return 0;
	if (mode_is("late") && !nr)
		sleep_ms(150);
	if (mode_is("unknown-ids") &&
	    (send_page(fd, id + 1000000, nr, &seals, data) || send_page(fd, id + 256, nr, &seals, data) ||
	     send_page(fd, id, (nr + 1) % BATCH, &seals, data)))
		return -1;
	if (mode_is("bad-nr"))
		return send_page(fd, id, 32, &seals, data);
	if (mode_is("noise-answer")) {
		make_noise(data, sizeof(data));
		return send_all(fd, data, sizeof(data));
	}
	if (mode_is("page-length"))
		return send_frame(fd, (struct header){ .type = PAGE_IS, .nr = nr, .id = id,
						       .len = PAGE_BYTES, .puts = digest },
				  &seals, sizeof(seals),
				  data, PAGE_BYTES - 16);
	if (mode_is("gone-then-page") && send_frame(fd, gone, NULL, 0, NULL, 0))
		return -1;
	if (send_page(fd, id, nr, &seals, data))
		return -1;
	if (flags & CONSUME) {
		free(s->data);
		s->data = NULL;
	}
	if (mode_is("duplicates")) {
		memset(data, 0x77, PAGE_BYTES);
		if (send_page(fd, id, nr, &seals, data) || send_frame(fd, gone, NULL, 0, NULL, 0))
			return -1;
	}
	return 0;
}

static int drop_all(int fd)
{
	struct dropped dropped;

	memset(&dropped, 0xff, sizeof(dropped));
	dropped.spare = 0;
	for (dropped.segment = 0; dropped.segment < SEGMENTS + 2; dropped.segment++)
		if (send_frame(fd, (struct header){ .type = DROPPED }, &dropped, sizeof(dropped),
			       NULL, 0))
			return -1;
	return 0;
}

static int got_get(int fd, const struct header *h, const struct get *get)
{
	int i, ret = 0;

	gets_seen += h->nr;
	if (mode_is("backwards"))	/* a good one that answers in another order */
		for (i = h->nr - 1; !ret && i >= 0; i--)
			ret = answer(fd, h->id, i, &get[i], h->flags);
	else
		for (i = 0; !ret && i < h->nr; i++)
			ret = answer(fd, h->id, i, &get[i], h->flags);
	return ret;
}

static int got_put(int fd, const struct header *h, const struct put *put)
{
	int i;

	for (i = 0; i < h->nr; i++) {
		struct slot *s = &slot[put[i].slot % SLOTS];

		if (!s->data)
			s->data = malloc(PAGE_BYTES);
		if (receive_all(fd, s->data, PAGE_BYTES))
			return -1;
		s->token = put[i].token;
		s->seals.sum = put[i].sum;
		s->seals.seal = put[i].seal;
		digest = puts_with(digest, put[i].sum);
		puts_seen++;
	}
	return mode_is("drops-all") ? drop_all(fd) : 0;
}

static int frame(int fd)
{
	static uint8_t meta[8192];
	struct header h;
	size_t len;

	if (receive_all(fd, &h, sizeof(h)))
		return -1;
	len = h.type == PUT ? h.nr * sizeof(struct put) : h.len;
	if (len > sizeof(meta) || receive_all(fd, meta, len))
		return -1;
	switch (h.type) {
	case PUT:
		return got_put(fd, &h, (void *)meta);
	case GET:
		return got_get(fd, &h, (void *)meta);
	case PING:
		((struct ping *)meta)->room = SLOTS;
		return send_frame(fd, (struct header){ .type = PONG }, meta, len, NULL, 0);
	case REFUSE:
		printf("refused: reason %u\n", ((struct refuse *)meta)->reason);
		return -1;
	default:
		return 0;
	}
}

static void serve(int fd)
{
	no_delay(fd);
	connections++;
	forget_all();
	if (!say_hello(fd) && !grant(fd) && !greet(fd)) {
		if (mode_is("deaf"))
			play_dead(fd);
		while (!frame(fd))
			;
	}
	close(fd);
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct sigaction action = { .sa_handler = on_term };
	int one = 1, fd, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (argc != 2) {
		fprintf(stderr, "usage: lender MODE\n");
		return 2;
	}
	mode = argv[1];
	sigaction(SIGTERM, &action, NULL);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (void *)&at, sizeof(at)) || listen(listener, 16)) {
		perror("lender");
		return 1;
	}
	for (;;) {
		fd = accept(listener, NULL, NULL);
		if (fd >= 0)
			serve(fd);
	}
}
