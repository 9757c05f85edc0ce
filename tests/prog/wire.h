/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PUMA's protocol, written down a second time from its description, for
 * programs that play a peer.  Little endian machines only.
 */
#ifndef WIRE_H
#define WIRE_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PORT		7862
#define PAGE_BYTES	4096
#define SEGMENT		8192U		/* slots */
#define BATCH		32
#define MAGIC		0x0a1a0d414d555089ULL

enum {
	HELLO = 1, REFUSE, LEASE, PUT, GET, PAGE_IS, GONE, DROPPED, PING, PONG,
};

#define CONSUME		1		/* flag of GET */

struct header {
	uint8_t type, flags;
	uint16_t nr;
	uint32_t len, id, puts;
};

struct hello {
	uint64_t magic;
	uint16_t version, min_version;
	uint32_t page_size;
	uint64_t features, node, incarnation;
};

struct refuse {
	uint32_t reason, spare;
};

struct lease {
	uint32_t segments, room;
};

struct put {
	uint32_t slot, spare;
	uint64_t token, sum, seal;
};

struct get {
	uint32_t slot, spare;
	uint64_t token;
};

struct seals {
	uint64_t sum, seal;
};

struct dropped {
	uint32_t segment, spare;
	uint64_t bitmap[SEGMENT / 64];
};

struct ping {
	uint64_t time;
	uint32_t room, spare;
};

_Static_assert(sizeof(struct header) == 16, "header");
_Static_assert(sizeof(struct hello) == 40, "hello");
_Static_assert(sizeof(struct put) == 32, "put");
_Static_assert(sizeof(struct dropped) == 1032, "dropped");

/* What was put over a connection, with one page more. */
static inline uint32_t puts_with(uint32_t before, uint64_t sum)
{
	return (before << 7 | before >> 25) ^ (uint32_t)sum;
}

static inline void sleep_ms(unsigned int ms)
{
	usleep(ms * 1000);
}

static inline double seconds_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static inline int send_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		at += n;
		len -= n;
	}
	return 0;
}

/* 0, or -1: the peer is gone, or did not send that much in time. */
static inline int receive_all(int fd, void *data, size_t len)
{
	char *at = data;

	while (len) {
		ssize_t n = recv(fd, at, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		at += n;
		len -= n;
	}
	return 0;
}

/* A frame of a header and up to two parts. */
static inline int send_frame(int fd, struct header h, const void *meta, size_t meta_len,
			     const void *data, size_t data_len)
{
	char frame[sizeof(h) + 2048 + BATCH * PAGE_BYTES];

	if (!h.len)
		h.len = meta_len + data_len;
	memcpy(frame, &h, sizeof(h));
	if (meta_len)
		memcpy(frame + sizeof(h), meta, meta_len);
	if (data_len)
		memcpy(frame + sizeof(h) + meta_len, data, data_len);
	return send_all(fd, frame, sizeof(h) + meta_len + data_len);
}

static inline struct hello good_hello(void)
{
	struct hello hello = {
		.magic = MAGIC,
		.version = 1,
		.min_version = 1,
		.page_size = PAGE_BYTES,
		.node = 0x7e577e57ULL << 32 | getpid(),
		.incarnation = time(NULL),
	};

	return hello;
}

static inline void no_delay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

#endif /* WIRE_H */
