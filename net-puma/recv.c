// SPDX-License-Identifier: GPL-2.0
/*
 * Receiving: a stream of bytes becomes frames, in three steps a frame (header,
 * meta, pages of data), however the bytes are cut.
 *
 * A page for the borrower is gathered in a bounce page and only then shown to
 * mm/puma. So a peer that sends half a page never holds a folio: the deadline
 * ends the request all the same, and the rest of the page finds nobody.
 *
 * A page for the lender goes straight into the folio that will store it.
 *
 * Context: the socket's lock is held; softirq at the borrower's end, process
 * context (rx_work) at the lender's.
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/skbuff.h>
#include <net/sock.h>

#include "internal.h"

/**
 * puma_recv_reset - forget the frame under way, begin a new stream
 * @conn: the connection; nobody receives
 */
void puma_recv_reset(struct puma_conn *conn)
{
	struct puma_rx *rx = &conn->rx;

	if (rx->folio)
		folio_put(rx->folio);
	rx->folio = NULL;
	rx->state = PUMA_RX_HEADER;
	rx->have = 0;
	rx->paused = false;
	rx->puts = 0;
	rx->nr_puts = 0;
}

/*
 * May the next bytes be taken in? A lender stops between frames while the
 * borrower has asked for more pages than it takes back, and until it has a
 * store for it. rx_work is queued when that is over.
 */
static bool may_start(struct puma_conn *conn)
{
	struct puma_rx *rx = &conn->rx;
	u32 used;

	if (conn->lender || rx->state != PUMA_RX_HEADER || rx->have)
		return true;
	if (conn->greeted && !puma_conn_up(conn))
		return false;
	/* Pairs with the release in make_reply(). */
	used = conn->reply_head - smp_load_acquire(&conn->reply_tail);
	WRITE_ONCE(rx->paused, used > PUMA_REPLIES - PUMA_BATCH);
	if (!rx->paused)
		return true;
	/*
	 * Pairs with smp_mb() in make_reply(): the sender may have made room
	 * before it could see the mark.
	 */
	smp_mb();
	/* Pairs with the release in make_reply(). */
	used = conn->reply_head - smp_load_acquire(&conn->reply_tail);
	return used <= PUMA_REPLIES - PUMA_BATCH;
}

static void got_hello(struct puma_conn *conn, const void *meta)
{
	u32 reason = puma_wire_hello_check(meta, READ_ONCE(puma_node));

	if (reason) {
		pr_warn_ratelimited("%pI4: refused: %s\n", &conn->peer.addr,
				    puma_wire_reason(reason));
		WRITE_ONCE(conn->reason, reason);
		puma_send_todo(conn, PUMA_TODO_REFUSE);
		return;
	}
	WRITE_ONCE(conn->greeted, true);
	puma_conn_poke(conn);
}

static void got_refuse(struct puma_conn *conn,
		       const struct puma_wire_refuse *refuse)
{
	pr_warn_ratelimited("%pI4: refused us: %s\n", &conn->peer.addr,
			    puma_wire_reason(le32_to_cpu(refuse->reason)));
	puma_conn_break(conn, -ECONNREFUSED);
}

static int got_lease(struct puma_conn *conn,
		     const struct puma_wire_lease *lease)
{
	u32 segments = le32_to_cpu(lease->segments);
	bool first;

	if (segments > PUMA_MAX_SEGMENTS)
		return -EPROTO;
	spin_lock_bh(&conn->lock);
	first = !conn->leased;
	conn->leased = true;
	conn->lease = segments;
	conn->room = le32_to_cpu(lease->room);
	conn->lease_new = true;
	spin_unlock_bh(&conn->lock);
	/* Later ones wait for the tick, so that a peer cannot keep us busy. */
	if (first)
		puma_conn_poke(conn);
	return 0;
}

static void got_get(struct puma_conn *conn, const struct puma_wire_get *get)
{
	const struct puma_wire_hdr *hdr = &conn->rx.hdr;
	u32 head = conn->reply_head;
	unsigned int i;

	for (i = 0; i < le16_to_cpu(hdr->nr); i++, head++) {
		struct puma_reply *r = &conn->reply[head % PUMA_REPLIES];

		r->slot = le32_to_cpu(get[i].slot);
		r->token = le64_to_cpu(get[i].token);
		r->id = le32_to_cpu(hdr->id);
		r->puts = conn->rx.puts;
		r->before = conn->rx.nr_puts;
		r->nr = i;
		r->consume = hdr->flags & PUMA_WIRE_CONSUME;
	}
	/* Pairs with the acquire in make_reply(). */
	smp_store_release(&conn->reply_head, head);
}

/*
 * An answer to a get: a page, or NULL for gone. Answers to requests that have
 * ended find nobody.
 *
 * Return: 0, or -EBADMSG: the lender was not sent what we sent.
 */
static int got_answer(struct puma_conn *conn, const void *data)
{
	const struct puma_wire_page *wire = (void *)conn->rx.meta;
	u32 id = le32_to_cpu(conn->rx.hdr.id);
	u32 nr = le16_to_cpu(conn->rx.hdr.nr);
	struct puma_seal seal = {};
	struct puma_get *req;
	bool mine, done = false, waiting = false;
	int err = 0;

	if (data) {
		seal.sum = le64_to_cpu(wire->sum);
		seal.spare = le64_to_cpu(wire->seal);
	}
	spin_lock_bh(&conn->lock);
	req = conn->req[id % PUMA_REQUESTS];
	mine = req && req->id == id && (req->unanswered & BIT(nr));
	if (mine && le32_to_cpu(conn->rx.hdr.puts) != req->puts) {
		err = -EBADMSG;
	} else if (mine) {
		req->unanswered &= ~BIT(nr);
		if (data)
			puma_get_page_in(req, nr, data, &seal);
		else
			puma_get_page_gone(req, nr);
		done = !req->unanswered;
		if (done) {
			list_del(&req->link);
			conn->req[id % PUMA_REQUESTS] = NULL;
			waiting = conn->nr_asked-- == PUMA_REQUESTS;
		}
	}
	spin_unlock_bh(&conn->lock);
	if (done)
		puma_get_finish(req, PUMA_GET_ANSWERED);
	if (waiting)
		puma_send_kick(conn);	/* the table was full */
	return err;
}

static int got_dropped(struct puma_conn *conn,
		       const struct puma_wire_dropped *dropped)
{
	u32 segment = le32_to_cpu(dropped->segment);

	if (segment >= PUMA_MAX_SEGMENTS)
		return -EPROTO;
	puma_lender_gone(conn->lender, segment, dropped->bitmap,
			 conn->rx.hdr.flags & PUMA_WIRE_REFUSED);
	return 0;
}

static void got_ping(struct puma_conn *conn, const struct puma_wire_ping *ping)
{
	WRITE_ONCE(conn->ping_time, le64_to_cpu(ping->time));
	puma_send_todo(conn, PUMA_TODO_PONG);
}

static void got_pong(struct puma_conn *conn, const struct puma_wire_ping *pong)
{
	u64 now = ktime_get_ns(), then = le64_to_cpu(pong->time);

	if (then <= now)
		puma_lender_pong(conn->lender, now - then,
				 le32_to_cpu(pong->room));
}

/* Frames whose meaning is in their meta alone. */
static int frame_done(struct puma_conn *conn)
{
	const void *meta = conn->rx.meta;

	switch (conn->rx.hdr.type) {
	case PUMA_WIRE_HELLO:
		got_hello(conn, meta);
		return 0;
	case PUMA_WIRE_REFUSE:
		got_refuse(conn, meta);
		return 0;
	case PUMA_WIRE_LEASE:
		return got_lease(conn, meta);
	case PUMA_WIRE_GET:
		got_get(conn, meta);
		return 0;
	case PUMA_WIRE_GONE:
		return got_answer(conn, NULL);
	case PUMA_WIRE_DROPPED:
		return got_dropped(conn, meta);
	case PUMA_WIRE_PING:
		got_ping(conn, meta);
		return 0;
	case PUMA_WIRE_PONG:
		got_pong(conn, meta);
		return 0;
	default:	/* PUT and PAGE: page_done() did it */
		return 0;
	}
}

/* Where the next page of data goes. */
static void page_start(struct puma_conn *conn)
{
	const struct puma_wire_put *put = (void *)conn->rx.meta;
	struct puma_rx *rx = &conn->rx;

	rx->data = rx->bounce;
	if (rx->hdr.type != PUMA_WIRE_PUT)
		return;
	rx->folio = puma_store_alloc(conn->store,
				     le32_to_cpu(put[rx->page].slot));
	if (rx->folio)
		rx->data = NULL;
}

static int page_done(struct puma_conn *conn)
{
	struct puma_rx *rx = &conn->rx;
	const struct puma_wire_put *put = (void *)rx->meta;
	struct folio *folio = rx->folio;
	struct puma_seal seal;
	u32 slot;

	if (rx->hdr.type == PUMA_WIRE_PAGE)
		return got_answer(conn, rx->bounce);
	put += rx->page;
	slot = le32_to_cpu(put->slot);
	seal.sum = le64_to_cpu(put->sum);
	seal.spare = le64_to_cpu(put->seal);
	rx->puts = puma_wire_puts(rx->puts, seal.sum);
	rx->folio = NULL;
	if (folio)
		puma_store_put(conn->store, slot, le64_to_cpu(put->token),
			       &seal, rx->nr_puts, folio);
	else
		puma_store_refuse(conn->store, slot);
	rx->nr_puts++;
	return 0;
}

/* The current part is complete: go on to the next. */
static int part_done(struct puma_conn *conn)
{
	struct puma_rx *rx = &conn->rx;
	int err;

	rx->have = 0;
	switch (rx->state) {
	case PUMA_RX_HEADER:
		err = puma_wire_shape(&rx->hdr, !conn->lender, conn->greeted,
				      &rx->shape);
		if (err)
			return err;
		WRITE_ONCE(conn->heard, jiffies);
		rx->state = PUMA_RX_META;
		if (rx->shape.meta)
			return 0;
		fallthrough;
	case PUMA_RX_META:
		rx->page = 0;
		if (rx->shape.pages) {
			rx->state = PUMA_RX_DATA;
			page_start(conn);
			return 0;
		}
		break;
	case PUMA_RX_DATA:
		err = page_done(conn);
		if (err)
			return err;
		if (++rx->page < rx->shape.pages) {
			page_start(conn);
			return 0;
		}
		break;
	}
	rx->state = PUMA_RX_HEADER;
	return frame_done(conn);
}

/* Bytes of the current part, and where they go unless that is a folio. */
static u32 part_want(struct puma_rx *rx, void **to)
{
	switch (rx->state) {
	case PUMA_RX_HEADER:
		*to = &rx->hdr;
		return sizeof(rx->hdr);
	case PUMA_RX_META:
		*to = rx->meta;
		return rx->shape.meta;
	default:
		*to = rx->data;
		return PUMA_WIRE_PAGE_SIZE;
	}
}

static int copy_part(struct puma_rx *rx, struct sk_buff *skb,
		     unsigned int offset, void *to, u32 len)
{
	void *map;
	int err;

	if (to)
		return skb_copy_bits(skb, offset, to + rx->have, len);
	map = kmap_local_folio(rx->folio, 0);
	err = skb_copy_bits(skb, offset, map + rx->have, len);
	kunmap_local(map);
	return err;
}

static void say_why(struct puma_conn *conn, int err)
{
	const struct puma_wire_hdr *hdr = &conn->rx.hdr;

	if (err == -EBADMSG)
		pr_warn_ratelimited("%pI4: it was not sent what this machine has sent, connection closed\n",
				    &conn->peer.addr);
	else
		pr_warn_ratelimited("%pI4: bad frame (type %u, length %u), connection closed\n",
				    &conn->peer.addr, hdr->type,
				    le32_to_cpu(hdr->len));
}

/**
 * puma_recv_skb - take in bytes
 * @conn: the connection
 * @skb: they are in this buffer
 * @offset: from here
 * @len: so many
 *
 * Return: bytes taken in. After an error the connection is broken and the
 * rest is thrown away.
 */
int puma_recv_skb(struct puma_conn *conn, struct sk_buff *skb,
		  unsigned int offset, size_t len)
{
	struct puma_rx *rx = &conn->rx;
	size_t done = 0;
	u32 want, n;
	void *to;
	int err;

	/* A peer that is being refused has nothing more to say. */
	if (READ_ONCE(conn->state) == PUMA_CONN_BROKEN || conn->reason)
		return len;
	while (done < len) {
		if (!may_start(conn))
			break;
		want = part_want(rx, &to);
		n = min_t(size_t, want - rx->have, len - done);
		err = copy_part(rx, skb, offset + done, to, n);
		done += n;
		rx->have += n;
		if (!err && rx->have == want)
			err = part_done(conn);
		if (err) {
			say_why(conn, err);
			puma_conn_break(conn, err);
			return len;
		}
	}
	return done;
}

/**
 * puma_recv_work - receive at the lender's end, then answer
 * @work: puma_conn.rx_work
 */
void puma_recv_work(struct work_struct *work)
{
	struct puma_conn *conn = container_of(work, struct puma_conn, rx_work);
	struct sock *sk = conn->sock->sk;

	lock_sock(sk);
	if (sk->sk_user_data)
		puma_tcp_receive(conn);
	release_sock(sk);
	if (conn->reply_tail == conn->reply_head)
		return;
	if (mutex_trylock(&conn->tx_lock)) {
		puma_send_run(conn, false);
		mutex_unlock(&conn->tx_lock);
	} else {
		puma_send_kick(conn);
	}
}
