// SPDX-License-Identifier: GPL-2.0
/*
 * Shows that the bytes on the wire are those of protocol version 1, written
 * out here; that a header is let through exactly when type, direction, time,
 * flags, numbers and length are right; and which HELLO is refused, and why.
 */
#include "fixture.h"

/* Bytes of the protocol: what must not change without a new version. */

static const u8 hello_bytes[] = {
	0x01, 0x00, 0x00, 0x00, 0x28, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x89, 0x50, 0x55, 0x4d, 0x41, 0x0d, 0x1a, 0x0a,
	0x01, 0x00, 0x01, 0x00, 0x00, 0x10, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
	0x00, 0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99,
};

static const u8 refuse_bytes[] = {
	0x02, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};

static const u8 lease_bytes[] = {
	0x03, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x0f, 0x00, 0x00, 0x00, 0x45, 0x23, 0x01, 0x00,
};

/* Two pages; their data follow. */
static const u8 put_bytes[] = {
	0x04, 0x00, 0x02, 0x00, 0x40, 0x20, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x78, 0x56, 0x34, 0x12, 0x00, 0x00, 0x00, 0x00,
	0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,
	0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x79, 0x56, 0x34, 0x12, 0x00, 0x00, 0x00, 0x00,
	0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21,
	0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};

static const u8 get_bytes[] = {
	0x05, 0x01, 0x02, 0x00, 0x20, 0x00, 0x00, 0x00,
	0x04, 0x03, 0x02, 0x01, 0x00, 0x00, 0x00, 0x00,
	0x78, 0x56, 0x34, 0x12, 0x00, 0x00, 0x00, 0x00,
	0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,
	0x79, 0x56, 0x34, 0x12, 0x00, 0x00, 0x00, 0x00,
	0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21,
};

/* The data follow. */
static const u8 page_bytes[] = {
	0x06, 0x00, 0x1f, 0x00, 0x10, 0x10, 0x00, 0x00,
	0x04, 0x03, 0x02, 0x01, 0x00, 0x00, 0x00, 0x00,
	0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};

static const u8 gone_bytes[] = {
	0x07, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x04, 0x03, 0x02, 0x01, 0x00, 0x00, 0x00, 0x00,
};

/* The bitmap goes on with zeros. */
static const u8 dropped_bytes[] = {
	0x08, 0x01, 0x00, 0x00, 0x08, 0x04, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80,
	0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};

static const u8 ping_bytes[] = {
	0x09, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};

static const u8 pong_bytes[] = {
	0x0a, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,
	0x45, 0x23, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
};

/* The same frames, made from the structs. */

#define NODE		0x1122334455667788ULL
#define INCARNATION	0x99aabbccddeeff00ULL
#define SLOT		0x12345678U
#define TOKEN		0x0102030405060708ULL
#define SUM		0x1112131415161718ULL
#define TOKEN2		0x2122232425262728ULL
#define SUM2		0x3132333435363738ULL
#define ID		0x01020304U
#define ROOM		0x12345U

static const struct puma_wire_hello hello = {
	.magic = cpu_to_le64(PUMA_WIRE_MAGIC),
	.version = cpu_to_le16(PUMA_WIRE_VERSION),
	.min_version = cpu_to_le16(PUMA_WIRE_MIN_VERSION),
	.page_size = cpu_to_le32(PUMA_WIRE_PAGE_SIZE),
	.features = cpu_to_le64(PUMA_WIRE_FEATURES),
	.node = cpu_to_le64(NODE),
	.incarnation = cpu_to_le64(INCARNATION),
};

static const struct puma_wire_refuse refuse = {
	.reason = cpu_to_le32(PUMA_REASON_PAGE_SIZE),
};

static const struct puma_wire_lease lease = {
	.segments = cpu_to_le32(15),
	.room = cpu_to_le32(ROOM),
};

static const struct puma_wire_put put[] = {
	{
		.slot = cpu_to_le32(SLOT),
		.token = cpu_to_le64(TOKEN),
		.sum = cpu_to_le64(SUM),
	}, {
		.slot = cpu_to_le32(SLOT + 1),
		.token = cpu_to_le64(TOKEN2),
		.sum = cpu_to_le64(SUM2),
	},
};

static const struct puma_wire_get get[] = {
	{ .slot = cpu_to_le32(SLOT), .token = cpu_to_le64(TOKEN) },
	{ .slot = cpu_to_le32(SLOT + 1), .token = cpu_to_le64(TOKEN2) },
};

static const struct puma_wire_page page = {
	.sum = cpu_to_le64(SUM),
};

static const struct puma_wire_dropped dropped = {
	.segment = cpu_to_le32(7),
	.bitmap = {
		cpu_to_le64(BIT_ULL(0) | BIT_ULL(63)),
		cpu_to_le64(BIT_ULL(1)),
	},
};

static const struct puma_wire_ping ping = { .time = cpu_to_le64(TOKEN) };

static const struct puma_wire_ping pong = {
	.time = cpu_to_le64(TOKEN),
	.room = cpu_to_le32(ROOM),
};

#define TO_LENDER	BIT(0)
#define TO_BORROWER	BIT(1)

struct frame_case {
	const char *desc;
	enum puma_wire_type type;
	u8 flags;
	u16 nr;
	u32 id;
	const void *meta;
	u32 len_meta, pages;
	const u8 *bytes;
	u32 len_bytes;
	unsigned int to;
};

#define FRAME(name, type, flags, nr, id, meta, pages, to) \
	{ #name, type, flags, nr, id, meta, sizeof(name), pages, \
	  name##_bytes, sizeof(name##_bytes), to }

static const struct frame_case frame_cases[] = {
	FRAME(hello, PUMA_WIRE_HELLO, 0, 0, 0, &hello, 0,
	      TO_LENDER | TO_BORROWER),
	FRAME(refuse, PUMA_WIRE_REFUSE, 0, 0, 0, &refuse, 0,
	      TO_LENDER | TO_BORROWER),
	FRAME(lease, PUMA_WIRE_LEASE, 0, 0, 0, &lease, 0, TO_BORROWER),
	FRAME(put, PUMA_WIRE_PUT, 0, 2, 0, put, 2, TO_LENDER),
	FRAME(get, PUMA_WIRE_GET, PUMA_WIRE_CONSUME, 2, ID, get, 0, TO_LENDER),
	FRAME(page, PUMA_WIRE_PAGE, 0, 31, ID, &page, 1, TO_BORROWER),
	{ "gone", PUMA_WIRE_GONE, 0, 2, ID, NULL, 0, 0, gone_bytes,
	  sizeof(gone_bytes), TO_BORROWER },
	FRAME(dropped, PUMA_WIRE_DROPPED, PUMA_WIRE_REFUSED, 0, 0, &dropped, 0,
	      TO_BORROWER),
	FRAME(ping, PUMA_WIRE_PING, 0, 0, 0, &ping, 0, TO_LENDER),
	FRAME(pong, PUMA_WIRE_PONG, 0, 0, 0, &pong, 0, TO_BORROWER),
};

KUNIT_ARRAY_PARAM_DESC(frame, frame_cases, desc);

static void wire_golden(struct kunit *test)
{
	const struct frame_case *c = test->param_value;
	size_t room = sizeof(struct puma_wire_hdr) + c->len_meta +
		      c->pages * PUMA_WIRE_PAGE_SIZE;
	u8 *frame = kunit_kzalloc(test, room, GFP_KERNEL);
	size_t len;

	KUNIT_ASSERT_NOT_NULL(test, frame);
	len = puma_fix_frame(frame, c->type, c->flags, c->nr, c->id, c->meta,
			     c->len_meta, c->pages);
	KUNIT_ASSERT_EQ(test, len, room);
	KUNIT_ASSERT_LE(test, c->len_bytes, len);
	KUNIT_EXPECT_MEMEQ(test, frame, c->bytes, c->len_bytes);
	if (!c->pages)
		KUNIT_EXPECT_NULL(test, memchr_inv(frame + c->len_bytes, 0,
						   len - c->len_bytes));
}

static void wire_golden_is_let_in(struct kunit *test)
{
	const struct frame_case *c = test->param_value;
	const struct puma_wire_hdr *hdr = (const void *)c->bytes;
	struct puma_shape shape;
	bool greeted = c->type != PUMA_WIRE_HELLO;
	int want;

	memset(&shape, 0xff, sizeof(shape));
	want = c->to & TO_LENDER ? 0 : -EPROTO;
	KUNIT_EXPECT_EQ(test, want,
			puma_wire_shape(hdr, true, greeted, &shape));
	want = c->to & TO_BORROWER ? 0 : -EPROTO;
	KUNIT_EXPECT_EQ(test, want,
			puma_wire_shape(hdr, false, greeted, &shape));
	KUNIT_EXPECT_EQ(test, shape.meta, c->len_meta);
	KUNIT_EXPECT_EQ(test, shape.pages, c->pages);
}

/*
 * The rules once more, in other words than in wire.c: by type, from 0.
 * '>' to the lender, '<' to the borrower, '=' both.
 */
struct law {
	char way;
	bool before_hello, after_hello;
	u8 flags;
	u16 nr_min, nr_max;
	bool has_id, has_puts;
	u32 meta;		/* bytes, or bytes for each of nr */
	bool each;
	u8 pages;		/* a frame, or for each of nr */
};

static const struct law laws[] = {
	[PUMA_WIRE_HELLO] = { '=', true, false, 0, 0, 0, false, false, 40, false, 0 },
	[PUMA_WIRE_REFUSE] = { '=', true, true, 0, 0, 0, false, false, 8, false, 0 },
	[PUMA_WIRE_LEASE] = { '<', false, true, 0, 0, 0, false, false, 8, false, 0 },
	[PUMA_WIRE_PUT] = { '>', false, true, 0, 1, 32, false, false, 32, true, 1 },
	[PUMA_WIRE_GET] = { '>', false, true, 1, 1, 32, true, false, 16, true, 0 },
	[PUMA_WIRE_PAGE] = { '<', false, true, 0, 0, 31, true, true, 16, false, 1 },
	[PUMA_WIRE_GONE] = { '<', false, true, 0, 0, 31, true, true, 0, false, 0 },
	[PUMA_WIRE_DROPPED] = { '<', false, true, 1, 0, 0, false, false, 1032, false,
				0 },
	[PUMA_WIRE_PING] = { '>', false, true, 0, 0, 0, false, false, 16, false, 0 },
	[PUMA_WIRE_PONG] = { '<', false, true, 0, 0, 0, false, false, 16, false, 0 },
};

static u32 lawful_len(const struct law *law, u16 nr)
{
	u32 n = law->each ? nr : 1;

	return n * law->meta + n * law->pages * 4096;
}

static int judge(u8 type, u8 flags, u16 nr, u32 len, u32 id, u32 puts,
		 bool to_lender, bool greeted)
{
	struct puma_wire_hdr hdr;
	struct puma_shape shape;

	puma_wire_header(&hdr, type, flags, nr, len, id);
	hdr.puts = cpu_to_le32(puts);
	return puma_wire_shape(&hdr, to_lender, greeted, &shape);
}

static void wire_type_way_time(struct kunit *test)
{
	unsigned int type, way, greeted;

	for (type = 0; type < 256; type++)
		for (way = 0; way < 2; way++)
			for (greeted = 0; greeted < 2; greeted++) {
				const struct law none = {}, *law = &none;
				bool right;

				if (type < ARRAY_SIZE(laws))
					law = &laws[type];
				right = law->way == '=' ||
					law->way == (way ? '>' : '<');
				right &= greeted ? law->after_hello :
						   law->before_hello;
				KUNIT_EXPECT_EQ_MSG(test, right ? 0 : -EPROTO,
						    judge(type, 0, law->nr_min,
							  lawful_len(law,
								     law->nr_min),
							  0, 0, way, greeted),
						    "type %u, %s, %s HELLO",
						    type, way ? "to lender" :
						    "to borrower", greeted ?
						    "after" : "before");
			}
}

/* The rest is judged for each type where it may come. */
static void each_law(struct kunit *test,
		     void (*check)(struct kunit *test, u8 type,
				   const struct law *law, bool to_lender,
				   bool greeted))
{
	u8 type;

	for (type = 1; type < ARRAY_SIZE(laws); type++) {
		const struct law *law = &laws[type];

		if (law->way != '<')
			check(test, type, law, true, law->after_hello);
		if (law->way != '>')
			check(test, type, law, false, law->after_hello);
	}
}

static void check_flags(struct kunit *test, u8 type, const struct law *law,
			bool to_lender, bool greeted)
{
	unsigned int flags;

	for (flags = 0; flags < 256; flags++)
		KUNIT_EXPECT_EQ_MSG(test, flags & ~law->flags ? -EPROTO : 0,
				    judge(type, flags, law->nr_min,
					  lawful_len(law, law->nr_min), 0, 0,
					  to_lender, greeted),
				    "type %u, flags %#x", type, flags);
}

static void wire_flags(struct kunit *test)
{
	each_law(test, check_flags);
}

static void check_nr(struct kunit *test, u8 type, const struct law *law,
		     bool to_lender, bool greeted)
{
	unsigned int nr;

	for (nr = 0; nr <= U16_MAX; nr += nr < 70 ? 1 : 997)
		KUNIT_EXPECT_EQ_MSG(test, nr < law->nr_min || nr > law->nr_max ?
				    -EPROTO : 0,
				    judge(type, 0, nr, lawful_len(law, nr), 0,
					  0, to_lender, greeted),
				    "type %u, nr %u", type, nr);
	KUNIT_EXPECT_EQ(test, -EPROTO,
			judge(type, 0, U16_MAX, lawful_len(law, U16_MAX), 0, 0,
			      to_lender, greeted));
}

static void wire_nr(struct kunit *test)
{
	each_law(test, check_nr);
}

static void check_len(struct kunit *test, u8 type, const struct law *law,
		      bool to_lender, bool greeted)
{
	static const u32 odd[] = {
		0, 1, 7, 8, 15, 16, 32, 40, 1032, 4096, 4112, 4128, 8192, 65536,
		132096, BIT(31), U32_MAX - 15, U32_MAX,
	};
	unsigned int nr, i;

	for (nr = law->nr_min; nr <= law->nr_max; nr++) {
		u32 len = lawful_len(law, nr);

		for (i = 0; i < ARRAY_SIZE(odd); i++)
			KUNIT_EXPECT_EQ_MSG(test, odd[i] == len ? 0 : -EPROTO,
					    judge(type, 0, nr, odd[i], 0, 0,
						  to_lender, greeted),
					    "type %u, nr %u, length %u", type,
					    nr, odd[i]);
		KUNIT_EXPECT_EQ(test, 0, judge(type, 0, nr, len, 0, 0,
					       to_lender, greeted));
		KUNIT_EXPECT_EQ(test, -EPROTO, judge(type, 0, nr, len + 1, 0, 0,
						     to_lender, greeted));
		KUNIT_EXPECT_EQ(test, -EPROTO, judge(type, 0, nr, len - 1, 0, 0,
						     to_lender, greeted));
	}
}

static void wire_len(struct kunit *test)
{
	each_law(test, check_len);
}

static void check_id_puts(struct kunit *test, u8 type, const struct law *law,
			  bool to_lender, bool greeted)
{
	u32 len = lawful_len(law, law->nr_min);
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		KUNIT_EXPECT_EQ_MSG(test, law->has_id ? 0 : -EPROTO,
				    judge(type, 0, law->nr_min, len, BIT(bit),
					  0, to_lender, greeted),
				    "type %u, bit %u of the id", type, bit);
		KUNIT_EXPECT_EQ_MSG(test, law->has_puts ? 0 : -EPROTO,
				    judge(type, 0, law->nr_min, len, 0,
					  BIT(bit), to_lender, greeted),
				    "type %u, bit %u of the puts", type, bit);
	}
}

static void wire_id_puts(struct kunit *test)
{
	each_law(test, check_id_puts);
}

/* What is let in fits into the receiver. */
static void check_fits(struct kunit *test, u8 type, const struct law *law,
		       bool to_lender, bool greeted)
{
	struct puma_wire_hdr hdr;
	struct puma_shape shape;

	puma_wire_header(&hdr, type, 0, law->nr_max,
			 lawful_len(law, law->nr_max), 0);
	KUNIT_ASSERT_EQ(test, 0,
			puma_wire_shape(&hdr, to_lender, greeted, &shape));
	KUNIT_EXPECT_LE(test, shape.meta, PUMA_WIRE_META_MAX);
	KUNIT_EXPECT_LE(test, shape.meta + sizeof(hdr), PUMA_WIRE_BUF);
	KUNIT_EXPECT_LE(test, shape.pages, PUMA_BATCH);
}

static void wire_fits(struct kunit *test)
{
	each_law(test, check_fits);
}

struct hello_case {
	const char *desc;
	u64 magic;
	u16 newest, oldest;
	u32 page_size;
	u64 features, node;
	u32 want;
};

#define MAGIC	PUMA_WIRE_MAGIC

static const struct hello_case hello_cases[] = {
	{ "a good one", MAGIC, 1, 1, 4096, 0, 7, 0 },
	{ "a newer peer that speaks ours", MAGIC, 9, 1, 4096, 0, 7, 0 },
	{ "one that speaks version 0 as well", MAGIC, 1, 0, 4096, 0, 7, 0 },
	{ "unknown features", MAGIC, 1, 1, 4096, ~0ULL, 7, 0 },
	{ "too new", MAGIC, 9, 2, 4096, 0, 7, PUMA_REASON_VERSION },
	{ "too old", MAGIC, 0, 0, 4096, 0, 7, PUMA_REASON_VERSION },
	{ "oldest above newest", MAGIC, 1, 2, 4096, 0, 7,
	  PUMA_REASON_VERSION },
	{ "oldest above newest, both known", MAGIC, 0, 1, 4096, 0, 7,
	  PUMA_REASON_VERSION },
	{ "another magic", MAGIC ^ 1, 1, 1, 4096, 0, 7, PUMA_REASON_VERSION },
	{ "no magic", 0, 1, 1, 4096, 0, 7, PUMA_REASON_VERSION },
	{ "magic in the other byte order", 0x8950554d410d1a0aULL, 1, 1, 4096,
	  0, 7, PUMA_REASON_VERSION },
	{ "larger pages", MAGIC, 1, 1, 65536, 0, 7, PUMA_REASON_PAGE_SIZE },
	{ "no page size", MAGIC, 1, 1, 0, 0, 7, PUMA_REASON_PAGE_SIZE },
	{ "the same machine", MAGIC, 1, 1, 4096, 0, NODE, PUMA_REASON_SELF },
	{ "the same machine, another version", MAGIC, 9, 2, 4096, 0, NODE,
	  PUMA_REASON_VERSION },
};

KUNIT_ARRAY_PARAM_DESC(hello, hello_cases, desc);

static void wire_hello_check(struct kunit *test)
{
	const struct hello_case *c = test->param_value;
	const struct puma_wire_hello h = {
		.magic = cpu_to_le64(c->magic),
		.version = cpu_to_le16(c->newest),
		.min_version = cpu_to_le16(c->oldest),
		.page_size = cpu_to_le32(c->page_size),
		.features = cpu_to_le64(c->features),
		.node = cpu_to_le64(c->node),
	};

	KUNIT_EXPECT_EQ(test, c->want, puma_wire_hello_check(&h, NODE));
}

static void wire_reasons(struct kunit *test)
{
	const char *unknown = puma_wire_reason(0);
	u32 i, j;

	KUNIT_ASSERT_NOT_NULL(test, unknown);
	for (i = PUMA_REASON_VERSION; i <= PUMA_REASON_FULL; i++) {
		KUNIT_EXPECT_STRNEQ(test, puma_wire_reason(i), unknown);
		for (j = PUMA_REASON_VERSION; j < i; j++)
			KUNIT_EXPECT_STRNEQ(test, puma_wire_reason(i),
					    puma_wire_reason(j));
	}
	KUNIT_EXPECT_STREQ(test, puma_wire_reason(99), unknown);
	KUNIT_EXPECT_STREQ(test, puma_wire_reason(U32_MAX), unknown);
}

static struct kunit_case wire_cases[] = {
	KUNIT_CASE_PARAM(wire_golden, frame_gen_params),
	KUNIT_CASE_PARAM(wire_golden_is_let_in, frame_gen_params),
	KUNIT_CASE(wire_type_way_time),
	KUNIT_CASE(wire_flags),
	KUNIT_CASE(wire_nr),
	KUNIT_CASE(wire_len),
	KUNIT_CASE(wire_id_puts),
	KUNIT_CASE(wire_fits),
	KUNIT_CASE_PARAM(wire_hello_check, hello_gen_params),
	KUNIT_CASE(wire_reasons),
	{}
};

static struct kunit_suite wire_suite = {
	.name = "puma_wire",
	.test_cases = wire_cases,
};

kunit_test_suite(wire_suite);
