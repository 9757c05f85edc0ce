// SPDX-License-Identifier: GPL-2.0
/*
 * Sending. One frame is under way at a time, under tx_lock; the next one is
 * chosen when it is out: control, then gets or answers to them, then notices,
 * then puts. A put frame is short and little unsent data is left in the socket
 * (TCP_NOTSENT_LOWAT), so that a get does not wait long behind puts.
 *
 * A get is sent by the reader itself when nobody else is sending; everything
 * else, and every retry, by puma_conn.tx_work. A socket that is full calls
 * back; one that lacked memory may call back at once, which is of no use, so
 * retries wait a little.
 */
#include <kunit/visibility.h>
#include <linux/mm.h>

#include "internal.h"

#define RETRY		msecs_to_jiffies(2)
#define BUDGET		64	/* frames before others get the CPU */
#define INLINE_BUDGET	4	/* frames that a reader sends for others, too */

/**
 * puma_send_kick - let the worker send
 * @conn: the connection
 *
 * Context: any.
 */
void puma_send_kick(struct puma_conn *conn)
{
	mod_delayed_work(puma_net_wq, &conn->tx_work, 0);
}

/**
 * puma_send_todo - send a control frame soon
 * @conn: the connection
 * @what: which
 *
 * Context: any.
 */
void puma_send_todo(struct puma_conn *conn, enum puma_todo what)
{
	set_bit(what, &conn->todo);
	puma_send_kick(conn);
}

static void *meta_of(struct puma_tx *tx)
{
	return tx->head + sizeof(struct puma_wire_hdr);
}

/* Start a frame; its pages are added after this. */
static void frame_start(struct puma_tx *tx, enum puma_wire_type type, u8 flags,
			u16 nr, u32 meta, u32 pages, u32 id)
{
	puma_wire_header((struct puma_wire_hdr *)tx->head, type, flags, nr,
			 meta + pages * PUMA_WIRE_PAGE_SIZE, id);
	tx->head_len = sizeof(struct puma_wire_hdr) + meta;
	tx->len = tx->head_len;
	tx->sent = 0;
	bvec_set_virt(&tx->vec[0], tx->head, tx->head_len);
	tx->nr_vec = 1;
}

static void frame_add_page(struct puma_tx *tx, struct page *page)
{
	bvec_set_page(&tx->vec[tx->nr_vec++], page, PUMA_WIRE_PAGE_SIZE, 0);
	tx->len += PUMA_WIRE_PAGE_SIZE;
}

/* The frame is out, or never will be. */
static void frame_end(struct puma_tx *tx, bool sent)
{
	while (tx->nr_buf)
		puma_put_done(tx->buf[--tx->nr_buf], sent);
	if (tx->folio)
		folio_put(tx->folio);
	tx->folio = NULL;
	tx->head_len = 0;
}

static void make_hello(struct puma_tx *tx)
{
	struct puma_wire_hello *hello = meta_of(tx);

	hello->magic = cpu_to_le64(PUMA_WIRE_MAGIC);
	hello->version = cpu_to_le16(PUMA_WIRE_VERSION);
	hello->min_version = cpu_to_le16(PUMA_WIRE_MIN_VERSION);
	hello->page_size = cpu_to_le32(PUMA_WIRE_PAGE_SIZE);
	hello->features = cpu_to_le64(PUMA_WIRE_FEATURES);
	hello->node = cpu_to_le64(READ_ONCE(puma_node));
	hello->incarnation = cpu_to_le64(READ_ONCE(puma_incarnation));
	frame_start(tx, PUMA_WIRE_HELLO, 0, 0, sizeof(*hello), 0, 0);
}

static bool make_control(struct puma_conn *conn)
{
	struct puma_tx *tx = &conn->tx;
	struct puma_wire_refuse *refuse = meta_of(tx);
	struct puma_wire_lease *lease = meta_of(tx);
	struct puma_wire_ping *ping = meta_of(tx);

	if (test_and_clear_bit(PUMA_TODO_HELLO, &conn->todo)) {
		make_hello(tx);
	} else if (test_and_clear_bit(PUMA_TODO_REFUSE, &conn->todo)) {
		refuse->reason = cpu_to_le32(conn->reason);
		refuse->spare = 0;
		frame_start(tx, PUMA_WIRE_REFUSE, 0, 0, sizeof(*refuse), 0, 0);
	} else if (test_and_clear_bit(PUMA_TODO_LEASE, &conn->todo)) {
		lease->segments = cpu_to_le32(conn->lease);
		lease->room = cpu_to_le32(conn->room);
		frame_start(tx, PUMA_WIRE_LEASE, 0, 0, sizeof(*lease), 0, 0);
	} else if (test_and_clear_bit(PUMA_TODO_PING, &conn->todo)) {
		ping->time = cpu_to_le64(ktime_get_ns());
		ping->room = 0;
		ping->spare = 0;
		frame_start(tx, PUMA_WIRE_PING, 0, 0, sizeof(*ping), 0, 0);
	} else if (test_and_clear_bit(PUMA_TODO_PONG, &conn->todo)) {
		ping->time = cpu_to_le64(READ_ONCE(conn->ping_time));
		ping->room = cpu_to_le32(puma_store_room());
		ping->spare = 0;
		frame_start(tx, PUMA_WIRE_PONG, 0, 0, sizeof(*ping), 0, 0);
	} else {
		return false;
	}
	return true;
}

/* Move the next get to the table of those on the wire. */
static struct puma_get *next_get(struct puma_conn *conn)
{
	struct puma_get *req;
	u32 id;

	lockdep_assert_held(&conn->lock);
	if (list_empty(&conn->gets) || conn->nr_asked == PUMA_REQUESTS)
		return NULL;
	do {
		id = conn->next_id++;
	} while (conn->req[id % PUMA_REQUESTS]);
	req = list_first_entry(&conn->gets, struct puma_get, link);
	list_move_tail(&req->link, &conn->asked);
	conn->req[id % PUMA_REQUESTS] = req;
	conn->nr_asked++;
	req->id = id;
	req->puts = conn->tx.puts;
	return req;
}

static bool make_get(struct puma_conn *conn)
{
	struct puma_tx *tx = &conn->tx;
	struct puma_wire_get *get = meta_of(tx);
	struct puma_get *req;
	unsigned int i;

	/* The request may end as soon as the lock is dropped. */
	spin_lock_bh(&conn->lock);
	req = next_get(conn);
	if (req) {
		for (i = 0; i < req->nr; i++) {
			get[i].slot = cpu_to_le32(req->page[i].slot);
			get[i].spare = 0;
			get[i].token = cpu_to_le64(req->page[i].token);
		}
		frame_start(tx, PUMA_WIRE_GET,
			    req->consume ? PUMA_WIRE_CONSUME : 0, req->nr,
			    req->nr * sizeof(*get), 0, req->id);
	}
	spin_unlock_bh(&conn->lock);
	return req;
}

/* Answer the next page of the ring of replies. */
static bool make_reply(struct puma_conn *conn)
{
	struct puma_tx *tx = &conn->tx;
	struct puma_wire_hdr *hdr = (struct puma_wire_hdr *)tx->head;
	struct puma_wire_page *page = meta_of(tx);
	u32 tail = conn->reply_tail;
	struct puma_seal seal;
	struct puma_reply *r;

	/* Pairs with the release in the receiver. */
	if (!conn->store || tail == smp_load_acquire(&conn->reply_head))
		return false;
	r = &conn->reply[tail % PUMA_REPLIES];
	tx->folio = puma_store_get(conn->store, r->slot, r->token, r->before,
				   &seal, r->consume);
	if (tx->folio) {
		page->sum = cpu_to_le64(seal.sum);
		page->seal = cpu_to_le64(seal.spare);
		frame_start(tx, PUMA_WIRE_PAGE, 0, r->nr, sizeof(*page), 1,
			    r->id);
		frame_add_page(tx, folio_page(tx->folio, 0));
	} else {
		frame_start(tx, PUMA_WIRE_GONE, 0, r->nr, 0, 0, r->id);
	}
	hdr->puts = cpu_to_le32(r->puts);
	/* Pairs with the acquire in may_start(). */
	smp_store_release(&conn->reply_tail, tail + 1);
	/* Pairs with smp_mb() there: one of us sees the other. */
	smp_mb();
	if (READ_ONCE(conn->rx.paused))
		queue_work(puma_net_wq, &conn->rx_work);
	return true;
}

static bool make_dropped(struct puma_conn *conn)
{
	struct puma_tx *tx = &conn->tx;
	struct puma_wire_dropped *dropped = meta_of(tx);
	bool refused = false;
	int segment;

	if (!conn->store || !test_and_clear_bit(PUMA_TODO_DROPPED, &conn->todo))
		return false;
	segment = puma_store_gone(conn->store, dropped->bitmap, &refused);
	if (segment < 0)
		return false;
	set_bit(PUMA_TODO_DROPPED, &conn->todo);	/* till all are told */
	dropped->segment = cpu_to_le32(segment);
	dropped->spare = 0;
	frame_start(tx, PUMA_WIRE_DROPPED, refused ? PUMA_WIRE_REFUSED : 0, 0,
		    sizeof(*dropped), 0, 0);
	return true;
}

/**
 * puma_send_next_put - take the oldest page that waits to be sent
 * @conn: the connection
 *
 * Context: process, conn->tx_lock held.
 * Return: the page, or NULL.
 */
struct puma_put_buf *puma_send_next_put(struct puma_conn *conn)
{
	struct llist_node *node;

	lockdep_assert_held(&conn->tx_lock);
	if (!conn->puts_next)
		conn->puts_next = llist_reverse_order(llist_del_all(&conn->puts));
	node = conn->puts_next;
	if (!node)
		return NULL;
	conn->puts_next = node->next;
	return llist_entry(node, struct puma_put_buf, node);
}

static bool puts_waiting(struct puma_conn *conn)
{
	return conn->puts_next || !llist_empty(&conn->puts);
}

static bool make_put(struct puma_conn *conn)
{
	struct puma_tx *tx = &conn->tx;
	struct puma_wire_put *put = meta_of(tx);
	struct puma_put_buf *buf;
	unsigned int i;

	if (!puts_waiting(conn) || puma_tcp_memory_low())
		return false;
	while (tx->nr_buf < PUMA_PUT_BATCH) {
		buf = puma_send_next_put(conn);
		if (!buf)
			break;
		if (!puma_put_claim(buf))
			continue;
		i = tx->nr_buf++;
		tx->buf[i] = buf;
		put[i].slot = cpu_to_le32(buf->slot);
		put[i].spare = 0;
		put[i].token = cpu_to_le64(buf->token);
		put[i].sum = cpu_to_le64(buf->seal.sum);
		put[i].seal = cpu_to_le64(buf->seal.spare);
		tx->puts = puma_wire_puts(tx->puts, buf->seal.sum);
	}
	if (!tx->nr_buf)
		return false;
	frame_start(tx, PUMA_WIRE_PUT, 0, tx->nr_buf, tx->nr_buf * sizeof(*put),
		    tx->nr_buf, 0);
	for (i = 0; i < tx->nr_buf; i++)
		frame_add_page(tx, tx->buf[i]->page);
	return true;
}

/* Choose the next frame. */
VISIBLE_IF_KUNIT bool puma_send_next_frame(struct puma_conn *conn,
					   bool inline_only)
{
	if (READ_ONCE(conn->todo) && make_control(conn))
		return true;
	if (!puma_conn_up(conn))
		return false;
	if (conn->lender)
		return make_get(conn) || (!inline_only && make_put(conn));
	return make_reply(conn) || make_dropped(conn);
}

/*
 * Will another frame follow for certain? A get or put that waits may be taken
 * away in the meantime, and what was sent would be held back for nothing.
 */
static bool more_to_send(struct puma_conn *conn)
{
	return !conn->lender &&
	       conn->reply_tail != READ_ONCE(conn->reply_head);
}

static bool conn_open_for_sending(struct puma_conn *conn)
{
	/* Pairs with the release in conn_open(). */
	enum puma_conn_state state = smp_load_acquire(&conn->state);

	return state == PUMA_CONN_GREETING || state == PUMA_CONN_UP;
}

/*
 * There is no memory for a frame of which nothing was sent. A get does not
 * wait for it: the disk is read at once.
 */
static bool frame_give_up(struct puma_conn *conn)
{
	const struct puma_wire_hdr *hdr = (void *)conn->tx.head;

	if (conn->tx.sent || hdr->type != PUMA_WIRE_GET)
		return false;
	frame_end(&conn->tx, false);
	puma_request_lost(conn, le32_to_cpu(hdr->id));
	return true;
}

/**
 * puma_send_run - send what there is
 * @conn: the connection
 * @inline_only: leave puts to the worker
 *
 * Context: process, conn->tx_lock held. Does not wait for the network.
 */
void puma_send_run(struct puma_conn *conn, bool inline_only)
{
	struct puma_tx *tx = &conn->tx;
	unsigned int budget = inline_only ? INLINE_BUDGET : BUDGET;
	int err;

	lockdep_assert_held(&conn->tx_lock);
	while (conn_open_for_sending(conn)) {
		if (!tx->head_len && !puma_send_next_frame(conn, inline_only))
			break;
		err = puma_tcp_send(conn, more_to_send(conn));
		if (err == -EAGAIN || err == -ENOBUFS) {
			if (err == -ENOBUFS && frame_give_up(conn))
				continue;
			/*
			 * A lack of memory may have called back at once, which
			 * is of no use. A full socket calls back when there is
			 * room, maybe before we are here: that call stands.
			 */
			if (err == -ENOBUFS)
				mod_delayed_work(puma_net_wq, &conn->tx_work,
						 RETRY);
			else
				queue_delayed_work(puma_net_wq, &conn->tx_work,
						   RETRY);
			return;
		}
		frame_end(tx, !err);
		if (err) {
			puma_conn_break(conn, err);
			return;
		}
		if (!--budget) {
			puma_send_kick(conn);
			return;
		}
	}
	if (conn->lender && puts_waiting(conn) && puma_conn_up(conn))
		queue_delayed_work(puma_net_wq, &conn->tx_work,
				   inline_only ? 0 : RETRY);
}

/**
 * puma_send_work - the worker
 * @work: puma_conn.tx_work
 */
void puma_send_work(struct work_struct *work)
{
	struct puma_conn *conn = container_of(to_delayed_work(work),
					      struct puma_conn, tx_work);

	mutex_lock(&conn->tx_lock);
	puma_send_run(conn, false);
	mutex_unlock(&conn->tx_lock);
}

/**
 * puma_send_reset - drop the frame under way, begin a new stream
 * @conn: the connection; nobody sends
 */
void puma_send_reset(struct puma_conn *conn)
{
	if (conn->tx.head_len)
		frame_end(&conn->tx, false);
	conn->tx.puts = 0;
}

/**
 * puma_net_get - ask for pages
 * @conn: the lender's connection
 * @req: the request; puma_get_finish() is called for it once, maybe from here
 *
 * Sends at once, from the caller, if nobody else is sending.
 *
 * Context: process, folio locks held. Does not wait for the network.
 */
void puma_net_get(struct puma_conn *conn, struct puma_get *req)
{
	bool up;

	/* The request may end early, and with it what holds the connection. */
	puma_conn_get(conn);
	req->id = 0;
	spin_lock_bh(&conn->lock);
	up = puma_conn_up(conn);
	if (up) {
		list_add_tail(&req->link, &conn->gets);
		timer_reduce(&conn->timer, req->deadline);
	}
	spin_unlock_bh(&conn->lock);
	if (!up) {
		puma_get_finish(req, PUMA_GET_LOST);
	} else if (mutex_trylock(&conn->tx_lock)) {
		puma_send_run(conn, true);
		mutex_unlock(&conn->tx_lock);
	} else {
		puma_send_kick(conn);
	}
	puma_conn_put(conn);
}

/**
 * puma_net_put - send a page
 * @conn: the lender's connection
 * @buf: the page; puma_put_done() is called for it once, maybe from here,
 *	 unless puma_put_claim() says that it is void
 *
 * Context: reclaim, inside an RCU read-side section. Takes no lock, does not
 * allocate.
 */
void puma_net_put(struct puma_conn *conn, struct puma_put_buf *buf)
{
	if (!puma_conn_up(conn))
		puma_put_done(buf, false);
	else if (llist_add(&buf->node, &conn->puts))
		queue_delayed_work(puma_net_wq, &conn->tx_work, 0);
}
