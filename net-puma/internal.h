/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of net/puma share. One section a file, in the order of the
 * Makefile. Nothing here looks into a page cache.
 */
#ifndef _NET_PUMA_INTERNAL_H
#define _NET_PUMA_INTERNAL_H

#include <linux/bvec.h>
#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/net.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/workqueue.h>
#include <net/puma.h>

#include "wire.h"

struct sk_buff;
struct sock;

#define PUMA_REQUESTS	256U	/* gets on the wire at once, a power of 2 */
#define PUMA_REPLIES	4096U	/* pages asked of a lender at once, likewise */
#define PUMA_PUT_BATCH	16U	/* pages in a put frame that we send */

/* main.c */

extern struct workqueue_struct *puma_net_wq;	/* sends and receives */
extern struct workqueue_struct *puma_ctl_wq;	/* may block */
extern u64 puma_node;
extern u64 puma_incarnation;

/* wire.c */

/**
 * struct puma_shape - the parts of a frame
 * @meta: bytes of the counted part
 * @pages: pages of data after it
 */
struct puma_shape {
	u32 meta;
	u32 pages;
};

int puma_wire_shape(const struct puma_wire_hdr *hdr, bool to_lender,
		    bool greeted, struct puma_shape *shape);
void puma_wire_header(struct puma_wire_hdr *hdr, enum puma_wire_type type,
		      u8 flags, u16 nr, u32 len, u32 id);
u32 puma_wire_hello_check(const struct puma_wire_hello *hello, u64 node);
const char *puma_wire_reason(u32 reason);

/* conn.c */

enum puma_conn_state {
	PUMA_CONN_IDLE,		/* no socket */
	PUMA_CONN_GREETING,	/* socket, no HELLO from the peer yet */
	PUMA_CONN_UP,
	PUMA_CONN_BROKEN,	/* an error was seen; puma_conn_work() mends */
};

/* Bits of puma_conn.todo, done by the sender */
enum puma_todo {
	PUMA_TODO_HELLO,
	PUMA_TODO_REFUSE,
	PUMA_TODO_LEASE,
	PUMA_TODO_PING,
	PUMA_TODO_PONG,
	PUMA_TODO_DROPPED,
};

/**
 * struct puma_reply - a page that a borrower has asked for
 * @token: its name
 * @slot: where it is
 * @id: the request
 * @puts: puma_wire_puts() when it asked
 * @before: puma_rx.nr_puts when it asked
 * @nr: which page of the request
 * @consume: the borrower will not ask again
 */
struct puma_reply {
	u64 token;
	u32 slot;
	u32 id;
	u32 puts;
	u32 before;
	u16 nr;
	bool consume;
};

/**
 * struct puma_tx - the frame being sent
 * @head: header and meta
 * @head_len: bytes of @head, 0 when no frame is under way
 * @vec: @head and the pages
 * @nr_vec: used part of @vec
 * @len: bytes of the frame
 * @sent: bytes that the socket has taken
 * @buf: puts to be released when the frame is out
 * @nr_buf: how many
 * @folio: answer to be released when the frame is out
 * @puts: puma_wire_puts() of this connection
 */
struct puma_tx {
	u8 head[PUMA_WIRE_BUF] __aligned(8);
	u32 head_len;
	struct bio_vec vec[1 + PUMA_PUT_BATCH];
	unsigned int nr_vec;
	u32 len;
	u32 sent;
	struct puma_put_buf *buf[PUMA_PUT_BATCH];
	unsigned int nr_buf;
	struct folio *folio;
	u32 puts;
};

enum puma_rx_state {
	PUMA_RX_HEADER,
	PUMA_RX_META,
	PUMA_RX_DATA,
};

/**
 * struct puma_rx - the frame being received
 * @state: which part
 * @have: bytes of the part that are in
 * @hdr: its header
 * @shape: its parts
 * @meta: its counted part
 * @page: number of the data page being received
 * @data: where that goes: @bounce, or the memory of @folio
 * @folio: lender: where to store it, NULL to refuse it
 * @bounce: one page
 * @paused: the receiver waits for room in the ring of replies
 * @puts: puma_wire_puts() of this connection
 * @nr_puts: how many pages were put over it
 */
struct puma_rx {
	enum puma_rx_state state;
	u32 have;
	struct puma_wire_hdr hdr;
	struct puma_shape shape;
	u8 meta[PUMA_WIRE_META_MAX] __aligned(8);
	u32 page;
	void *data;
	struct folio *folio;
	void *bounce;
	bool paused;
	u32 puts;
	u32 nr_puts;
};

/**
 * struct puma_conn - the connection of one pair
 * @ref: references: the owner, the list of accepted connections
 * @link: in the list of accepted connections
 * @lender: the lender at the other end; NULL at the lender's own end
 * @store: the store of the borrower at the other end, once it said HELLO
 * @peer: where the other end is
 * @sock: the socket, owned by @work
 * @fresh: a connected socket that @work is to use
 * @work: opens, mends and closes; the only one that blocks
 * @tx_work: sends
 * @rx_work: receives, at the lender's end
 * @closing: the connection is to end for good
 * @lock: protects the fields down to @error; taken in softirqs
 * @state: enum puma_conn_state
 * @gets: requests not sent yet
 * @asked: requests sent
 * @req: the same by number
 * @next_id: for the next request
 * @nr_asked: how many are in @req
 * @error: why the connection broke
 * @puts: pages not sent yet, the newest first
 * @puts_next: pages taken from @puts, the oldest first; protected by @tx_lock
 * @timer: runs at the next deadline
 * @todo: bits of enum puma_todo
 * @greeted: the peer's HELLO was good
 * @announced: mm/puma knows of the lender, or the borrower of its lease
 * @leased: a lease has arrived
 * @lease_new: a lease arrived that was not handed on
 * @lease: segments: received, or last told
 * @room: pages, likewise
 * @reason: for REFUSE
 * @ping_time: of the last PING that came in
 * @heard: jiffies of the last frame that came in
 * @opened: jiffies when the socket was attached
 * @backoff: jiffies to the next attempt
 * @reply: ring of pages to be returned
 * @reply_head: next to fill, written by the receiver
 * @reply_tail: next to send, written by the sender
 * @tx_lock: protects @tx and the socket's order of frames
 * @tx: frame being sent
 * @rx: frame being received, protected by the socket's lock
 */
struct puma_conn {
	struct kref ref;
	struct list_head link;
	struct puma_lender *lender;
	struct puma_store *store;
	struct puma_endpoint peer;
	struct socket *sock;
	struct socket *fresh;
	struct delayed_work work;
	struct delayed_work tx_work;
	struct work_struct rx_work;
	bool closing;

	spinlock_t lock;	/* of state and requests */
	enum puma_conn_state state;
	struct list_head gets;
	struct list_head asked;
	struct puma_get *req[PUMA_REQUESTS];
	u32 next_id;
	u32 nr_asked;
	int error;

	struct llist_head puts;
	struct llist_node *puts_next;

	struct timer_list timer;
	unsigned long todo;
	bool greeted;
	bool announced;
	bool leased;
	bool lease_new;
	u32 lease;
	u32 room;
	u32 reason;
	u64 ping_time;
	unsigned long heard;
	unsigned long opened;
	unsigned long backoff;

	struct puma_reply *reply;
	u32 reply_head;
	u32 reply_tail;

	struct mutex tx_lock;	/* of the frame being sent */
	struct puma_tx tx;
	struct puma_rx rx;
};

struct puma_conn *puma_conn_alloc(struct puma_lender *lender,
				  const struct puma_endpoint *peer);
void puma_conn_get(struct puma_conn *conn);
void puma_conn_put(struct puma_conn *conn);
void puma_conn_break(struct puma_conn *conn, int error);
void puma_conn_close(struct puma_conn *conn, bool wait);
void puma_conn_poke(struct puma_conn *conn);
bool puma_conn_up(struct puma_conn *conn);

/* connect.c */

unsigned long puma_backoff_next(unsigned long backoff);

/* listen.c */

void puma_listen_forget(struct puma_conn *conn);

/* send.c */

void puma_send_run(struct puma_conn *conn, bool inline_only);
void puma_send_todo(struct puma_conn *conn, enum puma_todo what);
void puma_send_kick(struct puma_conn *conn);
void puma_send_reset(struct puma_conn *conn);
struct puma_put_buf *puma_send_next_put(struct puma_conn *conn);
void puma_send_work(struct work_struct *work);

#if IS_ENABLED(CONFIG_KUNIT)
bool puma_send_next_frame(struct puma_conn *conn, bool inline_only);
#endif

/* recv.c */

int puma_recv_skb(struct puma_conn *conn, struct sk_buff *skb,
		  unsigned int offset, size_t len);
void puma_recv_reset(struct puma_conn *conn);
void puma_recv_work(struct work_struct *work);

/* keepalive.c */

void puma_deadline_timer(struct timer_list *timer);
void puma_requests_lost(struct puma_conn *conn);
void puma_request_lost(struct puma_conn *conn, u32 id);
bool puma_keepalive(struct puma_conn *conn);

/* tcp.c */

int puma_tcp_connect(const struct puma_endpoint *to, struct socket **sockp);
int puma_tcp_listen(const struct puma_endpoint *at, struct socket **sockp,
		    struct work_struct *work);
int puma_tcp_accept(struct socket *listener, struct socket **sockp,
		    struct puma_endpoint *peer);
void puma_tcp_attach(struct puma_conn *conn);
void puma_tcp_detach(struct puma_conn *conn);
void puma_tcp_silence(struct socket *sock);
void puma_tcp_close(struct socket *sock);
int puma_tcp_send(struct puma_conn *conn, bool more);
void puma_tcp_receive(struct puma_conn *conn);
bool puma_tcp_memory_low(void);

#endif /* _NET_PUMA_INTERNAL_H */
