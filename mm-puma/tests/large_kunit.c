// SPDX-License-Identifier: GPL-2.0
/*
 * Shows that folios of every order are put page by page and fetched as a whole:
 * one of more than PUMA_BATCH pages takes several requests, becomes uptodate
 * with the last of them if all pages came, and leaves the cache otherwise.
 *
 * Not for User Mode Linux, whose page cache has no large folios.
 */
#include <linux/highmem.h>
#include <linux/pagemap.h>

#include "fixture.h"

#define ORDERS_MAX	9

static void order_desc(const unsigned int *order, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "order %u", *order);
}

static const unsigned int orders[] = { 1, 4, 5, 6, 7, ORDERS_MAX };

KUNIT_ARRAY_PARAM(order, orders, order_desc);

static void ring_stop(void *unused)
{
	mutex_lock(&puma_lock);
	puma_put_stop();
	mutex_unlock(&puma_lock);
}

static struct puma_fix *large_borrower(struct kunit *test)
{
	struct puma_fix *fix = puma_fix_borrower(test);
	int err;

	puma_fix_segments(test, fix->ix, fix->lender, 1, 3);
	mapping_set_large_folios(fix->mapping);
	i_size_write(fix->inode, 2UL << (ORDERS_MAX + PAGE_SHIFT));
	mutex_lock(&puma_lock);
	err = puma_put_start();
	mutex_unlock(&puma_lock);
	KUNIT_ASSERT_EQ(test, 0, err);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, ring_stop, NULL));
	return fix;
}

/* A locked folio in the cache, behind the first of its size. */
static struct folio *large_folio(struct kunit *test, struct puma_fix *fix,
				 unsigned int order)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	KUNIT_ASSERT_EQ(test, 0,
			filemap_add_folio(fix->mapping, folio, 1UL << order,
					  GFP_KERNEL));
	return folio;
}

static void all_entries(struct kunit *test, struct puma_fix *fix,
			struct folio *folio)
{
	struct puma_entry e;
	unsigned long i;

	for (i = 0; i < folio_nr_pages(folio); i++)
		puma_fix_entry(test, fix, folio->index + i, &e);
	puma_fix_restart(fix);
}

/* Two pages of one segment can have the same tag, and then share a slot. */
static bool nearly(long some, long all)
{
	return some <= all && some >= all - 1;
}

static void large_put(struct kunit *test)
{
	unsigned int order = *(const unsigned int *)test->param_value;
	struct puma_fix *fix = large_borrower(test);
	struct folio *folio = large_folio(test, fix, order);
	long nr = folio_nr_pages(folio);
	struct puma_put put;
	struct puma_entry e;
	long kept;

	folio_mark_uptodate(folio);
	/* One page is there already. */
	puma_fix_entry(test, fix, folio->index + 1, &e);
	puma_fix_restart(fix);
	put.nr = __puma_put_begin(&put, fix->mapping, folio);
	KUNIT_EXPECT_EQ(test, put.nr, nr);
	kept = puma_fix_delta(fix, PUMA_COUNT_put_kept);
	KUNIT_EXPECT_GE(test, kept, 1);
	KUNIT_EXPECT_EQ(test, put.published + kept, nr);
	filemap_remove_folio(folio);
	puma_put_commit(&put, folio);
	folio_unlock(folio);
	folio_put(folio);
	/* The connection is down, so all that was queued is lost. */
	KUNIT_EXPECT_TRUE(test, nearly(puma_fix_delta(fix, PUMA_COUNT_put_lost),
				       nr - kept));
	KUNIT_EXPECT_EQ(test, nr - kept,
			puma_fix_delta(fix, PUMA_COUNT_put_lost) +
			puma_fix_delta(fix, PUMA_COUNT_put_stale));
	puma_fix_expect(test, fix, put_offered, nr);
}

/* Taken back: what was there before stays, what is new goes. */
static void large_abort(struct kunit *test)
{
	unsigned int order = *(const unsigned int *)test->param_value;
	struct puma_fix *fix = large_borrower(test);
	struct folio *folio = large_folio(test, fix, order);
	struct puma_put put;
	struct puma_entry e;

	folio_mark_uptodate(folio);
	puma_fix_entry(test, fix, folio->index + 1, &e);
	puma_fix_restart(fix);
	put.nr = __puma_put_begin(&put, fix->mapping, folio);
	KUNIT_EXPECT_EQ(test, put.nr, folio_nr_pages(folio));
	puma_put_abort(&put, folio);
	puma_fix_expect(test, fix, put_retracted, put.published);
	KUNIT_EXPECT_EQ(test, 1, puma_fix_entries(fix->ix, NULL));
	KUNIT_EXPECT_TRUE(test, puma_fix_lookup(fix->ix, fix->file,
						folio->index + 1, &e));
	filemap_remove_folio(folio);
	folio_unlock(folio);
	folio_put(folio);
}

/* The whole way through the hook; there is no connection. */
static void large_get(struct kunit *test)
{
	unsigned int order = *(const unsigned int *)test->param_value;
	struct puma_fix *fix = large_borrower(test);
	struct folio *folio = large_folio(test, fix, order);
	filler_t *filler = fix->mapping->a_ops->read_folio;
	long nr = folio_nr_pages(folio);

	all_entries(test, fix, folio);
	/* The last page is missing: nothing is asked for, nothing is left. */
	puma_fix_erase(fix->ix, fix->file, folio->index + nr - 1);
	KUNIT_EXPECT_FALSE(test, __puma_read_folio(filler, folio));
	KUNIT_EXPECT_TRUE(test, folio_test_locked(folio));
	puma_fix_expect(test, fix, get_lookups, nr);
	puma_fix_expect(test, fix, get_miss, nr);
	KUNIT_EXPECT_EQ(test, 0, puma_fix_entries(fix->ix, NULL));
	puma_get_drain();

	all_entries(test, fix, folio);
	if (puma_fix_entries(fix->ix, NULL) == nr) {
		KUNIT_EXPECT_TRUE(test, __puma_read_folio(filler, folio));
		puma_get_drain();
		puma_fix_expect(test, fix, get_lost, nr);
		KUNIT_EXPECT_NULL(test, folio->mapping);
	} else {
		filemap_remove_folio(folio);
		folio_unlock(folio);
	}
	KUNIT_EXPECT_FALSE(test, folio_test_uptodate(folio));
	KUNIT_EXPECT_FALSE(test, folio_test_locked(folio));
	KUNIT_EXPECT_EQ(test, puma_get_pending(), 0);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	folio_put(folio);
}

/* Requests for the parts of a folio, as add_large() makes them. */
static unsigned int make_parts(struct kunit *test, struct puma_fix *fix,
			       struct folio *folio, struct puma_get **part)
{
	unsigned int nr = folio_nr_pages(folio), parts = nr / PUMA_BATCH;
	struct puma_large *large = kzalloc(struct_size(large, token, nr),
					   GFP_KERNEL);
	unsigned int p, i;

	KUNIT_ASSERT_NOT_NULL(test, large);
	atomic_set(&large->left, parts);
	large->tokens = true;
	for (i = 0; i < nr; i++)
		large->token[i] = 1000 + i;
	for (p = 0; p < parts; p++) {
		part[p] = puma_get_alloc();
		KUNIT_ASSERT_NOT_NULL(test, part[p]);
		INIT_LIST_HEAD(&part[p]->link);
		part[p]->lender = fix->lender;
		part[p]->file = fix->file;
		part[p]->large = large;
		part[p]->nr = PUMA_BATCH;
		part[p]->consume = false;
		part[p]->start = ktime_get_ns();
		for (i = 0; i < PUMA_BATCH; i++) {
			struct puma_get_page *page = &part[p]->page[i];

			page->folio = folio;
			page->offset = p * PUMA_BATCH + i;
			page->token = large->token[page->offset];
			page->state = PUMA_PAGE_ASKED;
		}
	}
	atomic_long_add(nr, &puma_get_nr_pending);
	return parts;
}

static void page_in(struct kunit *test, struct puma_fix *fix,
		    struct puma_get *req, unsigned int i)
{
	u64 *data = kunit_kmalloc(test, PAGE_SIZE, GFP_KERNEL);
	struct puma_seal seal = {};

	KUNIT_ASSERT_NOT_NULL(test, data);
	puma_fix_fill(data, req->page[i].token);
	seal.sum = puma_key_sum(&fix->ix->secret, req->page[i].token, data);
	local_bh_disable();
	puma_get_page_in(req, i, data, &seal);
	local_bh_enable();
	kunit_kfree(test, data);
}

struct parts_case {
	const char *desc;
	unsigned int silent;	/* page that never comes, plus 1 */
	bool backwards;
};

static const struct parts_case parts_cases[] = {
	{ "all pages come" },
	{ "all pages come, backwards", 0, true },
	{ "the first is missing", 1 },
	{ "the last is missing", 128 },
	{ "one in the middle is missing", 70 },
	{ "one in the middle is missing, backwards", 70, true },
};

KUNIT_ARRAY_PARAM_DESC(parts, parts_cases, desc);

static void large_parts(struct kunit *test)
{
	const struct parts_case *c = test->param_value;
	struct puma_fix *fix = large_borrower(test);
	struct folio *folio = large_folio(test, fix, 7);
	struct puma_get *part[4];
	unsigned int parts, p, i;
	u64 want[2];

	folio_get(folio);	/* that of readahead */
	parts = make_parts(test, fix, folio, part);
	KUNIT_ASSERT_EQ(test, parts, 4);
	for (p = 0; p < parts; p++) {
		struct puma_get *req = part[c->backwards ? parts - 1 - p : p];
		bool all = true;

		KUNIT_EXPECT_TRUE(test, folio_test_locked(folio));
		KUNIT_EXPECT_FALSE(test, folio_test_uptodate(folio));
		for (i = 0; i < PUMA_BATCH; i++) {
			if (req->page[i].offset + 1 == c->silent)
				all = false;
			else
				page_in(test, fix, req, i);
		}
		puma_get_finish(req, all ? PUMA_GET_ANSWERED :
					   PUMA_GET_TIMEOUT);
	}
	puma_get_drain();
	KUNIT_EXPECT_FALSE(test, folio_test_locked(folio));
	KUNIT_EXPECT_EQ(test, !c->silent, folio_test_uptodate(folio));
	KUNIT_EXPECT_EQ(test, !c->silent, !!folio->mapping);
	for (i = 0; !c->silent && i < folio_nr_pages(folio); i++) {
		want[0] = (1000 + i) * 0x9e3779b97f4a7c15ULL;
		want[1] = want[0] + 1;
		KUNIT_EXPECT_MEMEQ(test,
				   folio_address(folio) + i * PAGE_SIZE, want,
				   sizeof(want));
	}
	puma_fix_expect(test, fix, get_hit, 128 - !!c->silent);
	puma_fix_expect(test, fix, get_timeout, !!c->silent);
	KUNIT_EXPECT_EQ(test, puma_get_pending(), 0);
	if (folio->mapping) {
		folio_lock(folio);
		filemap_remove_folio(folio);
		folio_unlock(folio);
	}
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	folio_put(folio);
}

static struct kunit_case large_cases[] = {
	KUNIT_CASE_PARAM(large_put, order_gen_params),
	KUNIT_CASE_PARAM(large_abort, order_gen_params),
	KUNIT_CASE_PARAM(large_get, order_gen_params),
	KUNIT_CASE_PARAM(large_parts, parts_gen_params),
	{}
};

static struct kunit_suite large_suite = {
	.name = "puma_large",
	.test_cases = large_cases,
};

kunit_test_suite(large_suite);
