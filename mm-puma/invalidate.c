// SPDX-License-Identifier: GPL-2.0
/*
 * Invalidation: entries go when their file changes.
 *
 * An operation that changes a file other than through the page cache runs in a
 * bracket. From begin to end no look-up of the file succeeds (a counter shared
 * by files that hash alike: sharing only costs hits). At the end, after the
 * operation has removed the old pages from the cache, the range is erased.
 *
 * Why no stale entry and no stale page survives the end:
 *  - An entry with old content was published while its folio was in the cache.
 *    If that was before the removal of old pages, the erase finds the entry.
 *    It cannot be later: no old folio is in the cache then, and a new one is
 *    read from the disk because look-ups fail.
 *  - A reader that took an old entry saw the counter at 0 after it had
 *    inserted its folio. So the removal of old pages, which comes after begin,
 *    sees that folio, waits for its lock and removes it.
 *
 * Whether a file may be put or fetched plays no part here.
 */
#include <linux/hash.h>
#include <linux/pagemap.h>
#include <trace/events/puma.h>

#include "internal.h"

#define BUSY_BITS	10
#define ERASE_CHUNK	1024	/* pages between chances to be preempted */

static atomic_t puma_busy[1 << BUSY_BITS];

static atomic_t *busy_counter(struct address_space *mapping)
{
	return &puma_busy[hash_ptr(mapping, BUSY_BITS)];
}

/**
 * puma_inval_busy - is the file, or one that hashes alike, being changed?
 * @mapping: page cache of the file
 *
 * The caller has inserted its folio into the page cache and executed smp_mb().
 * The acquire keeps the look-up that follows after the test.
 *
 * Return: true when entries must not be used.
 */
bool puma_inval_busy(struct address_space *mapping)
{
	return atomic_read_acquire(busy_counter(mapping));
}

/* The hook behind puma_inval_begin() and its kin. */
void __puma_inval_begin(struct puma_inval *pi, struct address_space *mapping)
{
	if (!S_ISREG(mapping->host->i_mode))
		return;
	pi->mapping = mapping;
	pi->size = i_size_read(mapping->host);
	atomic_inc(busy_counter(mapping));
	/* Pairs with smp_mb() in the get path, after the folio is inserted. */
	smp_mb__after_atomic();
}
EXPORT_SYMBOL_GPL(__puma_inval_begin);

static unsigned long erase_pages(struct inode *inode, pgoff_t start,
				 pgoff_t end)
{
	unsigned long erased = 0;
	struct puma_index *ix;
	pgoff_t last;
	u64 file;

	while (start <= end) {
		last = end;
		rcu_read_lock();
		ix = rcu_dereference(puma_index);
		file = ix ? puma_file(&ix->secret, inode) : 0;
		if (!file || !READ_ONCE(ix->nr_segments)) {
			rcu_read_unlock();
			break;
		}
		if (end - start < PUMA_ERASE_MAX)
			last = min(end, start + ERASE_CHUNK - 1);
		erased += puma_index_erase_range(ix, file, start, last);
		rcu_read_unlock();
		if (last == end)
			break;
		start = last + 1;
		cond_resched();
	}
	return erased;
}

/* The hook behind puma_inval_end(): not a static branch, to stay balanced. */
void __puma_inval_end(struct puma_inval *pi, pgoff_t start, pgoff_t end)
{
	struct address_space *mapping = pi->mapping;
	struct inode *inode = mapping->host;
	unsigned long erased = 0;
	loff_t size = max(pi->size, i_size_read(inode));

	puma_delay(inval_erase);
	/* Pairs with the cmpxchg of publish, before the folio's removal. */
	smp_mb();
	if (size) {
		end = min_t(pgoff_t, end, (size - 1) >> PAGE_SHIFT);
		if (start <= end)
			erased = erase_pages(inode, start, end);
	}
	puma_count(inval_calls);
	puma_count_n(inval_erased, erased);
	trace_puma_inval(inode, start, end, erased);
	/* The erase is visible before the counter drops. */
	smp_mb__before_atomic();
	atomic_dec(busy_counter(mapping));
}
EXPORT_SYMBOL_GPL(__puma_inval_end);

/* The hook behind puma_folio_write() and puma_folio_dirtied(). */
void __puma_folio_changed(struct address_space *mapping, struct folio *folio)
{
	unsigned long i, erased = 0;
	struct puma_index *ix;
	u64 file;

	if (!mapping->host || !S_ISREG(mapping->host->i_mode))
		return;
	rcu_read_lock();
	ix = rcu_dereference(puma_index);
	if (ix && READ_ONCE(ix->nr_segments)) {
		file = puma_file(&ix->secret, mapping->host);
		for (i = 0; file && i < folio_nr_pages(folio); i++)
			erased += puma_index_erase(ix, file, folio->index + i);
	}
	rcu_read_unlock();
	if (erased)
		puma_count_n(inval_erased, erased);
}

/*
 * The hook behind puma_file_changed(). Clean pages of before would be put as
 * soon as they are evicted, so they go as well.
 */
void __puma_file_changed(struct inode *inode)
{
	struct puma_inval pi = {};

	__puma_inval_begin(&pi, inode->i_mapping);
	if (!pi.mapping)
		return;
	invalidate_inode_pages2(inode->i_mapping);
	__puma_inval_end(&pi, 0, -1);
}
EXPORT_SYMBOL_GPL(__puma_file_changed);

/* The hook behind puma_drop_all(). */
void __puma_drop_all(void)
{
	struct puma_index *ix;

	rcu_read_lock();
	ix = rcu_dereference(puma_index);
	if (ix)
		puma_index_erase_all(ix);
	rcu_read_unlock();
}
