// SPDX-License-Identifier: GPL-2.0
/*
 * Put: a clean page that reclaim evicts goes to a lender.
 *
 * begin	(__remove_mapping(), no locks yet) publishes the entries while
 *		the folio is still in the page cache, locked;
 * commit	(the folio has left the cache, frozen) copies the pages into a
 *		ring of buffers and queues them for the sender;
 * abort	(the folio stays: it was dirtied or somebody holds it) takes the
 *		entries back.
 *
 * Nobody can look an entry up before the folio has left the cache, because a
 * look-up needs a new folio at that place. Whoever dirties the folio before that
 * makes the removal fail, or comes earlier and is seen by the dirty test under
 * i_pages; either way abort follows. Between the removal and commit anything
 * can happen to the file, even another put of the same page; so commit goes by
 * the exact version that begin has taken. The sender claims each buffer just
 * before it goes on the wire and drops it when its entry was erased meanwhile.
 *
 * Context: reclaim. Nothing here allocates or sleeps; what does not fit is
 * dropped. begin opens an RCU read-side section that commit or abort closes,
 * so the index and the ring stay while a put is under way.
 */
#include <kunit/visibility.h>
#include <linux/highmem.h>
#include <linux/pagemap.h>
#include <linux/sbitmap.h>
#include <linux/slab.h>
#include <trace/events/puma.h>

#include "internal.h"

#define RING_PAGES	1024U	/* 4 MiB */

/* One life of the ring, from puma_put_start() to puma_put_stop(). */
static struct puma_put_ring {
	struct sbitmap used;
	struct puma_put_buf buf[RING_PAGES];
} *ring;

VISIBLE_IF_KUNIT struct puma_put_buf *puma_put_buf_take(void)
{
	int nr = sbitmap_get(&ring->used);

	return nr < 0 ? NULL : &ring->buf[nr];
}

static void buf_free(struct puma_put_buf *buf)
{
	sbitmap_put(&ring->used, buf - ring->buf);
}

/*
 * Pages of the folio inside the file; zeroes what lies beyond its end. The last
 * page is left alone while somebody may be moving the end of the file: a direct
 * write can make bytes valid before it raises the size.
 */
static unsigned int pages_in_file(struct inode *inode, struct folio *folio)
{
	bool moving = inode_is_locked(inode);
	loff_t size, pos = folio_pos(folio);

	/*
	 * Not locked: the size is final. Who locks it from now on has to
	 * invalidate this folio, which we have locked, before the size changes.
	 */
	smp_rmb();
	size = i_size_read(inode);
	if (pos >= size)
		return 0;
	if (size - pos >= folio_size(folio))
		return folio_nr_pages(folio);
	if (moving)
		return (size - pos) >> PAGE_SHIFT;
	folio_zero_segment(folio, size - pos, folio_size(folio));
	return DIV_ROUND_UP(size - pos, PAGE_SIZE);
}

static bool folio_eligible(struct folio *folio)
{
	return folio_test_uptodate(folio) && !folio_test_dirty(folio) &&
	       !folio_test_writeback(folio) &&
	       !folio_contain_hwpoisoned_page(folio) &&
	       !folio_get_private(folio);
}

/*
 * The hook behind puma_put_begin(). Returns the number of pages that commit or
 * abort has to look at; those that are new have put->version.
 */
unsigned int __puma_put_begin(struct puma_put *put,
			      struct address_space *mapping,
			      struct folio *folio)
{
	struct inode *inode = mapping->host;
	unsigned int i, nr, offered;
	struct puma_index *ix;

	if (folio_test_swapcache(folio) || !inode || !S_ISREG(inode->i_mode))
		return 0;
	puma_assert(folio_test_locked(folio) && folio->mapping == mapping);
	rcu_read_lock();
	ix = rcu_dereference(puma_index);
	put->file = ix ? puma_file(&ix->secret, inode) : 0;
	if (!put->file) {
		rcu_read_unlock();
		return 0;
	}
	offered = folio_nr_pages(folio);
	puma_count_n(put_offered, offered);
	nr = 0;
	if (puma_inode_eligible(inode) && folio_eligible(folio))
		nr = pages_in_file(inode, folio);
	puma_count_n(put_ineligible, offered - nr);

	put->index = folio->index;
	put->version = nr ? puma_index_version(ix) : 0;
	put->published = 0;
	for (i = 0; i < nr; i++) {
		switch (puma_index_publish(ix, put->file, put->index + i,
					   put->version)) {
		case PUMA_PUBLISHED:
			put->published++;
			break;
		case PUMA_KEPT:
			puma_count(put_kept);
			break;
		case PUMA_NO_PLACE:
			puma_count(put_no_lender);
			break;
		}
	}
	if (!put->published) {
		rcu_read_unlock();
		return 0;
	}
	puma_delay(put_begin);
	return nr;
}

/* Copy one page and queue it. Every way out counts it once. */
static void queue_page(struct puma_index *ix, const struct puma_put *put,
		       pgoff_t index, const struct puma_entry *e,
		       struct page *page)
{
	struct puma_put_buf *buf;
	u64 file = put->file;

	buf = puma_put_buf_take();
	if (!buf) {
		puma_index_erase(ix, file, index);
		puma_count(put_ring_full);
		return;
	}
	/* A page that cannot be read was good enough only for nobody. */
	if (copy_mc_highpage(buf->page, page)) {
		buf_free(buf);
		puma_index_erase(ix, file, index);
		puma_count(put_ineligible);
		return;
	}
	buf->lender = e->lender;
	buf->file = file;
	buf->index = index;
	buf->word = e->word;
	buf->token = e->token;
	buf->slot = e->slot;
	trace_puma_put(file, index, e->slot);
	puma_net_put(e->lender->conn, buf);
}

/* The hook behind puma_put_commit(). */
void __puma_put_commit(struct puma_put *put, struct folio *folio)
{
	struct puma_index *ix = rcu_dereference(puma_index);
	unsigned int i, left = put->published;
	struct puma_entry e;

	puma_delay(put_commit);
	for (i = 0; ix && left && i < put->nr; i++) {
		if (!puma_index_queued(ix, put->file, put->index + i,
				       put->version, &e))
			continue;
		queue_page(ix, put, put->index + i, &e, folio_page(folio, i));
		left--;
	}
	/* Erased or replaced since, or the borrower was switched off. */
	if (ix)
		puma_count_n(put_stale, left);
	else
		puma_count_n(put_lost, left);
	rcu_read_unlock();
}

/* The hook behind puma_put_abort(). */
void __puma_put_abort(struct puma_put *put, struct folio *folio)
{
	struct puma_index *ix = rcu_dereference(puma_index);
	unsigned int i;

	for (i = 0; ix && i < put->nr; i++)
		puma_index_retract(ix, put->file, put->index + i, put->version);
	puma_count_n(put_retracted, put->published);
	rcu_read_unlock();
}

/**
 * puma_put_claim - a buffer is about to go on the wire
 * @buf: the buffer
 *
 * Computes the seal.
 *
 * Context: the sender, process context.
 * Return: false when the put is void; the buffer is free then.
 */
bool puma_put_claim(struct puma_put_buf *buf)
{
	struct puma_index *ix;
	bool valid = false;
	void *data;

	puma_delay(put_send);
	rcu_read_lock();
	ix = rcu_dereference(puma_index);
	if (ix && puma_index_sent(ix, buf->file, buf->index, buf->word)) {
		data = kmap_local_page(buf->page);
		buf->seal.sum = puma_key_sum(&ix->secret, buf->token, data);
		buf->seal.spare = 0;
		kunmap_local(data);
		valid = true;
	}
	rcu_read_unlock();
	if (!valid) {
		puma_count(put_stale);
		buf_free(buf);
	}
	return valid;
}

/**
 * puma_put_done - net/puma is through with a buffer
 * @buf: the buffer
 * @sent: it was handed to the socket; false when the connection is gone
 */
void puma_put_done(struct puma_put_buf *buf, bool sent)
{
	if (sent)
		puma_count(put_sent);
	else
		puma_count(put_lost);
	buf_free(buf);
}

/**
 * puma_put_queued - number of pages waiting to be sent
 *
 * Context: puma_lock held.
 * Return: the number.
 */
unsigned int puma_put_queued(void)
{
	lockdep_assert_held(&puma_lock);
	return ring ? sbitmap_weight(&ring->used) : 0;
}

static void ring_free(struct puma_put_ring *old)
{
	unsigned int i;

	for (i = 0; i < RING_PAGES; i++)
		if (old->buf[i].page)
			__free_page(old->buf[i].page);
	sbitmap_free(&old->used);
	kvfree(old);
}

/**
 * puma_put_start - make the ring
 *
 * Context: process, puma_lock held.
 * Return: 0 or -ENOMEM.
 */
int puma_put_start(void)
{
	struct puma_put_ring *new = kvzalloc(sizeof(*new),
					      GFP_KERNEL | __GFP_NOWARN);
	unsigned int i;

	if (!new)
		return -ENOMEM;
	if (sbitmap_init_node(&new->used, RING_PAGES, -1, GFP_KERNEL,
			      NUMA_NO_NODE, false, true)) {
		kvfree(new);
		return -ENOMEM;
	}
	for (i = 0; i < RING_PAGES; i++) {
		new->buf[i].page = alloc_page(GFP_KERNEL);
		if (!new->buf[i].page) {
			ring_free(new);
			return -ENOMEM;
		}
	}
	ring = new;
	return 0;
}

/**
 * puma_put_stop - free the ring
 *
 * The index is unpublished, a grace period has passed and all connections are
 * closed: nobody can hold a buffer.
 *
 * Context: process, puma_lock held.
 */
void puma_put_stop(void)
{
	struct puma_put_ring *old = ring;

	if (!old)
		return;
	ring = NULL;
	ring_free(old);
}
