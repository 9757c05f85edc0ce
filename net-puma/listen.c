// SPDX-License-Identifier: GPL-2.0
/*
 * The lender's end: accept borrowers, up to MAX_BORROWERS of them.
 */
#include <linux/delay.h>

#include "internal.h"

#define MAX_BORROWERS	64
#define MAX_REFUSED	8	/* that are being told so */

static struct socket *listener;
static LIST_HEAD(accepted);
static DEFINE_SPINLOCK(accepted_lock);	/* protects @accepted, @nr_accepted */
static unsigned int nr_accepted;
static bool listening;

/* Take one more connection into account. Returns how many there were. */
static unsigned int reserve(void)
{
	unsigned int nr;

	spin_lock_bh(&accepted_lock);
	nr = listening ? nr_accepted : UINT_MAX;
	if (nr < MAX_BORROWERS + MAX_REFUSED)
		nr_accepted++;
	spin_unlock_bh(&accepted_lock);
	return nr;
}

static void accept_one(struct socket *sock, const struct puma_endpoint *peer)
{
	unsigned int nr = reserve();
	struct puma_conn *conn = NULL;

	if (nr < MAX_BORROWERS + MAX_REFUSED) {
		conn = puma_conn_alloc(NULL, peer);
		if (!conn) {
			spin_lock_bh(&accepted_lock);
			nr_accepted--;
			spin_unlock_bh(&accepted_lock);
		}
	}
	if (!conn) {
		puma_tcp_close(sock);
		return;
	}
	if (nr >= MAX_BORROWERS) {
		pr_warn_ratelimited("%pI4: refused: %s\n", &peer->addr,
				    puma_wire_reason(PUMA_REASON_FULL));
		conn->reason = PUMA_REASON_FULL;
	}
	conn->fresh = sock;
	puma_conn_get(conn);
	spin_lock_bh(&accepted_lock);
	list_add_tail(&conn->link, &accepted);	/* with the first reference */
	puma_conn_poke(conn);		/* here, where unlisten cannot be before */
	spin_unlock_bh(&accepted_lock);
	puma_conn_put(conn);
}

static void accept_work(struct work_struct *work)
{
	struct puma_endpoint peer;
	struct socket *sock;
	int err;

	while (READ_ONCE(listening)) {
		err = puma_tcp_accept(listener, &sock, &peer);
		if (!err)
			accept_one(sock, &peer);
		else if (err == -EAGAIN)
			break;
		else if (err != -ECONNABORTED)
			msleep(100);	/* short of memory or files */
	}
}

static DECLARE_WORK(accept_all, accept_work);

/**
 * puma_listen_forget - an accepted connection has ended
 * @conn: the connection; freed when nobody waits for it
 *
 * Context: puma_conn.work.
 */
void puma_listen_forget(struct puma_conn *conn)
{
	spin_lock_bh(&accepted_lock);
	list_del_init(&conn->link);
	nr_accepted--;
	/* Unlisten may have poked it until now, and cannot find it any more. */
	cancel_delayed_work(&conn->work);
	spin_unlock_bh(&accepted_lock);
	puma_conn_put(conn);
}

/**
 * puma_net_listen - accept borrowers
 * @at: where
 *
 * Context: process, puma_lock held.
 * Return: 0 or an error.
 */
int puma_net_listen(const struct puma_endpoint *at)
{
	int err = -ENOMEM;

	/* Start-up may have failed. */
	if (puma_net_wq && puma_ctl_wq)
		err = puma_tcp_listen(at, &listener, &accept_all);
	if (err) {
		pr_err("cannot listen at %pI4:%u (%d)\n", &at->addr,
		       be16_to_cpu(at->port), err);
		return err;
	}
	spin_lock_bh(&accepted_lock);
	WRITE_ONCE(listening, true);
	spin_unlock_bh(&accepted_lock);
	/* Somebody may have come before. */
	queue_work(puma_ctl_wq, &accept_all);
	return 0;
}

/**
 * puma_net_unlisten - hang up on all borrowers
 *
 * Context: process, puma_lock held.
 */
void puma_net_unlisten(void)
{
	struct puma_conn *conn;
	struct socket *sock = listener;

	spin_lock_bh(&accepted_lock);
	WRITE_ONCE(listening, false);
	/* All at once. */
	list_for_each_entry(conn, &accepted, link)
		puma_conn_close(conn, false);
	spin_unlock_bh(&accepted_lock);
	puma_tcp_silence(sock);
	cancel_work_sync(&accept_all);
	listener = NULL;
	puma_tcp_close(sock);
	for (;;) {
		spin_lock_bh(&accepted_lock);
		conn = list_first_entry_or_null(&accepted, struct puma_conn,
						link);
		if (conn)
			puma_conn_get(conn);
		spin_unlock_bh(&accepted_lock);
		if (!conn)
			break;
		puma_conn_close(conn, true);
		puma_conn_put(conn);
	}
}
