// SPDX-License-Identifier: GPL-2.0
/*
 * The life of a connection.
 *
 * A borrower's connection is made by puma_net_dial() and lives until
 * puma_net_free(); it is mended for ever, with back-off. A lender's connection
 * lives from accept until it breaks. In both, puma_conn.work alone opens,
 * mends and closes, in process context; everybody else only says that the
 * connection broke.
 *
 * Nobody uses the socket outside tx_lock, the socket's lock with its callback
 * lock, or the work. Teardown: the state is no longer UP, so no get or put is
 * accepted; the callbacks are cut off; sender and receiver are waited for; then
 * requests end and buffers are released; then mm/puma is told; then the socket
 * goes.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include "internal.h"

#define TICK	(HZ / 2)
#define STEADY	(5 * HZ)	/* a connection of this age is a good one */

static void conn_work(struct work_struct *work);

/**
 * puma_conn_alloc - make a connection without a socket
 * @lender: for the borrower's end, NULL for the lender's
 * @peer: where the other end is
 *
 * Return: the connection with one reference, or NULL.
 */
struct puma_conn *puma_conn_alloc(struct puma_lender *lender,
				  const struct puma_endpoint *peer)
{
	struct puma_conn *conn = kzalloc(sizeof(*conn), GFP_KERNEL);

	if (!conn)
		return NULL;
	conn->rx.bounce = (void *)__get_free_page(GFP_KERNEL);
	if (!lender)
		conn->reply = kvcalloc(PUMA_REPLIES, sizeof(*conn->reply),
				       GFP_KERNEL | __GFP_NOWARN);
	if (!conn->rx.bounce || (!lender && !conn->reply)) {
		free_page((unsigned long)conn->rx.bounce);
		kvfree(conn->reply);
		kfree(conn);
		return NULL;
	}
	kref_init(&conn->ref);
	INIT_LIST_HEAD(&conn->link);
	conn->lender = lender;
	conn->peer = *peer;
	INIT_DELAYED_WORK(&conn->work, conn_work);
	INIT_DELAYED_WORK(&conn->tx_work, puma_send_work);
	INIT_WORK(&conn->rx_work, puma_recv_work);
	spin_lock_init(&conn->lock);
	INIT_LIST_HEAD(&conn->gets);
	INIT_LIST_HEAD(&conn->asked);
	init_llist_head(&conn->puts);
	timer_setup(&conn->timer, puma_deadline_timer, 0);
	mutex_init(&conn->tx_lock);
	return conn;
}

static void conn_release(struct kref *ref)
{
	struct puma_conn *conn = container_of(ref, struct puma_conn, ref);

	/* A reader that came late may have asked the worker to send. */
	cancel_delayed_work_sync(&conn->tx_work);
	free_page((unsigned long)conn->rx.bounce);
	kvfree(conn->reply);
	kfree(conn);
}

/**
 * puma_conn_get - take a reference
 * @conn: the connection
 */
void puma_conn_get(struct puma_conn *conn)
{
	kref_get(&conn->ref);
}

/**
 * puma_conn_put - drop a reference
 * @conn: the connection
 *
 * Context: process; not from the sender.
 */
void puma_conn_put(struct puma_conn *conn)
{
	kref_put(&conn->ref, conn_release);
}

/**
 * puma_conn_poke - let the work look at the connection now
 * @conn: the connection
 *
 * Context: any.
 */
void puma_conn_poke(struct puma_conn *conn)
{
	mod_delayed_work(puma_ctl_wq, &conn->work, 0);
}

/**
 * puma_conn_up - may gets and puts be sent?
 * @conn: the connection
 *
 * Return: true when they may.
 */
bool puma_conn_up(struct puma_conn *conn)
{
	/* Pairs with the release where it goes up: who sees it sees the store. */
	return smp_load_acquire(&conn->state) == PUMA_CONN_UP;
}

/**
 * puma_conn_break - the connection cannot be used any more
 * @conn: the connection
 * @error: why
 *
 * Context: any but hard interrupts. May be called often.
 */
void puma_conn_break(struct puma_conn *conn, int error)
{
	bool was_open;

	spin_lock_bh(&conn->lock);
	was_open = conn->state == PUMA_CONN_GREETING ||
		   conn->state == PUMA_CONN_UP;
	if (was_open) {
		conn->error = error;
		/* Pairs with the acquire in conn_work(). */
		smp_store_release(&conn->state, PUMA_CONN_BROKEN);
	}
	spin_unlock_bh(&conn->lock);
	if (was_open)
		puma_conn_poke(conn);
}

/**
 * puma_net_redial - break a connection and make it anew
 * @conn: the lender's connection
 *
 * From now on nothing is sent or taken in over the old one.
 *
 * Context: process.
 */
void puma_net_redial(struct puma_conn *conn)
{
	puma_conn_break(conn, -ESTALE);
}

/* Begin to use the connected socket in @conn->fresh. */
static void conn_open(struct puma_conn *conn)
{
	puma_send_reset(conn);
	puma_recv_reset(conn);
	conn->todo = 0;
	conn->greeted = false;
	conn->announced = false;
	if (conn->lender)
		conn->reason = 0;
	conn->leased = false;
	conn->lease_new = false;
	conn->lease = 0;
	conn->reply_head = 0;
	conn->reply_tail = 0;
	conn->heard = jiffies;
	conn->opened = jiffies;
	conn->sock = conn->fresh;
	conn->fresh = NULL;
	spin_lock_bh(&conn->lock);
	/* Pairs with the acquire of those who send. */
	smp_store_release(&conn->state, PUMA_CONN_GREETING);
	spin_unlock_bh(&conn->lock);
	puma_tcp_attach(conn);
	puma_send_todo(conn, conn->reason ? PUMA_TODO_REFUSE : PUMA_TODO_HELLO);
}

static void release_puts(struct puma_conn *conn)
{
	struct puma_put_buf *buf;

	if (!conn->lender)
		return;
	/* Who found the connection up has added its page by then. */
	synchronize_rcu();
	mutex_lock(&conn->tx_lock);
	while ((buf = puma_send_next_put(conn)))
		puma_put_done(buf, false);
	mutex_unlock(&conn->tx_lock);
}

static void report_end(const struct puma_conn *conn)
{
	bool again = conn->lender && !READ_ONCE(conn->closing);
	char number[12];
	const char *why;

	switch (conn->error) {
	case -ESHUTDOWN:
		why = "switched off";
		break;
	case -ETIMEDOUT:
		why = "silent for 5 s";
		break;
	case -ECONNRESET:
		why = "closed by the other end";
		break;
	case -ECONNREFUSED:
		why = "refused";
		break;
	case -EBADMSG:
		why = "it was not sent what this machine has sent";
		break;
	case -ESTALE:
		why = "this machine was copied, put back or hibernated";
		break;
	default:
		snprintf(number, sizeof(number), "%d", conn->error);
		why = number;
	}
	pr_info_ratelimited("%pI4:%u: connection ended (%s)%s\n",
			    &conn->peer.addr, be16_to_cpu(conn->peer.port),
			    why, again ? ", dialling again" : "");
}

/*
 * Once for each time that the lender is away. While there is no connection
 * conn->error is what dialling failed with, 0 before the first attempt.
 */
static void report_unreachable(struct puma_conn *conn, int err)
{
	if (!conn->error)
		pr_warn("%pI4:%u: cannot be reached (%d), dialling on; is mode=lend there, and the port open?\n",
			&conn->peer.addr, be16_to_cpu(conn->peer.port), err);
	conn->error = err;
}

/* Undo conn_open(). The state is BROKEN. */
static void conn_shut(struct puma_conn *conn)
{
	report_end(conn);
	conn->error = 0;
	puma_tcp_detach(conn);
	cancel_work_sync(&conn->rx_work);
	/* Whoever sends holds tx_lock; the state keeps others out. */
	mutex_lock(&conn->tx_lock);
	mutex_unlock(&conn->tx_lock);
	cancel_delayed_work_sync(&conn->tx_work);
	/* Again: a last answer may have made room for more requests. */
	cancel_work_sync(&conn->rx_work);
	timer_delete_sync(&conn->timer);
	puma_requests_lost(conn);
	puma_send_reset(conn);
	puma_recv_reset(conn);
	release_puts(conn);
	if (conn->lender && conn->announced)
		puma_lender_down(conn->lender);
	if (conn->store) {
		puma_store_close(conn->store);
		conn->store = NULL;
	}
	/* The store may have asked for notices until it was closed. */
	cancel_delayed_work_sync(&conn->tx_work);
	puma_tcp_close(conn->sock);
	conn->sock = NULL;
	conn->backoff = puma_backoff_next(conn->backoff);
	WRITE_ONCE(conn->state, PUMA_CONN_IDLE);
	/* Nobody breaks an idle connection: what is queued is of the old one. */
	cancel_delayed_work(&conn->work);
}

/* The peer has said a good HELLO, or a lease is to be handed on. */
static void borrower_news(struct puma_conn *conn)
{
	bool lease_new;
	u32 lease, room;

	if (!conn->announced) {
		conn->announced = true;
		puma_lender_up(conn->lender);
		spin_lock_bh(&conn->lock);
		if (conn->state == PUMA_CONN_GREETING)
			/* Pairs with the acquire in puma_conn_up(). */
			smp_store_release(&conn->state, PUMA_CONN_UP);
		spin_unlock_bh(&conn->lock);
		pr_info_ratelimited("%pI4:%u: borrowing\n", &conn->peer.addr,
				    be16_to_cpu(conn->peer.port));
	}
	spin_lock_bh(&conn->lock);
	lease_new = conn->lease_new;
	conn->lease_new = false;
	lease = conn->lease;
	room = conn->room;
	spin_unlock_bh(&conn->lock);
	if (lease_new && !puma_lender_lease(conn->lender, lease, room)) {
		spin_lock_bh(&conn->lock);
		conn->lease_new = true;		/* again at the next tick */
		spin_unlock_bh(&conn->lock);
	}
	/* It has proved itself: the next attempt need not wait long. */
	if (time_after(jiffies, conn->opened + STEADY))
		conn->backoff = 0;
}

static void lender_news(struct puma_conn *conn)
{
	u32 lease, room;

	if (!conn->store) {
		conn->store = puma_store_open(conn, &conn->peer);
		if (!conn->store) {
			puma_conn_break(conn, -ENOMEM);
			return;
		}
		spin_lock_bh(&conn->lock);
		if (conn->state == PUMA_CONN_GREETING)
			/* Pairs with the acquire in puma_conn_up(). */
			smp_store_release(&conn->state, PUMA_CONN_UP);
		spin_unlock_bh(&conn->lock);
		pr_info_ratelimited("%pI4:%u: lending\n", &conn->peer.addr,
				    be16_to_cpu(conn->peer.port));
		/* Frames after HELLO waited for the store. */
		queue_work(puma_net_wq, &conn->rx_work);
	}
	/* One after the other, or the borrower would miss that it shrank. */
	if (test_bit(PUMA_TODO_LEASE, &conn->todo))
		return;
	lease = puma_store_lease(conn->store, &room);
	if (lease != conn->lease || !conn->announced) {
		conn->announced = true;
		conn->lease = lease;
		conn->room = room;
		puma_send_todo(conn, PUMA_TODO_LEASE);
	}
}

/* The one place where a connection changes for good or bad. */
static void conn_work(struct work_struct *work)
{
	struct puma_conn *conn = container_of(to_delayed_work(work),
					      struct puma_conn, work);
	bool dialer = conn->lender;
	int err;

	if (conn->fresh)
		conn_open(conn);
	if (conn->sock && !READ_ONCE(conn->closing) &&
	    READ_ONCE(conn->greeted)) {
		if (dialer)
			borrower_news(conn);
		else
			lender_news(conn);
	}
	if (conn->sock && !puma_keepalive(conn))
		puma_conn_break(conn, -ETIMEDOUT);
	if (READ_ONCE(conn->closing))
		puma_conn_break(conn, -ESHUTDOWN);
	/* Pairs with the release in puma_conn_break(). */
	if (smp_load_acquire(&conn->state) == PUMA_CONN_BROKEN) {
		conn_shut(conn);
		if (!dialer)
			puma_listen_forget(conn);	/* may free it */
		else if (!READ_ONCE(conn->closing))
			queue_delayed_work(puma_ctl_wq, &conn->work,
					   conn->backoff);
		return;
	}
	if (READ_ONCE(conn->closing))
		return;
	if (!conn->sock) {
		err = puma_tcp_connect(&conn->peer, &conn->fresh);
		if (err) {
			report_unreachable(conn, err);
			conn->backoff = puma_backoff_next(conn->backoff);
			queue_delayed_work(puma_ctl_wq, &conn->work,
					   conn->backoff);
			return;
		}
		conn_open(conn);
	}
	queue_delayed_work(puma_ctl_wq, &conn->work, TICK);
}

/**
 * puma_conn_close - end a connection for good
 * @conn: the connection
 * @wait: until that is done; otherwise another call must follow
 *
 * Context: process; any if not @wait.
 */
void puma_conn_close(struct puma_conn *conn, bool wait)
{
	WRITE_ONCE(conn->closing, true);
	puma_conn_poke(conn);
	if (!wait)
		return;
	flush_delayed_work(&conn->work);
	cancel_delayed_work_sync(&conn->work);
}

/**
 * puma_net_hangup - end a connection; no call of mm/puma follows
 * @conn: the connection, from puma_net_dial()
 * @wait: until that is done; otherwise another call must follow
 *
 * Gets and puts that are handed over later end at once.
 *
 * Context: process.
 */
void puma_net_hangup(struct puma_conn *conn, bool wait)
{
	puma_conn_close(conn, wait);
}

/**
 * puma_net_free - free a connection
 * @conn: the connection, hung up
 */
void puma_net_free(struct puma_conn *conn)
{
	puma_conn_put(conn);
}

/**
 * puma_net_gone - the store has slots that the borrower must be told of
 * @conn: the store's connection
 *
 * Waits a little, so that many are told at once.
 *
 * Context: any.
 */
void puma_net_gone(struct puma_conn *conn)
{
	set_bit(PUMA_TODO_DROPPED, &conn->todo);
	queue_delayed_work(puma_net_wq, &conn->tx_work, msecs_to_jiffies(4));
}

/**
 * puma_net_lease - look at the lease again
 * @conn: the connection
 *
 * A lender tells the borrower of the lease of its store if that has changed; a
 * borrower hears again what the lender granted last.
 *
 * Context: any but hard interrupts.
 */
void puma_net_lease(struct puma_conn *conn)
{
	if (!conn->lender) {
		puma_conn_poke(conn);
		return;
	}
	/* Under the lock: one that was hung up must not be poked any more. */
	spin_lock_bh(&conn->lock);
	if (conn->state == PUMA_CONN_UP && conn->leased) {
		conn->lease_new = true;
		puma_conn_poke(conn);
	}
	spin_unlock_bh(&conn->lock);
}
