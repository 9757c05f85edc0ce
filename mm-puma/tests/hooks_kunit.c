// SPDX-License-Identifier: GPL-2.0
/*
 * Shows that the functions of mm that change a file, or say that it was changed,
 * erase entries when nothing of the file is cached: that is where they stop
 * early. What calls them in a file system often has a bracket of its own, so
 * that a test of the whole does not see when one of these is missing.
 */
#include <linux/pagemap.h>

#include "fixture.h"

#define PG		((loff_t)PAGE_SIZE)
#define NR_PAGES	16

static void hooks_off(void *unused)
{
	static_branch_disable(&puma_borrow_key);
}

/* A borrower whose hooks run; its file has NR_PAGES pages, all with a lender. */
static struct puma_fix *hooks_borrower(struct kunit *test)
{
	struct puma_fix *fix = puma_fix_borrower(test);
	struct puma_entry e;
	pgoff_t i;

	for (i = 0; i < NR_PAGES; i++)
		puma_fix_entry(test, fix, i, &e);
	i_size_write(fix->inode, NR_PAGES * PG);
	static_branch_enable(&puma_borrow_key);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, hooks_off, NULL));
	return fix;
}

/* Pages @first to @last, and only these, have lost their entries. */
static void expect_erased(struct kunit *test, struct puma_fix *fix,
			  pgoff_t first, pgoff_t last)
{
	struct puma_entry e;
	pgoff_t i;

	for (i = 0; i < NR_PAGES; i++)
		KUNIT_EXPECT_EQ_MSG(test, i < first || i > last,
				    puma_fix_lookup(fix->ix, fix->file, i, &e),
				    "page %lu", i);
	KUNIT_EXPECT_FALSE(test, puma_inval_busy(fix->mapping));
}

static void hooks_invalidate(struct kunit *test)
{
	struct puma_fix *fix = hooks_borrower(test);

	KUNIT_EXPECT_EQ(test, 0,
			invalidate_inode_pages2_range(fix->mapping, 3, 5));
	expect_erased(test, fix, 3, 5);
	KUNIT_EXPECT_EQ(test, 0, invalidate_inode_pages2(fix->mapping));
	expect_erased(test, fix, 0, NR_PAGES - 1);
}

static void hooks_truncate(struct kunit *test)
{
	struct puma_fix *fix = hooks_borrower(test);

	truncate_inode_pages_range(fix->mapping, 3 * PG, 6 * PG - 1);
	expect_erased(test, fix, 3, 5);
}

/*
 * A direct write that was under way makes the file larger after
 * notify_change() looked at its size.
 */
static void hooks_setsize(struct kunit *test)
{
	struct puma_fix *fix = hooks_borrower(test);
	struct puma_inval pi;

	i_size_write(fix->inode, 8 * PG);
	puma_resize_begin(&pi, fix->inode, ATTR_SIZE);
	i_size_write(fix->inode, 12 * PG);
	truncate_setsize(fix->inode, 3 * PG);
	puma_inval_end(&pi, 3 * PG, -1);
	expect_erased(test, fix, 3, 11);
}

static void hooks_direct_write(struct kunit *test)
{
	struct puma_fix *fix = hooks_borrower(test);
	struct file *filp = kunit_kzalloc(test, sizeof(*filp), GFP_KERNEL);
	struct kiocb iocb = { .ki_filp = filp, .ki_pos = 3 * PG };

	KUNIT_ASSERT_NOT_NULL(test, filp);
	filp->f_mapping = fix->mapping;
	kiocb_invalidate_post_direct_write(&iocb, 3 * PG);
	expect_erased(test, fix, 3, 5);
}

static struct kunit_case hooks_cases[] = {
	KUNIT_CASE(hooks_invalidate),
	KUNIT_CASE(hooks_truncate),
	KUNIT_CASE(hooks_setsize),
	KUNIT_CASE(hooks_direct_write),
	{}
};

static struct kunit_suite hooks_suite = {
	.name = "puma_hooks",
	.test_cases = hooks_cases,
};

kunit_test_suite(hooks_suite);
