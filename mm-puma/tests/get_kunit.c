// SPDX-License-Identifier: GPL-2.0
/*
 * Shows the life of a request: a folio becomes uptodate only when all of its
 * pages came in and were good; everything else leaves the page cache unlocked,
 * without an entry, for the disk to be read; every page is counted once; a
 * lender that answers is measured and one that fails is charged; and in verify
 * mode the readers see the disk, whatever the lender sent.
 */
#include <linux/highmem.h>
#include <linux/pagemap.h>

#include "fixture.h"

#define MS	1000LL

/* The lender's answer to a page, one letter: */
#define GOOD	'g'
#define BAD	'b'	/* another checksum */
#define SWAPPED	's'	/* the bytes and the checksum of another page */
#define GONE	'x'
#define SILENT	'-'

struct life_case {
	const char *desc;
	const char *answers;
	enum puma_get_end end;
	bool consume;
};

#define G32	"gggggggggggggggggggggggggggggggg"

static const struct life_case life_cases[] = {
	{ "one page", "g", PUMA_GET_ANSWERED },
	{ "full request", G32, PUMA_GET_ANSWERED },
	{ "one page, exclusive", "g", PUMA_GET_ANSWERED, true },
	{ "several, exclusive", "gggg", PUMA_GET_ANSWERED, true },
	{ "wrong checksum", "b", PUMA_GET_ANSWERED },
	{ "wrong checksum, exclusive", "b", PUMA_GET_ANSWERED, true },
	{ "another page's answer", "s", PUMA_GET_ANSWERED },
	{ "gone", "x", PUMA_GET_ANSWERED },
	{ "gone, exclusive", "x", PUMA_GET_ANSWERED, true },
	{ "holes", "gxggbggx", PUMA_GET_ANSWERED },
	{ "timeout", "----", PUMA_GET_TIMEOUT },
	{ "timeout in the middle", "gg--gx-b", PUMA_GET_TIMEOUT },
	{ "timeout in the middle, exclusive", "gg--", PUMA_GET_TIMEOUT, true },
	{ "connection lost", "----", PUMA_GET_LOST },
	{ "connection lost in the middle", "-g-x", PUMA_GET_LOST },
};

KUNIT_ARRAY_PARAM_DESC(life, life_cases, desc);

struct life {
	struct puma_fix *fix;
	struct puma_get *req;
	struct folio *folio[PUMA_BATCH];	/* with references of ours */
	u64 data[PAGE_SIZE / sizeof(u64)];
};

static void restore_settings(void *unused)
{
	puma_set.strategy = PUMA_NONINCLUSIVE;
}

/* A request for the first pages of the file, on the wire for 30 ms. */
static struct life *life_start(struct kunit *test, unsigned int nr,
			       bool consume)
{
	struct life *l = kunit_kzalloc(test, sizeof(*l), GFP_KERNEL);
	struct puma_get *req;
	struct puma_entry e;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, l);
	l->fix = puma_fix_borrower(test);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test,
							   restore_settings,
							   NULL));
	req = puma_get_alloc();
	KUNIT_ASSERT_NOT_NULL(test, req);
	INIT_LIST_HEAD(&req->link);
	for (i = 0; i < nr; i++) {
		l->folio[i] = puma_fix_folio(test, l->fix->inode, i);
		folio_get(l->folio[i]);
		puma_fix_entry(test, l->fix, i, &e);
		req->page[i].folio = l->folio[i];
		req->page[i].token = e.token;
		req->page[i].slot = e.slot;
		req->page[i].offset = 0;
		req->page[i].state = PUMA_PAGE_ASKED;
	}
	req->nr = nr;
	req->lender = l->fix->lender;
	req->file = l->fix->file;
	req->consume = consume;
	req->unanswered = GENMASK(nr - 1, 0);
	req->start = ktime_get_ns() - 30 * NSEC_PER_MSEC;
	atomic_long_add(nr, &puma_get_nr_pending);
	l->req = req;
	puma_fix_restart(l->fix);
	return l;
}

/* As the receiver calls it. @i2 says whose bytes and checksum they are. */
static void page_in(struct life *l, unsigned int i, unsigned int i2,
		    u64 stamp, bool good)
{
	struct puma_seal seal = {};

	puma_fix_fill(l->data, stamp);
	seal.sum = puma_key_sum(&l->fix->ix->secret, l->req->page[i2].token,
				l->data) ^ !good;
	local_bh_disable();
	puma_get_page_in(l->req, i, l->data, &seal);
	local_bh_enable();
}

static void answer(struct life *l, unsigned int i, char how)
{
	u64 stamp = puma_fix_stamp(l->fix->inode, i);

	switch (how) {
	case GOOD:
		page_in(l, i, i, stamp, true);
		break;
	case BAD:
		page_in(l, i, i, stamp, false);
		break;
	case SWAPPED:
		/* All of it is in order, but it belongs to another page. */
		l->req->page[i + 1].token = l->req->page[i].token + 1;
		page_in(l, i, i + 1, stamp, true);
		break;
	case GONE:
		puma_get_page_gone(l->req, i);
		break;
	}
}

static bool content_is(struct folio *folio, u64 stamp)
{
	u64 *want = kmalloc(PAGE_SIZE, GFP_KERNEL);
	void *have = kmap_local_folio(folio, 0);
	bool same;

	puma_fix_fill(want, stamp);
	same = !memcmp(want, have, PAGE_SIZE);
	kunmap_local(have);
	kfree(want);
	return same;
}

static void life_end(struct life *l, enum puma_get_end end)
{
	local_bh_disable();
	puma_get_finish(l->req, end);
	local_bh_enable();
	puma_get_drain();
	l->req = NULL;
}

/* Is the folio unlocked, and in the cache and uptodate, or neither? */
static void expect_folio(struct kunit *test, struct life *l, unsigned int i,
			 bool good)
{
	struct folio *folio = l->folio[i];

	KUNIT_EXPECT_FALSE_MSG(test, folio_test_locked(folio),
			       "page %u stays locked", i);
	KUNIT_EXPECT_EQ_MSG(test, good, folio_test_uptodate(folio),
			    "page %u", i);
	KUNIT_EXPECT_EQ_MSG(test, good, folio->mapping == l->fix->mapping,
			    "page %u", i);
	if (good)
		KUNIT_EXPECT_TRUE_MSG(test,
				      content_is(folio,
						 puma_fix_stamp(l->fix->inode,
								i)),
				      "page %u has other bytes", i);
	/* The cache, ours, and one that the LRU may have. */
	KUNIT_EXPECT_LE_MSG(test, folio_ref_count(folio), good + 2,
			    "page %u is leaked", i);
	folio_put(folio);
}

static void get_life(struct kunit *test)
{
	const struct life_case *c = test->param_value;
	unsigned int i, nr = strlen(c->answers), hits = 0, failed, silent = 0;
	struct life *l = life_start(test, nr, c->consume);
	struct puma_fix *fix = l->fix;
	unsigned int bad = 0, gone = 0;
	struct puma_entry e;

	KUNIT_EXPECT_EQ(test, puma_get_pending(), nr);
	for (i = 0; i < nr; i++) {
		answer(l, i, c->answers[i]);
		/* Whoever waits for a good page does not wait for the rest. */
		KUNIT_EXPECT_EQ(test, c->answers[i] != GOOD,
				folio_test_locked(l->folio[i]));
		hits += c->answers[i] == GOOD;
		bad += c->answers[i] == BAD || c->answers[i] == SWAPPED;
		gone += c->answers[i] == GONE;
		silent += c->answers[i] == SILENT;
	}
	failed = nr - hits;
	life_end(l, c->end);

	KUNIT_EXPECT_EQ(test, puma_get_pending(), 0);
	for (i = 0; i < nr; i++) {
		bool good = c->answers[i] == GOOD;

		expect_folio(test, l, i, good);
		KUNIT_EXPECT_EQ_MSG(test, good && !c->consume,
				    puma_fix_lookup(fix->ix, fix->file, i, &e),
				    "entry of page %u", i);
	}
	puma_fix_expect(test, fix, get_hit, hits);
	puma_fix_expect(test, fix, get_bad, bad);
	puma_fix_expect(test, fix, get_gone, gone);
	puma_fix_expect(test, fix, get_timeout,
			c->end == PUMA_GET_TIMEOUT ? silent : 0);
	puma_fix_expect(test, fix, get_lost,
			c->end == PUMA_GET_LOST ? silent : 0);
	KUNIT_EXPECT_EQ(test, nr, hits + bad + gone + silent);

	/* 30 ms: measured if it answered, charged if it was for nothing. */
	KUNIT_EXPECT_EQ(test, c->end == PUMA_GET_ANSWERED,
			fix->lender->srtt_us >= 30 * MS);
	KUNIT_EXPECT_EQ(test, !failed,
			fix->lender->budget.credit_us == 500 * MS);
	KUNIT_EXPECT_GE(test, fix->lender->budget.credit_us, 100 * MS);
}

/* PUMA is switched off while the answer is on its way. */
static void get_no_index(struct kunit *test)
{
	struct life *l = life_start(test, 1, false);

	RCU_INIT_POINTER(puma_index, NULL);
	answer(l, 0, GOOD);
	life_end(l, PUMA_GET_ANSWERED);
	rcu_assign_pointer(puma_index, l->fix->ix);
	expect_folio(test, l, 0, false);
	puma_fix_expect(test, l->fix, get_lost, 1);
}

/* A folio of several pages is not uptodate before the last one is in. */
static void get_large_folio(struct kunit *test)
{
	struct life *l = life_start(test, 1, false);
	struct folio *large = folio_alloc(GFP_KERNEL, 2);
	static const u8 order[] = { 2, 0, 3, 1 };
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, large);
	folio_get(large);
	__folio_set_locked(large);
	large->index = 4;
	l->req->nr = 5;
	atomic_long_add(4, &puma_get_nr_pending);
	for (i = 0; i < 4; i++) {
		struct puma_get_page *page = &l->req->page[1 + i];

		page->folio = large;
		page->token = 100 + i;
		page->offset = i;
		page->state = PUMA_PAGE_ASKED;
	}
	answer(l, 0, GOOD);
	for (i = 0; i < 4; i++) {
		KUNIT_EXPECT_TRUE(test, folio_test_locked(large));
		KUNIT_EXPECT_FALSE(test, folio_test_uptodate(large));
		page_in(l, 1 + order[i], 1 + order[i], 1000 + order[i], true);
	}
	KUNIT_EXPECT_FALSE(test, folio_test_locked(large));
	KUNIT_EXPECT_TRUE(test, folio_test_uptodate(large));
	for (i = 0; i < 4; i++) {
		puma_fix_fill(l->data, 1000 + i);
		KUNIT_EXPECT_MEMEQ(test, folio_address(large) + i * PAGE_SIZE,
				   l->data, PAGE_SIZE);
	}
	life_end(l, PUMA_GET_ANSWERED);
	puma_fix_expect(test, l->fix, get_hit, 5);
	KUNIT_EXPECT_EQ(test, folio_ref_count(large), 1);
	folio_put(large);
	expect_folio(test, l, 0, true);
}

/* Verify mode */

enum verify_event {
	NOTHING,
	DISK_DIFFERS,
	ENTRY_ERASED,
	BRACKET,
	INVALIDATE_LOCK,
	DISK_FAILS,
};

struct verify_case {
	const char *desc;
	const char *answers;
	bool consume;
	enum verify_event event;
	unsigned int ok, mismatch, skipped;
};

static const struct verify_case verify_cases[] = {
	{ "the same", "ggg", false, NOTHING, 3, 0, 0 },
	{ "the same, exclusive", "ggg", true, NOTHING, 3, 0, 0 },
	{ "differs", "ggg", false, DISK_DIFFERS, 0, 3, 0 },
	{ "differs, the entry was erased", "ggg", false, ENTRY_ERASED,
	  0, 0, 3 },
	{ "differs, in a bracket", "ggg", false, BRACKET, 0, 0, 3 },
	{ "cannot be read now", "ggg", false, INVALIDATE_LOCK, 0, 0, 3 },
	{ "the disk fails", "ggg", false, DISK_FAILS, 0, 0, 3 },
	{ "with holes", "gxgb", false, NOTHING, 2, 0, 0 },
	{ "nothing to compare", "xxb", false, NOTHING, 0, 0, 0 },
};

KUNIT_ARRAY_PARAM_DESC(verify, verify_cases, desc);

static void get_verify(struct kunit *test)
{
	const struct verify_case *c = test->param_value;
	unsigned int i, nr = strlen(c->answers);
	struct life *l = life_start(test, nr, c->consume);
	struct puma_fix *fix = l->fix;
	struct puma_inval pi = {};
	struct puma_entry e;

	l->req->verify = true;
	for (i = 0; i < nr; i++) {
		answer(l, i, c->answers[i]);
		KUNIT_EXPECT_TRUE_MSG(test, folio_test_locked(l->folio[i]),
				      "the disk was not asked yet");
		KUNIT_EXPECT_FALSE(test, folio_test_uptodate(l->folio[i]));
	}
	if (c->event == DISK_DIFFERS || c->event == ENTRY_ERASED ||
	    c->event == BRACKET)
		fix->inode->i_private = (void *)1;
	if (c->event == ENTRY_ERASED)
		puma_fix_erase_range(fix->ix, fix->file, 0, nr);
	if (c->event == BRACKET)
		__puma_inval_begin(&pi, fix->mapping);
	if (c->event == INVALIDATE_LOCK)
		filemap_invalidate_lock(fix->mapping);
	if (c->event == DISK_FAILS)
		fix->inode->i_private = PUMA_FIX_DISK_FAILS;
	life_end(l, PUMA_GET_ANSWERED);
	if (c->event == INVALIDATE_LOCK)
		filemap_invalidate_unlock(fix->mapping);
	if (c->event == BRACKET)
		__puma_inval_end(&pi, 1, 0);

	puma_fix_expect(test, fix, verify_ok, c->ok);
	puma_fix_expect(test, fix, verify_mismatch, c->mismatch);
	puma_fix_expect(test, fix, verify_skipped, c->skipped);
	for (i = 0; i < nr; i++) {
		bool good = c->answers[i] == GOOD &&
			    c->event != INVALIDATE_LOCK;

		/* Its bytes are the disk's, also where they differ. */
		if (c->event == DISK_FAILS) {
			/* As after any read that failed. */
			KUNIT_EXPECT_FALSE(test,
					   folio_test_uptodate(l->folio[i]));
			KUNIT_EXPECT_FALSE(test,
					   folio_test_locked(l->folio[i]));
			folio_put(l->folio[i]);
		} else {
			expect_folio(test, l, i, good);
		}
		if (c->consume || c->event == DISK_FAILS)
			KUNIT_EXPECT_FALSE(test,
					   puma_fix_lookup(fix->ix, fix->file,
							   i, &e));
	}
	fix->inode->i_private = NULL;
}

/* The hook of a single read */

static int other_filler(struct file *file, struct folio *folio)
{
	return -EIO;
}

struct single_case {
	const char *desc;
	bool entry, queued;	/* what the index has */
	bool other_filler;
	bool used;		/* a get is started */
	enum puma_counter counter;
};

static const struct single_case single_cases[] = {
	{ "at the lender", true, false, false, true, PUMA_COUNT_get_lost },
	{ "nowhere", false, false, false, false, PUMA_COUNT_get_miss },
	{ "queued", false, true, false, false, PUMA_COUNT_get_queued },
	{ "not a read of the file system", true, false, true, false,
	  PUMA_NR_COUNTERS },
};

KUNIT_ARRAY_PARAM_DESC(single, single_cases, desc);

static void get_single(struct kunit *test)
{
	const struct single_case *c = test->param_value;
	struct puma_fix *fix = puma_fix_borrower(test);
	struct folio *folio = puma_fix_folio(test, fix->inode, 3);
	filler_t *filler = fix->mapping->a_ops->read_folio;
	struct puma_entry e;
	bool used;

	if (c->entry)
		puma_fix_entry(test, fix, 3, &e);
	if (c->queued)
		puma_fix_publish(fix->ix, fix->file, 3);
	used = __puma_read_folio(c->other_filler ? other_filler : filler,
				 folio);
	puma_get_drain();
	KUNIT_EXPECT_EQ(test, c->used, used);
	/* Lost, so it has left the cache; or it is the caller's as before. */
	KUNIT_EXPECT_EQ(test, used, !folio->mapping);
	KUNIT_EXPECT_EQ(test, used, !folio_test_locked(folio));
	KUNIT_EXPECT_FALSE(test, folio_test_uptodate(folio));
	KUNIT_EXPECT_EQ(test, c->other_filler,
			puma_fix_lookup(fix->ix, fix->file, 3, &e));
	puma_fix_expect(test, fix, get_lookups, !c->other_filler);
	if (c->counter < PUMA_NR_COUNTERS)
		KUNIT_EXPECT_EQ(test, 1, puma_fix_delta(fix, c->counter));
	if (!used)
		folio_unlock(folio);
	folio_put(folio);
}

/* Somebody has begun to fill it: the lender must not write over that. */
static void get_not_fresh(struct kunit *test)
{
	struct puma_fix *fix = puma_fix_borrower(test);
	struct folio *folio = puma_fix_folio(test, fix->inode, 3);
	struct puma_entry e;

	puma_fix_entry(test, fix, 3, &e);
	folio->private = fix;
	KUNIT_EXPECT_FALSE(test,
			   __puma_read_folio(fix->mapping->a_ops->read_folio,
					     folio));
	folio->private = NULL;
	KUNIT_EXPECT_TRUE(test, folio_test_locked(folio));
	puma_fix_expect(test, fix, get_bypass, 1);
	KUNIT_EXPECT_FALSE(test, puma_fix_lookup(fix->ix, fix->file, 3, &e));
	folio_unlock(folio);
	folio_put(folio);
}

/* Requests are bounded; what is beyond is read from the disk. */
static void get_requests_bounded(struct kunit *test)
{
	struct puma_fix *fix = puma_fix_borrower(test);
	struct folio *folio = puma_fix_folio(test, fix->inode, 3);
	struct puma_get *req, *next;
	struct puma_entry e;
	unsigned int nr = 0;
	LIST_HEAD(all);

	while ((req = puma_get_alloc()) && nr < 100000) {
		list_add(&req->link, &all);
		nr++;
	}
	KUNIT_EXPECT_LE(test, nr, 1024);
	KUNIT_EXPECT_GT(test, nr, 0);
	puma_fix_entry(test, fix, 3, &e);
	KUNIT_EXPECT_FALSE(test,
			   __puma_read_folio(fix->mapping->a_ops->read_folio,
					     folio));
	puma_fix_expect(test, fix, get_no_request, 1);
	list_for_each_entry_safe(req, next, &all, link)
		puma_get_free(req);
	puma_get_drain();
	req = puma_get_alloc();
	KUNIT_EXPECT_NOT_NULL(test, req);
	if (req)
		puma_get_free(req);
	folio_unlock(folio);
	folio_put(folio);
}

static struct kunit_case get_cases[] = {
	KUNIT_CASE_PARAM(get_life, life_gen_params),
	KUNIT_CASE(get_no_index),
	KUNIT_CASE(get_large_folio),
	KUNIT_CASE_PARAM(get_verify, verify_gen_params),
	KUNIT_CASE_PARAM(get_single, single_gen_params),
	KUNIT_CASE(get_not_fresh),
	KUNIT_CASE(get_requests_bounded),
	{}
};

static struct kunit_suite get_suite = {
	.name = "puma_get",
	.test_cases = get_cases,
};

kunit_test_suite(get_suite);
