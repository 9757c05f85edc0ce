// SPDX-License-Identifier: GPL-2.0
/*
 * Decisions, apart from the machinery that carries them out: which files take
 * part, whether a batch is worth splitting, how long a lender may take and how
 * much time it may waste. Pure functions but for the inode's state.
 */
#include <linux/pagemap.h>

#include "internal.h"

#define LOSS_PERMILLE	20		/* of the time that passes */
#define LOSS_CREDIT_US	(500 * USEC_PER_MSEC)
#define LOSS_DEBT_US	(2 * USEC_PER_SEC)
#define DEADLINE_MIN_US	(10 * USEC_PER_MSEC)

/**
 * puma_budget_init - start with full credit
 * @b: the budget
 * @now_us: time
 */
void puma_budget_init(struct puma_budget *b, u64 now_us)
{
	b->last_us = now_us;
	b->credit_us = LOSS_CREDIT_US;
}

/**
 * puma_budget_ok - may the lender be used now?
 * @b: the budget
 * @now_us: time
 *
 * A lender may waste 2 % of the time that passes, in lumps of half a second.
 *
 * Return: true when it may.
 */
bool puma_budget_ok(struct puma_budget *b, u64 now_us)
{
	u64 passed = now_us > b->last_us ? now_us - b->last_us : 0;
	u64 earned = passed * LOSS_PERMILLE / 1000;

	/* Only whole microseconds are earned; what is over counts next time. */
	b->last_us += earned * 1000 / LOSS_PERMILLE;
	b->credit_us = min_t(s64, b->credit_us + min_t(u64, earned,
						       2 * LOSS_CREDIT_US +
						       LOSS_DEBT_US),
			     LOSS_CREDIT_US);
	return b->credit_us > 0;
}

/**
 * puma_budget_charge - the lender wasted time
 * @b: the budget
 * @lost_us: how much
 */
void puma_budget_charge(struct puma_budget *b, u64 lost_us)
{
	s64 debt = -(s64)LOSS_DEBT_US;

	b->credit_us -= min_t(u64, lost_us, LOSS_DEBT_US);
	b->credit_us = max(b->credit_us, debt);
}

/**
 * puma_split_add - tell the splitter of the next folio of a batch
 * @split: zeroed before the first
 * @index: its page offset
 * @nr_pages: its size
 * @hit: a lender has all of it
 */
void puma_split_add(struct puma_split *split, pgoff_t index,
		    unsigned long nr_pages, bool hit)
{
	if (hit) {
		split->hits += nr_pages;
		split->in_run = false;
		return;
	}
	split->misses += nr_pages;
	if (!split->in_run) {
		split->runs++;
		split->start = index;
		split->in_run = true;
	}
	split->end = index + nr_pages;
}

/**
 * puma_split_worth - shall the hits of a batch be fetched?
 * @split: after the last folio
 *
 * If the disk must be asked anyway, it is asked once: with several runs of
 * misses the whole batch is read from it.
 *
 * Return: true when there are hits and at most one run of misses.
 */
bool puma_split_worth(const struct puma_split *split)
{
	return split->hits && split->runs <= 1;
}

/**
 * puma_rtt_add - fold a round-trip time into the estimate
 * @srtt_us: smoothed time, 0 before the first sample
 * @var_us: mean deviation
 * @sample_us: the sample
 */
void puma_rtt_add(u32 *srtt_us, u32 *var_us, u64 sample_us)
{
	u32 sample = clamp_t(u64, sample_us, 1, 10 * USEC_PER_SEC);
	u32 dev;

	if (!*srtt_us) {
		*srtt_us = sample;
		*var_us = sample / 2;
		return;
	}
	dev = abs_diff(sample, *srtt_us);
	*var_us = (3 * *var_us + dev) / 4;
	*srtt_us = max((7 * *srtt_us + sample) / 8, 1U);
}

/**
 * puma_deadline_us - how long to wait for a get
 * @srtt_us: smoothed round-trip time, 0 when unknown
 * @var_us: mean deviation
 * @max_ms: the administrator's limit
 *
 * Return: microseconds.
 */
unsigned long puma_deadline_us(u32 srtt_us, u32 var_us, unsigned int max_ms)
{
	unsigned long max_us = max_ms * USEC_PER_MSEC;
	unsigned long want = srtt_us ? 8UL * srtt_us + 4UL * var_us : max_us;

	return min(max(want, DEADLINE_MIN_US), max_us);
}

/**
 * puma_inode_eligible - may pages of this file be put and fetched?
 * @inode: a regular file of a mount that takes part
 *
 * Tested at put and at get; never by invalidation. Inodes that a file system
 * uses for itself are not hashed (erofs, whatever their mode says) or cannot
 * be read page by page (f2fs).
 *
 * Return: true when they may.
 */
bool puma_inode_eligible(struct inode *inode)
{
	return !IS_SWAPFILE(inode) && !IS_DAX(inode) && !IS_ENCRYPTED(inode) &&
	       !IS_VERITY(inode) && !inode_unhashed(inode) &&
	       inode->i_mapping == &inode->i_data &&
	       inode->i_mapping->a_ops->read_folio &&
	       !test_bit(AS_PUMA_BARRED, &inode->i_mapping->flags) &&
	       !READ_ONCE(inode->i_mapping->wb_err);
}
