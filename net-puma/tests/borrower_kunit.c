// SPDX-License-Identifier: GPL-2.0
/*
 * Shows the borrower's end of a connection: frames come out the same however
 * the bytes are cut; an answer reaches the one page that was asked for and is
 * still waited for, and nobody else; half a page reaches nobody, nor does one of
 * a lender that knows other puts; requests get names of their own; a peer that
 * breaks the protocol loses the connection; and the dialler waits longer and
 * longer, but not for ever.
 */
#include "fixture.h"

#define STREAM_BYTES	(4 * PUMA_WIRE_PAGE_SIZE)

/* A request of @nr pages under a name of our choice; one bit stays open. */
static struct puma_get *ask(struct kunit *test, struct puma_conn *conn, u32 id,
			    unsigned int nr)
{
	struct puma_get *req = kunit_kzalloc(test, sizeof(*req), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, req);
	KUNIT_ASSERT_LT(test, nr, PUMA_BATCH);
	KUNIT_ASSERT_NULL(test, conn->req[id % PUMA_REQUESTS]);
	req->nr = nr;
	req->id = id;
	/* So that it never ends: its end is a matter of mm/puma. */
	req->unanswered = GENMASK(nr - 1, 0) | BIT(31);
	req->deadline = jiffies + 1000 * HZ;
	list_add_tail(&req->link, &conn->asked);
	conn->req[id % PUMA_REQUESTS] = req;
	conn->nr_asked++;
	return req;
}

static struct puma_get *queue_get(struct kunit *test, struct puma_conn *conn,
				  unsigned int nr)
{
	struct puma_get *req = kunit_kzalloc(test, sizeof(*req), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, req);
	req->nr = nr;
	req->unanswered = GENMASK(nr - 1, 0);
	for (i = 0; i < nr; i++) {
		req->page[i].slot = 100 + i;
		req->page[i].token = 200 + i;
	}
	list_add_tail(&req->link, &conn->gets);
	return req;
}

static size_t gone(void *to, u32 id, u16 nr)
{
	return puma_fix_frame(to, PUMA_WIRE_GONE, 0, nr, id, NULL, 0, 0);
}

static size_t page(void *to, u32 id, u16 nr)
{
	const struct puma_wire_page meta = { .sum = cpu_to_le64(4711) };

	return puma_fix_frame(to, PUMA_WIRE_PAGE, 0, nr, id, &meta,
			      sizeof(meta), 1);
}

static size_t lease(void *to, u32 segments, u32 room)
{
	const struct puma_wire_lease meta = {
		.segments = cpu_to_le32(segments),
		.room = cpu_to_le32(room),
	};

	return puma_fix_frame(to, PUMA_WIRE_LEASE, 0, 0, 0, &meta, sizeof(meta),
			      0);
}

static size_t pong(void *to, u64 time)
{
	const struct puma_wire_ping meta = { .time = cpu_to_le64(time) };

	return puma_fix_frame(to, PUMA_WIRE_PONG, 0, 0, 0, &meta, sizeof(meta),
			      0);
}

/* Everything that a lender may send. */
static size_t stream(u8 *to)
{
	struct puma_wire_dropped dropped = { .segment = cpu_to_le32(3) };
	size_t len = puma_fix_hello(to, puma_node + 1);

	len += lease(to + len, 7, 1000);
	len += gone(to + len, 5, 0);
	len += page(to + len, 5, 2);
	len += puma_fix_frame(to + len, PUMA_WIRE_DROPPED, 0, 0, 0, &dropped,
			      sizeof(dropped), 0);
	len += pong(to + len, U64_MAX);		/* from the future: ignored */
	len += gone(to + len, 6, 1);
	return len;
}

static void expect_stream(struct kunit *test, struct puma_conn *conn,
			  size_t cut)
{
	KUNIT_ASSERT_EQ_MSG(test, conn->state, PUMA_CONN_UP, "cut at %zu", cut);
	KUNIT_ASSERT_TRUE_MSG(test, conn->greeted, "cut at %zu", cut);
	KUNIT_ASSERT_TRUE_MSG(test, conn->lease_new, "cut at %zu", cut);
	KUNIT_ASSERT_EQ_MSG(test, conn->lease, 7, "cut at %zu", cut);
	KUNIT_ASSERT_EQ_MSG(test, conn->room, 1000, "cut at %zu", cut);
	KUNIT_ASSERT_EQ_MSG(test, conn->req[5]->unanswered, BIT(1) | BIT(31),
			    "cut at %zu", cut);
	KUNIT_ASSERT_EQ_MSG(test, conn->req[6]->unanswered, BIT(0) | BIT(31),
			    "cut at %zu", cut);
	KUNIT_ASSERT_EQ_MSG(test, conn->rx.state, PUMA_RX_HEADER, "cut at %zu",
			    cut);
	KUNIT_ASSERT_EQ_MSG(test, conn->rx.have, 0, "cut at %zu", cut);
}

static void restart(struct puma_conn *conn)
{
	puma_recv_reset(conn);
	conn->greeted = false;
	conn->lease_new = false;
	conn->lease = 0;
	conn->room = 0;
	conn->req[5]->unanswered = GENMASK(2, 0) | BIT(31);
	conn->req[6]->unanswered = GENMASK(1, 0) | BIT(31);
}

static void borrower_cut_in_two(struct kunit *test)
{
	struct puma_conn *conn = puma_fix_conn(test, true);
	u8 *bytes = kunit_kzalloc(test, STREAM_BYTES, GFP_KERNEL);
	size_t len, cut;

	KUNIT_ASSERT_NOT_NULL(test, bytes);
	ask(test, conn, 5, 3);
	ask(test, conn, 6, 2);
	len = stream(bytes);
	KUNIT_ASSERT_LE(test, len, STREAM_BYTES);
	for (cut = 1; cut < len; cut++) {
		restart(conn);
		KUNIT_ASSERT_EQ(test, cut,
				puma_fix_feed(test, conn, bytes, cut));
		KUNIT_ASSERT_EQ(test, len - cut,
				puma_fix_feed(test, conn, bytes + cut,
					      len - cut));
		expect_stream(test, conn, cut);
	}
}

struct piece_case {
	const char *desc;
	size_t piece;
};

static const struct piece_case piece_cases[] = {
	{ "one byte", 1 }, { "two bytes", 2 }, { "three bytes", 3 },
	{ "a header less one", 15 }, { "a header", 16 },
	{ "a header and one", 17 }, { "a segment of TCP", 1448 },
	{ "a page less one", 4095 }, { "a page", 4096 }, { "all", 1 << 20 },
};

KUNIT_ARRAY_PARAM_DESC(piece, piece_cases, desc);

static void borrower_cut_in_pieces(struct kunit *test)
{
	const struct piece_case *c = test->param_value;
	struct puma_conn *conn = puma_fix_conn(test, true);
	u8 *bytes = kunit_kzalloc(test, STREAM_BYTES, GFP_KERNEL);
	size_t len, at, n;

	KUNIT_ASSERT_NOT_NULL(test, bytes);
	ask(test, conn, 5, 3);
	ask(test, conn, 6, 2);
	restart(conn);
	len = stream(bytes);
	for (at = 0; at < len; at += n) {
		n = min(c->piece, len - at);
		KUNIT_ASSERT_EQ(test, n,
				puma_fix_feed(test, conn, bytes + at, n));
	}
	expect_stream(test, conn, c->piece);
}

/* Who is reached by an answer? */

#define ASKED_ID	(3 * PUMA_REQUESTS + 5)

struct answer_case {
	const char *desc;
	u32 id;
	u16 nr;
	unsigned int times;
	bool reached;
};

static const struct answer_case answer_cases[] = {
	{ "the first page", ASKED_ID, 0, 1, true },
	{ "the last page", ASKED_ID, 3, 1, true },
	{ "a page twice", ASKED_ID, 1, 2, true },
	{ "a page that was not asked for", ASKED_ID, 4, 1, false },
	{ "far beyond the request", ASKED_ID, 30, 1, false },
	{ "an earlier request of the same place", 5, 0, 1, false },
	{ "a later request of the same place", ASKED_ID + PUMA_REQUESTS, 0, 1,
	  false },
	{ "nobody's place", ASKED_ID + 1, 0, 1, false },
	{ "the largest number", U32_MAX, 0, 1, false },
};

KUNIT_ARRAY_PARAM_DESC(answer, answer_cases, desc);

static void borrower_answer(struct kunit *test)
{
	const struct answer_case *c = test->param_value;
	u8 *bytes = kunit_kzalloc(test, STREAM_BYTES, GFP_KERNEL);
	unsigned int data, i, n;
	size_t len;

	KUNIT_ASSERT_NOT_NULL(test, bytes);
	for (data = 0; data < 2; data++) {
		struct puma_conn *conn = puma_fix_conn(test, true);
		struct puma_get *req = ask(test, conn, ASKED_ID, 4);
		u32 before = req->unanswered;

		for (n = 0; n < c->times; n++) {
			/* A second answer must not be taken for the first. */
			for (i = 0; i < PUMA_BATCH; i++)
				req->page[i].state = 0;
			len = data ? page(bytes, c->id, c->nr) :
				     gone(bytes, c->id, c->nr);
			KUNIT_EXPECT_EQ(test, len,
					puma_fix_feed(test, conn, bytes, len));
			KUNIT_EXPECT_EQ(test, conn->state, PUMA_CONN_UP);
			/* A page is checked by mm/puma, which has no index. */
			for (i = 0; i < PUMA_BATCH; i++)
				KUNIT_EXPECT_EQ_MSG(test, !data && !n &&
						    c->reached && i == c->nr,
						    req->page[i].state != 0,
						    "page %u", i);
		}
		KUNIT_EXPECT_EQ(test, req->unanswered,
				c->reached ? before & ~BIT(c->nr) : before);
	}
}

/* The lender was not sent what we sent: not a byte of it is taken. */
static void borrower_another_life(struct kunit *test)
{
	u8 *bytes = kunit_kzalloc(test, STREAM_BYTES, GFP_KERNEL);
	struct puma_wire_hdr *hdr = (void *)bytes;
	unsigned int data, same;
	size_t len;

	KUNIT_ASSERT_NOT_NULL(test, bytes);
	for (data = 0; data < 2; data++)
		for (same = 0; same < 2; same++) {
			struct puma_conn *conn = puma_fix_conn(test, true);
			struct puma_get *req = ask(test, conn, 5, 3);
			u32 before = req->unanswered;

			req->puts = 0x80000001;
			len = data ? page(bytes, 5, 1) : gone(bytes, 5, 1);
			hdr->puts = cpu_to_le32(same ? 0x80000001 : 1);
			KUNIT_EXPECT_EQ(test, len,
					puma_fix_feed(test, conn, bytes, len));
			KUNIT_EXPECT_EQ(test, req->unanswered,
					same ? before & ~BIT(1) : before);
			KUNIT_EXPECT_EQ(test, conn->state, same ? PUMA_CONN_UP :
					PUMA_CONN_BROKEN);
			KUNIT_EXPECT_EQ(test, conn->error, same ? 0 : -EBADMSG);
		}
}

/* A request remembers what was put before it. */
static void borrower_remembers_puts(struct kunit *test)
{
	struct puma_conn *conn = puma_fix_conn(test, true);
	struct puma_get *req = queue_get(test, conn, 1);

	conn->tx.puts = puma_wire_puts(puma_wire_puts(0, 5), 1ULL << 40 | 3);
	KUNIT_EXPECT_EQ(test, conn->tx.puts, 5 << 7 ^ 3);
	mutex_lock(&conn->tx_lock);
	KUNIT_EXPECT_TRUE(test, puma_send_next_frame(conn, false));
	mutex_unlock(&conn->tx_lock);
	KUNIT_EXPECT_EQ(test, req->puts, 5 << 7 ^ 3);
	/* The next connection begins anew. */
	puma_send_reset(conn);
	KUNIT_EXPECT_EQ(test, conn->tx.puts, 0);
}

/* The last byte of a page makes it known, and none before it. */
static void borrower_half_page(struct kunit *test)
{
	struct puma_conn *conn = puma_fix_conn(test, true);
	struct puma_get *req = ask(test, conn, 5, 3);
	u8 *bytes = kunit_kzalloc(test, STREAM_BYTES, GFP_KERNEL);
	u32 before = req->unanswered;
	size_t len;

	KUNIT_ASSERT_NOT_NULL(test, bytes);
	len = page(bytes, 5, 1);
	puma_fix_feed(test, conn, bytes, len - 1);
	KUNIT_EXPECT_EQ(test, req->unanswered, before);
	KUNIT_EXPECT_EQ(test, req->page[1].state, 0);

	/* The request ends meanwhile, and its place is taken by another. */
	list_del(&req->link);
	conn->req[5] = NULL;
	conn->nr_asked--;
	ask(test, conn, 5 + PUMA_REQUESTS, 3);
	puma_fix_feed(test, conn, bytes + len - 1, 1);
	KUNIT_EXPECT_EQ(test, req->unanswered, before);
	KUNIT_EXPECT_EQ(test, conn->req[5]->unanswered, before);
	KUNIT_EXPECT_EQ(test, conn->req[5]->page[1].state, 0);
	KUNIT_EXPECT_EQ(test, conn->state, PUMA_CONN_UP);
}

/* What ends the connection */

struct bad_case {
	const char *desc;
	u8 type, flags;
	u16 nr;
	u32 len;
	u32 first;		/* of the meta */
	bool greeted;
	bool breaks;
};

static const struct bad_case bad_cases[] = {
	{ "type 0", 0, 0, 0, 0, 0, true, true },
	{ "type 11", 11, 0, 0, 0, 0, true, true },
	{ "type 255", 255, 0, 0, 0, 0, true, true },
	{ "GET to a borrower", 5, 0, 1, 16, 0, true, true },
	{ "PUT to a borrower", 4, 0, 1, 4128, 0, true, true },
	{ "PING to a borrower", 9, 0, 0, 16, 0, true, true },
	{ "second HELLO", 1, 0, 0, 40, 0, true, true },
	{ "LEASE before HELLO", 3, 0, 0, 8, 1, false, true },
	{ "PAGE before HELLO", 6, 0, 0, 4112, 0, false, true },
	{ "huge frame", 6, 0, 0, 0x7fffffff, 0, true, true },
	{ "PAGE without data", 6, 0, 0, 16, 0, true, true },
	{ "unknown flag", 7, 2, 0, 0, 0, true, true },
	{ "page 32 of a request", 7, 0, 32, 0, 0, true, true },
	{ "largest lease", 3, 0, 0, 8, PUMA_MAX_SEGMENTS, true, false },
	{ "lease too large", 3, 0, 0, 8, PUMA_MAX_SEGMENTS + 1, true, true },
	{ "absurd lease", 3, 0, 0, 8, U32_MAX, true, true },
	{ "last segment dropped", 8, 0, 0, 1032, PUMA_MAX_SEGMENTS - 1, true,
	  false },
	{ "no such segment dropped", 8, 0, 0, 1032, PUMA_MAX_SEGMENTS, true,
	  true },
	{ "REFUSE before HELLO", 2, 0, 0, 8, 1, false, true },
	{ "REFUSE", 2, 0, 0, 8, 77, true, true },
};

KUNIT_ARRAY_PARAM_DESC(bad, bad_cases, desc);

static void borrower_bad_frame(struct kunit *test)
{
	const struct bad_case *c = test->param_value;
	struct puma_conn *conn = puma_fix_conn(test, true);
	u8 *bytes = kunit_kzalloc(test, STREAM_BYTES, GFP_KERNEL);
	__le32 first = cpu_to_le32(c->first);
	size_t len;

	KUNIT_ASSERT_NOT_NULL(test, bytes);
	conn->greeted = c->greeted;
	if (!c->greeted)
		conn->state = PUMA_CONN_GREETING;
	puma_wire_header((struct puma_wire_hdr *)bytes, c->type, c->flags,
			 c->nr, c->len, 0);
	memcpy(bytes + sizeof(struct puma_wire_hdr), &first, sizeof(first));
	len = sizeof(struct puma_wire_hdr) + min_t(size_t, c->len, 4200);
	/* All is swallowed, so that it does not come again. */
	KUNIT_EXPECT_EQ(test, len, puma_fix_feed(test, conn, bytes, len));
	KUNIT_EXPECT_EQ(test, c->breaks, conn->state == PUMA_CONN_BROKEN);
	if (!c->breaks)
		return;
	KUNIT_EXPECT_EQ(test, conn->error, c->type == PUMA_WIRE_REFUSE ?
			-ECONNREFUSED : -EPROTO);
	/* Nothing is taken in any more. */
	conn->greeted = true;
	len = lease(bytes, 7, 7);
	KUNIT_EXPECT_EQ(test, len, puma_fix_feed(test, conn, bytes, len));
	KUNIT_EXPECT_NE(test, conn->lease, 7);
}

/* A HELLO that is refused: we say why, and the rest is not waited for. */
static void borrower_refuses_hello(struct kunit *test)
{
	struct puma_conn *conn = puma_fix_conn(test, true);
	const struct puma_wire_refuse *refuse;
	struct puma_wire_hdr hdr;
	u8 bytes[64];
	size_t len;

	conn->greeted = false;
	conn->state = PUMA_CONN_GREETING;
	len = puma_fix_hello(bytes, puma_node);		/* ourselves */
	puma_fix_feed(test, conn, bytes, len);
	KUNIT_EXPECT_FALSE(test, conn->greeted);
	KUNIT_ASSERT_TRUE(test, puma_fix_next(test, conn, &hdr));
	KUNIT_EXPECT_EQ(test, hdr.type, PUMA_WIRE_REFUSE);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(hdr.len), sizeof(*refuse));
	refuse = (void *)conn->tx.head + sizeof(hdr);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(refuse->reason), PUMA_REASON_SELF);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(refuse->spare), 0);
	KUNIT_EXPECT_FALSE(test, puma_fix_next(test, conn, &hdr));

	/* A good HELLO after that comes too late. */
	len = puma_fix_hello(bytes, puma_node + 1);
	puma_fix_feed(test, conn, bytes, len);
	KUNIT_EXPECT_FALSE(test, conn->greeted);
}

/* What it sends */

static void borrower_says_hello(struct kunit *test)
{
	struct puma_conn *conn = puma_fix_conn(test, true);
	struct puma_wire_hello *hello;
	struct puma_wire_ping *ping;
	struct puma_wire_hdr hdr;

	conn->state = PUMA_CONN_GREETING;
	set_bit(PUMA_TODO_HELLO, &conn->todo);
	set_bit(PUMA_TODO_PING, &conn->todo);
	KUNIT_ASSERT_TRUE(test, puma_fix_next(test, conn, &hdr));
	KUNIT_EXPECT_EQ(test, hdr.type, PUMA_WIRE_HELLO);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(hdr.len), sizeof(*hello));
	hello = (void *)conn->tx.head + sizeof(hdr);
	KUNIT_EXPECT_EQ(test, 0, puma_wire_hello_check(hello, puma_node + 1));
	KUNIT_EXPECT_EQ(test, PUMA_REASON_SELF,
			puma_wire_hello_check(hello, puma_node));
	KUNIT_EXPECT_EQ(test, le64_to_cpu(hello->incarnation),
			puma_incarnation);

	KUNIT_ASSERT_TRUE(test, puma_fix_next(test, conn, &hdr));
	KUNIT_EXPECT_EQ(test, hdr.type, PUMA_WIRE_PING);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(hdr.len), sizeof(*ping));
	ping = (void *)conn->tx.head + sizeof(hdr);
	KUNIT_EXPECT_NE(test, le64_to_cpu(ping->time), 0);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(ping->room), 0);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(ping->spare), 0);
	KUNIT_EXPECT_FALSE(test, puma_fix_next(test, conn, &hdr));
}

static void borrower_asks(struct kunit *test)
{
	struct puma_conn *conn = puma_fix_conn(test, true);
	static const unsigned int sizes[] = { 1, 7, PUMA_BATCH };
	struct puma_wire_hdr hdr;
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct puma_get *req = queue_get(test, conn, sizes[i]);
		const struct puma_wire_get *get;
		struct puma_shape shape;

		req->consume = i % 2;
		KUNIT_ASSERT_TRUE(test, puma_fix_next(test, conn, &hdr));
		KUNIT_EXPECT_EQ(test, hdr.type, PUMA_WIRE_GET);
		KUNIT_EXPECT_EQ(test, hdr.flags, i % 2 ? PUMA_WIRE_CONSUME : 0);
		KUNIT_EXPECT_EQ(test, le16_to_cpu(hdr.nr), sizes[i]);
		KUNIT_EXPECT_EQ(test, le32_to_cpu(hdr.id), req->id);
		KUNIT_EXPECT_EQ(test, 0, puma_wire_shape(&hdr, true, true,
							 &shape));
		KUNIT_EXPECT_EQ(test, shape.meta, sizes[i] * sizeof(*get));
		KUNIT_EXPECT_PTR_EQ(test, req,
				    conn->req[req->id % PUMA_REQUESTS]);
		get = (void *)conn->tx.head + sizeof(hdr);
		for (j = 0; j < sizes[i]; j++) {
			KUNIT_EXPECT_EQ(test, le32_to_cpu(get[j].slot),
					100 + j);
			KUNIT_EXPECT_EQ(test, le64_to_cpu(get[j].token),
					200 + j);
			KUNIT_EXPECT_EQ(test, le32_to_cpu(get[j].spare), 0);
		}
	}
	KUNIT_EXPECT_EQ(test, conn->nr_asked, ARRAY_SIZE(sizes));
	KUNIT_EXPECT_TRUE(test, list_empty(&conn->gets));
	/* Control goes first, and nothing is asked before the peer is known. */
	queue_get(test, conn, 1);
	set_bit(PUMA_TODO_PING, &conn->todo);
	conn->state = PUMA_CONN_GREETING;
	KUNIT_EXPECT_TRUE(test, puma_fix_next(test, conn, &hdr));
	KUNIT_EXPECT_EQ(test, hdr.type, PUMA_WIRE_PING);
	KUNIT_EXPECT_FALSE(test, puma_fix_next(test, conn, &hdr));
	conn->state = PUMA_CONN_UP;
	KUNIT_EXPECT_TRUE(test, puma_fix_next(test, conn, &hdr));
	KUNIT_EXPECT_EQ(test, hdr.type, PUMA_WIRE_GET);
}

/* No more requests than places, and no name that is in use. */
static void borrower_request_table(struct kunit *test)
{
	struct puma_conn *conn = puma_fix_conn(test, true);
	struct puma_get *old = ask(test, conn, 5, 1), *req;
	struct puma_wire_hdr hdr;
	unsigned int i;

	conn->next_id = U32_MAX - 100;
	for (i = 0; i < PUMA_REQUESTS + 3; i++)
		queue_get(test, conn, 1);
	for (i = 1; i < PUMA_REQUESTS; i++) {
		KUNIT_ASSERT_TRUE(test, puma_fix_next(test, conn, &hdr));
		KUNIT_ASSERT_EQ(test, hdr.type, PUMA_WIRE_GET);
		KUNIT_ASSERT_NE(test, le32_to_cpu(hdr.id) % PUMA_REQUESTS, 5);
	}
	KUNIT_EXPECT_EQ(test, conn->nr_asked, PUMA_REQUESTS);
	for (i = 0; i < PUMA_REQUESTS; i++) {
		KUNIT_ASSERT_NOT_NULL(test, conn->req[i]);
		KUNIT_EXPECT_EQ(test, conn->req[i]->id % PUMA_REQUESTS, i);
	}
	KUNIT_EXPECT_PTR_EQ(test, conn->req[5], old);
	KUNIT_EXPECT_FALSE(test, puma_fix_next(test, conn, &hdr));

	/* A place is free again: the next takes it under a new name. */
	req = conn->req[77];
	list_del(&req->link);
	conn->req[77] = NULL;
	conn->nr_asked--;
	KUNIT_EXPECT_TRUE(test, puma_fix_next(test, conn, &hdr));
	KUNIT_EXPECT_EQ(test, le32_to_cpu(hdr.id) % PUMA_REQUESTS, 77);
	KUNIT_EXPECT_NE(test, le32_to_cpu(hdr.id), req->id);
	KUNIT_EXPECT_FALSE(test, puma_fix_next(test, conn, &hdr));
}

/* The timer takes only those whose time has come. */
static void borrower_deadline(struct kunit *test)
{
	struct puma_conn *conn = puma_fix_conn(test, true);
	struct puma_get *asked = ask(test, conn, 5, 1);
	struct puma_get *waiting = queue_get(test, conn, 1);

	waiting->deadline = jiffies + 500 * HZ;
	local_bh_disable();
	puma_deadline_timer(&conn->timer);
	local_bh_enable();
	KUNIT_EXPECT_PTR_EQ(test, conn->req[5], asked);
	KUNIT_EXPECT_EQ(test, conn->nr_asked, 1);
	KUNIT_EXPECT_FALSE(test, list_empty(&conn->gets));
	/* It comes back for the earliest of them. */
	KUNIT_EXPECT_TRUE(test, timer_pending(&conn->timer));
	KUNIT_EXPECT_TRUE(test, time_before_eq(conn->timer.expires,
					       waiting->deadline + 64 * HZ));
	list_del_init(&waiting->link);
}

static void borrower_keepalive(struct kunit *test)
{
	struct puma_conn *conn = puma_fix_conn(test, true);
	struct puma_wire_hdr hdr;
	u8 bytes[64];
	size_t len;

	KUNIT_EXPECT_TRUE(test, puma_keepalive(conn));
	KUNIT_EXPECT_TRUE(test, puma_fix_next(test, conn, &hdr));
	KUNIT_EXPECT_EQ(test, hdr.type, PUMA_WIRE_PING);
	conn->heard = jiffies - 6 * HZ;
	KUNIT_EXPECT_FALSE(test, puma_keepalive(conn));
	/* Any good frame is a sign of life. */
	len = lease(bytes, 1, 1);
	puma_fix_feed(test, conn, bytes, len);
	KUNIT_EXPECT_TRUE(test, puma_keepalive(conn));
}

struct backoff_case {
	const char *desc;
	unsigned long before, least, most;
};

static const struct backoff_case backoff_cases[] = {
	{ "after a success", 0, HZ / 10, HZ / 10 + HZ / 80 },
	{ "shorter than the least", 1, HZ / 10, HZ / 10 + HZ / 80 },
	{ "doubles", HZ, 2 * HZ, 2 * HZ + HZ / 4 },
	{ "near the most", 5 * HZ, 10 * HZ, 10 * HZ + 10 * HZ / 8 },
	{ "the most", 10 * HZ, 10 * HZ, 10 * HZ + 10 * HZ / 8 },
	{ "beyond the most", 12 * HZ, 10 * HZ, 10 * HZ + 10 * HZ / 8 },
};

KUNIT_ARRAY_PARAM_DESC(backoff, backoff_cases, desc);

static void borrower_backoff(struct kunit *test)
{
	const struct backoff_case *c = test->param_value;
	unsigned long next, least = ULONG_MAX, most = 0;
	unsigned int i;

	for (i = 0; i < 1000; i++) {
		next = puma_backoff_next(c->before);
		least = min(least, next);
		most = max(most, next);
	}
	KUNIT_EXPECT_GE(test, least, c->least);
	KUNIT_EXPECT_LE(test, most, c->most);
	/* Not all at once. */
	if (c->least >= 8)
		KUNIT_EXPECT_LT(test, least, most);
}

/* From the first failure on: ten seconds are reached, and never left. */
static void borrower_backoff_grows(struct kunit *test)
{
	unsigned long backoff = 0, last;
	unsigned int i;

	for (i = 0; i < 100; i++) {
		last = backoff;
		backoff = puma_backoff_next(last);
		KUNIT_EXPECT_GT(test, backoff, 0);
		if (i > 8)
			KUNIT_EXPECT_GE(test, backoff, 10 * HZ);
		else
			KUNIT_EXPECT_GE(test, backoff, min(2 * last,
							   10UL * HZ));
	}
}

static struct kunit_case borrower_cases[] = {
	KUNIT_CASE(borrower_cut_in_two),
	KUNIT_CASE_PARAM(borrower_cut_in_pieces, piece_gen_params),
	KUNIT_CASE_PARAM(borrower_answer, answer_gen_params),
	KUNIT_CASE(borrower_another_life),
	KUNIT_CASE(borrower_remembers_puts),
	KUNIT_CASE(borrower_half_page),
	KUNIT_CASE_PARAM(borrower_bad_frame, bad_gen_params),
	KUNIT_CASE(borrower_refuses_hello),
	KUNIT_CASE(borrower_says_hello),
	KUNIT_CASE(borrower_asks),
	KUNIT_CASE(borrower_request_table),
	KUNIT_CASE(borrower_deadline),
	KUNIT_CASE(borrower_keepalive),
	KUNIT_CASE_PARAM(borrower_backoff, backoff_gen_params),
	KUNIT_CASE(borrower_backoff_grows),
	{}
};

static struct kunit_suite borrower_suite = {
	.name = "puma_net_borrower",
	.test_cases = borrower_cases,
};

kunit_test_suite(borrower_suite);
