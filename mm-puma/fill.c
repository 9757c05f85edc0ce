// SPDX-License-Identifier: GPL-2.0
/*
 * Fill: answers of lenders fill the folios of a get.
 *
 * net/puma answers from the softirq that received the page: it is checked,
 * copied into the folio, and the folio is unlocked uptodate. A request ends
 * once, when all pages are answered, at its deadline, or with the connection;
 * from then on no answer can reach its folios. What was not filled is removed
 * from the page cache, all of the request before any of it is unlocked, so that
 * whoever waits re-enters readahead and reads the holes in one go.
 *
 * A folio of several requests becomes uptodate, or is removed, by the request
 * that ends last.
 */
#include <kunit/visibility.h>
#include <linux/highmem.h>
#include <linux/pagemap.h>
#include <trace/events/puma.h>

#include "internal.h"

/* All pages of the folio that starts at page @first of the request are in. */
static bool folio_filled(const struct puma_get *req, unsigned int first)
{
	unsigned int i;

	for (i = first; i < req->nr && puma_get_first(req, i) == first; i++)
		if (req->page[i].state != PUMA_PAGE_FILLED)
			return false;
	return true;
}

static void forget_folio(struct puma_get *req, unsigned int first)
{
	unsigned int i;

	for (i = first; i < req->nr && puma_get_first(req, i) == first; i++)
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
	unsigned int first = puma_get_first(req, i);
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
	if (good && req->consume && !req->verify)
		puma_index_erase(ix, req->file, folio->index + page->offset);
	rcu_read_unlock();
	if (!good) {
		page->state = PUMA_PAGE_BAD;
		return;
	}
	puma_delay(get_fill);
	puma_assert(folio_test_locked(folio) && !folio_test_uptodate(folio));
	memcpy_to_folio(folio, page->offset * PAGE_SIZE, data, PAGE_SIZE);
	page->state = PUMA_PAGE_FILLED;
	if (req->verify || req->large ||
	    !folio_filled(req, first))
		return;
	forget_folio(req, first);
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

/*
 * One of the requests for a large folio has ended. True when its folio is left
 * for process context: the request was the last one.
 */
static bool large_end(struct puma_get *req, bool failed)
{
	struct folio *folio = req->page[0].folio;
	struct puma_large *large = req->large;

	if (failed)
		WRITE_ONCE(large->failed, true);
	/* Fully ordered: the last one sees the data and failures of the others. */
	if (!atomic_dec_and_test(&large->left)) {
		req->large = NULL;
		forget_folio(req, 0);
		return false;
	}
	if (READ_ONCE(large->failed) || req->verify)
		return true;
	forget_folio(req, 0);
	folio_end_read(folio, true);
	folio_put(folio);
	return false;
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
			puma_index_erase(ix, req->file,
					 page->folio->index + page->offset);
	}
	rcu_read_unlock();
	if (req->large)
		left = large_end(req, unfilled);
	atomic_long_sub(req->nr, &puma_get_nr_pending);
	trace_puma_get_done(req, why, us, unfilled);
	if (why == PUMA_GET_ANSWERED)
		puma_lender_rtt(req->lender, us);
	if (unfilled)
		puma_lender_cost(req->lender, start, now);
	if (left)
		/* Verify mode may let go of a whole mount: not from puma_wq. */
		queue_work(req->verify ? system_unbound_wq : puma_wq,
			   &req->work);
	else
		puma_get_free(req);
}

/*
 * Let the disk have what a request did not fill: the folios that are left are
 * removed from the page cache and unlocked.
 */
VISIBLE_IF_KUNIT void puma_get_give_up(struct puma_get *req)
{
	unsigned int i;

	for (i = 0; i < req->nr; i++) {
		struct folio *folio = req->page[i].folio;

		if (!folio || puma_get_first(req, i) != i)
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

		if (!folio || puma_get_first(req, i) != i)
			continue;
		folio_unlock(folio);
		folio_put(folio);
	}
}

/**
 * puma_get_work - what has to be done in process context when a get has ended
 * @work: puma_get.work
 */
void puma_get_work(struct work_struct *work)
{
	struct puma_get *req = container_of(work, struct puma_get, work);
	struct puma_verify *verify = NULL;

	if (req->verify)
		verify = puma_verify_begin(req);
	puma_get_give_up(req);
	if (verify)
		puma_verify_end(verify, req);
	puma_get_free(req);
}
