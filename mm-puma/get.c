// SPDX-License-Identifier: GPL-2.0
/*
 * Get: a page that misses the page cache comes from a lender.
 *
 * read_pages() and filemap_read_folio() come here with folios that are locked,
 * in the page cache and not uptodate. Those that lenders have are asked for,
 * up to PUMA_BATCH pages a request, before the disk is asked for the rest.
 *
 * net/puma answers from the softirq that received the page: it is checked,
 * copied into the folio, and the folio is unlocked uptodate. A request ends
 * once, when all pages are answered, at its deadline, or with the connection;
 * from then on no answer can reach its folios. What was not filled is removed
 * from the page cache, all of the request before any of it is unlocked, so that
 * whoever waits re-enters readahead and reads the holes in one go.
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
VISIBLE_IF_KUNIT atomic_long_t puma_get_nr_pending;	/* asked for, not settled */

/* A page cache batch on its way through the index. */
struct batch {
	struct puma_index *ix;
	u64 file;
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

static void get_work(struct work_struct *work)
{
	struct puma_get *req = container_of(work, struct puma_get, work);
	struct inode *inode = NULL;

	if (READ_ONCE(puma_set.verify))
		inode = puma_verify_begin(req);
	if (inode)
		puma_verify(req);
	puma_get_give_up(req);
	if (inode)
		puma_verify_end(inode);
	puma_get_free(req);
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
	INIT_WORK(&req->work, get_work);
	req->nr = 0;
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

/*
 * Try to add a folio to the requests. Counts each page of a folio that is not
 * added; those that are added are counted when their request ends.
 */
static bool add_folio(struct batch *b, struct folio *folio)
{
	unsigned int i, first = 0, nr = folio_nr_pages(folio);
	struct puma_get *req = NULL;
	struct puma_entry e;

	puma_assert(folio_test_locked(folio) && folio_fresh(folio));
	puma_count_n(get_lookups, nr);
	for (i = 0; i < nr && nr <= PUMA_BATCH; i++) {
		struct puma_get_page *page;

		if (!puma_index_lookup(b->ix, b->file, folio->index + i, &e))
			break;
		if (e.word & PUMA_WORD_QUEUED) {
			puma_count_n(get_queued, nr);
			return false;
		}
		if (!req) {
			if (!puma_lender_usable(e.lender)) {
				puma_count_n(get_throttled, nr);
				return false;
			}
			req = request_for(b, e.lender, nr);
			if (!req) {
				puma_count_n(get_no_request, nr);
				return false;
			}
			first = req->nr;
		}
		if (e.lender != req->lender)
			break;
		page = &req->page[first + i];
		page->folio = folio;
		page->token = e.token;
		page->slot = e.slot;
		page->first = first;
		page->state = PUMA_PAGE_ASKED;
		if (puma_set.strategy == PUMA_NONINCLUSIVE)
			puma_index_used(b->ix, b->file, folio->index + i,
					e.word);
	}
	if (i < nr) {
		puma_count_n(get_miss, nr);
		return false;
	}
	req->nr += nr;
	return true;
}

static void requests_cancel(struct batch *b)
{
	struct puma_get *req, *next;
	unsigned int i;

	list_for_each_entry_safe(req, next, &b->requests, link) {
		for (i = 0; i < req->nr; i++) {
			struct puma_get_page *page = &req->page[i];

			puma_index_erase(b->ix, b->file, page->folio->index +
							 i - page->first);
		}
		puma_count_n(get_bypass, req->nr);
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

	list_for_each_entry_safe(req, next, &b->requests, link) {
		list_del_init(&req->link);
		if (!req->nr) {
			puma_get_free(req);
			continue;
		}
		req->consume = READ_ONCE(puma_set.strategy) == PUMA_EXCLUSIVE;
		req->unanswered = GENMASK(req->nr - 1, 0);
		req->start = ktime_get_ns();
		req->deadline = jiffies + puma_lender_deadline(req->lender);
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
		folio_get(folio);
		requests_submit(&b);
	}
	return hit;
}

/* All pages of the folio that starts at page @first of the request are in. */
static bool folio_filled(const struct puma_get *req, unsigned int first)
{
	unsigned int i;

	for (i = first; i < req->nr && req->page[i].first == first; i++)
		if (req->page[i].state != PUMA_PAGE_FILLED)
			return false;
	return true;
}

static void forget_folio(struct puma_get *req, unsigned int first)
{
	unsigned int i;

	for (i = first; i < req->nr && req->page[i].first == first; i++)
		req->page[i].folio = NULL;
}

/**
 * puma_get_page_in - a lender answered with a page
 * @req: the request
 * @i: which of its pages, not answered before
 * @data: PAGE_SIZE bytes
 * @seal: what came with them
 *
 * Context: softirq or process; the request cannot end meanwhile.
 */
void puma_get_page_in(struct puma_get *req, unsigned int i, const void *data,
		      const struct puma_seal *seal)
{
	struct puma_get_page *page = &req->page[i];
	struct folio *folio = page->folio;
	struct puma_index *ix;
	bool good;

	rcu_read_lock();
	ix = rcu_dereference(puma_index);
	if (!ix) {
		/* The borrower is being switched off: as good as lost. */
		rcu_read_unlock();
		return;
	}
	good = puma_key_sum(&ix->secret, page->token, data) == seal->sum;
	/* The lender has forgotten it. Before the folio can be evicted. */
	if (good && req->consume && !READ_ONCE(puma_set.verify))
		puma_index_erase(ix, req->file, folio->index + i - page->first);
	rcu_read_unlock();
	if (!good) {
		page->state = PUMA_PAGE_BAD;
		return;
	}
	puma_assert(folio_test_locked(folio) && !folio_test_uptodate(folio));
	memcpy_to_folio(folio, (i - page->first) * PAGE_SIZE, data, PAGE_SIZE);
	page->state = PUMA_PAGE_FILLED;
	if (READ_ONCE(puma_set.verify) || !folio_filled(req, page->first))
		return;
	forget_folio(req, page->first);
	folio_end_read(folio, true);
	folio_put(folio);
}

/**
 * puma_get_page_gone - a lender answered that it has dropped a page
 * @req: the request
 * @i: which of its pages, not answered before
 *
 * Context: softirq or process; the request cannot end meanwhile.
 */
void puma_get_page_gone(struct puma_get *req, unsigned int i)
{
	req->page[i].state = PUMA_PAGE_GONE;
}

static void count_page(const struct puma_get_page *page, enum puma_get_end why)
{
	switch (page->state) {
	case PUMA_PAGE_FILLED:
		puma_count(get_hit);
		break;
	case PUMA_PAGE_GONE:
		puma_count(get_gone);
		break;
	case PUMA_PAGE_BAD:
		puma_count(get_bad);
		pr_warn_ratelimited("a page came back with a wrong checksum; the disk is read\n");
		break;
	default:
		if (why == PUMA_GET_TIMEOUT)
			puma_count(get_timeout);
		else
			puma_count(get_lost);
	}
}

/**
 * puma_get_finish - a get has ended; no more answers come
 * @req: the request
 * @why: enum puma_get_end
 *
 * Context: any but hard interrupts.
 */
void puma_get_finish(struct puma_get *req, enum puma_get_end why)
{
	u64 start = req->start / NSEC_PER_USEC;
	u64 now = ktime_get_ns() / NSEC_PER_USEC;
	u64 us = now - start;
	unsigned int i, unfilled = 0, left = 0;
	struct puma_index *ix;

	rcu_read_lock();
	ix = rcu_dereference(puma_index);
	for (i = 0; i < req->nr; i++) {
		struct puma_get_page *page = &req->page[i];

		count_page(page, why);
		left += !!page->folio;
		if (page->state == PUMA_PAGE_FILLED)
			continue;
		unfilled++;
		/* Its folio is locked and not filled: it is still there. */
		if (ix)
			puma_index_erase(ix, req->file, page->folio->index + i -
							page->first);
	}
	rcu_read_unlock();
	atomic_long_sub(req->nr, &puma_get_nr_pending);
	trace_puma_get_done(req, why, us, unfilled);
	if (why == PUMA_GET_ANSWERED)
		puma_lender_rtt(req->lender, us);
	if (unfilled)
		puma_lender_cost(req->lender, start, now);
	if (left)
		queue_work(puma_wq, &req->work);
	else
		puma_get_free(req);
}

/**
 * puma_get_give_up - let the disk have what a request did not fill
 * @req: the request, ended
 *
 * Removes the folios that are left from the page cache and unlocks them.
 *
 * Context: process.
 */
void puma_get_give_up(struct puma_get *req)
{
	unsigned int i;

	for (i = 0; i < req->nr; i++) {
		struct folio *folio = req->page[i].folio;

		if (!folio || req->page[i].first != i)
			continue;
		/*
		 * The locked folio keeps the inode alive until it has left the
		 * mapping; after that RCU does.
		 */
		rcu_read_lock();
		filemap_remove_folio(folio);
		rcu_read_unlock();
	}
	for (i = 0; i < req->nr; i++) {
		struct folio *folio = req->page[i].folio;

		if (!folio || req->page[i].first != i)
			continue;
		folio_unlock(folio);
		folio_put(folio);
	}
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
