// SPDX-License-Identifier: GPL-2.0
/*
 * The lender's end: accept borrowers, up to MAX_BORROWERS of them.
 */
#include "internal.h"

#define MAX_BORROWERS	64

static struct socket *listener;
static LIST_HEAD(accepted);
static DEFINE_SPINLOCK(accepted_lock);	/* protects @accepted, @nr_accepted */
static unsigned int nr_accepted;
static bool listening;

static void accept_one(struct socket *sock, const struct puma_endpoint *peer)
{
	struct puma_conn *conn = NULL;
	bool room;

	spin_lock_bh(&accepted_lock);
	room = listening && nr_accepted < MAX_BORROWERS;
	nr_accepted += room;
	spin_unlock_bh(&accepted_lock);
	if (room)
		conn = puma_conn_alloc(NULL, peer);
	if (!conn) {
		pr_warn_ratelimited("%pI4: refused: %s\n", &peer->addr,
				    room ? "no memory" :
				    puma_wire_reason(PUMA_REASON_FULL));
		puma_tcp_close(sock);
		if (!room)
			return;
		spin_lock_bh(&accepted_lock);
		nr_accepted--;
		spin_unlock_bh(&accepted_lock);
		return;
	}
	conn->fresh = sock;
	puma_conn_get(conn);
	spin_lock_bh(&accepted_lock);
	list_add_tail(&conn->link, &accepted);	/* with the first reference */
	spin_unlock_bh(&accepted_lock);
	puma_conn_poke(conn);
	puma_conn_put(conn);
}

static void accept_work(struct work_struct *work)
{
	struct puma_endpoint peer;
	struct socket *sock;

	while (!puma_tcp_accept(listener, &sock, &peer))
		accept_one(sock, &peer);
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
	int err = puma_tcp_listen(at, &listener, &accept_all);

	if (err) {
		pr_err("cannot listen at %pI4:%u (%d)\n", &at->addr,
		       be16_to_cpu(at->port), err);
		return err;
	}
	spin_lock_bh(&accepted_lock);
	listening = true;
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
	listening = false;
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
		puma_conn_close(conn);
		puma_conn_put(conn);
	}
}
