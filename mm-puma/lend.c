// SPDX-License-Identifier: GPL-2.0
/*
 * How much to lend, and giving it back.
 *
 * Memory is taken for borrowers only while it is free in plenty. It goes back
 * in three stages: a worker drops lent pages when free memory falls, before
 * kswapd wakes; reclaim, whoever runs it, calls puma_give_back() at the top of
 * shrink_node() and takes lent pages before any page of our own; and should
 * neither get to it, lent pages are clean page cache on the ordinary LRU.
 *
 * The borrower with the most pages gives first.
 */
#include <linux/mmzone.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

#include "internal.h"

#define WATCH_PERIOD	(HZ / 10)

atomic_long_t puma_lent;		/* pages lent, all borrowers */
static unsigned long max_pages;		/* never lend more */
static unsigned long free_floor;	/* leave this many pages free */
static u32 last_total;			/* segments, the most there ever were */

static void lend_watch(struct work_struct *work);
static DECLARE_DELAYED_WORK(watch_work, lend_watch);

/**
 * puma_lend_parse - parse puma.max_lend
 * @text: SIZE with K, M or G, or PERCENT of memory
 * @pages: set to the result
 *
 * Return: 0 or -EINVAL.
 */
int puma_lend_parse(const char *text, unsigned long *pages)
{
	unsigned long long value;
	char *end;

	if (!isdigit(text[0]))
		return -EINVAL;
	value = memparse(text, &end);
	if (end[0] == '%' && !end[1]) {
		if (value > 100)
			return -EINVAL;
		*pages = mult_frac(totalram_pages(), (unsigned long)value, 100);
		return 0;
	}
	if (*end)
		return -EINVAL;
	*pages = value >> PAGE_SHIFT;
	return 0;
}

/* Free memory below which lent pages go: above what wakes kswapd. */
static unsigned long compute_floor(void)
{
	unsigned long pages = 0;
	struct zone *zone;

	for_each_populated_zone(zone)
		pages += zone->_watermark[WMARK_HIGH];	/* without boost */
	return pages + pages / 4;
}

/**
 * puma_lend_set_max - limit what is lent
 * @text: as for puma_lend_parse()
 *
 * Whole segments are lent, so less than one is nothing: perhaps the unit was
 * forgotten.
 *
 * Context: process, puma_lock held.
 * Return: 0 or -EINVAL.
 */
int puma_lend_set_max(const char *text)
{
	unsigned long pages;
	int err = puma_lend_parse(text, &pages);

	lockdep_assert_held(&puma_lock);
	if (err)
		return err;
	if (pages < PUMA_SEGMENT_SLOTS)
		pr_warn("max_lend=%s: less than 32M, so nothing is lent\n",
			text);
	WRITE_ONCE(max_pages, pages);
	/* Leases follow; what is lent beyond the limit, the watch drops. */
	WRITE_ONCE(last_total, 0);
	puma_store_kick_all();
	return 0;
}

/**
 * puma_lend_max - the limit
 *
 * Return: pages.
 */
unsigned long puma_lend_max(void)
{
	return READ_ONCE(max_pages);
}

static unsigned long free_pages_over(unsigned long floor)
{
	unsigned long nr = global_zone_page_state(NR_FREE_PAGES);

	return nr > floor ? nr - floor : 0;
}

/**
 * puma_lend_may_store - may one more page be taken?
 *
 * Return: true when there is plenty of free memory and the limit is not met.
 */
bool puma_lend_may_store(void)
{
	/* Twice the floor, so that storing does not run into giving back. */
	return atomic_long_read(&puma_lent) < READ_ONCE(max_pages) &&
	       free_pages_over(2 * READ_ONCE(free_floor));
}

/**
 * puma_lend_room - pages that could be taken now
 *
 * Return: the number.
 */
unsigned long puma_lend_room(void)
{
	long left = READ_ONCE(max_pages) - atomic_long_read(&puma_lent);

	return min_t(unsigned long, max(left, 0L),
		     free_pages_over(2 * READ_ONCE(free_floor)));
}

/* Segments that all borrowers together could fill. */
static u32 lend_segments(void)
{
	unsigned long pages = puma_lend_room() + atomic_long_read(&puma_lent);

	pages = min(pages, READ_ONCE(max_pages));
	return min(pages >> PUMA_SEGMENT_SHIFT, PUMA_MAX_SEGMENTS);
}

/**
 * puma_lend_lease - segments that a borrower may use
 * @have: what it has now
 * @all: what all borrowers have now
 *
 * What borrowers store together is limited anyway, so leases may exceed it; but
 * each segment of a lease takes memory for its shelf. So all leases together
 * approach twice what there is: each may grow by half of what is missing to
 * that. None shrinks for the sake of another, only when the administrator
 * lowers the limit: a borrower loses entries whenever segments go.
 *
 * Return: number of segments.
 */
u32 puma_lend_lease(u32 have, u32 all)
{
	u32 limit = min(READ_ONCE(max_pages) >> PUMA_SEGMENT_SHIFT,
			PUMA_MAX_SEGMENTS);
	u32 total = max(lend_segments(), READ_ONCE(last_total));

	total = min(total, limit);
	WRITE_ONCE(last_total, total);
	if (all < 2 * total)
		have = max(have, min(total, have + (2 * total - all + 1) / 2));
	return min(have, limit);
}

/* The hook behind puma_give_back(). */
unsigned long __puma_give_back(struct pglist_data *pgdat, int zone_idx,
			       unsigned long nr_pages)
{
	unsigned long freed = 0, got;
	struct puma_store *store;

	while (freed < nr_pages && atomic_long_read(&puma_lent)) {
		store = puma_store_largest();
		if (!store)
			break;
		got = puma_store_shrink(store, pgdat, zone_idx,
					nr_pages - freed);
		kobject_put(&store->kobj);
		if (!got)
			break;
		freed += got;
	}
	return freed;
}

static void give_back_everywhere(unsigned long nr_pages)
{
	struct pglist_data *pgdat;
	unsigned long got;

	for_each_online_pgdat(pgdat) {
		got = __puma_give_back(pgdat, MAX_NR_ZONES - 1, nr_pages);
		nr_pages -= min(nr_pages, got);
	}
}

/* The early stage: free memory is getting short, kswapd still sleeps. */
static void lend_watch(struct work_struct *work)
{
	long over = atomic_long_read(&puma_lent) - READ_ONCE(max_pages);
	unsigned long nr, floor = compute_floor();

	WRITE_ONCE(free_floor, floor);
	nr = global_zone_page_state(NR_FREE_PAGES);
	nr = nr < floor ? floor - nr : 0;
	if (over > 0)
		nr = max_t(unsigned long, nr, over);
	if (nr)
		give_back_everywhere(nr);
	queue_delayed_work(puma_wq, &watch_work, WATCH_PERIOD);
}

/**
 * puma_lend_start - become a lender
 *
 * Context: process, puma_lock held.
 * Return: 0 or an error.
 */
int puma_lend_start(void)
{
	int err;

	lockdep_assert_held(&puma_lock);
	WRITE_ONCE(free_floor, compute_floor());
	WRITE_ONCE(last_total, 0);
	static_branch_enable(&puma_lend_key);
	err = puma_net_listen(&puma_set.listen);
	if (err) {
		static_branch_disable(&puma_lend_key);
		return err;
	}
	queue_delayed_work(puma_wq, &watch_work, WATCH_PERIOD);
	return 0;
}

/**
 * puma_lend_stop - stop being a lender
 *
 * All borrowers are hung up on and their pages freed.
 *
 * Context: process, puma_lock held.
 */
void puma_lend_stop(void)
{
	lockdep_assert_held(&puma_lock);
	puma_net_unlisten();
	cancel_delayed_work_sync(&watch_work);
	static_branch_disable(&puma_lend_key);
	flush_workqueue(puma_wq);
}
