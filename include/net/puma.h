/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PUMA: the contract between mm/puma and net/puma.
 *
 * mm/puma knows pages and never sees a socket; net/puma knows peers and never
 * looks into a page cache. Each calls the other through this header only.
 *
 * One puma_conn carries one pair: the borrower dials, the lender listens. The
 * borrower's end belongs to a puma_lender, the lender's end to a puma_store.
 */
#ifndef _NET_PUMA_H
#define _NET_PUMA_H

#include <linux/list.h>
#include <linux/llist.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct folio;
struct page;
struct puma_conn;
struct puma_large;
struct puma_lender;
struct puma_store;

#define PUMA_PORT		7862
#define PUMA_SEGMENT_SHIFT	13	/* of PUMA_SEGMENT_SLOTS */
#define PUMA_SEGMENT_SLOTS	8192U
#define PUMA_MAX_SEGMENTS	4096U	/* of one lender: 128 GiB */
#define PUMA_BATCH		32U	/* pages in one put or get frame */
#define PUMA_GONE_WORDS		(PUMA_SEGMENT_SLOTS / 64)

/**
 * struct puma_endpoint - where a peer is reached
 * @addr: IPv4 address, 0 means any
 * @port: TCP port
 */
struct puma_endpoint {
	__be32 addr;
	__be16 port;
};

/**
 * struct puma_seal - 16 bytes that the borrower attaches to a page it puts
 * @sum: keyed checksum of the page
 * @spare: 0, room for an authentication tag
 *
 * The lender stores it and gives it back with the page; it means nothing to
 * anybody but the borrower.
 */
struct puma_seal {
	u64 sum;
	u64 spare;
};

/**
 * struct puma_put_buf - the copy of an evicted page, waiting to be sent
 * @node: in the queue of the connection
 * @lender: who it goes to
 * @page: the copy
 * @file: name of the file
 * @index: page offset in the file
 * @word: what the index held when the page was queued
 * @token: name of the page on the wire
 * @seal: computed by puma_put_claim()
 * @slot: where the lender stores it
 */
struct puma_put_buf {
	struct llist_node node;
	struct puma_lender *lender;
	struct page *page;
	u64 file;
	pgoff_t index;
	u64 word;
	u64 token;
	struct puma_seal seal;
	u32 slot;
};

/**
 * struct puma_get_page - one page of a get
 * @folio: the folio the page belongs to, NULL once it is not ours any more
 * @token: name of the page on the wire
 * @slot: where the lender stores it
 * @offset: which page of the folio
 * @state: enum puma_get_state, owned by mm/puma
 */
struct puma_get_page {
	struct folio *folio;
	u64 token;
	u32 slot;
	u16 offset;
	u8 state;
};

/**
 * struct puma_get - a request for up to PUMA_BATCH pages of one lender
 * @link: in a queue of the connection, or in a list of mm/puma before
 * @lender: who is asked
 * @large: shared by the requests for one folio of more than PUMA_BATCH pages
 * @work: runs what has to be done in process context at the end
 * @file: name of the file
 * @start: ktime_get() when it was handed to net/puma, in ns
 * @deadline: jiffies after which the disk is read instead
 * @id: name of the request on the wire, chosen by net/puma
 * @puts: what had been put over the connection before, see puma_wire_puts()
 * @unanswered: bit per page
 * @nr: number of pages
 * @consume: the lender is to forget the pages it returns
 * @verify: compare what comes with the disk
 * @page: the pages
 */
struct puma_get {
	struct list_head link;
	struct puma_lender *lender;
	struct puma_large *large;
	struct work_struct work;
	u64 file;
	u64 start;
	unsigned long deadline;
	u32 id;
	u32 puts;
	u32 unanswered;
	unsigned int nr;
	bool consume;
	bool verify;
	struct puma_get_page page[PUMA_BATCH];
};

/* Why a get ended */
enum puma_get_end {
	PUMA_GET_ANSWERED,	/* every page has an answer */
	PUMA_GET_TIMEOUT,	/* the deadline passed */
	PUMA_GET_LOST,		/* no connection, or it broke */
};

/* What mm/puma calls: implemented in net/puma */

void puma_net_forked(void);
struct puma_conn *puma_net_dial(struct puma_lender *lender,
				const struct puma_endpoint *to);
void puma_net_start(struct puma_conn *conn);
void puma_net_redial(struct puma_conn *conn);
void puma_net_hangup(struct puma_conn *conn, bool wait);
void puma_net_free(struct puma_conn *conn);
int puma_net_listen(const struct puma_endpoint *at);
void puma_net_unlisten(void);
void puma_net_get(struct puma_conn *conn, struct puma_get *req);
void puma_net_put(struct puma_conn *conn, struct puma_put_buf *buf);
void puma_net_gone(struct puma_conn *conn);
void puma_net_lease(struct puma_conn *conn);

/* What net/puma calls at the borrower's end: implemented in mm/puma */

void puma_lender_up(struct puma_lender *lender);
void puma_lender_down(struct puma_lender *lender);
bool puma_lender_lease(struct puma_lender *lender, u32 segments, u32 room);
void puma_lender_gone(struct puma_lender *lender, u32 segment,
		      const __le64 *bitmap, bool refused);
void puma_lender_pong(struct puma_lender *lender, u64 rtt_ns, u32 room);
bool puma_put_claim(struct puma_put_buf *buf);
void puma_put_done(struct puma_put_buf *buf, bool sent);
void puma_get_page_in(struct puma_get *req, unsigned int i, const void *data,
		      const struct puma_seal *seal);
void puma_get_page_gone(struct puma_get *req, unsigned int i);
void puma_get_finish(struct puma_get *req, enum puma_get_end why);

/* What net/puma calls at the lender's end: implemented in mm/puma */

struct puma_store *puma_store_open(struct puma_conn *conn,
				   const struct puma_endpoint *borrower);
void puma_store_close(struct puma_store *store);
u32 puma_store_lease(struct puma_store *store, u32 *room);
u32 puma_store_room(void);
struct folio *puma_store_alloc(struct puma_store *store, u32 slot);
void puma_store_put(struct puma_store *store, u32 slot, u64 token,
		    const struct puma_seal *seal, u32 nr,
		    struct folio *folio);
void puma_store_refuse(struct puma_store *store, u32 slot);
struct folio *puma_store_get(struct puma_store *store, u32 slot, u64 token,
			     u32 before, struct puma_seal *seal, bool consume);
int puma_store_gone(struct puma_store *store, __le64 *bitmap, bool *refused);

#endif /* _NET_PUMA_H */
