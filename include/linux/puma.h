/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PUMA: hooks that the page cache, reclaim and the VFS call.
 *
 * Nothing else of PUMA is visible to the rest of the kernel. Every hook is one
 * patched branch when PUMA is built in and not in use, and nothing at all when
 * it is not built. mm/puma/hooks.c says where the functions behind them are.
 */
#ifndef _LINUX_PUMA_H
#define _LINUX_PUMA_H

#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/jump_label.h>
#include <linux/mmzone.h>
#include <linux/page-flags.h>
#include <linux/pagemap.h>

struct readahead_control;

#ifdef CONFIG_PUMA

/**
 * struct puma_put - a folio on its way from the page cache to a lender
 * @file: name of the file, valid when @nr is not 0
 * @index: page offset of the first page of the folio
 * @version: of the entries that begin made
 * @nr: number of pages looked at; 0 means that nothing is to be done
 * @published: number of them that have a new entry
 *
 * Lives on the stack of __remove_mapping(). While @nr is not 0 the task is in
 * an RCU read-side section that commit or abort ends.
 */
struct puma_put {
	u64 file;
	pgoff_t index;
	u64 version;
	unsigned int nr;
	unsigned int published;
};

/**
 * struct puma_inval - cookie of an operation that changes a file
 * @mapping: the file's page cache, NULL when nothing is to be done
 * @size: the size of the file when the operation began
 *
 * From begin to end no page of the file is fetched from a lender. The cookie
 * keeps begin and end balanced when PUMA is switched on or off in between.
 */
struct puma_inval {
	struct address_space *mapping;
	loff_t size;
};

DECLARE_STATIC_KEY_FALSE(puma_borrow_key);
DECLARE_STATIC_KEY_FALSE(puma_lend_key);

unsigned int __puma_put_begin(struct puma_put *put,
			      struct address_space *mapping,
			      struct folio *folio);
void __puma_put_commit(struct puma_put *put, struct folio *folio);
void __puma_put_abort(struct puma_put *put, struct folio *folio);
bool __puma_readahead(struct readahead_control *rac,
		      void (*disk)(struct readahead_control *));
bool __puma_read_folio(int (*filler)(struct file *, struct folio *),
		       struct folio *folio);
void __puma_inval_begin(struct puma_inval *pi, struct address_space *mapping);
void __puma_inval_end(struct puma_inval *pi, pgoff_t start, pgoff_t end);
void __puma_folio_changed(struct address_space *mapping, struct folio *folio);
void __puma_file_changed(struct inode *inode);
void __puma_super_changed(struct super_block *sb);
void __puma_drop_all(void);
unsigned long __puma_give_back(struct pglist_data *pgdat, int zone_idx,
			       unsigned long nr_pages);

/**
 * puma_borrowing - is this machine a borrower?
 *
 * Return: true when the borrower's hooks are armed.
 */
static inline bool puma_borrowing(void)
{
	return static_branch_unlikely(&puma_borrow_key);
}

/**
 * puma_put_begin - offer a clean folio that reclaim is about to remove
 * @put: state to hand to puma_put_commit() or puma_put_abort()
 * @mapping: page cache (or swap cache) the folio is in
 * @folio: the folio, locked, unmapped
 * @reclaimed: true when reclaim removes it to free its memory
 *
 * Publishes the folio in the index while it is still in the cache.
 *
 * Context: reclaim, before the locks of __remove_mapping(). Does not allocate.
 */
static inline void puma_put_begin(struct puma_put *put,
				  struct address_space *mapping,
				  struct folio *folio, bool reclaimed)
{
	put->nr = 0;
	if (puma_borrowing() && reclaimed)
		put->nr = __puma_put_begin(put, mapping, folio);
}

/**
 * puma_put_commit - the folio has left the page cache; copy and queue it
 * @put: what puma_put_begin() filled
 * @folio: the folio, locked, its reference count frozen at 0
 */
static inline void puma_put_commit(struct puma_put *put, struct folio *folio)
{
	if (put->nr)
		__puma_put_commit(put, folio);
}

/**
 * puma_put_abort - the folio stays in the page cache; take the put back
 * @put: what puma_put_begin() filled
 * @folio: the folio, still locked
 */
static inline void puma_put_abort(struct puma_put *put, struct folio *folio)
{
	if (put->nr)
		__puma_put_abort(put, folio);
}

/**
 * puma_readahead - try to fill a readahead batch from lenders
 * @rac: the batch: contiguous locked folios, freshly inserted in the cache
 * @disk: reads what @rac describes from the disk
 *
 * Calls @disk at most once, for the one run of pages that no lender has.
 *
 * Context: process context under memalloc_nofs, invalidate_lock held shared.
 * Return: true when the batch is taken care of and @rac is empty.
 */
static inline bool puma_readahead(struct readahead_control *rac,
				  void (*disk)(struct readahead_control *))
{
	return puma_borrowing() && __puma_readahead(rac, disk);
}

/**
 * puma_read_folio - try to fill one folio from a lender
 * @filler: what the caller would read it with otherwise
 * @folio: locked, in the page cache, not uptodate
 *
 * Return: true when a get was started; it ends by unlocking the folio, either
 * uptodate or removed from the page cache. False leaves the folio untouched.
 */
static inline bool puma_read_folio(int (*filler)(struct file *, struct folio *),
				   struct folio *folio)
{
	return puma_borrowing() && __puma_read_folio(filler, folio);
}

/**
 * puma_inval_begin - a file is about to change, or has just changed
 * @pi: cookie to hand to puma_inval_end()
 * @mapping: page cache of the file
 *
 * Context: process; end may sleep. Pairs may nest.
 */
static inline void puma_inval_begin(struct puma_inval *pi,
				    struct address_space *mapping)
{
	pi->mapping = NULL;
	if (puma_borrowing())
		__puma_inval_begin(pi, mapping);
}

/**
 * puma_truncate_begin - puma_inval_begin() for truncation
 * @pi: cookie to hand to puma_inval_end()
 * @mapping: page cache of the file
 *
 * An inode that merely leaves the inode cache keeps its entries: they name the
 * file, not the inode. One that is unlinked, or that saw a write-back error
 * that a new instance would forget, or was written with DAX, loses them. A
 * truncation of a live inode
 * may look like an eviction (AS_EXITING); only I_FREEING tells.
 */
static inline void puma_truncate_begin(struct puma_inval *pi,
				       struct address_space *mapping)
{
	struct inode *inode;

	pi->mapping = NULL;
	if (!puma_borrowing())
		return;
	inode = mapping->host;
	if ((inode->i_state & I_FREEING) && inode->i_nlink &&
	    !mapping->wb_err && !IS_DAX(inode))
		return;
	__puma_inval_begin(pi, mapping);
}

/**
 * puma_resize_begin - puma_inval_begin() for notify_change()
 * @pi: cookie to hand to puma_inval_end()
 * @inode: the file
 * @ia_valid: what changes; only ATTR_SIZE matters
 */
static inline void puma_resize_begin(struct puma_inval *pi,
				     struct inode *inode, unsigned int ia_valid)
{
	pi->mapping = NULL;
	if (puma_borrowing() && (ia_valid & ATTR_SIZE))
		__puma_inval_begin(pi, inode->i_mapping);
}

/**
 * puma_inval_end_pages - erase all entries of a range of pages
 * @pi: the cookie that begin filled
 * @start: first page offset
 * @end: last page offset, inclusive; bounded by the size of the file
 */
static inline void puma_inval_end_pages(struct puma_inval *pi, pgoff_t start,
					pgoff_t end)
{
	if (pi->mapping)
		__puma_inval_end(pi, start, end);
}

/**
 * puma_inval_end - erase all entries of a range of bytes
 * @pi: the cookie that begin filled
 * @lstart: first byte
 * @lend: last byte, inclusive; -1 means to the end of the file
 *
 * The range is rounded outwards to whole pages.
 */
static inline void puma_inval_end(struct puma_inval *pi, loff_t lstart,
				  loff_t lend)
{
	puma_inval_end_pages(pi, (pgoff_t)(lstart >> PAGE_SHIFT),
			     lend == -1 ? (pgoff_t)-1 : lend >> PAGE_SHIFT);
}

/**
 * puma_fallocate_end - erase all entries that fallocate() can have changed
 * @pi: the cookie that begin filled
 * @mode: of fallocate()
 * @offset: first byte
 * @len: number of bytes
 */
static inline void puma_fallocate_end(struct puma_inval *pi, int mode,
				      loff_t offset, loff_t len)
{
	/* These move everything behind them. */
	if (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
		puma_inval_end(pi, offset, -1);
	else
		puma_inval_end(pi, offset, offset + len - 1);
}

/**
 * puma_folio_write - a folio was taken for a buffered write
 * @mapping: page cache the folio is in
 * @folio: the folio
 *
 * Whether uptodate or not, all entries of all its pages go: not every file
 * system marks a folio dirty that it changes (ext4 inline data). A folio that
 * is dirty already has none.
 */
static inline void puma_folio_write(struct address_space *mapping,
				    struct folio *folio)
{
	if (puma_borrowing() && !folio_test_dirty(folio))
		__puma_folio_changed(mapping, folio);
}

/**
 * puma_folio_dirtied - a clean folio became dirty
 * @mapping: page cache the folio is in
 * @folio: the folio, its dirty flag already set
 *
 * The caller's lock, reference or mapping keeps the folio in the cache, so its
 * entries cannot be looked up before they go.
 *
 * Context: any but hard interrupts.
 */
static inline void puma_folio_dirtied(struct address_space *mapping,
				      struct folio *folio)
{
	if (puma_borrowing())
		__puma_folio_changed(mapping, folio);
}

/**
 * puma_file_changed - the blocks of a file change behind the page cache
 * @inode: the file
 *
 * Its clean pages leave the page cache.
 *
 * Context: process, may sleep: waits for folios of the file.
 */
static inline void puma_file_changed(struct inode *inode)
{
	if (puma_borrowing())
		__puma_file_changed(inode);
}

/**
 * puma_bar - a file is to have nothing to do with PUMA
 * @inode: from now on its pages may be other than its blocks
 *
 * No page of it is put or fetched until the inode has left the inode cache, and
 * with it all pages that are in the page cache by then. Entries that exist are
 * of blocks as they are now, and stay right: who writes a page erases its entry.
 *
 * Context: any.
 */
static inline void puma_bar(struct inode *inode)
{
	set_bit(AS_PUMA_BARRED, &inode->i_mapping->flags);
}

/**
 * puma_super_changed - entries of a file system may be wrong, or renamed
 * @sb: the file system, remounted (even in vain) or repaired
 */
static inline void puma_super_changed(struct super_block *sb)
{
	if (puma_borrowing())
		__puma_super_changed(sb);
}

/**
 * puma_drop_all - forget every page that lenders hold (drop_caches)
 */
static inline void puma_drop_all(void)
{
	if (puma_borrowing())
		__puma_drop_all();
}

/**
 * puma_lending - is this machine a lender?
 *
 * Return: true when it is.
 */
static inline bool puma_lending(void)
{
	return static_branch_unlikely(&puma_lend_key);
}

/**
 * puma_give_back - drop lent pages to free memory
 * @pgdat: node that needs memory
 * @zone_idx: highest zone that helps
 * @nr_pages: how many pages are wanted
 *
 * Context: reclaim. Does not allocate, does not sleep on locks of others.
 * Return: number of pages freed.
 */
static inline unsigned long puma_give_back(struct pglist_data *pgdat,
					   int zone_idx, unsigned long nr_pages)
{
	return __puma_give_back(pgdat, zone_idx, nr_pages);
}

#else /* !CONFIG_PUMA */

/* Empty, so that not even the zeroing of local variables leaves a trace. */
struct puma_put {
};

struct puma_inval {
};

static inline bool puma_borrowing(void)
{
	return false;
}

static inline void puma_put_begin(struct puma_put *put,
				  struct address_space *mapping,
				  struct folio *folio, bool reclaimed)
{
}

static inline void puma_put_commit(struct puma_put *put, struct folio *folio)
{
}

static inline void puma_put_abort(struct puma_put *put, struct folio *folio)
{
}

static inline bool puma_readahead(struct readahead_control *rac,
				  void (*disk)(struct readahead_control *))
{
	return false;
}

static inline bool puma_read_folio(int (*filler)(struct file *, struct folio *),
				   struct folio *folio)
{
	return false;
}

static inline void puma_inval_begin(struct puma_inval *pi,
				    struct address_space *mapping)
{
}

static inline void puma_truncate_begin(struct puma_inval *pi,
				       struct address_space *mapping)
{
}

static inline void puma_resize_begin(struct puma_inval *pi,
				     struct inode *inode, unsigned int ia_valid)
{
}

static inline void puma_inval_end_pages(struct puma_inval *pi, pgoff_t start,
					pgoff_t end)
{
}

static inline void puma_inval_end(struct puma_inval *pi, loff_t lstart,
				  loff_t lend)
{
}

static inline void puma_fallocate_end(struct puma_inval *pi, int mode,
				      loff_t offset, loff_t len)
{
}

static inline void puma_folio_write(struct address_space *mapping,
				    struct folio *folio)
{
}

static inline void puma_folio_dirtied(struct address_space *mapping,
				      struct folio *folio)
{
}

static inline void puma_bar(struct inode *inode)
{
}

static inline void puma_file_changed(struct inode *inode)
{
}

static inline void puma_super_changed(struct super_block *sb)
{
}

static inline void puma_drop_all(void)
{
}

static inline bool puma_lending(void)
{
	return false;
}

static inline unsigned long puma_give_back(struct pglist_data *pgdat,
					   int zone_idx, unsigned long nr_pages)
{
	return 0;
}

#endif /* CONFIG_PUMA */
#endif /* _LINUX_PUMA_H */
