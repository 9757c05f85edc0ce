// SPDX-License-Identifier: GPL-2.0
/*
 * Shows what the index promises: an entry is found until it is erased, and
 * never after; a put that was overtaken is void; hits get a second chance; the
 * table fills up and costs 8 bytes a slot; clusters stay together; and no entry
 * outlives its segment, its part of the placement or a floor.
 */
#include "fixture.h"

#define FILE_A	0x1111111111111111ULL
#define FILE_B	0x2222222222222222ULL	/* another group of floors */

/* An index with @segments of one lender. */
static struct puma_index *index_of(struct kunit *test, unsigned int segments,
				   struct puma_lender **lender)
{
	struct puma_index *ix = puma_fix_index(test);

	*lender = puma_fix_lender(test);
	puma_fix_segments(test, ix, *lender, 0, segments);
	return ix;
}

static struct puma_segment *segment_of(struct puma_index *ix,
				       const struct puma_entry *e)
{
	struct puma_segment *seg;

	list_for_each_entry(seg, &ix->segments, list)
		if (seg->lender == e->lender &&
		    seg->number == e->slot >> PUMA_SEGMENT_SHIFT)
			return seg;
	return NULL;
}

/* The word of an entry, in place. */
static u64 *word_of(struct puma_index *ix, const struct puma_entry *e)
{
	struct puma_segment *seg = segment_of(ix, e);

	return seg ? &seg->word[e->slot % PUMA_SEGMENT_SLOTS] : NULL;
}

/* Publish and send. False when there was no place. */
static bool store(struct puma_index *ix, u64 file, pgoff_t index)
{
	struct puma_entry e;

	return puma_fix_publish(ix, file, index) == PUMA_PUBLISHED &&
	       puma_fix_lookup(ix, file, index, &e) &&
	       puma_fix_sent(ix, file, index, e.word);
}

static bool found(struct puma_index *ix, u64 file, pgoff_t index)
{
	struct puma_entry e;

	return puma_fix_lookup(ix, file, index, &e);
}

static unsigned long count_found(struct puma_index *ix, u64 file,
				 pgoff_t start, unsigned long nr)
{
	unsigned long i, n = 0;

	for (i = 0; i < nr; i++)
		n += found(ix, file, start + i);
	return n;
}

static void index_empty(struct kunit *test)
{
	struct puma_index *ix = puma_fix_index(test);
	struct puma_entry e;

	KUNIT_EXPECT_EQ(test, PUMA_NO_PLACE, puma_fix_publish(ix, FILE_A, 0));
	KUNIT_EXPECT_FALSE(test, puma_fix_lookup(ix, FILE_A, 0, &e));
	KUNIT_EXPECT_EQ(test, 0, puma_fix_erase(ix, FILE_A, 0));
	KUNIT_EXPECT_EQ(test, 0,
			puma_fix_erase_range(ix, FILE_A, 0, ULONG_MAX));
	KUNIT_EXPECT_FALSE(test, puma_fix_sent(ix, FILE_A, 0, ~0ULL));
	puma_index_erase_all(ix);
	KUNIT_EXPECT_EQ(test, 0, puma_fix_entries(ix, NULL));
}

static void index_publish_lookup_erase(struct kunit *test)
{
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, 3, &lender);
	struct puma_entry e, f;
	u64 version;

	KUNIT_EXPECT_FALSE(test, found(ix, FILE_A, 5));
	KUNIT_EXPECT_EQ(test, PUMA_PUBLISHED, puma_fix_publish(ix, FILE_A, 5));
	KUNIT_ASSERT_TRUE(test, puma_fix_lookup(ix, FILE_A, 5, &e));
	KUNIT_EXPECT_TRUE(test, e.word & PUMA_WORD_VALID);
	KUNIT_EXPECT_TRUE(test, e.word & PUMA_WORD_QUEUED);
	KUNIT_EXPECT_PTR_EQ(test, lender, e.lender);
	KUNIT_ASSERT_NOT_NULL(test, word_of(ix, &e));
	KUNIT_EXPECT_EQ(test, e.word, *word_of(ix, &e));
	version = (e.word & GENMASK_ULL(PUMA_TAG_SHIFT - 1,
					PUMA_VERSION_SHIFT)) >>
		  PUMA_VERSION_SHIFT;
	KUNIT_EXPECT_EQ(test, e.token,
			puma_key_token(&ix->secret, FILE_A, 5, version));
	KUNIT_EXPECT_EQ(test, 1, puma_fix_entries(ix, NULL));

	/* Other pages have no entry. */
	KUNIT_EXPECT_FALSE(test, found(ix, FILE_A, 4));
	KUNIT_EXPECT_FALSE(test, found(ix, FILE_A, 6));
	KUNIT_EXPECT_FALSE(test, found(ix, FILE_B, 5));

	KUNIT_EXPECT_TRUE(test, puma_fix_sent(ix, FILE_A, 5, e.word));
	KUNIT_ASSERT_TRUE(test, puma_fix_lookup(ix, FILE_A, 5, &f));
	KUNIT_EXPECT_EQ(test, f.word, e.word & ~PUMA_WORD_QUEUED);
	KUNIT_EXPECT_EQ(test, f.token, e.token);
	KUNIT_EXPECT_EQ(test, f.slot, e.slot);

	KUNIT_EXPECT_EQ(test, 1, puma_fix_erase(ix, FILE_A, 5));
	KUNIT_EXPECT_FALSE(test, found(ix, FILE_A, 5));
	KUNIT_EXPECT_EQ(test, 0, puma_fix_erase(ix, FILE_A, 5));
	KUNIT_EXPECT_EQ(test, 0, puma_fix_entries(ix, NULL));

	/* The next put of the page has another name. */
	KUNIT_EXPECT_EQ(test, PUMA_PUBLISHED, puma_fix_publish(ix, FILE_A, 5));
	KUNIT_ASSERT_TRUE(test, puma_fix_lookup(ix, FILE_A, 5, &f));
	KUNIT_EXPECT_NE(test, f.token, e.token);
}

static void index_kept(struct kunit *test)
{
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, 1, &lender);
	struct puma_entry e, f;

	KUNIT_ASSERT_TRUE(test, store(ix, FILE_A, 0));
	KUNIT_ASSERT_TRUE(test, puma_fix_lookup(ix, FILE_A, 0, &e));
	KUNIT_EXPECT_EQ(test, PUMA_KEPT, puma_fix_publish(ix, FILE_A, 0));
	KUNIT_ASSERT_TRUE(test, puma_fix_lookup(ix, FILE_A, 0, &f));
	KUNIT_EXPECT_EQ(test, e.word, f.word);

	/* What it has, it keeps even while it takes no more. */
	lender->put_pause = jiffies + HZ;
	KUNIT_EXPECT_EQ(test, PUMA_KEPT, puma_fix_publish(ix, FILE_A, 0));
	puma_fix_erase(ix, FILE_A, 0);
	KUNIT_EXPECT_EQ(test, PUMA_NO_PLACE, puma_fix_publish(ix, FILE_A, 0));
}

struct place_case {
	const char *desc;
	enum puma_lender_state state;
	long pause;		/* put_pause - jiffies */
	enum puma_publish want;
};

static const struct place_case place_cases[] = {
	{ "up", PUMA_LENDER_UP, 0, PUMA_PUBLISHED },
	{ "up, pause is over", PUMA_LENDER_UP, -1000, PUMA_PUBLISHED },
	{ "up, pause", PUMA_LENDER_UP, 1000, PUMA_NO_PLACE },
	{ "down", PUMA_LENDER_DOWN, 0, PUMA_NO_PLACE },
};

KUNIT_ARRAY_PARAM_DESC(place, place_cases, desc);

static void index_lender_state(struct kunit *test)
{
	const struct place_case *c = test->param_value;
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, 1, &lender);

	lender->state = c->state;
	lender->put_pause = jiffies + c->pause;
	KUNIT_EXPECT_EQ(test, c->want, puma_fix_publish(ix, FILE_A, 0));
	KUNIT_EXPECT_EQ(test, c->want == PUMA_PUBLISHED, found(ix, FILE_A, 0));
}

/* A second put of a page before the first was sent: the first is void. */
static void index_queued_twice(struct kunit *test)
{
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, 1, &lender);
	struct puma_entry first, second;

	puma_fix_publish(ix, FILE_A, 9);
	KUNIT_ASSERT_TRUE(test, puma_fix_lookup(ix, FILE_A, 9, &first));
	KUNIT_EXPECT_EQ(test, PUMA_PUBLISHED, puma_fix_publish(ix, FILE_A, 9));
	KUNIT_ASSERT_TRUE(test, puma_fix_lookup(ix, FILE_A, 9, &second));
	KUNIT_EXPECT_NE(test, first.token, second.token);
	KUNIT_EXPECT_EQ(test, 1, puma_fix_entries(ix, NULL));
	KUNIT_EXPECT_FALSE(test, puma_fix_sent(ix, FILE_A, 9, first.word));
	KUNIT_EXPECT_TRUE(test, puma_fix_sent(ix, FILE_A, 9, second.word));
}

/* A put finds its own entry, and that of no other put of the page. */
static void index_queued_exact(struct kunit *test)
{
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, 1, &lender);
	u64 first = puma_index_version(ix), second = puma_index_version(ix);
	struct puma_entry e, f;

	KUNIT_ASSERT_GT(test, second, first);
	rcu_read_lock();
	puma_index_publish(ix, FILE_A, 9, first);
	KUNIT_EXPECT_TRUE(test, puma_index_queued(ix, FILE_A, 9, first, &e));
	KUNIT_EXPECT_TRUE(test, puma_index_lookup(ix, FILE_A, 9, &f));
	KUNIT_EXPECT_EQ(test, e.word, f.word);
	KUNIT_EXPECT_EQ(test, e.token, f.token);
	KUNIT_EXPECT_EQ(test, e.slot, f.slot);
	KUNIT_EXPECT_FALSE(test, puma_index_queued(ix, FILE_A, 9, second, &f));

	puma_index_publish(ix, FILE_A, 9, second);
	KUNIT_EXPECT_FALSE(test, puma_index_queued(ix, FILE_A, 9, first, &f));
	KUNIT_EXPECT_TRUE(test, puma_index_queued(ix, FILE_A, 9, second, &e));
	KUNIT_EXPECT_TRUE(test, puma_index_sent(ix, FILE_A, 9, e.word));
	KUNIT_EXPECT_FALSE(test, puma_index_queued(ix, FILE_A, 9, second, &f));
	KUNIT_EXPECT_EQ(test, PUMA_NO_PLACE,
			puma_index_publish(ix, FILE_A, 10, 0));
	rcu_read_unlock();
}

static void void_erase(struct puma_index *ix, struct puma_lender *lender)
{
	puma_fix_erase(ix, FILE_A, 9);
}

static void void_replaced(struct puma_index *ix, struct puma_lender *lender)
{
	puma_fix_erase(ix, FILE_A, 9);
	puma_fix_publish(ix, FILE_A, 9);
}

static void void_range(struct puma_index *ix, struct puma_lender *lender)
{
	puma_fix_erase_range(ix, FILE_A, 0, 100);
}

static void void_file_floor(struct puma_index *ix, struct puma_lender *lender)
{
	puma_fix_erase_range(ix, FILE_A, 0, ULONG_MAX);
}

static void void_all(struct puma_index *ix, struct puma_lender *lender)
{
	puma_index_erase_all(ix);
}

static void void_removed(struct puma_index *ix, struct puma_lender *lender)
{
	puma_index_remove(ix, lender, 0);
}

static void void_sent(struct puma_index *ix, struct puma_lender *lender)
{
	struct puma_entry e;

	puma_fix_lookup(ix, FILE_A, 9, &e);
	puma_fix_sent(ix, FILE_A, 9, e.word);
}

struct void_case {
	const char *desc;
	void (*happens)(struct puma_index *ix, struct puma_lender *lender);
};

static const struct void_case void_cases[] = {
	{ "erased", void_erase },
	{ "erased and published again", void_replaced },
	{ "in an erased range", void_range },
	{ "in a huge erased range", void_file_floor },
	{ "everything erased", void_all },
	{ "segment removed", void_removed },
	{ "sent already", void_sent },
};

KUNIT_ARRAY_PARAM_DESC(void, void_cases, desc);

static void index_sent_is_void(struct kunit *test)
{
	const struct void_case *c = test->param_value;
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, 1, &lender);
	struct puma_entry e;

	puma_fix_publish(ix, FILE_A, 9);
	KUNIT_ASSERT_TRUE(test, puma_fix_lookup(ix, FILE_A, 9, &e));
	c->happens(ix, lender);
	KUNIT_EXPECT_FALSE(test, puma_fix_sent(ix, FILE_A, 9, e.word));
}

/* When a full table takes new pages, they replace those that were not hit. */
static void index_second_chance(struct kunit *test)
{
	enum { OLD = PUMA_SEGMENT_SLOTS, NEW = PUMA_SEGMENT_SLOTS / 64 };
	unsigned long i, lost[2] = {}, held[2] = {};
	bool *was = kunit_kcalloc(test, OLD, sizeof(*was), GFP_KERNEL);
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, 1, &lender);
	struct puma_entry e;

	KUNIT_ASSERT_NOT_NULL(test, was);
	for (i = 0; i < OLD; i++)
		store(ix, FILE_A, i);
	for (i = 0; i < OLD; i++) {
		was[i] = puma_fix_lookup(ix, FILE_A, i, &e);
		held[i & 1] += was[i];
		if (was[i] && (i & 1)) {
			rcu_read_lock();
			puma_index_used(ix, FILE_A, i, e.word);
			rcu_read_unlock();
		}
	}
	for (i = 0; i < NEW; i++)
		store(ix, FILE_B, i);
	for (i = 0; i < OLD; i++)
		lost[i & 1] += was[i] && !found(ix, FILE_A, i);
	kunit_info(test, "of %lu not hit %lu were lost, of %lu hit %lu\n",
		   held[0], lost[0], held[1], lost[1]);
	KUNIT_EXPECT_GT(test, lost[0], NEW / 4);
	KUNIT_EXPECT_LT(test, lost[1] * 4, lost[0]);
}

static void index_used_keeps_the_rest(struct kunit *test)
{
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, 1, &lender);
	struct puma_entry e, f;

	KUNIT_ASSERT_TRUE(test, store(ix, FILE_A, 1));
	KUNIT_ASSERT_TRUE(test, puma_fix_lookup(ix, FILE_A, 1, &e));
	rcu_read_lock();
	puma_index_used(ix, FILE_A, 1, e.word);
	KUNIT_EXPECT_TRUE(test, puma_index_lookup(ix, FILE_A, 1, &f));
	rcu_read_unlock();
	KUNIT_EXPECT_EQ(test, f.word, e.word | PUMA_WORD_USED);
	KUNIT_EXPECT_EQ(test, f.token, e.token);
	KUNIT_EXPECT_EQ(test, PUMA_KEPT, puma_fix_publish(ix, FILE_A, 1));
	KUNIT_EXPECT_EQ(test, 1, puma_fix_erase(ix, FILE_A, 1));

	/* A mark for an entry that is gone must not bring it back. */
	rcu_read_lock();
	puma_index_used(ix, FILE_A, 1, e.word);
	rcu_read_unlock();
	KUNIT_EXPECT_FALSE(test, found(ix, FILE_A, 1));
}

/* All were hit: a new page finds a place all the same. */
static void index_all_used(struct kunit *test)
{
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, 1, &lender);
	struct puma_segment *seg;
	unsigned long i;

	for (i = 0; i < 2 * PUMA_SEGMENT_SLOTS; i++)
		store(ix, FILE_A, i);
	seg = list_first_entry(&ix->segments, struct puma_segment, list);
	for (i = 0; i < PUMA_SEGMENT_SLOTS; i++)
		seg->word[i] |= PUMA_WORD_USED;
	for (i = 0; i < 64; i++) {
		KUNIT_EXPECT_TRUE(test, store(ix, FILE_B, i));
		KUNIT_EXPECT_TRUE(test, found(ix, FILE_B, i));
	}
}

static void index_fill_ratio(struct kunit *test)
{
	enum { SEGMENTS = 8, N = SEGMENTS * PUMA_SEGMENT_SLOTS };
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, SEGMENTS, &lender);
	unsigned long i, once;

	for (i = 0; i < N; i++)
		store(ix, FILE_A, i);
	once = puma_fix_entries(ix, NULL);
	for (; i < 2 * N; i++)
		store(ix, FILE_A, i);
	i = puma_fix_entries(ix, NULL);
	kunit_info(test, "%lu.%lu %% full after N puts, %lu.%lu %% after 2N\n",
		   once * 100 / N, once * 1000 / N % 10,
		   i * 100 / N, i * 1000 / N % 10);
	KUNIT_EXPECT_GE(test, once * 100, N * 85UL);
	KUNIT_EXPECT_GE(test, i * 100, N * 95UL);
	KUNIT_EXPECT_EQ(test, i, puma_fix_entries(ix, lender));
	/* Each entry can be found; a few more pages share a tag with one. */
	once = count_found(ix, FILE_A, 0, 2 * N);
	KUNIT_EXPECT_GE(test, once, i);
	KUNIT_EXPECT_LE(test, once, i + i / 1000);
}

static void index_bytes_a_slot(struct kunit *test)
{
	enum { SEGMENTS = 32 };		/* 1 GiB of remote memory */
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, SEGMENTS, &lender);
	unsigned long slots = SEGMENTS * PUMA_SEGMENT_SLOTS;
	unsigned long bytes = puma_index_bytes(ix);

	kunit_info(test, "%lu bytes for %lu slots\n", bytes, slots);
	KUNIT_EXPECT_GE(test, bytes, 8 * slots + sizeof(*ix));
	KUNIT_EXPECT_LE(test, bytes * 100, 8 * slots * 102);
}

struct range_case {
	const char *desc;
	pgoff_t start, end;
	bool floor;
};

static const struct range_case range_cases[] = {
	{ "nothing", 5, 4, false },
	{ "one page", 7, 7, false },
	{ "first page", 0, 0, false },
	{ "a few", 3, 60, false },
	{ "over clusters", 60, 200, false },
	{ "all", 0, 255, false },
	{ "beyond", 100, 5000, false },
	{ "no entry there", 300, 5000, false },
	{ "just below a floor", 0, PUMA_ERASE_MAX - 1, false },
	{ "just a floor", 0, PUMA_ERASE_MAX, true },
	{ "open end", 0, ULONG_MAX, true },
	{ "open end elsewhere", 1000000, ULONG_MAX, true },
};

KUNIT_ARRAY_PARAM_DESC(range, range_cases, desc);

static void index_erase_range(struct kunit *test)
{
	const struct range_case *c = test->param_value;
	unsigned long i, in, erased, want = 0;
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, 4, &lender);

	for (i = 0; i < 256; i++) {
		KUNIT_ASSERT_TRUE(test, store(ix, FILE_A, i));
		KUNIT_ASSERT_TRUE(test, store(ix, FILE_B, i));
		want += i >= c->start && i <= c->end;
	}
	erased = puma_fix_erase_range(ix, FILE_A, c->start, c->end);
	KUNIT_EXPECT_EQ(test, erased, c->floor ? 1 : want);
	for (i = 0; i < 256; i++) {
		in = c->floor || (i >= c->start && i <= c->end);
		KUNIT_EXPECT_EQ_MSG(test, found(ix, FILE_A, i), !in,
				    "page %lu", i);
	}
	KUNIT_EXPECT_EQ(test, 256, count_found(ix, FILE_B, 0, 256));
	/* What is put from now on is found. */
	KUNIT_EXPECT_NE(test, PUMA_NO_PLACE, puma_fix_publish(ix, FILE_A, 7));
	KUNIT_EXPECT_TRUE(test, found(ix, FILE_A, 7));
}

/* A floor costs the files of its group, and nobody else. */
static void index_file_floor_group(struct kunit *test)
{
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, 1, &lender);
	u64 same = FILE_A + 7 * PUMA_FILE_FLOORS;

	KUNIT_ASSERT_NE(test, FILE_A % PUMA_FILE_FLOORS,
			FILE_B % PUMA_FILE_FLOORS);
	store(ix, FILE_A, 0);
	store(ix, same, 0);
	store(ix, FILE_B, 0);
	puma_fix_erase_range(ix, FILE_A, 0, ULONG_MAX);
	KUNIT_EXPECT_FALSE(test, found(ix, FILE_A, 0));
	KUNIT_EXPECT_FALSE(test, found(ix, same, 0));
	KUNIT_EXPECT_TRUE(test, found(ix, FILE_B, 0));
	/* A dead entry is neither kept nor in the way. */
	KUNIT_EXPECT_EQ(test, PUMA_PUBLISHED, puma_fix_publish(ix, FILE_A, 0));
	KUNIT_EXPECT_TRUE(test, found(ix, FILE_A, 0));
	KUNIT_EXPECT_FALSE(test, found(ix, same, 0));
}

static void index_erase_all(struct kunit *test)
{
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, 2, &lender);
	unsigned long i;

	for (i = 0; i < 300; i++)
		KUNIT_ASSERT_TRUE(test, store(ix, FILE_A, i));
	puma_index_erase_all(ix);
	KUNIT_EXPECT_EQ(test, 0, puma_fix_entries(ix, NULL));
	KUNIT_EXPECT_EQ(test, 0, count_found(ix, FILE_A, 0, 300));
	for (i = 0; i < 300; i++)
		KUNIT_ASSERT_TRUE(test, store(ix, FILE_A, i));
	KUNIT_EXPECT_EQ(test, 300, count_found(ix, FILE_A, 0, 300));
}

/* When the versions are used up nothing is put, and erasing goes on. */
static void index_versions_used_up(struct kunit *test)
{
	u64 last = BIT_ULL(PUMA_VERSION_BITS) - 1;
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, 1, &lender);
	unsigned int i;

	atomic64_set(&ix->version, last - BIT_ULL(20) - 1);
	KUNIT_ASSERT_TRUE(test, store(ix, FILE_A, 0));
	KUNIT_ASSERT_TRUE(test, found(ix, FILE_A, 0));
	atomic64_set(&ix->version, last);
	KUNIT_EXPECT_EQ(test, PUMA_NO_PLACE, puma_fix_publish(ix, FILE_A, 1));
	KUNIT_EXPECT_TRUE(test, found(ix, FILE_A, 0));
	for (i = 0; i < 8; i++)
		puma_fix_erase_range(ix, FILE_B, 0, ULONG_MAX);
	puma_fix_erase_range(ix, FILE_A, 0, ULONG_MAX);
	KUNIT_EXPECT_FALSE_MSG(test, found(ix, FILE_A, 0),
			       "a floor wrapped: the entry survived its erasure");
}

/* Two words with one tag: an erase takes both, whichever is whose. */
static void index_tag_alias(struct kunit *test)
{
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, 1, &lender);
	struct puma_segment *seg;
	struct puma_entry e, f;
	u32 slot, other;

	KUNIT_ASSERT_TRUE(test, store(ix, FILE_A, 3));
	KUNIT_ASSERT_TRUE(test, puma_fix_lookup(ix, FILE_A, 3, &e));
	seg = segment_of(ix, &e);
	KUNIT_ASSERT_NOT_NULL(test, seg);
	slot = e.slot % PUMA_SEGMENT_SLOTS;
	other = slot ^ 1;		/* in the same bucket */
	KUNIT_ASSERT_EQ(test, 0, seg->word[other]);
	seg->word[other] = e.word + BIT_ULL(PUMA_VERSION_SHIFT);

	/* Either may be found; the token is made for this page anyway. */
	KUNIT_ASSERT_TRUE(test, puma_fix_lookup(ix, FILE_A, 3, &f));
	KUNIT_EXPECT_EQ(test, f.word == e.word, f.token == e.token);
	KUNIT_EXPECT_EQ(test, 2, puma_fix_erase(ix, FILE_A, 3));
	KUNIT_EXPECT_EQ(test, 0, seg->word[slot]);
	KUNIT_EXPECT_EQ(test, 0, seg->word[other]);
	KUNIT_EXPECT_FALSE(test, found(ix, FILE_A, 3));
}

static void mark_slot(__le64 *bitmap, u32 slot)
{
	slot %= PUMA_SEGMENT_SLOTS;
	bitmap[slot / 64] |= cpu_to_le64(BIT_ULL(slot % 64));
}

static void index_erase_slots(struct kunit *test)
{
	__le64 *bitmap = kunit_kzalloc(test, PUMA_GONE_WORDS * sizeof(*bitmap),
				       GFP_KERNEL);
	struct puma_lender *lender, *stranger = puma_fix_lender(test);
	struct puma_index *ix = index_of(test, 2, &lender);
	unsigned long i, marked = 0, queued = 0;
	struct puma_entry e;

	KUNIT_ASSERT_NOT_NULL(test, bitmap);
	/* Every third is dropped by the lender, every second is queued. */
	for (i = 0; i < 600; i++) {
		KUNIT_ASSERT_EQ(test, PUMA_PUBLISHED,
				puma_fix_publish(ix, FILE_A, i));
		KUNIT_ASSERT_TRUE(test, puma_fix_lookup(ix, FILE_A, i, &e));
		if (i % 2)
			puma_fix_sent(ix, FILE_A, i, e.word);
		if (i % 3 || e.slot >> PUMA_SEGMENT_SHIFT != 1)
			continue;
		mark_slot(bitmap, e.slot);
		marked++;
		queued += !(i % 2);
	}
	KUNIT_ASSERT_GT(test, queued, 0);
	KUNIT_ASSERT_GT(test, marked, queued);

	rcu_read_lock();
	puma_index_erase_slots(ix, stranger, 1, bitmap);
	puma_index_erase_slots(ix, lender, 2, bitmap);
	KUNIT_EXPECT_EQ(test, 600, puma_index_entries(ix, NULL));
	puma_index_erase_slots(ix, lender, 1, bitmap);
	KUNIT_EXPECT_EQ(test, 600 - (marked - queued),
			puma_index_entries(ix, NULL));
	rcu_read_unlock();
	for (i = 0; i < 600; i++) {
		if (found(ix, FILE_A, i))
			continue;
		KUNIT_EXPECT_TRUE_MSG(test, i % 2 && !(i % 3),
				      "page %lu was lost", i);
	}
}

/* All bits, empty slots included. */
static void index_erase_slots_all(struct kunit *test)
{
	__le64 *bitmap = kunit_kzalloc(test, PUMA_GONE_WORDS * sizeof(*bitmap),
				       GFP_KERNEL);
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, 1, &lender);
	unsigned long i;

	KUNIT_ASSERT_NOT_NULL(test, bitmap);
	for (i = 0; i < 100; i++)
		KUNIT_ASSERT_TRUE(test, store(ix, FILE_A, i));
	memset(bitmap, 0xff, PUMA_GONE_WORDS * sizeof(*bitmap));
	rcu_read_lock();
	puma_index_erase_slots(ix, lender, 0, bitmap);
	rcu_read_unlock();
	KUNIT_EXPECT_EQ(test, 0, puma_fix_entries(ix, NULL));
}

static void index_cluster_placement(struct kunit *test)
{
	enum { SEGMENTS = 8, CLUSTERS = 1024, PAGES = 1 << PUMA_CLUSTER_SHIFT };
	unsigned long c, i, min = CLUSTERS, max = 0;
	unsigned int used[SEGMENTS] = {};
	struct puma_lender *lender;
	struct puma_index *ix = index_of(test, SEGMENTS, &lender);
	struct puma_entry e;
	u32 segment = 0;

	for (c = 0; c < CLUSTERS; c++) {
		/* All pages of some clusters, two of the others. */
		for (i = 0; i < PAGES; i += c % 16 ? PAGES - 1 : 1) {
			pgoff_t index = c * PAGES + i;

			puma_fix_publish(ix, FILE_A, index);
			KUNIT_ASSERT_TRUE(test, puma_fix_lookup(ix, FILE_A,
								index, &e));
			if (!i)
				segment = e.slot >> PUMA_SEGMENT_SHIFT;
			KUNIT_ASSERT_EQ(test, segment,
					e.slot >> PUMA_SEGMENT_SHIFT);
		}
		KUNIT_ASSERT_LT(test, segment, SEGMENTS);
		used[segment]++;
	}
	for (i = 0; i < SEGMENTS; i++) {
		min = min_t(unsigned long, min, used[i]);
		max = max_t(unsigned long, max, used[i]);
	}
	kunit_info(test, "%d clusters: %lu to %lu a segment\n", CLUSTERS,
		   min, max);
	KUNIT_EXPECT_GT(test, min, CLUSTERS / SEGMENTS / 2);
	KUNIT_EXPECT_LT(test, max, CLUSTERS / SEGMENTS * 2);
}

/* Every part has a segment, and they share evenly. */
static void expect_parts(struct kunit *test, struct puma_index *ix)
{
	unsigned int sum = 0, min = PUMA_PARTS, max = 0;
	struct puma_segment *seg;

	list_for_each_entry(seg, &ix->segments, list) {
		unsigned int part, owned = 0;

		for (part = 0; part < PUMA_PARTS; part++)
			owned += rcu_access_pointer(ix->part[part]) == seg;
		KUNIT_EXPECT_EQ(test, owned, seg->parts);
		sum += seg->parts;
		min = min(min, seg->parts);
		max = max(max, seg->parts);
	}
	KUNIT_EXPECT_EQ(test, sum, ix->nr_segments ? PUMA_PARTS : 0);
	if (ix->nr_segments)
		KUNIT_EXPECT_LE_MSG(test, max - min, PUMA_PARTS /
				    ix->nr_segments, "%u to %u parts", min,
				    max);
}

static void index_parts_are_shared(struct kunit *test)
{
	struct puma_lender *a = puma_fix_lender(test);
	struct puma_lender *b = puma_fix_lender(test);
	struct puma_index *ix = puma_fix_index(test);
	unsigned int i;

	for (i = 0; i < 7; i++) {
		puma_fix_segments(test, ix, i % 2 ? b : a, i / 2, 1);
		expect_parts(test, ix);
	}
	KUNIT_EXPECT_EQ(test, 7, ix->nr_segments);
	KUNIT_EXPECT_EQ(test, 0, puma_index_remove(ix, a, 4));
	KUNIT_EXPECT_EQ(test, 2, puma_index_remove(ix, a, 2));
	expect_parts(test, ix);
	KUNIT_EXPECT_EQ(test, 3, puma_index_remove(ix, b, 0));
	expect_parts(test, ix);
	KUNIT_EXPECT_EQ(test, 2, ix->nr_segments);
	KUNIT_EXPECT_EQ(test, 2, puma_index_remove(ix, a, 0));
	expect_parts(test, ix);
	KUNIT_EXPECT_EQ(test, PUMA_NO_PLACE, puma_fix_publish(ix, FILE_A, 0));
	puma_fix_segments(test, ix, b, 0, 1);
	expect_parts(test, ix);
	KUNIT_EXPECT_EQ(test, PUMA_PUBLISHED, puma_fix_publish(ix, FILE_A, 0));
}

enum { MOVED_PAGES = 4096 };

/*
 * Compare what is found with the words of before: an entry may be lost, and
 * then stays lost. Returns how many are alive.
 */
static unsigned long expect_none_back(struct kunit *test,
				      struct puma_index *ix, u64 *word,
				      const char *when)
{
	unsigned long i, alive = 0;
	struct puma_entry e;

	for (i = 0; i < MOVED_PAGES; i++) {
		if (!puma_fix_lookup(ix, FILE_A, i, &e)) {
			word[i] = 0;
			continue;
		}
		KUNIT_EXPECT_EQ_MSG(test, e.word, word[i],
				    "%s: page %lu has a dead entry", when, i);
		alive++;
	}
	return alive;
}

static void index_moved_parts(struct kunit *test)
{
	struct puma_lender *a = puma_fix_lender(test);
	struct puma_lender *b = puma_fix_lender(test);
	struct puma_index *ix = puma_fix_index(test);
	u64 *word = kunit_kcalloc(test, MOVED_PAGES, sizeof(*word),
				  GFP_KERNEL);
	unsigned long i, before, after;
	struct puma_entry e;

	KUNIT_ASSERT_NOT_NULL(test, word);
	puma_fix_segments(test, ix, a, 0, 2);
	for (i = 0; i < MOVED_PAGES; i++) {
		KUNIT_ASSERT_TRUE(test, store(ix, FILE_A, i));
		KUNIT_ASSERT_TRUE(test, puma_fix_lookup(ix, FILE_A, i, &e));
		word[i] = e.word;
	}
	before = expect_none_back(test, ix, word, "at first");

	/* A third of the parts moves to b and their entries die. */
	puma_fix_segments(test, ix, b, 0, 1);
	after = expect_none_back(test, ix, word, "with b");
	KUNIT_EXPECT_LT(test, after, before);
	KUNIT_EXPECT_GT(test, after, before / 3);

	/* They move back; the segments of a still hold the dead words. */
	KUNIT_EXPECT_EQ(test, 1, puma_index_remove(ix, b, 0));
	KUNIT_EXPECT_EQ(test, after,
			expect_none_back(test, ix, word, "without b"));
	KUNIT_EXPECT_GT(test, puma_fix_entries(ix, a), after);

	/* The same to and fro inside one lender. */
	KUNIT_EXPECT_EQ(test, 1, puma_index_remove(ix, a, 1));
	after = expect_none_back(test, ix, word, "a is smaller");
	puma_fix_segments(test, ix, a, 1, 1);
	KUNIT_EXPECT_GE(test, after,
			expect_none_back(test, ix, word, "a has grown"));

	KUNIT_EXPECT_EQ(test, 2, puma_index_remove(ix, a, 0));
	KUNIT_EXPECT_EQ(test, 0,
			expect_none_back(test, ix, word, "nobody is left"));
}

/* An entry that is made in a segment while its part moves away is void. */
static void index_moved_part_is_written(struct kunit *test)
{
	struct puma_lender *a = puma_fix_lender(test);
	struct puma_lender *b = puma_fix_lender(test);
	struct puma_index *ix = puma_fix_index(test);
	struct puma_entry e;
	unsigned long i;
	u64 *word;

	puma_fix_segments(test, ix, a, 0, 1);
	/* A page whose part goes to b. */
	for (i = 0;; i += 1 << PUMA_CLUSTER_SHIFT) {
		KUNIT_ASSERT_LT(test, i, 100UL << PUMA_CLUSTER_SHIFT);
		KUNIT_ASSERT_TRUE(test, store(ix, FILE_A, i));
		KUNIT_ASSERT_TRUE(test, puma_fix_lookup(ix, FILE_A, i, &e));
		word = word_of(ix, &e);
		KUNIT_ASSERT_NOT_NULL(test, word);
		if (i > 8 << PUMA_CLUSTER_SHIFT)
			puma_fix_segments(test, ix, b, 0, 1);
		if (!found(ix, FILE_A, i))
			break;
		puma_index_remove(ix, b, 0);
	}
	/* Its publisher was late: it writes into the segment of a. */
	*word = e.word + BIT_ULL(PUMA_VERSION_SHIFT);
	KUNIT_EXPECT_FALSE(test, found(ix, FILE_A, i));
	puma_index_remove(ix, b, 0);
	KUNIT_EXPECT_FALSE(test, found(ix, FILE_A, i));
}

static struct kunit_case index_cases[] = {
	KUNIT_CASE(index_empty),
	KUNIT_CASE(index_publish_lookup_erase),
	KUNIT_CASE(index_kept),
	KUNIT_CASE_PARAM(index_lender_state, place_gen_params),
	KUNIT_CASE(index_queued_twice),
	KUNIT_CASE(index_queued_exact),
	KUNIT_CASE_PARAM(index_sent_is_void, void_gen_params),
	KUNIT_CASE(index_second_chance),
	KUNIT_CASE(index_used_keeps_the_rest),
	KUNIT_CASE(index_all_used),
	KUNIT_CASE(index_fill_ratio),
	KUNIT_CASE(index_bytes_a_slot),
	KUNIT_CASE_PARAM(index_erase_range, range_gen_params),
	KUNIT_CASE(index_file_floor_group),
	KUNIT_CASE(index_erase_all),
	KUNIT_CASE(index_versions_used_up),
	KUNIT_CASE(index_tag_alias),
	KUNIT_CASE(index_erase_slots),
	KUNIT_CASE(index_erase_slots_all),
	KUNIT_CASE(index_cluster_placement),
	KUNIT_CASE(index_parts_are_shared),
	KUNIT_CASE(index_moved_parts),
	KUNIT_CASE(index_moved_part_is_written),
	{}
};

static struct kunit_suite index_suite = {
	.name = "puma_index",
	.test_cases = index_cases,
};

kunit_test_suite(index_suite);
