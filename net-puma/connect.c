// SPDX-License-Identifier: GPL-2.0
/*
 * The borrower's end: dial a lender, again and again if need be. The dialling
 * itself is done by puma_conn.work (conn.c).
 */
#include <linux/minmax.h>
#include <linux/random.h>

#include "internal.h"

#define BACKOFF_MIN	(HZ / 10)
#define BACKOFF_MAX	(10 * HZ)

/**
 * puma_backoff_next - how long to wait before the next attempt
 * @backoff: the wait before the last one, 0 after a success
 *
 * Doubles up to ten seconds, with a little chance against marching in step.
 *
 * Return: jiffies.
 */
unsigned long puma_backoff_next(unsigned long backoff)
{
	unsigned long next = clamp(2 * backoff, (unsigned long)BACKOFF_MIN,
				   (unsigned long)BACKOFF_MAX);

	return next + get_random_u32_below(next / 8 + 1);
}

/**
 * puma_net_dial - make a connection to a lender
 * @lender: the lender
 * @to: where it is
 *
 * Nothing happens before puma_net_start().
 *
 * Context: process.
 * Return: the connection, or NULL.
 */
struct puma_conn *puma_net_dial(struct puma_lender *lender,
				const struct puma_endpoint *to)
{
	/* Start-up may have failed. */
	if (!puma_net_wq || !puma_ctl_wq)
		return NULL;
	return puma_conn_alloc(lender, to);
}

/**
 * puma_net_start - reach the lender, now and whenever the connection breaks
 * @conn: the connection
 */
void puma_net_start(struct puma_conn *conn)
{
	puma_conn_poke(conn);
}
