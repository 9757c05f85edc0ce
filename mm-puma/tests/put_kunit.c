// SPDX-License-Identifier: GPL-2.0
/*
 * Shows that a put takes only what is fit to be put, that every page offered is
 * counted once, that what is taken back leaves no entry, and that no page goes
 * out under the name of another: the hooks on real folios, the claim of the
 * sender. The connection is down, so whatever is queued counts as lost.
 */
#include <linux/highmem.h>
#include <linux/pagemap.h>

#include "fixture.h"

static void ring_stop(void *unused)
{
	mutex_lock(&puma_lock);
	puma_put_stop();
	mutex_unlock(&puma_lock);
}

static struct puma_fix *put_borrower(struct kunit *test)
{
	struct puma_fix *fix = puma_fix_borrower(test);
	int err;

	mutex_lock(&puma_lock);
	err = puma_put_start();
	mutex_unlock(&puma_lock);
	KUNIT_ASSERT_EQ(test, err, 0);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, ring_stop, NULL));
	return fix;
}

/* A folio as reclaim finds it: clean, uptodate, locked. */
static struct folio *clean_folio(struct kunit *test, struct puma_fix *fix,
				 pgoff_t index, u64 stamp)
{
	struct folio *folio = puma_fix_folio(test, fix->inode, index);
	void *page = kmap_local_folio(folio, 0);

	puma_fix_fill(page, stamp);
	kunmap_local(page);
	folio_mark_uptodate(folio);
	return folio;
}

static void begin(struct puma_fix *fix, struct puma_put *put,
		  struct folio *folio)
{
	put->nr = __puma_put_begin(put, fix->mapping, folio);
}

/* As __remove_mapping(), which has the hook after the removal. */
static void remove_and_commit(struct puma_put *put, struct folio *folio)
{
	filemap_remove_folio(folio);
	puma_put_commit(put, folio);
	folio_unlock(folio);
	folio_put(folio);
}

static void abort_and_drop(struct puma_put *put, struct folio *folio)
{
	puma_put_abort(put, folio);
	filemap_remove_folio(folio);
	folio_unlock(folio);
	folio_put(folio);
}

static void expect_partition(struct kunit *test, struct puma_fix *fix)
{
	unsigned int queued, i;
	long counted = 0;

	mutex_lock(&puma_lock);
	queued = puma_put_queued();
	mutex_unlock(&puma_lock);
	for (i = PUMA_COUNT_put_offered + 1; i <= PUMA_COUNT_put_lost; i++)
		counted += puma_fix_delta(fix, i);
	KUNIT_EXPECT_EQ(test, puma_fix_delta(fix, PUMA_COUNT_put_offered),
			counted + queued);
}

static void put_commit(struct kunit *test)
{
	struct puma_fix *fix = put_borrower(test);
	struct folio *folio = clean_folio(test, fix, 3, 1);
	struct puma_put put;
	struct puma_entry e;

	begin(fix, &put, folio);
	KUNIT_EXPECT_EQ(test, put.nr, 1);
	KUNIT_EXPECT_EQ(test, put.published, 1);
	KUNIT_EXPECT_EQ(test, put.file, fix->file);
	KUNIT_EXPECT_EQ(test, put.index, 3);
	/* Published while the folio is still in the cache. */
	KUNIT_EXPECT_TRUE(test, puma_fix_lookup(fix->ix, fix->file, 3, &e));
	KUNIT_EXPECT_TRUE(test, e.word & PUMA_WORD_QUEUED);
	remove_and_commit(&put, folio);
	puma_fix_expect(test, fix, put_offered, 1);
	puma_fix_expect(test, fix, put_lost, 1);
	expect_partition(test, fix);
}

static void put_abort(struct kunit *test)
{
	struct puma_fix *fix = put_borrower(test);
	struct folio *folio = clean_folio(test, fix, 3, 1);
	struct puma_put put;
	struct puma_entry e;

	begin(fix, &put, folio);
	KUNIT_EXPECT_EQ(test, put.nr, 1);
	abort_and_drop(&put, folio);
	KUNIT_EXPECT_FALSE(test, puma_fix_lookup(fix->ix, fix->file, 3, &e));
	puma_fix_expect(test, fix, put_retracted, 1);
	expect_partition(test, fix);
}

/* A hit left the page with the lender: it need not be sent again. */
static void put_kept(struct kunit *test)
{
	struct puma_fix *fix = put_borrower(test);
	struct folio *folio = clean_folio(test, fix, 3, 1);
	struct puma_entry e, f;
	struct puma_put put;

	puma_fix_entry(test, fix, 3, &e);
	begin(fix, &put, folio);
	KUNIT_EXPECT_EQ(test, put.nr, 0);
	/* Even if the removal fails, the entry is as good as before. */
	abort_and_drop(&put, folio);
	KUNIT_EXPECT_TRUE(test, puma_fix_lookup(fix->ix, fix->file, 3, &f));
	KUNIT_EXPECT_EQ(test, e.word, f.word);
	puma_fix_expect(test, fix, put_kept, 1);
	expect_partition(test, fix);
}

static void put_no_lender(struct kunit *test)
{
	struct puma_fix *fix = put_borrower(test);
	struct folio *folio = clean_folio(test, fix, 3, 1);
	struct puma_put put;

	fix->lender->put_pause = jiffies + HZ;
	begin(fix, &put, folio);
	KUNIT_EXPECT_EQ(test, put.nr, 0);
	remove_and_commit(&put, folio);
	puma_fix_expect(test, fix, put_no_lender, 1);
	expect_partition(test, fix);
}

enum defect {
	NOT_UPTODATE,
	DIRTY,
	WRITEBACK,
	HAS_PRIVATE,
	BEYOND_END,
	SWAP_FILE,
	WB_ERROR,
	UNHASHED,
};

struct defect_case {
	const char *desc;
	enum defect defect;
};

static const struct defect_case defect_cases[] = {
	{ "not uptodate", NOT_UPTODATE },
	{ "dirty", DIRTY },
	{ "under write-back", WRITEBACK },
	{ "has private data", HAS_PRIVATE },
	{ "beyond the end of the file", BEYOND_END },
	{ "of a swap file", SWAP_FILE },
	{ "of a file with a write-back error", WB_ERROR },
	{ "of an unhashed inode", UNHASHED },
};

KUNIT_ARRAY_PARAM_DESC(defect, defect_cases, desc);

static void put_ineligible(struct kunit *test)
{
	const struct defect_case *c = test->param_value;
	struct puma_fix *fix = put_borrower(test);
	struct folio *folio = clean_folio(test, fix, 3, 1);
	struct puma_put put;
	struct puma_entry e;

	switch (c->defect) {
	case NOT_UPTODATE:
		folio_clear_uptodate(folio);
		break;
	case DIRTY:
		folio_set_dirty(folio);
		break;
	case WRITEBACK:
		set_bit(PG_writeback, &folio->flags);
		break;
	case HAS_PRIVATE:
		folio->private = fix;
		break;
	case BEYOND_END:
		i_size_write(fix->inode, 3 * PAGE_SIZE);
		break;
	case SWAP_FILE:
		fix->inode->i_flags |= S_SWAPFILE;
		break;
	case WB_ERROR:
		mapping_set_error(fix->mapping, -EIO);
		break;
	case UNHASHED:
		remove_inode_hash(fix->inode);
		break;
	}
	begin(fix, &put, folio);
	KUNIT_EXPECT_EQ(test, put.nr, 0);
	KUNIT_EXPECT_FALSE(test, puma_fix_lookup(fix->ix, fix->file, 3, &e));
	puma_fix_expect(test, fix, put_offered, 1);
	puma_fix_expect(test, fix, put_ineligible, 1);
	expect_partition(test, fix);
	clear_bit(PG_writeback, &folio->flags);
	folio_clear_dirty(folio);
	folio->private = NULL;
	fix->inode->i_flags &= ~S_SWAPFILE;
	abort_and_drop(&put, folio);
}

/* Others' files, and files that are none, are not even counted. */
static void put_not_ours(struct kunit *test)
{
	struct puma_fix *fix = put_borrower(test);
	struct folio *folio = clean_folio(test, fix, 3, 1);
	u64 id = fix->inode->i_sb->s_puma_id;
	struct puma_put put;

	fix->inode->i_sb->s_puma_id = 1;
	begin(fix, &put, folio);
	KUNIT_EXPECT_EQ(test, put.nr, 0);
	fix->inode->i_sb->s_puma_id = id;
	fix->inode->i_mode = S_IFBLK | 0600;
	begin(fix, &put, folio);
	KUNIT_EXPECT_EQ(test, put.nr, 0);
	fix->inode->i_mode = S_IFREG | 0644;
	RCU_INIT_POINTER(puma_index, NULL);
	begin(fix, &put, folio);
	KUNIT_EXPECT_EQ(test, put.nr, 0);
	rcu_assign_pointer(puma_index, fix->ix);
	puma_fix_expect(test, fix, put_offered, 0);
	abort_and_drop(&put, folio);
}

/* What is mapped beyond the end may have been scribbled on. */
static void put_zeroes_tail(struct kunit *test)
{
	struct puma_fix *fix = put_borrower(test);
	struct folio *folio = clean_folio(test, fix, 3, 77);
	struct puma_put put;
	u8 *page;

	i_size_write(fix->inode, 3 * PAGE_SIZE + 100);
	page = kmap_local_folio(folio, 0);
	memset(page + 90, 0xee, PAGE_SIZE - 90);
	kunmap_local(page);
	begin(fix, &put, folio);
	KUNIT_EXPECT_EQ(test, put.nr, 1);
	page = kmap_local_folio(folio, 0);
	KUNIT_EXPECT_EQ(test, page[99], 0xee);
	KUNIT_EXPECT_NULL(test, memchr_inv(page + 100, 0, PAGE_SIZE - 100));
	kunmap_local(page);
	abort_and_drop(&put, folio);
}

/*
 * Somebody may be moving the end: what is beyond it may be valid already, so
 * the last page is neither zeroed nor put, but pages before it are.
 */
static void put_last_page_moves(struct kunit *test)
{
	struct puma_fix *fix = put_borrower(test);
	struct folio *last = clean_folio(test, fix, 3, 77);
	struct folio *before = clean_folio(test, fix, 2, 76);
	u64 *want = kunit_kmalloc(test, PAGE_SIZE, GFP_KERNEL);
	struct puma_put put;

	KUNIT_ASSERT_NOT_NULL(test, want);
	i_size_write(fix->inode, 3 * PAGE_SIZE + 100);
	puma_fix_fill(want, 77);
	inode_lock(fix->inode);
	begin(fix, &put, last);
	KUNIT_EXPECT_EQ(test, put.nr, 0);
	KUNIT_EXPECT_MEMEQ(test, folio_address(last), want, PAGE_SIZE);
	puma_fix_expect(test, fix, put_ineligible, 1);
	begin(fix, &put, before);
	KUNIT_EXPECT_EQ(test, put.nr, 1);
	abort_and_drop(&put, before);
	inode_unlock(fix->inode);
	begin(fix, &put, last);
	KUNIT_EXPECT_EQ(test, put.nr, 1);
	abort_and_drop(&put, last);
}

/* The file changes between the removal of the folio and its commit. */
static void put_erased_before_commit(struct kunit *test)
{
	struct puma_fix *fix = put_borrower(test);
	struct folio *folio = clean_folio(test, fix, 3, 1);
	struct puma_put put;
	struct puma_entry e;

	begin(fix, &put, folio);
	KUNIT_ASSERT_EQ(test, put.nr, 1);
	filemap_remove_folio(folio);
	__puma_file_changed(fix->inode);
	puma_put_commit(&put, folio);
	folio_unlock(folio);
	folio_put(folio);
	KUNIT_EXPECT_FALSE(test, puma_fix_lookup(fix->ix, fix->file, 3, &e));
	puma_fix_expect(test, fix, put_stale, 1);
	puma_fix_expect(test, fix, put_lost, 0);
	expect_partition(test, fix);
}

/*
 * The same, but when the commit goes on, the page has been read anew and is
 * being put by another reclaimer. The entry is that of the new content: the
 * old content must not be sent under its name.
 */
static void put_replaced_before_commit(struct kunit *test)
{
	struct puma_fix *fix = put_borrower(test);
	struct folio *old = clean_folio(test, fix, 3, 1);
	struct folio *new = folio_alloc(GFP_KERNEL, 0);
	struct puma_put put_old, put_new;
	long stale, lost;

	KUNIT_ASSERT_NOT_NULL(test, new);
	/* begin opens an RCU read-side section: no sleep, no expectations. */
	begin(fix, &put_old, old);
	filemap_remove_folio(old);
	__puma_file_changed(fix->inode);
	filemap_add_folio(fix->mapping, new, 3, GFP_NOWAIT);
	folio_mark_uptodate(new);
	begin(fix, &put_new, new);
	puma_put_commit(&put_old, old);
	stale = puma_fix_delta(fix, PUMA_COUNT_put_stale);
	lost = puma_fix_delta(fix, PUMA_COUNT_put_lost);
	folio_unlock(old);
	folio_put(old);
	remove_and_commit(&put_new, new);

	puma_fix_expect(test, fix, put_offered, 2);
	KUNIT_EXPECT_EQ_MSG(test, lost, 0,
			    "old content was queued under the name of new content");
	KUNIT_EXPECT_EQ(test, stale, 1);
	puma_fix_expect(test, fix, put_lost, 1);
	expect_partition(test, fix);
}

/* A buffer of the ring, for an entry that waits to be sent. */
static struct puma_put_buf *queued_buf(struct kunit *test, struct puma_fix *fix,
				       pgoff_t index)
{
	struct puma_put_buf *buf = puma_put_buf_take();
	struct puma_entry e;

	KUNIT_ASSERT_NOT_NULL(test, buf);
	puma_fix_publish(fix->ix, fix->file, index);
	KUNIT_ASSERT_TRUE(test, puma_fix_lookup(fix->ix, fix->file, index, &e));
	puma_fix_fill(page_address(buf->page), 5);
	buf->lender = fix->lender;
	buf->file = fix->file;
	buf->index = index;
	buf->word = e.word;
	buf->token = e.token;
	buf->slot = e.slot;
	buf->seal.spare = ~0ULL;
	return buf;
}

/* The sender's claim: the seal is that of the bytes and the token. */
static void put_claim(struct kunit *test)
{
	struct puma_fix *fix = put_borrower(test);
	struct puma_put_buf *buf = queued_buf(test, fix, 3);
	struct puma_entry e;

	KUNIT_EXPECT_TRUE(test, puma_put_claim(buf));
	KUNIT_EXPECT_EQ(test, buf->seal.sum,
			puma_key_sum(&fix->ix->secret, buf->token,
				     page_address(buf->page)));
	KUNIT_EXPECT_EQ(test, buf->seal.spare, 0);
	KUNIT_EXPECT_TRUE(test, puma_fix_lookup(fix->ix, fix->file, 3, &e));
	KUNIT_EXPECT_FALSE(test, e.word & PUMA_WORD_QUEUED);
	puma_put_done(buf, true);
	puma_fix_expect(test, fix, put_sent, 1);
}

/* What was erased, or put again, while it waited is not sent any more. */
static void put_claim_void(struct kunit *test)
{
	struct puma_fix *fix = put_borrower(test);
	struct puma_put_buf *buf = queued_buf(test, fix, 3);
	struct puma_put_buf *again;

	puma_fix_erase(fix->ix, fix->file, 3);
	KUNIT_EXPECT_FALSE(test, puma_put_claim(buf));
	buf = queued_buf(test, fix, 4);
	puma_fix_erase(fix->ix, fix->file, 4);
	again = queued_buf(test, fix, 4);
	KUNIT_EXPECT_FALSE(test, puma_put_claim(buf));
	KUNIT_EXPECT_TRUE(test, puma_put_claim(again));
	puma_put_done(again, true);
	puma_fix_expect(test, fix, put_stale, 2);
	puma_fix_expect(test, fix, put_sent, 1);
	mutex_lock(&puma_lock);
	KUNIT_EXPECT_EQ(test, puma_put_queued(), 0);
	mutex_unlock(&puma_lock);
}

/* Many pages of all kinds: each is counted once. */
static void put_partition(struct kunit *test)
{
	struct puma_fix *fix = put_borrower(test);
	struct puma_entry e;
	unsigned int i;

	for (i = 0; i < PUMA_FIX_PAGES; i++) {
		struct folio *folio = clean_folio(test, fix, i, i);
		struct puma_put put;

		if (i % 5 == 0)
			folio_clear_uptodate(folio);
		if (i % 7 == 0)
			puma_fix_entry(test, fix, i, &e);
		if (i % 11 == 0)
			fix->lender->put_pause = jiffies + 100 * HZ;
		begin(fix, &put, folio);
		fix->lender->put_pause = jiffies;
		if (i % 3 == 0) {
			abort_and_drop(&put, folio);
			continue;
		}
		if (i % 4 == 0)
			puma_fix_erase(fix->ix, fix->file, i);
		remove_and_commit(&put, folio);
	}
	puma_fix_expect(test, fix, put_offered, PUMA_FIX_PAGES);
	KUNIT_EXPECT_GT(test, puma_fix_delta(fix, PUMA_COUNT_put_kept), 0);
	KUNIT_EXPECT_GT(test, puma_fix_delta(fix, PUMA_COUNT_put_lost), 0);
	KUNIT_EXPECT_GT(test, puma_fix_delta(fix, PUMA_COUNT_put_stale), 0);
	KUNIT_EXPECT_GT(test, puma_fix_delta(fix, PUMA_COUNT_put_retracted), 0);
	KUNIT_EXPECT_GT(test, puma_fix_delta(fix, PUMA_COUNT_put_no_lender), 0);
	KUNIT_EXPECT_GT(test, puma_fix_delta(fix, PUMA_COUNT_put_ineligible),
			0);
	expect_partition(test, fix);
}

static struct kunit_case put_cases[] = {
	KUNIT_CASE(put_commit),
	KUNIT_CASE(put_abort),
	KUNIT_CASE(put_kept),
	KUNIT_CASE(put_no_lender),
	KUNIT_CASE_PARAM(put_ineligible, defect_gen_params),
	KUNIT_CASE(put_not_ours),
	KUNIT_CASE(put_zeroes_tail),
	KUNIT_CASE(put_last_page_moves),
	KUNIT_CASE(put_erased_before_commit),
	KUNIT_CASE(put_replaced_before_commit),
	KUNIT_CASE(put_claim),
	KUNIT_CASE(put_claim_void),
	KUNIT_CASE(put_partition),
	{}
};

static struct kunit_suite put_suite = {
	.name = "puma_put",
	.test_cases = put_cases,
};

kunit_test_suite(put_suite);
