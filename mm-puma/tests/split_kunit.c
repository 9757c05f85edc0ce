// SPDX-License-Identifier: GPL-2.0
/*
 * Shows what becomes of a readahead batch: hits are fetched and the disk is
 * asked for the misses, when these form one run; otherwise the disk is asked
 * for all of it. First the splitter alone, then the hook on folios in a page
 * cache. Batches are written as h for a hit and m for a miss.
 */
#include <linux/pagemap.h>

#include "fixture.h"

struct split_case {
	const char *desc;
	const char *batch;
	bool worth;
	unsigned int runs;
	pgoff_t start, end;	/* of the last run of misses */
};

static const struct split_case split_cases[] = {
	{ "nothing", "", false, 0, 0, 0 },
	{ "one hit", "h", true, 0, 0, 0 },
	{ "one miss", "m", false, 1, 0, 1 },
	{ "all hit", "hhhhhhhh", true, 0, 0, 0 },
	{ "all miss", "mmmmmmmm", false, 1, 0, 8 },
	{ "hits first", "hhhhhmmm", true, 1, 5, 8 },
	{ "misses first", "mmmhhhhh", true, 1, 0, 3 },
	{ "misses inside", "hhmmmhhh", true, 1, 2, 5 },
	{ "one miss inside", "hhhmhhhh", true, 1, 3, 4 },
	{ "one hit inside", "mmmhmmmm", false, 2, 4, 8 },
	{ "misses at both ends", "mhhhhhhm", false, 2, 7, 8 },
	{ "two runs inside", "hmhhmmhh", false, 2, 4, 6 },
	{ "every second", "hmhmhmhm", false, 4, 7, 8 },
};

KUNIT_ARRAY_PARAM_DESC(split, split_cases, desc);

static void split_decides(struct kunit *test)
{
	const struct split_case *c = test->param_value;
	const unsigned long nr[] = { 1, 4, 512 };
	unsigned long i, j, hits = 0, len = strlen(c->batch);

	for (i = 0; i < len; i++)
		hits += c->batch[i] == 'h';
	/* Folios of any size, anywhere in the file. */
	for (j = 0; j < ARRAY_SIZE(nr); j++) {
		const pgoff_t base = 1024 * j;
		struct puma_split split = {};

		for (i = 0; i < len; i++)
			puma_split_add(&split, base + i * nr[j], nr[j],
				       c->batch[i] == 'h');
		KUNIT_EXPECT_EQ(test, c->worth, puma_split_worth(&split));
		KUNIT_EXPECT_EQ(test, split.hits, hits * nr[j]);
		KUNIT_EXPECT_EQ(test, split.misses, (len - hits) * nr[j]);
		KUNIT_EXPECT_EQ(test, split.runs, c->runs);
		if (!c->runs)
			continue;
		KUNIT_EXPECT_EQ(test, split.start, base + c->start * nr[j]);
		KUNIT_EXPECT_EQ(test, split.end, base + c->end * nr[j]);
	}
}

static void split_mixed_sizes(struct kunit *test)
{
	struct puma_split split = {};

	puma_split_add(&split, 100, 4, true);
	puma_split_add(&split, 104, 1, false);
	puma_split_add(&split, 105, 16, false);
	puma_split_add(&split, 121, 2, true);
	KUNIT_EXPECT_TRUE(test, puma_split_worth(&split));
	KUNIT_EXPECT_EQ(test, split.hits, 6);
	KUNIT_EXPECT_EQ(test, split.misses, 17);
	KUNIT_EXPECT_EQ(test, split.start, 104);
	KUNIT_EXPECT_EQ(test, split.end, 121);
}

/* The hook */

static pgoff_t disk_start;
static unsigned long disk_nr;
static unsigned int disk_calls;

/* Takes the folios of the batch as a file system does, and fills them. */
static void disk(struct readahead_control *rac)
{
	struct folio *folio;

	disk_calls++;
	disk_start = readahead_index(rac);
	disk_nr = readahead_count(rac);
	while ((folio = readahead_folio(rac)))
		folio_end_read(folio, true);
}

struct batch_case {
	const char *desc;
	const char *batch;	/* q: queued, not sent yet */
	bool taken;
	pgoff_t start;		/* what the disk is asked for */
	unsigned long nr;
};

#define H8	"hhhhhhhh"
#define M8	"mmmmmmmm"

static const struct batch_case batch_cases[] = {
	{ "all hit", H8, true, 0, 0 },
	{ "all miss", M8, false, 0, 0 },
	{ "hits first", "hhhhhmmm", true, 5, 3 },
	{ "misses first", "mmmhhhhh", true, 0, 3 },
	{ "misses inside", "hhmmmhhh", true, 2, 3 },
	{ "two runs", "hmhhmmhh", false, 0, 0 },
	{ "both ends", "mhhhhhhm", false, 0, 0 },
	{ "queued is a miss", "hhhqqqhh", true, 3, 3 },
	{ "only queued", "qqqqqqqq", false, 0, 0 },
	{ "queued and missed in two runs", "hqhhhmhh", false, 0, 0 },
	{ "more than a request", H8 H8 H8 H8 H8 "hhh", true, 0, 0 },
	{ "more than a request, a hole", H8 H8 M8 H8 H8 H8, true, 16, 8 },
	{ "the longest", H8 H8 H8 H8 H8 H8 H8 H8, true, 0, 0 },
	{ "one page", "h", true, 0, 0 },
};

KUNIT_ARRAY_PARAM_DESC(batch, batch_cases, desc);

/* All requests are lost, so what was fetched has left the page cache. */
static void split_batch(struct kunit *test)
{
	const struct batch_case *c = test->param_value;
	unsigned long i, n = strlen(c->batch), hits = 0, misses = 0, queued = 0;
	struct puma_fix *fix = puma_fix_borrower(test);
	DEFINE_READAHEAD(rac, NULL, NULL, fix->mapping, 0);
	long counted = 0;
	struct puma_entry e;
	bool taken;

	for (i = 0; i < n; i++) {
		struct folio *folio = puma_fix_folio(test, fix->inode, i);

		KUNIT_EXPECT_TRUE(test, folio_test_locked(folio));
		if (c->batch[i] == 'h')
			puma_fix_entry(test, fix, i, &e);
		if (c->batch[i] == 'q')
			puma_fix_publish(fix->ix, fix->file, i);
		hits += c->batch[i] == 'h';
		queued += c->batch[i] == 'q';
		misses += c->batch[i] == 'm';
	}
	rac._nr_pages = n;
	disk_calls = 0;
	disk_nr = 0;
	puma_fix_restart(fix);
	taken = __puma_readahead(&rac, disk);
	puma_get_drain();
	KUNIT_EXPECT_EQ(test, c->taken, taken);
	KUNIT_EXPECT_EQ(test, c->taken && c->nr, disk_calls);
	if (!taken) {
		/* The caller reads it all: nothing was touched. */
		KUNIT_EXPECT_EQ(test, rac._nr_pages, n);
		KUNIT_EXPECT_EQ(test, rac._index, 0);
		disk(&rac);
		KUNIT_EXPECT_EQ(test, disk_nr, n);
	} else {
		KUNIT_EXPECT_EQ(test, disk_nr, c->nr);
		if (c->nr)
			KUNIT_EXPECT_EQ(test, disk_start, c->start);
		KUNIT_EXPECT_EQ(test, rac._nr_pages, 0);
		KUNIT_EXPECT_EQ(test, rac._index, n);
	}
	for (i = 0; i < n; i++) {
		bool hit = c->batch[i] == 'h';
		struct folio *folio = filemap_get_folio(fix->mapping, i);

		KUNIT_EXPECT_EQ_MSG(test, IS_ERR(folio), taken && hit,
				    "page %lu is in the cache or not", i);
		if (IS_ERR(folio))
			continue;
		KUNIT_EXPECT_TRUE(test, folio_test_uptodate(folio));
		KUNIT_EXPECT_FALSE(test, folio_test_locked(folio));
		folio_put(folio);
	}
	/* The disk is read: no entry may be left that is older. */
	KUNIT_EXPECT_EQ(test, 0, puma_fix_entries(fix->ix, NULL));
	KUNIT_EXPECT_EQ(test, 0, puma_get_pending());

	puma_fix_expect(test, fix, get_lookups, n);
	puma_fix_expect(test, fix, get_hit, 0);
	puma_fix_expect(test, fix, get_lost, taken ? hits : 0);
	for (i = PUMA_COUNT_get_lookups + 1; i <= PUMA_COUNT_get_bad; i++)
		counted += puma_fix_delta(fix, i);
	KUNIT_EXPECT_EQ_MSG(test, counted, n, "the counters do not add up");
	if (taken) {
		puma_fix_expect(test, fix, get_miss, misses);
		puma_fix_expect(test, fix, get_queued, queued);
	}
}

/* Nothing can be remote: the hook does not even count. */
static void split_no_segment(struct kunit *test)
{
	struct puma_fix *fix = puma_fix_borrower(test);
	DEFINE_READAHEAD(rac, NULL, NULL, fix->mapping, 0);

	puma_fix_folio(test, fix->inode, 0);
	rac._nr_pages = 1;
	puma_index_remove(fix->ix, fix->lender, 0);
	KUNIT_EXPECT_FALSE(test, __puma_readahead(&rac, disk));
	puma_fix_expect(test, fix, get_lookups, 0);
	disk(&rac);

	KUNIT_EXPECT_FALSE(test, __puma_readahead(&rac, disk));
	puma_fix_expect(test, fix, get_lookups, 0);
}

struct refuse_case {
	const char *desc;
	enum puma_counter counter;
};

static const struct refuse_case refuse_cases[] = {
	{ "bracket", PUMA_COUNT_get_busy },
	{ "file takes no part", PUMA_COUNT_get_bypass },
	{ "in reclaim", PUMA_COUNT_get_bypass },
	{ "lender wastes time", PUMA_COUNT_get_throttled },
	{ "lender is down", PUMA_COUNT_get_throttled },
};

KUNIT_ARRAY_PARAM_DESC(refuse, refuse_cases, desc);

/* Entries that may not be used are erased, and counted by their reason. */
static void split_refused(struct kunit *test)
{
	const struct refuse_case *c = test->param_value;
	unsigned int nr = c - refuse_cases, flags, i;
	struct puma_fix *fix = puma_fix_borrower(test);
	DEFINE_READAHEAD(rac, NULL, NULL, fix->mapping, 0);
	struct puma_inval pi = {};
	struct puma_entry e;
	long counted = 0;
	bool taken;

	for (i = 0; i < 4; i++) {
		puma_fix_folio(test, fix->inode, i);
		puma_fix_entry(test, fix, i, &e);
	}
	rac._nr_pages = 4;
	flags = memalloc_flags_save(nr == 2 ? PF_MEMALLOC : 0);
	if (nr == 0)
		__puma_inval_begin(&pi, fix->mapping);
	if (nr == 1)
		fix->mapping->wb_err = 1;
	if (nr == 3)
		fix->lender->budget.credit_us = -1000000;
	if (nr == 4)
		fix->lender->state = PUMA_LENDER_DOWN;
	taken = __puma_readahead(&rac, disk);
	memalloc_flags_restore(flags);
	puma_inval_end(&pi, PUMA_FIX_PAGES * PAGE_SIZE, -1);
	fix->mapping->wb_err = 0;
	KUNIT_EXPECT_FALSE(test, taken);
	KUNIT_EXPECT_EQ(test, 0, puma_fix_entries(fix->ix, NULL));
	KUNIT_EXPECT_EQ(test, 4, puma_fix_delta(fix, c->counter));
	puma_fix_expect(test, fix, get_lookups, 4);
	for (i = PUMA_COUNT_get_lookups + 1; i <= PUMA_COUNT_get_bad; i++)
		counted += puma_fix_delta(fix, i);
	KUNIT_EXPECT_EQ(test, counted, 4);
	disk(&rac);
}

static struct kunit_case split_test_cases[] = {
	KUNIT_CASE_PARAM(split_decides, split_gen_params),
	KUNIT_CASE(split_mixed_sizes),
	KUNIT_CASE_PARAM(split_batch, batch_gen_params),
	KUNIT_CASE(split_no_segment),
	KUNIT_CASE_PARAM(split_refused, refuse_gen_params),
	{}
};

static struct kunit_suite split_suite = {
	.name = "puma_split",
	.test_cases = split_test_cases,
};

kunit_test_suite(split_suite);
