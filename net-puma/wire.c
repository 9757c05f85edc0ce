// SPDX-License-Identifier: GPL-2.0
/*
 * The only file that judges what came from the network. What it lets through
 * has a known type, from the right side, at the right time, with the right
 * lengths; numbers inside are bounded by whoever uses them as an index.
 *
 * Pure functions.
 */
#include "internal.h"

/* What a frame of a type must look like. */
struct rule {
	bool to_lender;
	bool to_borrower;
	bool counted;		/* nr elements of meta, 1 to PUMA_BATCH */
	bool indexed;		/* an answer: nr is a page of a request */
	bool named;		/* id is a request */
	bool data;		/* a page an element, or one */
	u8 flags;		/* that may be set */
	u32 meta;		/* bytes of meta, or of one element */
};

static const struct rule rules[] = {
	[PUMA_WIRE_HELLO] = { true, true, .meta = sizeof(struct puma_wire_hello) },
	[PUMA_WIRE_REFUSE] = { true, true,
			       .meta = sizeof(struct puma_wire_refuse) },
	[PUMA_WIRE_LEASE] = { false, true,
			      .meta = sizeof(struct puma_wire_lease) },
	[PUMA_WIRE_PUT] = { true, false, .counted = true, .data = true,
			    .meta = sizeof(struct puma_wire_put) },
	[PUMA_WIRE_GET] = { true, false, .counted = true, .named = true,
			    .flags = PUMA_WIRE_CONSUME,
			    .meta = sizeof(struct puma_wire_get) },
	[PUMA_WIRE_PAGE] = { false, true, .data = true, .indexed = true,
			     .named = true,
			     .meta = sizeof(struct puma_wire_page) },
	[PUMA_WIRE_GONE] = { false, true, .indexed = true, .named = true },
	[PUMA_WIRE_DROPPED] = { false, true, .flags = PUMA_WIRE_REFUSED,
				.meta = sizeof(struct puma_wire_dropped) },
	[PUMA_WIRE_PING] = { true, false, .meta = sizeof(struct puma_wire_ping) },
	[PUMA_WIRE_PONG] = { false, true, .meta = sizeof(struct puma_wire_ping) },
};

/**
 * puma_wire_shape - judge a header
 * @hdr: the header
 * @to_lender: this end is the lender
 * @greeted: a good HELLO came before
 * @shape: filled
 *
 * Return: 0 or -EPROTO.
 */
int puma_wire_shape(const struct puma_wire_hdr *hdr, bool to_lender,
		    bool greeted, struct puma_shape *shape)
{
	u32 nr = le16_to_cpu(hdr->nr), elements = 1;
	const struct rule *rule;
	bool is_hello;

	if (!hdr->type || hdr->type >= ARRAY_SIZE(rules))
		return -EPROTO;
	rule = &rules[hdr->type];
	if (!(to_lender ? rule->to_lender : rule->to_borrower))
		return -EPROTO;
	is_hello = hdr->type == PUMA_WIRE_HELLO;
	if (hdr->type != PUMA_WIRE_REFUSE && greeted == is_hello)
		return -EPROTO;
	if ((hdr->flags & ~rule->flags) || (hdr->puts && !rule->indexed))
		return -EPROTO;
	if (rule->counted) {
		if (!nr || nr > PUMA_BATCH)
			return -EPROTO;
		elements = nr;
	} else if (nr >= (rule->indexed ? PUMA_BATCH : 1)) {
		return -EPROTO;
	}
	if (hdr->id && !rule->named)
		return -EPROTO;
	shape->meta = rule->meta * elements;
	shape->pages = rule->data ? elements : 0;
	if (le32_to_cpu(hdr->len) !=
	    shape->meta + shape->pages * PUMA_WIRE_PAGE_SIZE)
		return -EPROTO;
	return 0;
}

/**
 * puma_wire_header - fill a header
 * @hdr: to fill
 * @type: enum puma_wire_type
 * @flags: by type
 * @nr: by type
 * @len: bytes that follow
 * @id: by type
 */
void puma_wire_header(struct puma_wire_hdr *hdr, enum puma_wire_type type,
		      u8 flags, u16 nr, u32 len, u32 id)
{
	hdr->type = type;
	hdr->flags = flags;
	hdr->nr = cpu_to_le16(nr);
	hdr->len = cpu_to_le32(len);
	hdr->id = cpu_to_le32(id);
	hdr->puts = 0;
}

/**
 * puma_wire_hello_check - judge a HELLO
 * @hello: the frame's meta
 * @node: this machine
 *
 * Return: 0, or enum puma_wire_reason to refuse the peer. A peer with another
 * magic is no PUMA and gets PUMA_REASON_VERSION too.
 */
u32 puma_wire_hello_check(const struct puma_wire_hello *hello, u64 node)
{
	u16 newest = le16_to_cpu(hello->version);
	u16 oldest = le16_to_cpu(hello->min_version);

	if (le64_to_cpu(hello->magic) != PUMA_WIRE_MAGIC || oldest > newest ||
	    newest < PUMA_WIRE_MIN_VERSION || oldest > PUMA_WIRE_VERSION)
		return PUMA_REASON_VERSION;
	if (le32_to_cpu(hello->page_size) != PUMA_WIRE_PAGE_SIZE)
		return PUMA_REASON_PAGE_SIZE;
	if (le64_to_cpu(hello->node) == node)
		return PUMA_REASON_SELF;
	return 0;
}

/**
 * puma_wire_reason - a reason in words
 * @reason: enum puma_wire_reason, or anything a peer sent
 *
 * Return: the words.
 */
const char *puma_wire_reason(u32 reason)
{
	switch (reason) {
	case PUMA_REASON_VERSION:
		return "no common protocol version";
	case PUMA_REASON_PAGE_SIZE:
		return "another page size";
	case PUMA_REASON_SELF:
		return "this is the same machine";
	case PUMA_REASON_FULL:
		return "too many borrowers";
	default:
		return "unknown reason";
	}
}
