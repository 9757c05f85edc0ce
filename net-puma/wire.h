/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The bytes on the wire, and nothing else.
 *
 * Everything is little endian. A frame is a header, then a fixed or counted
 * part ("meta"), then whole pages of data. docs: Documentation/networking/
 * puma-protocol.rst
 */
#ifndef _NET_PUMA_WIRE_H
#define _NET_PUMA_WIRE_H

#include <linux/bitops.h>
#include <linux/wordpart.h>
#include <linux/types.h>
#include <net/puma.h>

#define PUMA_WIRE_MAGIC		0x0a1a0d414d555089ULL
#define PUMA_WIRE_VERSION	1
#define PUMA_WIRE_MIN_VERSION	1
#define PUMA_WIRE_FEATURES	0ULL	/* none defined yet */
#define PUMA_WIRE_PAGE_SIZE	4096U
#define PUMA_WIRE_META_MAX	1032U

enum puma_wire_type {
	PUMA_WIRE_HELLO		= 1,	/* both: first frame */
	PUMA_WIRE_REFUSE	= 2,	/* both: last frame, with a reason */
	PUMA_WIRE_LEASE		= 3,	/* lender: segments granted */
	PUMA_WIRE_PUT		= 4,	/* borrower: store pages */
	PUMA_WIRE_GET		= 5,	/* borrower: return pages */
	PUMA_WIRE_PAGE		= 6,	/* lender: a page that was asked for */
	PUMA_WIRE_GONE		= 7,	/* lender: not here, as an answer */
	PUMA_WIRE_DROPPED	= 8,	/* lender: slots dropped unasked */
	PUMA_WIRE_PING		= 9,	/* borrower */
	PUMA_WIRE_PONG		= 10,	/* lender */
};

#define PUMA_WIRE_CONSUME	0x01	/* flag of GET: forget the pages */
#define PUMA_WIRE_REFUSED	0x01	/* flag of DROPPED: had no room */

enum puma_wire_reason {
	PUMA_REASON_VERSION	= 1,
	PUMA_REASON_PAGE_SIZE	= 2,
	PUMA_REASON_SELF	= 3,
	PUMA_REASON_FULL	= 4,
};

/**
 * struct puma_wire_hdr - starts every frame
 * @type: enum puma_wire_type
 * @flags: by type, 0 otherwise
 * @nr: PUT, GET: pages; PAGE, GONE: which page of the request; else 0
 * @len: bytes that follow
 * @id: GET, PAGE, GONE: the request; else 0
 * @puts: PAGE, GONE: puma_wire_puts() of all PUTs before the GET; else 0
 */
struct puma_wire_hdr {
	u8 type;
	u8 flags;
	__le16 nr;
	__le32 len;
	__le32 id;
	__le32 puts;
};

/**
 * struct puma_wire_hello - who is speaking
 * @magic: PUMA_WIRE_MAGIC
 * @version: newest version spoken
 * @min_version: oldest version spoken
 * @page_size: bytes of a page
 * @features: bit a feature; what both have is used
 * @node: the machine
 * @incarnation: this life of it
 */
struct puma_wire_hello {
	__le64 magic;
	__le16 version;
	__le16 min_version;
	__le32 page_size;
	__le64 features;
	__le64 node;
	__le64 incarnation;
};

struct puma_wire_refuse {
	__le32 reason;
	__le32 spare;
};

/**
 * struct puma_wire_lease - what a lender grants from now on
 * @segments: slots 0 to @segments * PUMA_SEGMENT_SLOTS - 1 may be used
 * @room: pages it could take now
 */
struct puma_wire_lease {
	__le32 segments;
	__le32 room;
};

/* One page of a PUT; the data of all pages follow the last of these. */
struct puma_wire_put {
	__le32 slot;
	__le32 spare;
	__le64 token;
	__le64 sum;
	__le64 seal;
};

/* One page of a GET. */
struct puma_wire_get {
	__le32 slot;
	__le32 spare;
	__le64 token;
};

/**
 * puma_wire_puts - what was put over a connection, in 32 bits
 * @before: the same before this page; 0 at first
 * @sum: puma_wire_put.sum of the page
 *
 * A machine that is put back to a snapshot may find its connections alive, and
 * what it sends then is swallowed by TCP, if its former life has sent as much.
 * So a lender says in each answer which pages it got before the GET, and the
 * borrower compares that with those it had sent; and a page that was put after
 * a GET does not answer it.
 *
 * Return: with this page.
 */
static inline u32 puma_wire_puts(u32 before, u64 sum)
{
	return rol32(before, 7) ^ lower_32_bits(sum);
}

/* Comes before the data of a PAGE. */
struct puma_wire_page {
	__le64 sum;
	__le64 seal;
};

/* Slots that the lender dropped: a bitmap of one segment. */
struct puma_wire_dropped {
	__le32 segment;
	__le32 spare;
	__le64 bitmap[PUMA_GONE_WORDS];
};

/* PING has @time only in its answer's interest: PONG returns it. */
struct puma_wire_ping {
	__le64 time;
	__le32 room;
	__le32 spare;
};

#define PUMA_WIRE_BUF	(sizeof(struct puma_wire_hdr) + \
			 sizeof(struct puma_wire_dropped))

#endif /* _NET_PUMA_WIRE_H */
