// SPDX-License-Identifier: GPL-2.0
/*
 * Get: a page that misses the page cache is asked for at a lender.
 *
 * read_pages() and filemap_read_folio() come here with folios that are locked,
 * in the page cache and not uptodate. Those that lenders have are asked for,
 * up to PUMA_BATCH pages a request, before the disk is asked for the rest. What
 * becomes of the requests is in fill.c.
 *
 * All pages of a folio up to PUMA_BATCH pages are in one request, so of one
 * lender. A larger one takes several full requests, each for a part that is
 * aligned to its size and therefore placed as a whole.
 *
 * Every entry that was looked up and did not lead to a request is erased: the
 * disk may be newer than the entry while a direct write is under way, and time
 * must not run backwards for the readers.
 */
#include <kunit/visibility.h>
#include <linux/highmem.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <trace/events/puma.h>

#include "internal.h"

#define MAX_REQUESTS	1024

static struct kmem_cache *get_cache;
static atomic_t nr_requests;
atomic_long_t puma_get_nr_pending;	/* asked for, not settled */

/* A page cache batch on its way through the index. */
struct batch {
	struct puma_index *ix;
	u64 file;
	bool verify;
	struct puma_split split;
	struct list_head requests;
};

/**
 * puma_get_pending - pages asked for and not settled
 *
 * Return: the number.
 */
long puma_get_pending(void)
{
	return atomic_long_read(&puma_get_nr_pending);
}

VISIBLE_IF_KUNIT struct puma_get *puma_get_alloc(void)
{
	struct puma_get *req;

	if (atomic_inc_return(&nr_requests) > MAX_REQUESTS)
		goto full;
	req = kmem_cache_alloc(get_cache, GFP_NOWAIT | __GFP_NOWARN |
					  __GFP_NOMEMALLOC);
	if (!req)
		goto full;
	INIT_WORK(&req->work, puma_get_work);
	req->nr = 0;
	req->verify = false;
	req->large = NULL;
	return req;
full:
	atomic_dec(&nr_requests);
	return NULL;
}

/**
 * puma_get_free - free a request
 * @req: the request, without folios
 */
void puma_get_free(struct puma_get *req)
{
	kfree(req->large);
	kmem_cache_free(get_cache, req);
	if (atomic_dec_and_test(&nr_requests))
		wake_up_var(&nr_requests);
}

/**
 * puma_get_drain - wait until no request is left
 *
 * Context: process. No new request can start.
 */
void puma_get_drain(void)
{
	wait_var_event(&nr_requests, !atomic_read(&nr_requests));
}

static void erase_folio(struct batch *b, struct folio *folio)
{
	unsigned long i;

	for (i = 0; i < folio_nr_pages(folio); i++)
		puma_index_erase(b->ix, b->file, folio->index + i);
}

/* The request to add @nr pages of @lender to, or NULL. */
static struct puma_get *request_for(struct batch *b, struct puma_lender *lender,
				    unsigned int nr)
{
	struct puma_get *req;

	list_for_each_entry(req, &b->requests, link)
		if (req->lender == lender && req->nr + nr <= PUMA_BATCH)
			return req;
	req = puma_get_alloc();
	if (req) {
		req->lender = lender;
		req->file = b->file;
		req->verify = b->verify;
		list_add_tail(&req->link, &b->requests);
	}
	return req;
}

/* Somebody may have filled a part of it, or hold state about its blocks. */
static bool folio_fresh(struct folio *folio)
{
	return !folio_test_uptodate(folio) && !folio_test_dirty(folio) &&
	       !folio_test_writeback(folio) && !folio_get_private(folio) &&
	       !folio_test_private(folio) && !folio_test_private_2(folio);
}

/* Why pages were not added to a request; FOUND when they were. */
enum found { FOUND, MISS, QUEUED, THROTTLED, NO_REQUEST };

/* Add pages of a folio, which one lender has to have, to a request. */
static enum found add_pages(struct batch *b, struct folio *folio,
			    unsigned int offset, unsigned int nr,
			    struct puma_large *large)
{
	pgoff_t index = folio->index + offset;
	struct puma_get *req = NULL;
	struct puma_entry e;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct puma_get_page *page;

		if (!puma_index_lookup(b->ix, b->file, index + i, &e))
			return MISS;
		if (e.word & PUMA_WORD_QUEUED)
			return QUEUED;
		if (!req && !puma_lender_usable(e.lender))
			return THROTTLED;
		if (!req)
			req = request_for(b, e.lender, nr);
		if (!req)
			return NO_REQUEST;
		if (e.lender != req->lender)
			return MISS;
		page = &req->page[req->nr + i];
		page->folio = folio;
		page->token = e.token;
		page->slot = e.slot;
		page->offset = offset + i;
		page->state = PUMA_PAGE_ASKED;
		if (large && large->tokens)
			large->token[offset + i] = e.token;
		if (puma_set.strategy == PUMA_NONINCLUSIVE)
			puma_index_used(b->ix, b->file, index + i, e.word);
	}
	req->nr += nr;
	req->large = large;
	return FOUND;
}

/* The requests for a part of a large folio become empty. */
static void withdraw(struct batch *b, struct puma_large *large)
{
	struct puma_get *req;

	list_for_each_entry(req, &b->requests, link) {
		if (req->large != large)
			continue;
		req->large = NULL;
		req->nr = 0;
	}
	kfree(large);
}

/* Add a folio of more than PUMA_BATCH pages. */
static enum found add_large(struct batch *b, struct folio *folio)
{
	unsigned int offset, nr = folio_nr_pages(folio);
	struct puma_large *large;
	enum found found = FOUND;

	large = kmalloc(struct_size(large, token, b->verify ? nr : 0),
			GFP_NOWAIT | __GFP_NOWARN | __GFP_NOMEMALLOC);
	if (!large)
		return NO_REQUEST;
	atomic_set(&large->left, nr / PUMA_BATCH);
	large->failed = false;
	large->tokens = b->verify;
	for (offset = 0; offset < nr && found == FOUND; offset += PUMA_BATCH)
		found = add_pages(b, folio, offset, PUMA_BATCH, large);
	if (found != FOUND)
		withdraw(b, large);
	return found;
}

/*
 * Try to add a folio to the requests. Counts each page of a folio that is not
 * added; those that are added are counted when their request ends.
 */
static bool add_folio(struct batch *b, struct folio *folio)
{
	unsigned int nr = folio_nr_pages(folio);
	enum found found;

	puma_assert(folio_test_locked(folio) && folio_fresh(folio));
	puma_count_n(get_lookups, nr);
	if (nr > PUMA_BATCH)
		found = add_large(b, folio);
	else
		found = add_pages(b, folio, 0, nr, NULL);
	switch (found) {
	case FOUND:
		return true;
	case MISS:
		puma_count_n(get_miss, nr);
		break;
	case QUEUED:
		puma_count_n(get_queued, nr);
		break;
	case THROTTLED:
		puma_count_n(get_throttled, nr);
		break;
	case NO_REQUEST:
		puma_count_n(get_no_request, nr);
		break;
	}
	return false;
}

static void requests_cancel(struct batch *b)
{
	struct puma_get *req, *next;
	unsigned int i;

	list_for_each_entry_safe(req, next, &b->requests, link) {
		for (i = 0; i < req->nr; i++) {
			struct puma_get_page *page = &req->page[i];

			puma_index_erase(b->ix, b->file,
					 page->folio->index + page->offset);
		}
		puma_count_n(get_bypass, req->nr);
		/* Freed with the last of the folio's requests. */
		if (req->large && !atomic_dec_and_test(&req->large->left))
			req->large = NULL;
		list_del(&req->link);
		puma_get_free(req);
	}
}

/*
 * Hand the requests over. Outside the RCU read-side section: the sender may
 * sleep. Each request holds its lender until it is freed.
 */
static void requests_submit(struct batch *b)
{
	struct puma_get *req, *next;
	unsigned long ahead_us = 0;

	list_for_each_entry_safe(req, next, &b->requests, link) {
		list_del_init(&req->link);
		if (!req->nr) {
			puma_get_free(req);
			continue;
		}
		req->consume = READ_ONCE(puma_set.strategy) == PUMA_EXCLUSIVE;
		req->unanswered = GENMASK(req->nr - 1, 0);
		req->start = ktime_get_ns();
		/* Each has to wait for those of this batch before it. */
		req->deadline = jiffies +
				puma_lender_deadline(req->lender, ahead_us);
		ahead_us += READ_ONCE(req->lender->srtt_us);
		atomic_long_add(req->nr, &puma_get_nr_pending);
		trace_puma_get_submit(req);
		puma_net_get(req->lender->conn, req);
	}
}

/* Pages of a range that must come from the disk lose their entries. */
static void bypass(struct batch *b, pgoff_t start, unsigned long nr)
{
	puma_count_n(get_lookups, nr);
	puma_count_n(get_bypass, nr);
	puma_index_erase_range(b->ix, b->file, start, start + nr - 1);
}

/* Look a batch up. True when its hits are worth fetching. */
static bool batch_lookup(struct batch *b, struct address_space *mapping,
			 pgoff_t start, pgoff_t end)
{
	struct folio *folio;
	pgoff_t index;
	bool hit;

	for (index = start; index < end; index += folio_nr_pages(folio)) {
		folio = xa_load(&mapping->i_pages, index);
		puma_assert(folio_test_locked(folio) && folio->index == index);
		if (b->split.runs <= 1) {
			hit = add_folio(b, folio);
		} else {
			puma_count_n(get_lookups, folio_nr_pages(folio));
			puma_count_n(get_bypass, folio_nr_pages(folio));
			hit = false;
		}
		if (!hit)
			erase_folio(b, folio);
		puma_split_add(&b->split, folio->index, folio_nr_pages(folio),
			       hit);
	}
	return puma_split_worth(&b->split);
}

/*
 * Begin a look-up: false when no page of the file can be remote. The caller's
 * folios are in the cache. On true an RCU read-side section is open.
 */
static bool batch_begin(struct batch *b, struct inode *inode, pgoff_t start,
			unsigned long nr)
{
	bool busy;

	if (!S_ISREG(inode->i_mode))
		return false;
	memset(b, 0, sizeof(*b));
	INIT_LIST_HEAD(&b->requests);
	b->verify = READ_ONCE(puma_set.verify);
	/* Pairs with smp_mb__after_atomic() in __puma_inval_begin(). */
	smp_mb();
	busy = puma_inval_busy(inode->i_mapping);
	rcu_read_lock();
	b->ix = rcu_dereference(puma_index);
	b->file = b->ix ? puma_file(&b->ix->secret, inode) : 0;
	if (!b->file || !READ_ONCE(b->ix->nr_segments))
		goto out;
	if (busy) {
		puma_count_n(get_lookups, nr);
		puma_count_n(get_busy, nr);
		puma_index_erase_range(b->ix, b->file, start, start + nr - 1);
		goto out;
	}
	if ((current->flags & PF_MEMALLOC) || !puma_inode_eligible(inode)) {
		bypass(b, start, nr);
		goto out;
	}
	return true;
out:
	rcu_read_unlock();
	return false;
}

/* The hook behind puma_readahead(). */
bool __puma_readahead(struct readahead_control *rac,
		      void (*disk)(struct readahead_control *))
{
	struct address_space *mapping = rac->mapping;
	pgoff_t start = rac->_index;
	pgoff_t end = start + rac->_nr_pages;
	bool worth;
	struct batch b;

	if (!rac->_nr_pages || mapping->host->i_mapping != mapping)
		return false;
	if (!batch_begin(&b, mapping->host, start, rac->_nr_pages))
		return false;
	worth = batch_lookup(&b, mapping, start, end);
	if (!worth)
		requests_cancel(&b);
	rcu_read_unlock();
	if (!worth)
		return false;
	puma_delay(get_lookup);
	requests_submit(&b);
	if (b.split.misses) {
		rac->_index = b.split.start;
		rac->_nr_pages = b.split.end - b.split.start;
		rac->_batch_count = 0;
		disk(rac);
	}
	/* The disk part may have been expanded beyond the batch. */
	rac->_index = max(end, rac->_index);
	rac->_nr_pages = 0;
	rac->_batch_count = 0;
	rac->_workingset = false;
	return true;
}

/* The hook behind puma_read_folio(). */
bool __puma_read_folio(int (*filler)(struct file *, struct folio *),
		       struct folio *folio)
{
	struct address_space *mapping = folio->mapping;
	bool hit = false;
	struct batch b;

	if (!mapping || filler != mapping->a_ops->read_folio ||
	    mapping->host->i_mapping != mapping)
		return false;
	if (!batch_begin(&b, mapping->host, folio->index,
			 folio_nr_pages(folio)))
		return false;
	if (folio_fresh(folio)) {
		hit = add_folio(&b, folio);
	} else {
		puma_count_n(get_lookups, folio_nr_pages(folio));
		puma_count_n(get_bypass, folio_nr_pages(folio));
	}
	if (!hit) {
		erase_folio(&b, folio);
		requests_cancel(&b);
	}
	rcu_read_unlock();
	if (hit) {
		puma_delay(get_lookup);
		folio_get(folio);
		requests_submit(&b);
	}
	return hit;
}

/**
 * puma_get_init - prepare for requests
 *
 * Return: 0 or -ENOMEM.
 */
int puma_get_init(void)
{
	get_cache = KMEM_CACHE(puma_get, 0);
	return get_cache ? 0 : -ENOMEM;
}
