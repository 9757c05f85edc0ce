// SPDX-License-Identifier: GPL-2.0
/*
 * The lenders that a borrower knows: where they are, what they granted, how
 * they behave. net/puma reports up, down, leases and round-trip times from
 * process context or from the softirq that received them, as noted.
 *
 * The index takes segments until it has a share of the memory; what one lender
 * gives up, the others may fill.
 *
 * A lender lives from puma_lenders_start() to puma_lenders_stop(); every
 * request has ended before that, and nobody finds a segment any more.
 */
#include <linux/inet.h>
#include <linux/slab.h>
#include <trace/events/puma.h>

#include "internal.h"

#define MAX_LENDERS	16
#define PUT_PAUSE	(HZ / 2)	/* after a refused put */

static LIST_HEAD(lenders);		/* changed under puma_lock and the next */
static DEFINE_SPINLOCK(lenders_lock);	/* for those who lack puma_lock */
static unsigned int nr_lenders;

/* Take the next comma-separated word of *@text. False at the end. */
static bool next_word(const char **text, char *word, size_t size)
{
	size_t len = strcspn(*text, ",");

	if (!len || len >= size)
		return false;
	memcpy(word, *text, len);
	word[len] = 0;
	*text += len;
	if (**text == ',')
		(*text)++;
	return true;
}

/**
 * puma_lenders_check - is a list of lenders well formed?
 * @text: ADDR[:PORT][,...]
 *
 * Return: their number, or -EINVAL.
 */
int puma_lenders_check(const char *text)
{
	struct puma_endpoint ep;
	char word[40];
	int nr = 0;

	if (text[0] && text[strlen(text) - 1] == ',')
		return -EINVAL;
	while (*text) {
		if (!next_word(&text, word, sizeof(word)) ||
		    puma_endpoint_parse(word, true, &ep) ||
		    ++nr > MAX_LENDERS)
			return -EINVAL;
	}
	return nr;
}

static void lender_free(struct puma_lender *lender)
{
	spin_lock(&lenders_lock);
	list_del(&lender->list);
	spin_unlock(&lenders_lock);
	kobject_del(&lender->kobj);
	kobject_put(&lender->kobj);	/* frees it */
}

static int lender_add(const struct puma_endpoint *ep)
{
	struct puma_lender *lender = kzalloc(sizeof(*lender), GFP_KERNEL);
	int err;

	if (!lender)
		return -ENOMEM;
	lender->endpoint = *ep;
	lender->put_pause = jiffies;
	spin_lock_init(&lender->lock);
	puma_budget_init(&lender->budget, ktime_get_ns() / NSEC_PER_USEC);
	INIT_LIST_HEAD(&lender->list);
	err = puma_sysfs_add_lender(lender, nr_lenders++);
	if (err) {
		kobject_put(&lender->kobj);
		return err;
	}
	lender->conn = puma_net_dial(lender, ep);
	if (!lender->conn) {
		lender_free(lender);
		return -ENOMEM;
	}
	spin_lock(&lenders_lock);
	list_add_tail(&lender->list, &lenders);
	spin_unlock(&lenders_lock);
	puma_net_start(lender->conn);
	return 0;
}

/**
 * puma_lenders_start - dial every lender of a list
 * @text: a list that puma_lenders_check() accepted
 *
 * Context: process, puma_lock held.
 * Return: 0 or an error; lenders dialled before it stay.
 */
int puma_lenders_start(const char *text)
{
	struct puma_endpoint ep;
	char word[40];
	int err = 0;

	lockdep_assert_held(&puma_lock);
	while (!err && next_word(&text, word, sizeof(word))) {
		err = puma_endpoint_parse(word, true, &ep);
		if (!err)
			err = lender_add(&ep);
	}
	return err;
}

/**
 * puma_lenders_stop - hang up and forget all lenders
 *
 * The index is unpublished and a grace period has passed, so no request can
 * start. Those under way end here.
 *
 * Context: process, puma_lock held.
 */
void puma_lenders_stop(void)
{
	struct puma_lender *lender, *next;

	lockdep_assert_held(&puma_lock);
	/* All at once: each may be in the middle of dialling. */
	list_for_each_entry(lender, &lenders, list)
		puma_net_hangup(lender->conn, false);
	list_for_each_entry(lender, &lenders, list)
		puma_net_hangup(lender->conn, true);
	puma_get_drain();
	list_for_each_entry_safe(lender, next, &lenders, list) {
		puma_net_free(lender->conn);
		lender_free(lender);
	}
	nr_lenders = 0;
}

/**
 * puma_lenders_redial - break every connection; each is made anew
 *
 * What the lenders hold is forgotten, here and there.
 *
 * Context: process.
 */
void puma_lenders_redial(void)
{
	struct puma_lender *lender;

	mutex_lock(&puma_lock);
	list_for_each_entry(lender, &lenders, list)
		puma_net_redial(lender->conn);
	mutex_unlock(&puma_lock);
}

/**
 * puma_lender_takes_puts - may a put be queued for a lender?
 * @lender: the lender, NULL when its segment is going
 *
 * Return: true when it is up and did not refuse one lately.
 */
bool puma_lender_takes_puts(const struct puma_lender *lender)
{
	return lender && READ_ONCE(lender->state) == PUMA_LENDER_UP &&
	       time_after_eq(jiffies, READ_ONCE(lender->put_pause));
}

/**
 * puma_lender_usable - may a get be sent to a lender?
 * @lender: the lender
 *
 * Return: true when it is up and has not wasted too much time.
 */
bool puma_lender_usable(struct puma_lender *lender)
{
	bool ok;

	if (READ_ONCE(lender->state) != PUMA_LENDER_UP)
		return false;
	spin_lock_bh(&lender->lock);
	ok = puma_budget_ok(&lender->budget, ktime_get_ns() / NSEC_PER_USEC);
	spin_unlock_bh(&lender->lock);
	return ok;
}

/**
 * puma_lender_cost - a get of a lender failed
 * @lender: the lender
 * @start_us: when it began
 * @end_us: when it ended
 *
 * Time that several gets lost together is charged once.
 */
void puma_lender_cost(struct puma_lender *lender, u64 start_us, u64 end_us)
{
	spin_lock_bh(&lender->lock);
	start_us = max(start_us, lender->charged_us);
	if (end_us > start_us) {
		puma_budget_charge(&lender->budget, end_us - start_us);
		lender->charged_us = end_us;
	}
	spin_unlock_bh(&lender->lock);
}

/**
 * puma_lender_rtt - a get of a lender was answered
 * @lender: the lender
 * @rtt_us: time that it took
 */
void puma_lender_rtt(struct puma_lender *lender, u64 rtt_us)
{
	spin_lock_bh(&lender->lock);
	puma_rtt_add(&lender->srtt_us, &lender->var_us, rtt_us);
	spin_unlock_bh(&lender->lock);
}

/**
 * puma_lender_deadline - how long a get of a lender may take
 * @lender: the lender
 * @ahead_us: time that gets before it will take
 *
 * Return: jiffies, at least 1; the administrator's limit is rounded up.
 */
unsigned long puma_lender_deadline(struct puma_lender *lender,
				   unsigned long ahead_us)
{
	unsigned int max_ms = READ_ONCE(puma_set.deadline_ms);
	unsigned long us = puma_deadline_us(READ_ONCE(lender->srtt_us),
					    READ_ONCE(lender->var_us), max_ms);

	return usecs_to_jiffies(min(us + ahead_us, max_ms * USEC_PER_MSEC)) + 1;
}

/**
 * puma_lender_up - a lender has been reached
 * @lender: the lender
 *
 * Context: process.
 */
void puma_lender_up(struct puma_lender *lender)
{
	spin_lock_bh(&lender->lock);
	lender->srtt_us = 0;
	lender->var_us = 0;
	spin_unlock_bh(&lender->lock);
	WRITE_ONCE(lender->put_pause, jiffies);
	WRITE_ONCE(lender->state, PUMA_LENDER_UP);
	trace_puma_lender(lender->endpoint.addr, "up", 0);
}

/* The index of a borrower takes no more than a 64th of its memory. */
static u32 most_segments(void)
{
	unsigned long bytes = PUMA_SEGMENT_SLOTS * sizeof(u64);

	return clamp((totalram_pages() << PAGE_SHIFT) / 64 / bytes, 1UL,
		     (unsigned long)PUMA_PARTS);
}

/* There is room in the index: the others may fill it with what they granted. */
static void offer_room(struct puma_lender *except)
{
	struct puma_lender *lender;

	spin_lock(&lenders_lock);
	list_for_each_entry(lender, &lenders, list)
		if (lender != except)
			puma_net_lease(lender->conn);
	spin_unlock(&lenders_lock);
}

/**
 * puma_lender_lease - a lender grants this many segments from now on
 * @lender: the lender
 * @segments: how many, at most PUMA_MAX_SEGMENTS
 * @room: pages it could take now
 *
 * Context: process.
 * Return: false when memory did not suffice for all: to be called again.
 */
bool puma_lender_lease(struct puma_lender *lender, u32 segments, u32 room)
{
	struct puma_segment *seg;
	struct puma_index *ix;
	u32 have = lender->segments;
	bool enough = true;

	WRITE_ONCE(lender->room, room);
	/* The index outlives the connection: hang-up comes before its end. */
	ix = rcu_dereference_protected(puma_index, true);
	if (!ix)
		return true;
	if (segments < have) {
		puma_index_remove(ix, lender, segments);
		offer_room(lender);
	}
	for (; have < segments; have++) {
		if (ix->nr_segments >= most_segments()) {
			pr_info_ratelimited("%pI4:%u: using %u of %u segments, the index takes no more (64 GiB, or 8 times the memory)\n",
					    &lender->endpoint.addr,
					    be16_to_cpu(lender->endpoint.port),
					    have, segments);
			break;
		}
		seg = puma_segment_alloc(lender, have);
		if (!seg) {
			pr_warn_ratelimited("no memory to use more than %u of %u segments\n",
					    have, segments);
			enough = false;
			break;
		}
		puma_index_add(ix, seg);
	}
	WRITE_ONCE(lender->segments, min(have, segments));
	trace_puma_lender(lender->endpoint.addr, "lease", segments);
	return enough;
}

/**
 * puma_lender_down - the connection to a lender is gone
 * @lender: the lender
 *
 * All its requests have ended, its queue of puts is empty.
 *
 * Context: process.
 */
void puma_lender_down(struct puma_lender *lender)
{
	WRITE_ONCE(lender->state, PUMA_LENDER_DOWN);
	puma_lender_lease(lender, 0, 0);
	trace_puma_lender(lender->endpoint.addr, "down", 0);
}

/**
 * puma_lender_gone - a lender dropped slots
 * @lender: the lender
 * @segment: number of the segment
 * @bitmap: bit a slot
 * @refused: it had no room for a put; no more puts go to it for a while
 *
 * Context: any but hard interrupts.
 */
void puma_lender_gone(struct puma_lender *lender, u32 segment,
		      const __le64 *bitmap, bool refused)
{
	struct puma_index *ix;

	rcu_read_lock();
	ix = rcu_dereference(puma_index);
	if (ix)
		puma_index_erase_slots(ix, lender, segment, bitmap);
	rcu_read_unlock();
	puma_count_n(gone_received, bitmap_weight((const unsigned long *)bitmap,
						  PUMA_SEGMENT_SLOTS));
	if (refused) {
		WRITE_ONCE(lender->put_pause, jiffies + PUT_PAUSE);
		puma_count(put_pauses);
	}
	trace_puma_gone(segment);
}

/**
 * puma_lender_pong - a lender answered a ping
 * @lender: the lender
 * @rtt_ns: time that it took
 * @room: pages it could take now
 *
 * Context: any but hard interrupts.
 */
void puma_lender_pong(struct puma_lender *lender, u64 rtt_ns, u32 room)
{
	WRITE_ONCE(lender->room, room);
	if (!READ_ONCE(lender->srtt_us))
		puma_lender_rtt(lender, rtt_ns / NSEC_PER_USEC);
}
