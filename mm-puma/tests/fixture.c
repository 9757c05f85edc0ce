// SPDX-License-Identifier: GPL-2.0
/*
 * What the suites share. The file is a real inode with a real page cache, on a
 * pseudo file system that is mounted for one test; its "disk" is a number.
 */
#include <linux/highmem.h>
#include <linux/mount.h>
#include <linux/pagemap.h>
#include <linux/pseudo_fs.h>

#include "fixture.h"

#define FIX_MAGIC	0x70756d61
#define FIX_SB_ID	1000		/* any that super.c gives to mounts */

/**
 * puma_fix_fill - make the content of a page
 * @page: PAGE_SIZE bytes
 * @stamp: different stamps make different content
 */
void puma_fix_fill(void *page, u64 stamp)
{
	u64 *word = page;
	unsigned int i;

	for (i = 0; i < PAGE_SIZE / sizeof(*word); i++)
		word[i] = stamp * 0x9e3779b97f4a7c15ULL + i;
}

/**
 * puma_fix_stamp - what the disk holds
 * @inode: of puma_fix_inode(); i_private is the state of its disk
 * @index: page offset
 *
 * Return: stamp for puma_fix_fill().
 */
u64 puma_fix_stamp(struct inode *inode, pgoff_t index)
{
	return ((u64)(unsigned long)inode->i_private << 32) + index;
}

static int fix_read_folio(struct file *file, struct folio *folio)
{
	struct inode *inode = folio->mapping->host;
	void *page;

	if (inode->i_private == PUMA_FIX_DISK_FAILS) {
		folio_end_read(folio, false);
		return -EIO;
	}
	page = kmap_local_folio(folio, 0);
	puma_fix_fill(page, puma_fix_stamp(inode, folio->index));
	kunmap_local(page);
	folio_end_read(folio, true);
	return 0;
}

static const struct address_space_operations fix_aops = {
	.read_folio	= fix_read_folio,
	.dirty_folio	= noop_dirty_folio,
};

static int fix_init_fs_context(struct fs_context *fc)
{
	return init_pseudo(fc, FIX_MAGIC) ? 0 : -ENOMEM;
}

static struct file_system_type fix_fs = {
	.name			= "puma_fixture",
	.init_fs_context	= fix_init_fs_context,
	.kill_sb		= kill_anon_super,
};

static void fix_unmount(void *mnt)
{
	kern_unmount(mnt);
}

/* A failed test may have left folios locked or dirty. */
static void fix_drop_inode(void *data)
{
	struct inode *inode = data;
	struct folio *folio;
	unsigned long index;

	xa_for_each(&inode->i_data.i_pages, index, folio) {
		folio_clear_dirty(folio);
		if (folio_test_locked(folio))
			folio_unlock(folio);
	}
	clear_nlink(inode);
	iput(inode);
}

/**
 * puma_fix_inode - make a file on a mount of its own
 * @test: the test
 * @ino: its number
 *
 * Return: a regular, hashed inode of PUMA_FIX_PAGES pages.
 */
struct inode *puma_fix_inode(struct kunit *test, unsigned long ino)
{
	static u64 sb_id = FIX_SB_ID;
	struct vfsmount *mnt = kern_mount(&fix_fs);
	struct inode *inode;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mnt);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, fix_unmount, mnt));
	mnt->mnt_sb->s_puma_id = ++sb_id;
	inode = new_inode(mnt->mnt_sb);
	KUNIT_ASSERT_NOT_NULL(test, inode);
	inode->i_ino = ino;
	inode->i_mode = S_IFREG | 0644;
	inode->i_mapping->a_ops = &fix_aops;
	i_size_write(inode, PUMA_FIX_PAGES * PAGE_SIZE);
	insert_inode_hash(inode);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, fix_drop_inode, inode));
	return inode;
}

/**
 * puma_fix_lender - make a lender that takes puts and gets
 * @test: the test
 *
 * Return: the lender, without a connection.
 */
struct puma_lender *puma_fix_lender(struct kunit *test)
{
	struct puma_lender *lender = kunit_kzalloc(test, sizeof(*lender),
						   GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, lender);
	INIT_LIST_HEAD(&lender->list);
	spin_lock_init(&lender->lock);
	puma_budget_init(&lender->budget, ktime_get_ns() / NSEC_PER_USEC);
	lender->put_pause = jiffies;
	lender->state = PUMA_LENDER_UP;
	return lender;
}

static void fix_free_index(void *ix)
{
	puma_index_free(ix);
}

/**
 * puma_fix_index - make an empty index with known keys
 * @test: the test
 *
 * Return: the index.
 */
struct puma_index *puma_fix_index(struct kunit *test)
{
	struct puma_index *ix = puma_index_alloc();

	KUNIT_ASSERT_NOT_NULL(test, ix);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, fix_free_index, ix));
	/* Placement is random, but the same in every run. */
	memset(&ix->secret, 0x5a, sizeof(ix->secret));
	ix->secret.page.key[0] = 1;
	ix->secret.token.key[0] = 2;
	ix->secret.seal.key[0] = 3;
	return ix;
}

/**
 * puma_fix_segments - add segments to an index
 * @test: the test
 * @ix: the index
 * @lender: who granted them
 * @first: number of the first
 * @nr: how many
 */
void puma_fix_segments(struct kunit *test, struct puma_index *ix,
		       struct puma_lender *lender, u32 first, u32 nr)
{
	struct puma_segment *seg;
	u32 i;

	for (i = 0; i < nr; i++) {
		seg = puma_segment_alloc(lender, first + i);
		KUNIT_ASSERT_NOT_NULL(test, seg);
		puma_index_add(ix, seg);
	}
}

static void fix_hang_up(void *data)
{
	struct puma_lender *lender = data;

	puma_net_hangup(lender->conn, true);
	puma_net_free(lender->conn);
}

static void fix_hide_index(void *unused)
{
	RCU_INIT_POINTER(puma_index, NULL);
	synchronize_rcu();
	puma_get_drain();
}

/**
 * puma_fix_borrower - make all that the hooks need, but for the static key
 * @test: the test; it is skipped when this machine has a role
 *
 * Return: the borrower.
 */
struct puma_fix *puma_fix_borrower(struct kunit *test)
{
	/* Nobody dials it. */
	const struct puma_endpoint nowhere = {
		.addr = cpu_to_be32(0x7f000001),
		.port = cpu_to_be16(1),
	};
	struct puma_fix *fix;

	if (puma_mode_now() != PUMA_OFF || rcu_access_pointer(puma_index))
		kunit_skip(test, "this machine has a role");
	fix = kunit_kzalloc(test, sizeof(*fix), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fix);
	fix->inode = puma_fix_inode(test, 12);
	fix->mapping = fix->inode->i_mapping;
	fix->lender = puma_fix_lender(test);
	fix->lender->conn = puma_net_dial(fix->lender, &nowhere);
	KUNIT_ASSERT_NOT_NULL(test, fix->lender->conn);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, fix_hang_up,
						  fix->lender));
	fix->ix = puma_fix_index(test);
	puma_fix_segments(test, fix->ix, fix->lender, 0, 1);
	fix->file = puma_file(&fix->ix->secret, fix->inode);
	KUNIT_ASSERT_NE(test, fix->file, 0);
	rcu_assign_pointer(puma_index, fix->ix);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, fix_hide_index, NULL));
	puma_fix_restart(fix);
	return fix;
}

/**
 * puma_fix_folio - put a folio into the page cache
 * @test: the test
 * @inode: the file
 * @index: page offset
 *
 * Return: the folio, locked, not uptodate, with a reference for the caller, as
 * readahead has it.
 */
struct folio *puma_fix_folio(struct kunit *test, struct inode *inode,
			     pgoff_t index)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 0);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	KUNIT_ASSERT_EQ(test, 0,
			filemap_add_folio(inode->i_mapping, folio, index,
					  GFP_KERNEL));
	return folio;
}

/**
 * puma_fix_entry - let the lender have a page
 * @test: the test
 * @fix: the borrower
 * @index: page offset
 * @e: filled
 */
void puma_fix_entry(struct kunit *test, struct puma_fix *fix, pgoff_t index,
		    struct puma_entry *e)
{
	KUNIT_ASSERT_EQ(test, PUMA_PUBLISHED,
			puma_fix_publish(fix->ix, fix->file, index));
	KUNIT_ASSERT_TRUE(test, puma_fix_lookup(fix->ix, fix->file, index, e));
	KUNIT_ASSERT_TRUE(test, puma_fix_sent(fix->ix, fix->file, index,
					      e->word));
	KUNIT_ASSERT_TRUE(test, puma_fix_lookup(fix->ix, fix->file, index, e));
}

/**
 * puma_fix_restart - count from here
 * @fix: the borrower
 */
void puma_fix_restart(struct puma_fix *fix)
{
	unsigned int i;

	for (i = 0; i < PUMA_NR_COUNTERS; i++)
		fix->base.nr[i] = puma_count_sum(i);
}

/**
 * puma_fix_delta - how much a counter has grown
 * @fix: the borrower
 * @counter: which
 *
 * Return: growth since puma_fix_restart().
 */
long puma_fix_delta(const struct puma_fix *fix, enum puma_counter counter)
{
	return puma_count_sum(counter) - fix->base.nr[counter];
}
