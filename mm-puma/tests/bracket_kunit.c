// SPDX-License-Identifier: GPL-2.0
/*
 * Shows that no page and no entry is stale, whatever the order of events.
 *
 * The first part tests the brackets one by one. The second part is a model of
 * one slot of the page cache. Actors (reclaim, a reader, an operation that
 * changes the file, a writer) go through their steps one at a time, and the
 * explorer tries every order of all steps. Steps that concern PUMA call the
 * real functions: __puma_put_begin(), commit and abort, puma_index_sent(),
 * __puma_inval_begin() and end, puma_inval_busy(), puma_index_lookup() and
 * erase, __puma_folio_changed(). What the page cache, the disk and the lender
 * do is a few numbers.
 *
 * Content is a number that grows with every change of the file. Bad are: a
 * folio, an entry or a read with older content than it must have; content that
 * goes backwards for readers; an entry that waits for a put that never comes.
 *
 * Each rule that PUMA relies on is left out once, and the explorer must then
 * find a bad order: otherwise the test could not fail.
 */
#include <linux/pagemap.h>
#include <linux/vmalloc.h>
#include <linux/xxhash.h>

#include "fixture.h"

static void bracket_busy(struct kunit *test)
{
	struct puma_fix *fix = puma_fix_borrower(test);
	struct puma_inval outer = {}, inner = {};

	KUNIT_EXPECT_FALSE(test, puma_inval_busy(fix->mapping));
	__puma_inval_begin(&outer, fix->mapping);
	KUNIT_EXPECT_PTR_EQ(test, outer.mapping, fix->mapping);
	KUNIT_EXPECT_TRUE(test, puma_inval_busy(fix->mapping));
	__puma_inval_begin(&inner, fix->mapping);
	KUNIT_EXPECT_TRUE(test, puma_inval_busy(fix->mapping));
	puma_inval_end(&inner, 0, -1);
	KUNIT_EXPECT_TRUE(test, puma_inval_busy(fix->mapping));
	puma_inval_end(&outer, 0, -1);
	KUNIT_EXPECT_FALSE(test, puma_inval_busy(fix->mapping));
	puma_fix_expect(test, fix, inval_calls, 2);
	puma_fix_expect(test, fix, inval_erased, 0);
}

struct range_case {
	const char *desc;
	loff_t size_before, size_after;
	loff_t lstart, lend;
	pgoff_t first, nr;	/* pages that lose their entries */
};

#define PG	((loff_t)PAGE_SIZE)

static const struct range_case range_cases[] = {
	{ "one byte", 16 * PG, 16 * PG, 5 * PG + 7, 5 * PG + 7, 5, 1 },
	{ "last byte of a page", 16 * PG, 16 * PG, 6 * PG - 1, 6 * PG - 1,
	  5, 1 },
	{ "over a boundary", 16 * PG, 16 * PG, 6 * PG - 1, 6 * PG, 5, 2 },
	{ "whole pages", 16 * PG, 16 * PG, 2 * PG, 5 * PG - 1, 2, 3 },
	{ "to the end", 16 * PG, 16 * PG, 10 * PG, -1, 10, 6 },
	{ "all", 16 * PG, 16 * PG, 0, -1, 0, 16 },
	{ "beyond the end", 16 * PG, 16 * PG, 16 * PG, -1, 0, 0 },
	{ "file has shrunk", 16 * PG, 3 * PG, 3 * PG, -1, 3, 13 },
	{ "file has shrunk to nothing", 16 * PG, 0, 0, -1, 0, 16 },
	{ "file has grown", 3 * PG, 16 * PG, 2 * PG, -1, 2, 14 },
	{ "odd size", 15 * PG + 1, 15 * PG + 1, 15 * PG, -1, 15, 1 },
	{ "always empty", 0, 0, 0, -1, 0, 0 },
};

KUNIT_ARRAY_PARAM_DESC(range, range_cases, desc);

static void bracket_range(struct kunit *test)
{
	const struct range_case *c = test->param_value;
	struct puma_fix *fix = puma_fix_borrower(test);
	struct puma_inval pi = {};
	struct puma_entry e;
	pgoff_t i;

	for (i = 0; i < 16; i++)
		puma_fix_entry(test, fix, i, &e);
	i_size_write(fix->inode, c->size_before);
	__puma_inval_begin(&pi, fix->mapping);
	i_size_write(fix->inode, c->size_after);
	puma_inval_end(&pi, c->lstart, c->lend);
	for (i = 0; i < 16; i++)
		KUNIT_EXPECT_EQ_MSG(test, i < c->first || i >= c->first + c->nr,
				    puma_fix_lookup(fix->ix, fix->file, i, &e),
				    "page %lu", i);
	puma_fix_expect(test, fix, inval_erased, c->nr);
	puma_fix_expect(test, fix, inval_calls, 1);
}

struct fallocate_case {
	const char *desc;
	int mode;
	loff_t offset, len;
	pgoff_t first, nr;
};

static const struct fallocate_case fallocate_cases[] = {
	{ "allocate", 0, 4 * PG, 2 * PG, 4, 2 },
	{ "punch, odd bytes", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	  4 * PG + 1, PG, 4, 2 },
	{ "zero", FALLOC_FL_ZERO_RANGE, 4 * PG, PG, 4, 1 },
	{ "one byte", FALLOC_FL_ZERO_RANGE, 5 * PG - 1, 1, 4, 1 },
	{ "collapse", FALLOC_FL_COLLAPSE_RANGE, 4 * PG, PG, 4, 12 },
	{ "insert", FALLOC_FL_INSERT_RANGE, 4 * PG, PG, 4, 12 },
	{ "beyond the end", 0, 20 * PG, PG, 0, 0 },
};

KUNIT_ARRAY_PARAM_DESC(fallocate, fallocate_cases, desc);

static void bracket_fallocate(struct kunit *test)
{
	const struct fallocate_case *c = test->param_value;
	struct puma_fix *fix = puma_fix_borrower(test);
	struct puma_inval pi = {};
	struct puma_entry e;
	pgoff_t i;

	i_size_write(fix->inode, 16 * PG);
	for (i = 0; i < 16; i++)
		puma_fix_entry(test, fix, i, &e);
	__puma_inval_begin(&pi, fix->mapping);
	puma_fallocate_end(&pi, c->mode, c->offset, c->len);
	for (i = 0; i < 16; i++)
		KUNIT_EXPECT_EQ_MSG(test, i < c->first || i >= c->first + c->nr,
				    puma_fix_lookup(fix->ix, fix->file, i, &e),
				    "page %lu", i);
}

/* Longer than the chunks it is erased in, with entries at all ends. */
static void bracket_long_range(struct kunit *test)
{
	static const pgoff_t at[] = { 0, 1, 1023, 1024, 1025, 4999, 5000 };
	struct puma_fix *fix = puma_fix_borrower(test);
	struct puma_inval pi = {};
	struct puma_entry e;
	unsigned int i;

	i_size_write(fix->inode, 6000 * PG);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		puma_fix_entry(test, fix, at[i], &e);
	__puma_inval_begin(&pi, fix->mapping);
	puma_inval_end_pages(&pi, 1, 4999);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		KUNIT_EXPECT_EQ(test, at[i] < 1 || at[i] > 4999,
				puma_fix_lookup(fix->ix, fix->file, at[i],
						&e));
}

static void bracket_others(struct kunit *test)
{
	struct puma_fix *fix = puma_fix_borrower(test);
	struct inode *other = puma_fix_inode(test, 13);
	u64 name = puma_file(&fix->ix->secret, other);
	struct puma_inval pi = {};
	struct puma_entry e;

	puma_fix_entry(test, fix, 3, &e);
	puma_fix_publish(fix->ix, name, 3);
	__puma_file_changed(other);
	KUNIT_EXPECT_TRUE(test, puma_fix_lookup(fix->ix, fix->file, 3, &e));
	KUNIT_EXPECT_FALSE(test, puma_fix_lookup(fix->ix, name, 3, &e));

	/* No file: no bracket, and its end is harmless. */
	other->i_mode = S_IFDIR | 0755;
	__puma_inval_begin(&pi, other->i_mapping);
	KUNIT_EXPECT_NULL(test, pi.mapping);
	puma_inval_end(&pi, 0, -1);
	__puma_file_changed(other);
	KUNIT_EXPECT_FALSE(test, puma_inval_busy(other->i_mapping));
	other->i_mode = S_IFREG | 0644;
	KUNIT_EXPECT_TRUE(test, puma_fix_lookup(fix->ix, fix->file, 3, &e));
}

/* Whether a file may be put or fetched plays no part in invalidation. */
static void bracket_ineligible(struct kunit *test)
{
	struct puma_fix *fix = puma_fix_borrower(test);
	struct puma_entry e;

	puma_fix_entry(test, fix, 3, &e);
	fix->inode->i_flags |= S_SWAPFILE;
	fix->mapping->wb_err = 1;
	remove_inode_hash(fix->inode);
	KUNIT_EXPECT_FALSE(test, puma_inode_eligible(fix->inode));
	__puma_file_changed(fix->inode);
	fix->inode->i_flags &= ~S_SWAPFILE;
	fix->mapping->wb_err = 0;
	KUNIT_EXPECT_FALSE(test, puma_fix_lookup(fix->ix, fix->file, 3, &e));
}

/* Switched off in between: the counter goes back all the same. */
static void bracket_no_index(struct kunit *test)
{
	struct puma_fix *fix = puma_fix_borrower(test);
	struct puma_inval pi = {};
	struct puma_entry e;

	puma_fix_entry(test, fix, 3, &e);
	__puma_inval_begin(&pi, fix->mapping);
	RCU_INIT_POINTER(puma_index, NULL);
	__puma_drop_all();
	puma_inval_end(&pi, 0, -1);
	rcu_assign_pointer(puma_index, fix->ix);
	KUNIT_EXPECT_FALSE(test, puma_inval_busy(fix->mapping));
	KUNIT_EXPECT_TRUE(test, puma_fix_lookup(fix->ix, fix->file, 3, &e));
	__puma_drop_all();
	KUNIT_EXPECT_FALSE(test, puma_fix_lookup(fix->ix, fix->file, 3, &e));
}

struct eviction_case {
	const char *desc;
	unsigned long state;
	unsigned int nlink;
	errseq_t wb_err;
	bool bracket;
};

static const struct eviction_case eviction_cases[] = {
	{ "truncation", 0, 1, 0, true },
	{ "inode leaves the cache", I_FREEING, 1, 0, false },
	{ "unlinked inode goes", I_FREEING, 0, 0, true },
	{ "inode with a write-back error goes", I_FREEING, 1, 1, true },
	{ "unlinked, still open", 0, 0, 0, true },
};

KUNIT_ARRAY_PARAM_DESC(eviction, eviction_cases, desc);

static void bracket_truncate(struct kunit *test)
{
	const struct eviction_case *c = test->param_value;
	struct puma_fix *fix = puma_fix_borrower(test);
	struct inode *inode = fix->inode;
	unsigned long state = inode->i_state;
	struct puma_inval pi;

	puma_truncate_begin(&pi, fix->mapping);
	KUNIT_EXPECT_NULL_MSG(test, pi.mapping, "PUMA is off");
	static_branch_enable(&puma_borrow_key);
	inode->i_state = c->state;
	set_nlink(inode, c->nlink);
	fix->mapping->wb_err = c->wb_err;
	puma_truncate_begin(&pi, fix->mapping);
	/* Balanced even when it is switched off in between. */
	static_branch_disable(&puma_borrow_key);
	KUNIT_EXPECT_EQ(test, c->bracket, !!pi.mapping);
	KUNIT_EXPECT_EQ(test, c->bracket, puma_inval_busy(fix->mapping));
	puma_inval_end(&pi, 0, -1);
	KUNIT_EXPECT_FALSE(test, puma_inval_busy(fix->mapping));
	inode->i_state = state;
	fix->mapping->wb_err = 0;
	set_nlink(inode, 1);
}

static void bracket_folio_changed(struct kunit *test)
{
	struct puma_fix *fix = puma_fix_borrower(test);
	struct folio *folio = puma_fix_folio(test, fix->inode, 3);
	struct puma_entry e;
	pgoff_t i;

	for (i = 2; i <= 4; i++)
		puma_fix_entry(test, fix, i, &e);
	__puma_folio_changed(fix->mapping, folio);
	KUNIT_EXPECT_TRUE(test, puma_fix_lookup(fix->ix, fix->file, 2, &e));
	KUNIT_EXPECT_FALSE(test, puma_fix_lookup(fix->ix, fix->file, 3, &e));
	KUNIT_EXPECT_TRUE(test, puma_fix_lookup(fix->ix, fix->file, 4, &e));
	puma_fix_expect(test, fix, inval_erased, 1);
	folio_unlock(folio);
	folio_put(folio);
}

/* The model */

#define INDEX		5	/* of the page */
#define MAX_ACTORS	5
#define MAX_STEPS	64
#define SEEN_SHIFT	19

/* Rules that are left out */
#define NO_BUSY_TEST	BIT(0)
#define BUSY_TOO_EARLY	BIT(1)	/* before the folio is in the cache */
#define NO_ERASE	BIT(2)
#define ERASE_TOO_EARLY	BIT(3)	/* before the old folio is removed */
#define NO_SCAN		BIT(4)
#define NO_RETRACT	BIT(5)
#define NO_DIRTY_ERASE	BIT(6)
#define LATE_PUBLISH	BIT(7)	/* after the folio has left the cache */
#define KEEP_UNUSED	BIT(8)	/* entries that were looked up and not used */

/* What went wrong */
#define STALE_FOLIO	BIT(0)
#define STALE_ENTRY	BIT(1)
#define STALE_READ	BIT(2)	/* older than what is complete or was seen */
#define ORPHAN		BIT(3)	/* an entry that nobody will send */
#define STUCK		BIT(4)	/* an actor that never ends */

/* The slot is empty, or the folio is cached; the lender has it, or not. */
#define AT_CACHE	BIT(0)
#define AT_LENDER	BIT(1)

enum kind {
	PUT,		/* reclaim */
	GET,		/* a read of one page */
	GET_TWICE,	/* two reads by one reader */
	CHANGE,		/* change the disk, then a bracket (direct write) */
	CHANGE_INSIDE,	/* a bracket around the change (fallocate) */
	WRITE_LOCKED,		/* buffered write under the folio lock, write-back */
	WRITE_PINNED,	/* write through a reference (GUP), write-back */
	PIN,		/* holds a reference for a while */
};

struct actor {
	u8 pc;
	u8 done;
	u8 reads;
	u8 min;		/* oldest content that the read may return */
	u8 content;	/* on its way */
	u8 mark;	/* put: has a new entry; get: 1 not busy, 2 busy */
	u64 word;
	u64 token;
};

struct world {
	struct actor actor[MAX_ACTORS];
	struct {
		u8 present, locked, uptodate, dirty, refs, content;
	} folio;
	u8 disk;
	u8 newest;	/* change so far */
	u8 complete;	/* newest change that is complete */
	u8 seen;	/* newest content that a reader got */
	u8 excl, shared;	/* invalidate_lock */
	u8 bad;
	u8 nr_remote;
	struct {
		u64 token;
		u8 content;
	} remote[8];
	u64 word;	/* what the index has */
	u64 version;
};

struct scenario {
	const char *desc;
	unsigned int start;	/* AT_* */
	unsigned int without;	/* rule */
	unsigned int want;	/* what must go wrong then; 0: nothing may */
	unsigned int nr;
	enum kind kind[MAX_ACTORS];
};

struct explorer {
	struct puma_fix *fix;
	struct folio *folio;	/* stands for any folio at INDEX */
	const struct scenario *sc;
	struct world w;
	struct puma_put put[MAX_ACTORS];
	struct puma_inval inval[MAX_ACTORS];
	u8 order[MAX_STEPS];
	u8 any[MAX_STEPS];
	unsigned int len;
	u64 *seen;
	s64 version;		/* to start with, above all floors */
	unsigned long nr_states, nr_quiet, nr_bad;
	unsigned int bad;	/* all that went wrong */
};

static bool without(struct explorer *x, unsigned int rule)
{
	return x->sc->without & rule;
}

static bool step_done(struct actor *a)
{
	a->done = 1;
	return true;
}

static bool step_next(struct actor *a)
{
	a->pc++;
	return true;
}

static void lender_store(struct world *w, u64 token, u8 content)
{
	w->remote[w->nr_remote].token = token;
	w->remote[w->nr_remote].content = content;
	w->nr_remote++;
}

/* Content that the lender has under a token, 0 for gone. */
static u8 lender_load(struct world *w, u64 token)
{
	u8 i;

	for (i = 0; i < w->nr_remote; i++)
		if (w->remote[i].token == token)
			return w->remote[i].content;
	return 0;
}

static bool lookup(struct explorer *x, struct puma_entry *e)
{
	return puma_fix_lookup(x->fix->ix, x->fix->file, INDEX, e);
}

static void erase(struct explorer *x)
{
	puma_fix_erase(x->fix->ix, x->fix->file, INDEX);
}

static void drop_folio(struct world *w)
{
	memset(&w->folio, 0, sizeof(w->folio));
}

/* Reclaim: __remove_mapping() and its hooks, then the sender. */

static void real_begin(struct explorer *x, struct actor *a, unsigned int i)
{
	struct puma_put *put = &x->put[i];

	if (x->w.folio.dirty)
		folio_set_dirty(x->folio);
	else
		folio_clear_dirty(x->folio);
	put->nr = __puma_put_begin(put, x->fix->mapping, x->folio);
	a->mark = !!put->nr;
}

/* True when the put is in the queue of the sender. */
static bool real_commit(struct explorer *x, struct actor *a, unsigned int i)
{
	struct puma_fix *fix = x->fix;
	struct puma_entry e = {};
	bool queued;

	puma_index_queued(fix->ix, fix->file, INDEX, x->put[i].version, &e);
	puma_fix_restart(fix);
	puma_put_commit(&x->put[i], x->folio);
	x->put[i].nr = 0;
	/* The connection is down: what is queued is lost at once. */
	queued = puma_fix_delta(fix, PUMA_COUNT_put_lost);
	a->word = e.word;
	a->token = e.token;
	return queued;
}

static void real_abort(struct explorer *x, unsigned int i)
{
	if (!x->put[i].nr)
		return;
	if (without(x, NO_RETRACT))
		rcu_read_unlock();
	else
		puma_put_abort(&x->put[i], x->folio);
	x->put[i].nr = 0;
}

static bool step_put(struct explorer *x, struct actor *a, unsigned int i)
{
	struct world *w = &x->w;

	switch (a->pc) {
	case 0:	/* shrink_folio_list() */
		if (!w->folio.present || w->folio.locked || w->folio.dirty)
			return false;
		w->folio.locked = 1;
		return step_next(a);
	case 1:
		if (!without(x, LATE_PUBLISH))
			real_begin(x, a, i);
		return step_next(a);
	case 2:	/* freeze */
		if (w->folio.refs || w->folio.dirty) {
			a->pc = 5;
			return true;
		}
		a->content = w->folio.content;
		drop_folio(w);
		if (without(x, LATE_PUBLISH))
			return step_next(a);
		return a->mark ? step_next(a) : step_done(a);
	case 3:
		if (without(x, LATE_PUBLISH))
			real_begin(x, a, i);
		if (!a->mark || !real_commit(x, a, i))
			return step_done(a);
		return step_next(a);
	case 4:	/* puma_put_claim() */
		if (puma_fix_sent(x->fix->ix, x->fix->file, INDEX, a->word))
			lender_store(w, a->token, a->content);
		return step_done(a);
	case 5:
		real_abort(x, i);
		return step_next(a);
	default:
		w->folio.locked = 0;
		return step_done(a);
	}
}

/* A read: filemap_read() or readahead, and batch_begin(), batch_lookup(). */

static bool read_ends(struct explorer *x, struct actor *a, u8 content)
{
	struct world *w = &x->w;

	if (content < a->min)
		w->bad |= STALE_READ;
	w->seen = max(w->seen, content);
	a->pc = 0;
	a->word = 0;
	a->token = 0;
	a->content = 0;
	a->min = 0;
	a->mark = 0;
	if (--a->reads)
		return true;
	return step_done(a);
}

static void not_from_lender(struct explorer *x, struct actor *a)
{
	if (!without(x, KEEP_UNUSED))
		erase(x);
	a->token = 0;
	x->w.shared--;
	a->pc = 3;
}

static bool step_get(struct explorer *x, struct actor *a, unsigned int i)
{
	struct world *w = &x->w;
	struct puma_entry e;

	switch (a->pc) {
	case 0:
		if (!a->min)
			a->min = max(w->complete, w->seen);
		if (w->folio.present) {
			if (w->folio.locked)
				return false;
			return read_ends(x, a, w->folio.content);
		}
		if (w->excl)
			return false;
		if (without(x, BUSY_TOO_EARLY) && !a->mark) {
			a->mark = puma_inval_busy(x->fix->mapping) ? 2 : 1;
			return true;
		}
		w->shared++;
		w->folio.present = 1;
		w->folio.locked = 1;
		return step_next(a);
	case 1:
		if (!without(x, NO_BUSY_TEST | BUSY_TOO_EARLY))
			a->mark = puma_inval_busy(x->fix->mapping) ? 2 : 1;
		if (a->mark == 2)
			not_from_lender(x, a);
		else
			a->pc = 2;
		return true;
	case 2:
		if (!lookup(x, &e) || (e.word & PUMA_WORD_QUEUED)) {
			not_from_lender(x, a);
			return true;
		}
		a->token = e.token;
		w->shared--;
		return step_next(a);
	case 3:	/* the disk or the lender reads */
		a->content = a->token ? lender_load(w, a->token) : w->disk;
		if (!a->content) {	/* gone: the disk in a second pass */
			erase(x);
			a->token = 0;
			return true;
		}
		return step_next(a);
	default:
		w->folio.content = a->content;
		w->folio.uptodate = 1;
		w->folio.locked = 0;
		return read_ends(x, a, a->content);
	}
}

/* Changes of the file behind the page cache */

static void change_disk(struct world *w, struct actor *a)
{
	a->content = ++w->newest;
	w->disk = a->content;
}

static bool scan(struct explorer *x)
{
	struct world *w = &x->w;

	if (without(x, NO_SCAN) || !w->folio.present)
		return true;
	if (w->folio.locked)
		return false;
	drop_folio(w);
	return true;
}

static void end_bracket(struct explorer *x, unsigned int i, bool erase)
{
	/* An empty range leaves only the end of the bracket. */
	__puma_inval_end(&x->inval[i], erase ? INDEX : 1, erase ? INDEX : 0);
	x->inval[i].mapping = NULL;
}

static bool step_change(struct explorer *x, struct actor *a, unsigned int i)
{
	struct world *w = &x->w;

	switch (a->pc) {
	case 0:
		change_disk(w, a);
		return step_next(a);
	case 1:
		__puma_inval_begin(&x->inval[i], x->fix->mapping);
		return step_next(a);
	case 2:
		if (without(x, ERASE_TOO_EARLY))
			erase(x);
		return step_next(a);
	case 3:
		return scan(x) ? step_next(a) : false;
	case 4:	/* the first half of __puma_inval_end() */
		if (!without(x, NO_ERASE | ERASE_TOO_EARLY))
			erase(x);
		return step_next(a);
	default:
		end_bracket(x, i, false);
		w->complete = max(w->complete, a->content);
		return step_done(a);
	}
}

static bool step_change_inside(struct explorer *x, struct actor *a,
			       unsigned int i)
{
	struct world *w = &x->w;

	switch (a->pc) {
	case 0:
		__puma_inval_begin(&x->inval[i], x->fix->mapping);
		return step_next(a);
	case 1:
		if (w->excl || w->shared)
			return false;
		w->excl = 1;
		return step_next(a);
	case 2:
		return scan(x) ? step_next(a) : false;
	case 3:
		change_disk(w, a);
		return step_next(a);
	case 4:
		w->excl = 0;
		return step_next(a);
	default:
		end_bracket(x, i, !without(x, NO_ERASE));
		w->complete = max(w->complete, a->content);
		return step_done(a);
	}
}

/* Writes through the page cache */

static void folio_changes(struct explorer *x)
{
	if (!without(x, NO_DIRTY_ERASE))
		__puma_folio_changed(x->fix->mapping, x->folio);
}

static bool write_back(struct explorer *x, struct actor *a)
{
	struct world *w = &x->w;

	/* Or another writer's write-back did it. */
	if (w->folio.present && w->folio.dirty) {
		if (w->folio.locked)
			return false;
		w->disk = w->folio.content;
		w->folio.dirty = 0;
	}
	return step_done(a);
}

static bool step_write(struct explorer *x, struct actor *a, unsigned int i)
{
	struct world *w = &x->w;

	switch (a->pc) {
	case 0:
		if (!w->folio.present || w->folio.locked)
			return false;
		w->folio.locked = 1;
		return step_next(a);
	case 1:
		if (!w->folio.dirty)	/* puma_folio_write() */
			folio_changes(x);
		return step_next(a);
	case 2:
		w->folio.content = ++w->newest;
		return step_next(a);
	case 3:
		if (!w->folio.dirty)	/* puma_folio_dirtied() */
			folio_changes(x);
		w->folio.dirty = 1;
		return step_next(a);
	case 4:
		w->complete = max(w->complete, w->folio.content);
		w->folio.locked = 0;
		return step_next(a);
	default:
		return write_back(x, a);
	}
}

static bool step_write_pinned(struct explorer *x, struct actor *a,
			      unsigned int i)
{
	struct world *w = &x->w;

	switch (a->pc) {
	case 0:
		if (!w->folio.present || !w->folio.uptodate)
			return false;
		w->folio.refs++;
		return step_next(a);
	case 1:
		w->folio.content = ++w->newest;
		return step_next(a);
	case 2:
		if (!w->folio.dirty)
			folio_changes(x);
		w->folio.dirty = 1;
		w->complete = max(w->complete, w->folio.content);
		return step_next(a);
	case 3:
		w->folio.refs--;
		return step_next(a);
	default:
		return write_back(x, a);
	}
}

static bool step_pin(struct explorer *x, struct actor *a, unsigned int i)
{
	struct world *w = &x->w;

	if (a->pc) {
		w->folio.refs--;
		return step_done(a);
	}
	if (!w->folio.present || !w->folio.uptodate)
		return false;
	w->folio.refs++;
	return step_next(a);
}

static const struct {
	const char *name;
	bool (*step)(struct explorer *x, struct actor *a, unsigned int i);
	u8 reads;
	bool optional;		/* may never get to its first step */
} kinds[] = {
	[PUT] = { "put", step_put, 0, true },
	[GET] = { "get", step_get, 1, false },
	[GET_TWICE] = { "get", step_get, 2, false },
	[CHANGE] = { "change", step_change, 0, false },
	[CHANGE_INSIDE] = { "change", step_change_inside, 0, false },
	[WRITE_LOCKED] = { "write", step_write, 0, true },
	[WRITE_PINNED] = { "write", step_write_pinned, 0, true },
	[PIN] = { "pin", step_pin, 0, true },
};

/* One step of one actor. False when it has ended or must wait. */
static bool step(struct explorer *x, unsigned int i)
{
	struct actor *a = &x->w.actor[i];
	struct puma_entry e = {};

	if (a->done || !kinds[x->sc->kind[i]].step(x, a, i))
		return false;
	lookup(x, &e);
	x->w.word = e.word;
	x->w.version = atomic64_read(&x->fix->ix->version);
	return true;
}

static void restart(struct explorer *x)
{
	struct world *w = &x->w;
	struct puma_entry e;
	unsigned int i;

	for (i = 0; i < x->sc->nr; i++) {
		if (x->inval[i].mapping)
			end_bracket(x, i, false);
		if (x->put[i].nr)
			puma_put_abort(&x->put[i], x->folio);
	}
	memset(w, 0, sizeof(*w));
	memset(x->put, 0, sizeof(x->put));
	memset(x->inval, 0, sizeof(x->inval));
	folio_clear_dirty(x->folio);
	erase(x);
	atomic64_set(&x->fix->ix->version, x->version);
	for (i = 0; i < x->sc->nr; i++)
		w->actor[i].reads = kinds[x->sc->kind[i]].reads;
	w->newest = 1;
	w->complete = 1;
	w->disk = 1;
	if (x->sc->start & AT_LENDER) {
		puma_fix_publish(x->fix->ix, x->fix->file, INDEX);
		lookup(x, &e);
		puma_fix_sent(x->fix->ix, x->fix->file, INDEX, e.word);
		lender_store(w, e.token, 1);
	}
	if (x->sc->start & AT_CACHE) {
		w->folio.present = 1;
		w->folio.uptodate = 1;
		w->folio.content = 1;
	}
}

/* Have we been in this state before? */
static bool state_seen(struct explorer *x)
{
	u64 hash = xxh64(&x->w, sizeof(x->w),
			 xxh64(x->put, sizeof(x->put), 0)) ?: 1;
	unsigned long i = hash >> (64 - SEEN_SHIFT);

	while (x->seen[i] && x->seen[i] != hash)
		i = (i + 1) & (BIT(SEEN_SHIFT) - 1);
	if (x->seen[i])
		return true;
	x->seen[i] = hash;
	x->nr_states++;
	return false;
}

/* Is nobody in the middle of anything? */
static bool is_quiet(struct explorer *x)
{
	unsigned int i;

	for (i = 0; i < x->sc->nr; i++)
		if (!x->w.actor[i].done &&
		    !(kinds[x->sc->kind[i]].optional && !x->w.actor[i].pc))
			return false;
	return true;
}

/* What has gone wrong so far, when all is quiet? */
static unsigned int judge(struct explorer *x)
{
	struct world *w = &x->w;
	u8 truth = w->folio.present && w->folio.dirty ? w->folio.content :
							w->disk;
	unsigned int bad = w->bad;
	struct puma_entry e;

	if (w->folio.present && w->folio.content != truth)
		bad |= STALE_FOLIO;
	if (!lookup(x, &e))
		return bad;
	if ((e.word & PUMA_WORD_QUEUED) || !lender_load(w, e.token))
		bad |= ORPHAN;
	else if (lender_load(w, e.token) != truth)
		bad |= STALE_ENTRY;
	return bad;
}

/* The order of steps up to here, as "put0 get1 get1 change2 ...". */
static void print_order(struct kunit *test, struct explorer *x,
			unsigned int bad)
{
	char *text = kunit_kzalloc(test, 1024, GFP_KERNEL);
	unsigned int i, n = 0;

	KUNIT_ASSERT_NOT_NULL(test, text);
	for (i = 0; i < x->len; i++)
		n += scnprintf(text + n, 1024 - n, " %s%u",
			       kinds[x->sc->kind[x->order[i]]].name,
			       x->order[i]);
	kunit_info(test, "bad (%#x), disk %u, cached %u:%s\n", bad,
		   x->w.disk, x->w.folio.content, text);
}

static void count_bad(struct kunit *test, struct explorer *x, unsigned int bad)
{
	if (!bad)
		return;
	if (bad & ~x->bad)
		print_order(test, x, bad);
	x->bad |= bad;
	x->nr_bad++;
}

/*
 * Depth first through all orders. Going back means starting again and
 * repeating the steps before. A state that was seen before is not entered.
 */
static void explore(struct kunit *test, struct explorer *x)
{
	bool valid = true;
	unsigned int i;

	restart(x);
	x->len = 1;
	x->order[0] = 0;
	x->any[0] = 0;
	while (x->len) {
		unsigned int last = x->len - 1;

		if (x->order[last] == x->sc->nr) {
			x->len--;
			if (!x->any[last] && !is_quiet(x))
				count_bad(test, x, STUCK);
			valid = false;
			if (last)
				x->order[last - 1]++;
			continue;
		}
		if (!valid) {
			restart(x);
			for (i = 0; i < last; i++)
				step(x, x->order[i]);
			valid = true;
		}
		if (!step(x, x->order[last])) {
			x->order[last]++;
			continue;
		}
		x->any[last] = 1;
		if (state_seen(x)) {
			x->order[last]++;
			valid = false;
			continue;
		}
		if (is_quiet(x)) {
			x->nr_quiet++;
			count_bad(test, x, judge(x));
		}
		if (x->len == MAX_STEPS ||
		    x->nr_states > BIT(SEEN_SHIFT) / 4 * 3) {
			KUNIT_FAIL(test, "the scenario is too large");
			break;
		}
		x->order[x->len] = 0;
		x->any[x->len] = 0;
		x->len++;
	}
	restart(x);
	erase(x);
}

static const struct scenario race_cases[] = {
	{ "put and direct write, cached", AT_CACHE, 0, 0,
	  3, { PUT, CHANGE, GET } },
	{ "put and direct write, at the lender", AT_LENDER, 0, 0,
	  3, { PUT, CHANGE, GET } },
	{ "put and direct write, both", AT_CACHE | AT_LENDER, 0, 0,
	  3, { PUT, CHANGE, GET } },
	{ "put and fallocate, cached", AT_CACHE, 0, 0,
	  3, { PUT, CHANGE_INSIDE, GET } },
	{ "put and fallocate, at the lender", AT_LENDER, 0, 0,
	  3, { PUT, CHANGE_INSIDE, GET } },
	{ "put and fallocate, both", AT_CACHE | AT_LENDER, 0, 0,
	  3, { PUT, CHANGE_INSIDE, GET } },
	{ "put and write, cached", AT_CACHE, 0, 0,
	  3, { PUT, WRITE_LOCKED, GET } },
	{ "put and write, both", AT_CACHE | AT_LENDER, 0, 0,
	  3, { PUT, WRITE_LOCKED, GET } },
	{ "put and write, at the lender", AT_LENDER, 0, 0,
	  3, { PUT, WRITE_LOCKED, GET } },
	{ "put and pinned write, cached", AT_CACHE, 0, 0,
	  3, { PUT, WRITE_PINNED, GET } },
	{ "put and pinned write, both", AT_CACHE | AT_LENDER, 0, 0,
	  3, { PUT, WRITE_PINNED, GET } },
	{ "put and pinned write, at the lender", AT_LENDER, 0, 0,
	  3, { PUT, WRITE_PINNED, GET } },
	{ "put of a pinned folio", AT_CACHE, 0, 0, 3, { PUT, PIN, GET } },
	{ "two writers", AT_CACHE | AT_LENDER, 0, 0,
	  4, { PUT, WRITE_LOCKED, WRITE_PINNED, GET } },
	{ "two direct writes, cached", AT_CACHE, 0, 0,
	  4, { PUT, CHANGE, CHANGE, GET } },
	{ "two direct writes, at the lender", AT_LENDER, 0, 0,
	  4, { PUT, CHANGE, CHANGE, GET } },
	{ "direct write and fallocate", AT_LENDER, 0, 0,
	  4, { PUT, CHANGE, CHANGE_INSIDE, GET } },
	{ "two readers, cached", AT_CACHE, 0, 0,
	  4, { PUT, CHANGE, GET, GET } },
	{ "two readers, at the lender", AT_LENDER, 0, 0,
	  4, { PUT, CHANGE, GET, GET } },
	{ "a reader that reads twice, cached", AT_CACHE, 0, 0,
	  3, { PUT, CHANGE, GET_TWICE } },
	{ "a reader that reads twice, at the lender", AT_LENDER, 0, 0,
	  3, { PUT, CHANGE, GET_TWICE } },
	{ "two reclaimers and a reader", AT_CACHE, 0, 0,
	  4, { PUT, PUT, PIN, GET } },
	{ "two reclaimers and direct write, cached", AT_CACHE, 0, 0,
	  4, { PUT, PUT, CHANGE, GET } },
	{ "two reclaimers and direct write, at the lender", AT_LENDER, 0, 0,
	  4, { PUT, PUT, CHANGE, GET_TWICE } },
	{ "two reclaimers and fallocate", AT_CACHE, 0, 0,
	  4, { PUT, PUT, CHANGE_INSIDE, GET } },
	{ "two reclaimers and write", AT_CACHE, 0, 0,
	  4, { PUT, PUT, WRITE_LOCKED, GET } },
	{ "two reclaimers and pinned write", AT_CACHE, 0, 0,
	  4, { PUT, PUT, WRITE_PINNED, GET } },

	/* The test can fail. */
	{ "without the busy test", AT_LENDER, NO_BUSY_TEST, STALE_FOLIO,
	  3, { PUT, CHANGE, GET } },
	{ "without the busy test in fallocate", AT_LENDER, NO_BUSY_TEST,
	  STALE_FOLIO, 3, { PUT, CHANGE_INSIDE, GET } },
	{ "busy test before the folio is inserted", AT_LENDER, BUSY_TOO_EARLY,
	  STALE_FOLIO, 3, { PUT, CHANGE, GET } },
	{ "without the erase at the end, cached", AT_CACHE, NO_ERASE,
	  STALE_ENTRY, 3, { PUT, CHANGE, GET } },
	{ "without the erase at the end, at the lender", AT_LENDER, NO_ERASE,
	  STALE_ENTRY, 3, { PUT, CHANGE, GET } },
	{ "without the erase at the end of fallocate", AT_LENDER, NO_ERASE,
	  STALE_ENTRY, 3, { PUT, CHANGE_INSIDE, GET } },
	{ "erased before the folio is removed", AT_CACHE, ERASE_TOO_EARLY,
	  STALE_ENTRY, 3, { PUT, CHANGE, GET } },
	{ "without the removal of folios", AT_CACHE, NO_SCAN, STALE_FOLIO,
	  3, { PUT, CHANGE, GET } },
	{ "without retract", AT_CACHE, NO_RETRACT, ORPHAN,
	  3, { PUT, PIN, GET } },
	{ "without the erase by a write", AT_CACHE | AT_LENDER,
	  NO_DIRTY_ERASE, STALE_ENTRY, 3, { PUT, WRITE_LOCKED, GET } },
	{ "without the erase by a pinned write", AT_CACHE | AT_LENDER,
	  NO_DIRTY_ERASE, STALE_ENTRY, 3, { PUT, WRITE_PINNED, GET } },
	{ "published after the removal", AT_CACHE, LATE_PUBLISH, STALE_ENTRY,
	  3, { PUT, CHANGE, GET } },
	{ "entries that were not used stay", AT_CACHE, KEEP_UNUSED,
	  STALE_READ, 4, { PUT, PUT, CHANGE, GET_TWICE } },
};

KUNIT_ARRAY_PARAM_DESC(race, race_cases, desc);

static void seen_free(void *seen)
{
	kvfree(seen);
}

static void ring_stop(void *unused)
{
	mutex_lock(&puma_lock);
	puma_put_stop();
	mutex_unlock(&puma_lock);
}

static void race(struct kunit *test)
{
	struct explorer *x = kunit_kzalloc(test, sizeof(*x), GFP_KERNEL);
	int err;

	KUNIT_ASSERT_NOT_NULL(test, x);
	x->sc = test->param_value;
	x->fix = puma_fix_borrower(test);
	x->version = atomic64_read(&x->fix->ix->version);
	mutex_lock(&puma_lock);
	err = puma_put_start();
	mutex_unlock(&puma_lock);
	KUNIT_ASSERT_EQ(test, err, 0);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, ring_stop, NULL));
	x->seen = kvcalloc(BIT(SEEN_SHIFT), sizeof(*x->seen), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, x->seen);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, seen_free, x->seen));
	x->folio = puma_fix_folio(test, x->fix->inode, INDEX);
	folio_mark_uptodate(x->folio);
	explore(test, x);
	folio_unlock(x->folio);
	folio_put(x->folio);
	kunit_info(test, "%lu states, %lu of them quiet, %lu of those bad\n",
		   x->nr_states, x->nr_quiet, x->nr_bad);
	KUNIT_EXPECT_FALSE(test, puma_inval_busy(x->fix->mapping));
	KUNIT_EXPECT_GT(test, x->nr_quiet, 0);
	if (x->sc->want)
		KUNIT_EXPECT_TRUE_MSG(test, x->bad & x->sc->want,
				      "the rule is not needed, or the test cannot fail");
	else
		KUNIT_EXPECT_EQ_MSG(test, x->bad, 0,
				    "1: stale folio, 2: stale entry, 4: stale read, 8: orphan, 16: stuck");
}

static struct kunit_case bracket_cases[] = {
	KUNIT_CASE(bracket_busy),
	KUNIT_CASE_PARAM(bracket_range, range_gen_params),
	KUNIT_CASE_PARAM(bracket_fallocate, fallocate_gen_params),
	KUNIT_CASE(bracket_long_range),
	KUNIT_CASE(bracket_others),
	KUNIT_CASE(bracket_ineligible),
	KUNIT_CASE(bracket_no_index),
	KUNIT_CASE_PARAM(bracket_truncate, eviction_gen_params),
	KUNIT_CASE(bracket_folio_changed),
	KUNIT_CASE_PARAM(race, race_gen_params),
	{}
};

static struct kunit_suite bracket_suite = {
	.name = "puma_bracket",
	.test_cases = bracket_cases,
};

kunit_test_suite(bracket_suite);
