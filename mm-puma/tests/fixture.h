/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the suites share: a file on a mount of its own, a lender that is up, an
 * index that the hooks find, and changes of counters.
 *
 * Everything made here goes away with the test that made it.
 */
#ifndef _MM_PUMA_TESTS_FIXTURE_H
#define _MM_PUMA_TESTS_FIXTURE_H

#include <kunit/test.h>

#include "../internal.h"

/**
 * struct puma_fix - a borrower without a network
 * @inode: a regular file of PUMA_FIX_PAGES pages that may be put and fetched
 * @mapping: its page cache
 * @lender: up; its connection is not, so gets and puts are lost
 * @ix: the index, with one segment of @lender; also in puma_index
 * @file: name of @inode
 * @base: the counters when the test began, see puma_fix_delta()
 */
struct puma_fix {
	struct inode *inode;
	struct address_space *mapping;
	struct puma_lender *lender;
	struct puma_index *ix;
	u64 file;
	struct puma_counts base;
};

#define PUMA_FIX_PAGES		64
#define PUMA_FIX_DISK_FAILS	((void *)-1L)	/* state of the disk */

struct puma_lender *puma_fix_lender(struct kunit *test);
struct puma_index *puma_fix_index(struct kunit *test);
void puma_fix_segments(struct kunit *test, struct puma_index *ix,
		       struct puma_lender *lender, u32 first, u32 nr);
struct inode *puma_fix_inode(struct kunit *test, unsigned long ino);
struct puma_fix *puma_fix_borrower(struct kunit *test);

void puma_fix_fill(void *page, u64 stamp);
u64 puma_fix_stamp(struct inode *inode, pgoff_t index);
struct folio *puma_fix_folio(struct kunit *test, struct inode *inode,
			     pgoff_t index);
void puma_fix_entry(struct kunit *test, struct puma_fix *fix, pgoff_t index,
		    struct puma_entry *e);

void puma_fix_restart(struct puma_fix *fix);
long puma_fix_delta(const struct puma_fix *fix, enum puma_counter counter);
#define puma_fix_expect(test, fix, name, value) \
	KUNIT_EXPECT_EQ_MSG(test, \
			    puma_fix_delta(fix, PUMA_COUNT_##name), \
			    (long)(value), "counter " #name)

/* The index as the hooks use it: inside an RCU read-side section. */

static inline enum puma_publish puma_fix_publish(struct puma_index *ix,
						 u64 file, pgoff_t index)
{
	enum puma_publish ret;

	rcu_read_lock();
	ret = puma_index_publish(ix, file, index, puma_index_version(ix));
	rcu_read_unlock();
	return ret;
}

static inline bool puma_fix_lookup(struct puma_index *ix, u64 file,
				   pgoff_t index, struct puma_entry *e)
{
	bool ret;

	rcu_read_lock();
	ret = puma_index_lookup(ix, file, index, e);
	rcu_read_unlock();
	return ret;
}

static inline bool puma_fix_sent(struct puma_index *ix, u64 file,
				 pgoff_t index, u64 word)
{
	bool ret;

	rcu_read_lock();
	ret = puma_index_sent(ix, file, index, word);
	rcu_read_unlock();
	return ret;
}

static inline unsigned int puma_fix_erase(struct puma_index *ix, u64 file,
					  pgoff_t index)
{
	unsigned int ret;

	rcu_read_lock();
	ret = puma_index_erase(ix, file, index);
	rcu_read_unlock();
	return ret;
}

static inline unsigned long puma_fix_erase_range(struct puma_index *ix,
						 u64 file, pgoff_t start,
						 pgoff_t end)
{
	unsigned long ret;

	rcu_read_lock();
	ret = puma_index_erase_range(ix, file, start, end);
	rcu_read_unlock();
	return ret;
}

static inline unsigned long puma_fix_entries(struct puma_index *ix,
					     struct puma_lender *lender)
{
	unsigned long ret;

	rcu_read_lock();
	ret = puma_index_entries(ix, lender);
	rcu_read_unlock();
	return ret;
}

#endif /* _MM_PUMA_TESTS_FIXTURE_H */
