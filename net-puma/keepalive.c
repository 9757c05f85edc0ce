// SPDX-License-Identifier: GPL-2.0
/*
 * Time: deadlines of requests, and peers that fell silent.
 *
 * One timer a connection ends the requests whose deadline has passed. A request
 * that has left the table and the queues cannot be answered any more.
 */
#include "internal.h"

#define DEAD	(5 * HZ)	/* silence that ends a connection */

/* Take one request out, wherever it is. */
static void take(struct puma_conn *conn, struct puma_get *req,
		 struct list_head *to)
{
	struct puma_get **place = &conn->req[req->id % PUMA_REQUESTS];

	lockdep_assert_held(&conn->lock);
	if (*place == req) {
		*place = NULL;
		conn->nr_asked--;
	}
	list_move_tail(&req->link, to);
}

static void finish_all(struct list_head *list, enum puma_get_end why)
{
	struct puma_get *req, *next;

	list_for_each_entry_safe(req, next, list, link) {
		list_del_init(&req->link);
		puma_get_finish(req, why);
	}
}

static void take_late(struct puma_conn *conn, struct list_head *from,
		      struct list_head *late)
{
	struct puma_get *req, *next;

	lockdep_assert_held(&conn->lock);
	list_for_each_entry_safe(req, next, from, link) {
		if (time_after_eq(jiffies, req->deadline))
			take(conn, req, late);
		else
			timer_reduce(&conn->timer, req->deadline);
	}
}

/**
 * puma_deadline_timer - end the requests whose deadline has passed
 * @timer: puma_conn.timer
 *
 * Context: softirq.
 */
void puma_deadline_timer(struct timer_list *timer)
{
	struct puma_conn *conn = from_timer(conn, timer, timer);
	LIST_HEAD(late);
	bool waiting;

	spin_lock(&conn->lock);
	take_late(conn, &conn->asked, &late);
	take_late(conn, &conn->gets, &late);
	waiting = !list_empty(&conn->gets);
	spin_unlock(&conn->lock);
	finish_all(&late, PUMA_GET_TIMEOUT);
	if (waiting)
		puma_send_kick(conn);	/* the table may have been full */
}

/**
 * puma_request_lost - end one request that was not sent
 * @conn: the connection
 * @id: the request
 *
 * Context: process.
 */
void puma_request_lost(struct puma_conn *conn, u32 id)
{
	struct puma_get *req;
	LIST_HEAD(lost);

	spin_lock_bh(&conn->lock);
	req = conn->req[id % PUMA_REQUESTS];
	if (req && req->id == id)
		take(conn, req, &lost);
	spin_unlock_bh(&conn->lock);
	finish_all(&lost, PUMA_GET_LOST);
}

/**
 * puma_requests_lost - end all requests; the connection is gone
 * @conn: the connection, not up
 *
 * Context: process.
 */
void puma_requests_lost(struct puma_conn *conn)
{
	struct puma_get *req, *next;
	LIST_HEAD(lost);

	spin_lock_bh(&conn->lock);
	list_for_each_entry_safe(req, next, &conn->asked, link)
		take(conn, req, &lost);
	list_for_each_entry_safe(req, next, &conn->gets, link)
		take(conn, req, &lost);
	spin_unlock_bh(&conn->lock);
	finish_all(&lost, PUMA_GET_LOST);
}

/**
 * puma_keepalive - has the peer been heard of lately?
 * @conn: the connection, with a socket
 *
 * A borrower pings on every call.
 *
 * Context: puma_conn.work.
 * Return: false when the peer is dead.
 */
bool puma_keepalive(struct puma_conn *conn)
{
	if (conn->lender && puma_conn_up(conn))
		puma_send_todo(conn, PUMA_TODO_PING);
	return time_before(jiffies, READ_ONCE(conn->heard) + DEAD);
}
