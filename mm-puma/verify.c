// SPDX-License-Identifier: GPL-2.0
/*
 * Verify mode (puma.verify=1): every page that comes from a lender is also
 * read from the disk, and the two are compared.
 *
 * The remote page waits in its folio, locked and not uptodate, until the disk
 * has been read over it; what the readers see is always the disk's. A page
 * counts as different only when its entry was alive the whole time and the
 * folio is clean under its lock, so that the two must be equal.
 *
 * Called from the work of a request, in process context.
 */
#include <linux/highmem.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>

#include "internal.h"

static bool entries_alive(const struct puma_get *req, unsigned int first,
			  struct folio *folio)
{
	struct puma_index *ix;
	struct puma_entry e;
	bool alive = true;
	unsigned long i;
	u64 token;

	rcu_read_lock();
	ix = rcu_dereference(puma_index);
	if (req->large && !req->large->tokens)
		alive = false;	/* asked for before verify mode was on */
	for (i = 0; alive && i < folio_nr_pages(folio); i++) {
		token = req->large ? req->large->token[i] :
				     req->page[first + i].token;
		alive = ix && puma_index_lookup(ix, req->file,
						folio->index + i, &e) &&
			e.token == token;
	}
	rcu_read_unlock();
	return alive;
}

/* Compare a locked folio with what the lender sent. */
static void compare(const struct puma_get *req, unsigned int first,
		    struct folio *folio, struct address_space *mapping,
		    const void *remote)
{
	unsigned long i, nr = folio_nr_pages(folio);
	struct inode *inode = mapping->host;

	if (!remote || folio->mapping != mapping || !folio_test_uptodate(folio) ||
	    folio_test_dirty(folio) || folio_test_writeback(folio) ||
	    puma_inval_busy(mapping) || !entries_alive(req, first, folio)) {
		puma_count_n(verify_skipped, nr);
		return;
	}
	for (i = 0; i < nr; i++) {
		void *disk = kmap_local_folio(folio, i * PAGE_SIZE);
		bool same = !memcmp(disk, remote + i * PAGE_SIZE, PAGE_SIZE);

		kunmap_local(disk);
		if (same) {
			puma_count(verify_ok);
			continue;
		}
		puma_count(verify_mismatch);
		pr_err("verify: page %lu of inode %lu on %s differs from the disk\n",
		       folio->index + i, inode->i_ino, inode->i_sb->s_id);
	}
}

static void erase_entries(const struct puma_get *req, pgoff_t index,
			  unsigned long nr)
{
	struct puma_index *ix;

	rcu_read_lock();
	ix = rcu_dereference(puma_index);
	if (ix)
		puma_index_erase_range(ix, req->file, index, index + nr - 1);
	rcu_read_unlock();
}

/**
 * struct puma_verify - the pages of a request that are read from the disk
 * @sb: its mount, held
 * @inode: the file, held; NULL when that was not possible
 * @locked: its invalidate_lock is held shared
 * @nr: how many folios are being read, with references
 * @read: they, where they are in the file and in the request, and what the
 *	  lender sent; NULL when the disk could not be read
 */
struct puma_verify {
	struct super_block *sb;
	struct inode *inode;
	bool locked;
	unsigned int nr;
	struct {
		struct folio *folio;
		pgoff_t index;
		unsigned long pages;
		unsigned int first;
		void *remote;
	} read[PUMA_BATCH];
};

/*
 * Neither the inode nor the mount may be let go of while folios of the request
 * are locked: we could be the last, and evict or unmount. So the mount stays
 * held even if the inode is on its way out.
 */
static bool hold_file(struct puma_verify *v, struct puma_get *req)
{
	struct inode *inode;
	unsigned int i;

	for (i = 0; !req->page[i].folio; i++)
		;
	inode = req->page[i].folio->mapping->host;
	if (!atomic_inc_not_zero(&inode->i_sb->s_active))
		return false;
	v->sb = inode->i_sb;
	v->inode = igrab(inode);
	return true;
}

/* Begin to read a folio from the disk: then it is the reader's to unlock. */
static bool start_read(struct puma_verify *v, struct puma_get *req,
		       unsigned int first)
{
	struct folio *folio = req->page[first].folio;
	void *remote;

	if (!v->locked)
		return false;
	remote = kvmalloc(folio_size(folio), GFP_NOIO | __GFP_NOWARN);
	if (!remote)
		return false;
	v->read[v->nr].folio = folio;
	v->read[v->nr].index = folio->index;
	v->read[v->nr].pages = folio_nr_pages(folio);
	v->read[v->nr].first = first;
	memcpy_from_folio(remote, folio, 0, folio_size(folio));
	if (v->inode->i_mapping->a_ops->read_folio(NULL, folio)) {
		kvfree(remote);
		remote = NULL;
	}
	v->read[v->nr++].remote = remote;
	return true;
}

static void start_reads(struct puma_verify *v, struct puma_get *req)
{
	unsigned int i, first, filled;

	for (first = 0; first < req->nr; first += i) {
		filled = 0;
		for (i = 0; first + i < req->nr; i++) {
			if (puma_get_first(req, first + i) != first)
				break;
			filled += req->page[first + i].state ==
				  PUMA_PAGE_FILLED;
		}
		if (!req->page[first].folio || filled < i)
			continue;
		if (!start_read(v, req, first)) {
			puma_count_n(verify_skipped,
				     folio_nr_pages(req->page[first].folio));
			continue;
		}
		while (filled--)
			req->page[first + filled].folio = NULL;
	}
}

/**
 * puma_verify_begin - read what a request filled from the disk
 * @req: the request, ended, with folios left
 *
 * Folios that were filled completely are read from the disk and dropped from
 * the request. The others, and those that cannot be read now, stay in it.
 *
 * No lock of a folio is waited for as long as the request has locked folios:
 * whoever gets the lock of one that was read may wait for the next.
 *
 * Context: process.
 * Return: for puma_verify_end(), or NULL: nothing is verified.
 */
struct puma_verify *puma_verify_begin(struct puma_get *req)
{
	struct puma_verify *v;
	unsigned int nofs;

	if (req->large && req->large->failed)
		return NULL;
	v = kzalloc(sizeof(*v), GFP_NOIO | __GFP_NOWARN);
	if (!v)
		return NULL;
	if (!hold_file(v, req)) {
		kfree(v);
		return NULL;
	}
	if (!v->inode)
		return v;
	/* Whoever holds it for writing may be waiting for our folios. */
	v->locked = filemap_invalidate_trylock_shared(v->inode->i_mapping);
	/* As read_pages() has it, because of the locked folios. */
	nofs = memalloc_nofs_save();
	start_reads(v, req);
	memalloc_nofs_restore(nofs);
	return v;
}

/**
 * puma_verify_end - compare what was read, let go of the file
 * @v: from puma_verify_begin()
 * @req: the request; no folio of it is locked any more
 *
 * Context: process.
 */
void puma_verify_end(struct puma_verify *v, struct puma_get *req)
{
	unsigned int i;

	for (i = 0; i < v->nr; i++) {
		struct folio *folio = v->read[i].folio;

		folio_lock(folio);
		compare(req, v->read[i].first, folio, v->inode->i_mapping,
			v->read[i].remote);
		folio_unlock(folio);
		/*
		 * Consumed, the lender does not have it any more. Not read, the
		 * next reader must get the disk's error and not come here again.
		 */
		if (req->consume || !folio_test_uptodate(folio))
			erase_entries(req, v->read[i].index, v->read[i].pages);
		folio_put(folio);
		kvfree(v->read[i].remote);
	}
	if (v->locked)
		filemap_invalidate_unlock_shared(v->inode->i_mapping);
	iput(v->inode);
	deactivate_super(v->sb);
	kfree(v);
}
