// SPDX-License-Identifier: GPL-2.0
/*
 * Shows the lender's end of a connection, down to the real store: pages that
 * were put come back with their bytes and seal, once when they are consumed;
 * an unknown, replaced or impossible page is answered as gone; a refused put
 * is told; answers come in the order of asking; a borrower that asks for more
 * than it takes back is not listened to; and nobody is, before HELLO.
 */
#include <linux/mm.h>

#include "fixture.h"

#define STREAM_BYTES	(8 * PUMA_WIRE_PAGE_SIZE)

/* A connection with a store that has room for at least one segment. */
static struct puma_conn *lender_conn(struct kunit *test)
{
	struct puma_conn *conn = puma_fix_conn(test, false);
	u32 room;

	conn->store = puma_store_open(conn, &conn->peer);
	KUNIT_ASSERT_NOT_NULL(test, conn->store);
	if (!puma_store_lease(conn->store, &room) || room < 64)
		kunit_skip(test, "there is no memory to lend");
	return conn;
}

static size_t put(void *to, const u32 *slot, const u64 *token, unsigned int nr)
{
	struct puma_wire_put meta[4] = {};
	unsigned int i;

	for (i = 0; i < nr; i++) {
		meta[i].slot = cpu_to_le32(slot[i]);
		meta[i].token = cpu_to_le64(token[i]);
		meta[i].sum = cpu_to_le64(token[i] + 1000);
		meta[i].seal = cpu_to_le64(token[i] + 2000);
	}
	return puma_fix_frame(to, PUMA_WIRE_PUT, 0, nr, 0, meta,
			      nr * sizeof(*meta), nr);
}

static size_t put_one(void *to, u32 slot, u64 token)
{
	return put(to, &slot, &token, 1);
}

static size_t get(void *to, u32 id, const u32 *slot, const u64 *token,
		  unsigned int nr, u8 flags)
{
	struct puma_wire_get meta[4] = {};
	unsigned int i;

	for (i = 0; i < nr; i++) {
		meta[i].slot = cpu_to_le32(slot[i]);
		meta[i].token = cpu_to_le64(token[i]);
	}
	return puma_fix_frame(to, PUMA_WIRE_GET, flags, nr, id, meta,
			      nr * sizeof(*meta), 0);
}

static size_t get_one(void *to, u32 id, u32 slot, u64 token)
{
	return get(to, id, &slot, &token, 1, 0);
}

/* The next frame answers page @nr of request @id with @fill, or as gone. */
static void expect_answer(struct kunit *test, struct puma_conn *conn, u32 id,
			  u16 nr, u64 token, int fill)
{
	struct puma_tx *tx = &conn->tx;
	const struct puma_wire_page *page;
	struct puma_wire_hdr hdr;

	KUNIT_ASSERT_TRUE(test, puma_fix_next(test, conn, &hdr));
	KUNIT_EXPECT_EQ(test, le32_to_cpu(hdr.id), id);
	KUNIT_EXPECT_EQ(test, le16_to_cpu(hdr.nr), nr);
	KUNIT_EXPECT_EQ(test, hdr.flags, 0);
	if (!fill) {
		KUNIT_EXPECT_EQ(test, hdr.type, PUMA_WIRE_GONE);
		KUNIT_EXPECT_EQ(test, le32_to_cpu(hdr.len), 0);
		return;
	}
	KUNIT_ASSERT_EQ(test, hdr.type, PUMA_WIRE_PAGE);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(hdr.len),
			sizeof(*page) + PUMA_WIRE_PAGE_SIZE);
	page = (void *)tx->head + sizeof(hdr);
	KUNIT_EXPECT_EQ(test, le64_to_cpu(page->sum), token + 1000);
	KUNIT_EXPECT_EQ(test, le64_to_cpu(page->seal), token + 2000);
	KUNIT_ASSERT_EQ(test, tx->nr_vec, 2);
	KUNIT_ASSERT_EQ(test, tx->vec[1].bv_len, PUMA_WIRE_PAGE_SIZE);
	KUNIT_EXPECT_NULL(test, memchr_inv(page_address(tx->vec[1].bv_page),
					   fill, PUMA_WIRE_PAGE_SIZE));
}

static void feed(struct kunit *test, struct puma_conn *conn, const void *bytes,
		 size_t len)
{
	KUNIT_EXPECT_EQ(test, len, puma_fix_feed(test, conn, bytes, len));
	KUNIT_EXPECT_EQ(test, conn->state, PUMA_CONN_UP);
}

static void *buffer(struct kunit *test)
{
	void *bytes = kunit_kzalloc(test, STREAM_BYTES, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, bytes);
	return bytes;
}

static void lender_keeps(struct kunit *test)
{
	static const u32 slot[] = { 5, 0, 8191 };
	static const u64 token[] = { 11, 12, 13 };
	struct puma_conn *conn = lender_conn(test);
	struct puma_wire_hdr hdr;
	u8 *bytes = buffer(test);
	unsigned int round;

	feed(test, conn, bytes, put(bytes, slot, token, 3));
	/* As often as wanted, in the order of asking. */
	for (round = 0; round < 3; round++) {
		feed(test, conn, bytes,
		     get(bytes, 70 + round, slot, token, 3, 0));
		feed(test, conn, bytes, get_one(bytes, 90 + round, 0, 12));
		expect_answer(test, conn, 70 + round, 0, 11, 1);
		expect_answer(test, conn, 70 + round, 1, 12, 2);
		expect_answer(test, conn, 70 + round, 2, 13, 3);
		expect_answer(test, conn, 90 + round, 0, 12, 2);
		KUNIT_EXPECT_FALSE(test, puma_fix_next(test, conn, &hdr));
	}
}

/* Each answer says what was put before it was asked for, stored or not. */
static void lender_tells_puts(struct kunit *test)
{
	static const u32 slot[] = { 5, U32_MAX };
	static const u64 token[] = { 11, 12 };
	const u32 one = 1011 << 7 ^ 1012, two = rol32(one, 7) ^ 1013;
	struct puma_conn *conn = lender_conn(test);
	struct puma_wire_hdr hdr;
	u8 *bytes = buffer(test);

	feed(test, conn, bytes, get_one(bytes, 1, 5, 11));
	feed(test, conn, bytes, put(bytes, slot, token, 2));
	feed(test, conn, bytes, get(bytes, 2, slot, token, 2, 0));
	feed(test, conn, bytes, put_one(bytes, 6, 13));
	feed(test, conn, bytes, get_one(bytes, 3, 6, 13));
	KUNIT_ASSERT_TRUE(test, puma_fix_next(test, conn, &hdr));
	/* It has come by now, but after the question. */
	KUNIT_EXPECT_EQ(test, hdr.type, PUMA_WIRE_GONE);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(hdr.puts), 0);
	KUNIT_ASSERT_TRUE(test, puma_fix_next(test, conn, &hdr));
	KUNIT_EXPECT_EQ(test, hdr.type, PUMA_WIRE_PAGE);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(hdr.puts), one);
	KUNIT_ASSERT_TRUE(test, puma_fix_next(test, conn, &hdr));
	KUNIT_EXPECT_EQ(test, hdr.type, PUMA_WIRE_GONE);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(hdr.puts), one);
	KUNIT_ASSERT_TRUE(test, puma_fix_next(test, conn, &hdr));
	KUNIT_EXPECT_EQ(test, le32_to_cpu(hdr.puts), two);
}

struct gone_case {
	const char *desc;
	u32 slot;
	u64 token;
};

static const struct gone_case gone_cases[] = {
	{ "another token", 5, 12 },
	{ "no token", 5, 0 },
	{ "another slot", 6, 11 },
	{ "empty slot, its token", 6, 0 },
	{ "slot of another segment", 5 + PUMA_SEGMENT_SLOTS, 11 },
	{ "beyond the lease", PUMA_MAX_SEGMENTS << PUMA_SEGMENT_SHIFT, 11 },
	{ "the largest slot", U32_MAX, 11 },
};

KUNIT_ARRAY_PARAM_DESC(gone, gone_cases, desc);

static void lender_gone(struct kunit *test)
{
	const struct gone_case *c = test->param_value;
	struct puma_conn *conn = lender_conn(test);
	u8 *bytes = buffer(test);

	feed(test, conn, bytes, put_one(bytes, 5, 11));
	feed(test, conn, bytes, get_one(bytes, 1, c->slot, c->token));
	expect_answer(test, conn, 1, 0, 0, 0);
	feed(test, conn, bytes, get_one(bytes, 2, 5, 11));
	expect_answer(test, conn, 2, 0, 11, 1);
}

static void lender_replaces(struct kunit *test)
{
	static const u32 slot[] = { 9, 5 };
	static const u64 token[] = { 21, 22 };
	struct puma_conn *conn = lender_conn(test);
	u8 *bytes = buffer(test);

	feed(test, conn, bytes, put_one(bytes, 5, 11));
	feed(test, conn, bytes, put(bytes, slot, token, 2));
	feed(test, conn, bytes, get_one(bytes, 1, 5, 11));
	expect_answer(test, conn, 1, 0, 0, 0);
	feed(test, conn, bytes, get_one(bytes, 2, 5, 22));
	expect_answer(test, conn, 2, 0, 22, 2);
}

/* A page that is being sent keeps its bytes when its slot is filled anew. */
static void lender_sends_what_it_had(struct kunit *test)
{
	static const u32 slot[] = { 9, 5 };
	static const u64 token[] = { 21, 22 };
	struct puma_conn *conn = lender_conn(test);
	u8 *bytes = buffer(test);

	feed(test, conn, bytes, put_one(bytes, 5, 11));
	feed(test, conn, bytes, get_one(bytes, 1, 5, 11));
	expect_answer(test, conn, 1, 0, 11, 1);
	feed(test, conn, bytes, put(bytes, slot, token, 2));
	KUNIT_EXPECT_NULL(test,
			  memchr_inv(page_address(conn->tx.vec[1].bv_page), 1,
				     PUMA_WIRE_PAGE_SIZE));
}

static void lender_consumes(struct kunit *test)
{
	const u32 slot = 5;
	const u64 token = 11;
	struct puma_conn *conn = lender_conn(test);
	u8 *bytes = buffer(test);

	feed(test, conn, bytes, put_one(bytes, slot, token));
	feed(test, conn, bytes,
	     get(bytes, 1, &slot, &token, 1, PUMA_WIRE_CONSUME));
	expect_answer(test, conn, 1, 0, token, 1);
	feed(test, conn, bytes, get_one(bytes, 2, slot, token));
	expect_answer(test, conn, 2, 0, 0, 0);
	/* A wrong token takes nothing. */
	feed(test, conn, bytes, put_one(bytes, slot, 12));
	feed(test, conn, bytes,
	     get(bytes, 3, &slot, &token, 1, PUMA_WIRE_CONSUME));
	expect_answer(test, conn, 3, 0, 0, 0);
	feed(test, conn, bytes, get_one(bytes, 4, slot, 12));
	expect_answer(test, conn, 4, 0, 12, 1);
}

static void lender_refuses(struct kunit *test)
{
	struct puma_conn *conn = lender_conn(test);
	const struct puma_wire_dropped *dropped;
	struct puma_wire_hdr hdr;
	u8 *bytes = buffer(test);
	unsigned int i;

	/* Beyond the lease: swallowed, and not worth a word. */
	feed(test, conn, bytes, put_one(bytes, U32_MAX, 11));
	KUNIT_EXPECT_FALSE(test, puma_fix_next(test, conn, &hdr));

	/* No room: what the slot had is gone too, and the borrower is told. */
	feed(test, conn, bytes, put_one(bytes, 70, 11));
	puma_store_refuse(conn->store, 70);
	puma_store_refuse(conn->store, 8191);
	KUNIT_ASSERT_TRUE(test, puma_fix_next(test, conn, &hdr));
	KUNIT_EXPECT_EQ(test, hdr.type, PUMA_WIRE_DROPPED);
	KUNIT_EXPECT_EQ(test, hdr.flags, PUMA_WIRE_REFUSED);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(hdr.id), 0);
	KUNIT_EXPECT_EQ(test, le16_to_cpu(hdr.nr), 0);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(hdr.len), sizeof(*dropped));
	dropped = (void *)conn->tx.head + sizeof(hdr);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(dropped->segment), 0);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(dropped->spare), 0);
	for (i = 0; i < PUMA_GONE_WORDS; i++) {
		u64 want = i == 70 / 64 ? BIT_ULL(70 % 64) :
			   i == 8191 / 64 ? BIT_ULL(63) : 0;

		KUNIT_EXPECT_EQ(test, le64_to_cpu(dropped->bitmap[i]), want);
	}
	/* Once. */
	KUNIT_EXPECT_FALSE(test, puma_fix_next(test, conn, &hdr));
	feed(test, conn, bytes, get_one(bytes, 1, 70, 11));
	expect_answer(test, conn, 1, 0, 0, 0);
}

/* A slot that is filled again before the borrower was told is not dropped. */
static void lender_refills(struct kunit *test)
{
	struct puma_conn *conn = lender_conn(test);
	struct puma_wire_hdr hdr;
	u8 *bytes = buffer(test);

	puma_store_refuse(conn->store, 70);
	feed(test, conn, bytes, put_one(bytes, 70, 12));
	KUNIT_EXPECT_FALSE(test, puma_fix_next(test, conn, &hdr));
	feed(test, conn, bytes, get_one(bytes, 1, 70, 12));
	expect_answer(test, conn, 1, 0, 12, 1);
}

/* Page data, however they are cut. */
static void lender_put_cut(struct kunit *test)
{
	static const u32 slot[] = { 5, 6 };
	static const u64 token[] = { 11, 12 };
	struct puma_conn *conn = lender_conn(test);
	u8 *bytes = buffer(test), *ask = bytes + STREAM_BYTES / 2;
	size_t len = put(bytes, slot, token, 2), len_ask, cut;

	len_ask = get(ask, 1, slot, token, 2, PUMA_WIRE_CONSUME);
	for (cut = 1; cut < len; cut += cut < 100 ? 1 : 61) {
		feed(test, conn, bytes, cut);
		feed(test, conn, bytes + cut, len - cut);
		feed(test, conn, ask, len_ask);
		expect_answer(test, conn, 1, 0, 11, 1);
		expect_answer(test, conn, 1, 1, 12, 2);
	}
}

static void lender_pong(struct kunit *test)
{
	const struct puma_wire_ping ping = { .time = cpu_to_le64(4711) };
	struct puma_conn *conn = lender_conn(test);
	const struct puma_wire_ping *pong;
	struct puma_wire_hdr hdr;
	u8 *bytes = buffer(test);

	feed(test, conn, bytes,
	     puma_fix_frame(bytes, PUMA_WIRE_PING, 0, 0, 0, &ping, sizeof(ping),
			    0));
	KUNIT_ASSERT_TRUE(test, puma_fix_next(test, conn, &hdr));
	KUNIT_EXPECT_EQ(test, hdr.type, PUMA_WIRE_PONG);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(hdr.len), sizeof(*pong));
	pong = (void *)conn->tx.head + sizeof(hdr);
	KUNIT_EXPECT_EQ(test, le64_to_cpu(pong->time), 4711);
	KUNIT_EXPECT_GT(test, le32_to_cpu(pong->room), 0);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(pong->spare), 0);
	KUNIT_EXPECT_FALSE(test, puma_fix_next(test, conn, &hdr));
}

static void lender_leases(struct kunit *test)
{
	struct puma_conn *conn = lender_conn(test);
	const struct puma_wire_lease *lease;
	struct puma_wire_hdr hdr;

	conn->lease = 15;
	conn->room = 1234;
	set_bit(PUMA_TODO_LEASE, &conn->todo);
	KUNIT_ASSERT_TRUE(test, puma_fix_next(test, conn, &hdr));
	KUNIT_EXPECT_EQ(test, hdr.type, PUMA_WIRE_LEASE);
	lease = (void *)conn->tx.head + sizeof(hdr);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(lease->segments), 15);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(lease->room), 1234);
}

/* A borrower that asks and does not listen is not listened to either. */
static void lender_replies_bounded(struct kunit *test)
{
	struct puma_conn *conn = puma_fix_conn(test, false);
	const u32 full = PUMA_REPLIES / PUMA_BATCH;
	struct puma_wire_get meta[PUMA_BATCH] = {};
	u8 *bytes = buffer(test);
	unsigned int n, i;
	size_t len;

	for (i = 0; i < PUMA_BATCH; i++)
		meta[i].slot = cpu_to_le32(i);
	len = puma_fix_frame(bytes, PUMA_WIRE_GET, 0, PUMA_BATCH, 7, meta,
			     sizeof(meta), 0);
	for (n = 0; n < 2 * full; n++)
		if (!puma_fix_feed(test, conn, bytes, len))
			break;
	KUNIT_EXPECT_EQ(test, n, full);
	KUNIT_EXPECT_TRUE(test, conn->rx.paused);
	KUNIT_EXPECT_EQ(test, conn->reply_head - conn->reply_tail,
			PUMA_REPLIES);
	KUNIT_EXPECT_EQ(test, conn->state, PUMA_CONN_UP);

	/* One place is not enough for a frame, 32 are. */
	conn->reply_tail += PUMA_BATCH - 1;
	KUNIT_EXPECT_EQ(test, 0, puma_fix_feed(test, conn, bytes, len));
	conn->reply_tail += 1;
	/* Two frames at once: it stops between them. */
	memcpy(bytes + len, bytes, len);
	KUNIT_EXPECT_EQ(test, len, puma_fix_feed(test, conn, bytes, 2 * len));
	KUNIT_EXPECT_EQ(test, conn->reply_head - conn->reply_tail,
			PUMA_REPLIES);
	for (i = 0; i < PUMA_BATCH; i++) {
		u32 at = (conn->reply_head - PUMA_BATCH + i) % PUMA_REPLIES;

		KUNIT_EXPECT_EQ(test, conn->reply[at].slot, i);
		KUNIT_EXPECT_EQ(test, conn->reply[at].nr, i);
		KUNIT_EXPECT_EQ(test, conn->reply[at].id, 7);
	}
}

/* Nothing after HELLO is looked at before there is a store. */
static void lender_waits_for_its_store(struct kunit *test)
{
	struct puma_conn *conn = puma_fix_conn(test, false);
	u8 *bytes = buffer(test);
	size_t hello, len;

	conn->greeted = false;
	conn->state = PUMA_CONN_GREETING;
	hello = puma_fix_hello(bytes, puma_node + 1);
	len = hello + get_one(bytes + hello, 1, 5, 11);
	KUNIT_EXPECT_EQ(test, hello, puma_fix_feed(test, conn, bytes, len));
	KUNIT_EXPECT_TRUE(test, conn->greeted);
	KUNIT_EXPECT_EQ(test, 0, puma_fix_feed(test, conn, bytes + hello,
					       len - hello));
	KUNIT_EXPECT_EQ(test, conn->reply_head, 0);
	conn->state = PUMA_CONN_UP;
	KUNIT_EXPECT_EQ(test, len - hello,
			puma_fix_feed(test, conn, bytes + hello, len - hello));
	KUNIT_EXPECT_EQ(test, conn->reply_head, 1);
}

struct bad_case {
	const char *desc;
	u8 type, flags;
	u16 nr;
	u32 len;
	bool greeted;
};

static const struct bad_case bad_cases[] = {
	{ "GET before HELLO", 5, 0, 1, 16, false },
	{ "PUT before HELLO", 4, 0, 1, 4128, false },
	{ "PING before HELLO", 9, 0, 0, 16, false },
	{ "second HELLO", 1, 0, 0, 40, true },
	{ "PAGE to a lender", 6, 0, 0, 4112, true },
	{ "GONE to a lender", 7, 0, 0, 0, true },
	{ "LEASE to a lender", 3, 0, 0, 8, true },
	{ "DROPPED to a lender", 8, 0, 0, 1032, true },
	{ "PONG to a lender", 10, 0, 0, 16, true },
	{ "GET of no page", 5, 0, 0, 0, true },
	{ "GET of 33 pages", 5, 0, 33, 528, true },
	{ "PUT of 33 pages", 4, 0, 33, 136224, true },
	{ "PUT with a page too few", 4, 0, 2, 4160, true },
	{ "PUT with a flag", 4, 1, 1, 4128, true },
};

KUNIT_ARRAY_PARAM_DESC(bad, bad_cases, desc);

static void lender_bad_frame(struct kunit *test)
{
	const struct bad_case *c = test->param_value;
	struct puma_conn *conn = puma_fix_conn(test, false);
	u8 *bytes = buffer(test);
	size_t len;

	conn->greeted = c->greeted;
	if (!c->greeted)
		conn->state = PUMA_CONN_GREETING;
	puma_wire_header((struct puma_wire_hdr *)bytes, c->type, c->flags,
			 c->nr, c->len, 0);
	len = sizeof(struct puma_wire_hdr) + min_t(size_t, c->len, 8192);
	KUNIT_EXPECT_EQ(test, len, puma_fix_feed(test, conn, bytes, len));
	KUNIT_EXPECT_EQ(test, conn->state, PUMA_CONN_BROKEN);
	KUNIT_EXPECT_EQ(test, conn->error, -EPROTO);
	KUNIT_EXPECT_EQ(test, conn->reply_head, 0);
	KUNIT_EXPECT_NULL(test, conn->rx.folio);
}

static struct kunit_case lender_cases[] = {
	KUNIT_CASE(lender_keeps),
	KUNIT_CASE(lender_tells_puts),
	KUNIT_CASE_PARAM(lender_gone, gone_gen_params),
	KUNIT_CASE(lender_replaces),
	KUNIT_CASE(lender_sends_what_it_had),
	KUNIT_CASE(lender_consumes),
	KUNIT_CASE(lender_refuses),
	KUNIT_CASE(lender_refills),
	KUNIT_CASE(lender_put_cut),
	KUNIT_CASE(lender_pong),
	KUNIT_CASE(lender_leases),
	KUNIT_CASE(lender_replies_bounded),
	KUNIT_CASE(lender_waits_for_its_store),
	KUNIT_CASE_PARAM(lender_bad_frame, bad_gen_params),
	{}
};

static struct kunit_suite lender_suite = {
	.name = "puma_net_lender",
	.test_cases = lender_cases,
};

kunit_test_suite(lender_suite);
