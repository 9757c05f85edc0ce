// SPDX-License-Identifier: GPL-2.0
/*
 * Which mounts take part, and under which name.
 *
 * super_block.s_puma_id names one mount of one file system. Names are never
 * used again, so an unmount needs no hook: the entries can never be found.
 * The first hook that meets a mount decides by the list puma.fs=.
 *
 * A mount that existed before the borrower was switched on may be in the middle
 * of a truncation that no bracket protects. It is therefore frozen and thawed
 * once, which waits for every such operation, before it takes part.
 */

#include <linux/exportfs.h>

#include "internal.h"

#define ID_UNDECIDED	0
#define ID_NEVER	1
#define ID_WAITING	2	/* older than the borrower, not frozen yet */
#define ID_FIRST	16

/*
 * File systems whose every change of a file is seen by the hooks, and proven to
 * be. Others would return old data after some operation of theirs.
 */
static const char * const proven[] = {
	"ext4", "squashfs", "xfs", "erofs", "btrfs", "f2fs"
};

static atomic64_t next_id = ATOMIC64_INIT(ID_FIRST);
static bool deciding;		/* mounts may be given names */

/* Is @name one of the comma-separated words of @list? */
static bool list_has(const char *list, const char *name)
{
	size_t len = strlen(name);
	const char *p = list;

	while (*p) {
		size_t word = strcspn(p, ",");

		if (word == len && !strncmp(p, name, len))
			return true;
		p += word;
		p += *p == ',';
	}
	return false;
}

static bool may_export_blocks(const struct super_block *sb)
{
#ifdef CONFIG_EXPORTFS_BLOCK_OPS
	return sb->s_export_op && sb->s_export_op->map_blocks;
#else
	return false;
#endif
}

/*
 * A file system with blocks of more than a page, or with a state of its own for
 * each block of a page (btrfs), does not take part; nor does an image that is
 * a file (erofs), which is cached below already.
 */
static bool takes_part(const struct super_block *sb)
{
	const struct file_system_type *type = sb->s_type;

	if (!(type->fs_flags & FS_REQUIRES_DEV) ||
	    !list_has(puma_set.fs, type->name) ||
	    sb->s_blocksize > PAGE_SIZE)
		return false;
	/* Clients of a pNFS server write to the disk behind our back (xfs). */
	if (may_export_blocks(sb))
		return false;
	if (!strcmp(type->name, "btrfs"))
		return sb->s_blocksize == PAGE_SIZE;
	return sb->s_bdev;
}

/**
 * puma_super_check_list - may these file systems take part?
 * @list: comma-separated names
 *
 * Return: 0 or -EINVAL.
 */
int puma_super_check_list(const char *list)
{
	const char *p = list;

	if (strlen(list) >= PUMA_TEXT_MAX)
		return -EINVAL;
	while (*p) {
		size_t i, word = strcspn(p, ",");

		for (i = 0; i < ARRAY_SIZE(proven); i++)
			if (strlen(proven[i]) == word &&
			    !strncmp(p, proven[i], word))
				break;
		if (i == ARRAY_SIZE(proven))
			return -EINVAL;
		p += word;
		if (*p == ',' && !*++p)
			return -EINVAL;
	}
	return 0;
}

/**
 * puma_super_id - name of a mount
 * @sb: the mount
 *
 * Context: any.
 * Return: the name, or 0 when the mount does not take part.
 */
u64 puma_super_id(struct super_block *sb)
{
	u64 id = READ_ONCE(sb->s_puma_id);
	u64 new;

	if (likely(id >= ID_FIRST))
		return id;
	/* Pairs with the release in puma_super_start(). */
	if (id != ID_UNDECIDED || !smp_load_acquire(&deciding))
		return 0;
	new = takes_part(sb) ? atomic64_inc_return(&next_id) : ID_NEVER;
	id = cmpxchg(&sb->s_puma_id, ID_UNDECIDED, new);
	if (id == ID_UNDECIDED)
		id = new;
	return id >= ID_FIRST ? id : 0;
}

/* The hook behind puma_super_changed(). */
void __puma_super_changed(struct super_block *sb)
{
	u64 id = READ_ONCE(sb->s_puma_id);

	if (id >= ID_FIRST)
		cmpxchg(&sb->s_puma_id, id, atomic64_inc_return(&next_id));
}
EXPORT_SYMBOL_GPL(__puma_super_changed);

static void mark_waiting(struct super_block *sb, void *unused)
{
	WRITE_ONCE(sb->s_puma_id,
		   takes_part(sb) ? ID_WAITING : ID_NEVER);
}

static void take_waiting(struct super_block *sb, void *found)
{
	struct super_block **sbp = found;

	if (!*sbp && READ_ONCE(sb->s_puma_id) == ID_WAITING &&
	    atomic_inc_not_zero(&sb->s_active))
		*sbp = sb;
}

static void quiesce(struct super_block *sb)
{
	int err = freeze_super(sb, FREEZE_HOLDER_KERNEL);

	if (err) {
		pr_warn("%s: cannot be frozen (%d), does not take part\n",
			sb->s_id, err);
		WRITE_ONCE(sb->s_puma_id, ID_NEVER);
		return;
	}
	WRITE_ONCE(sb->s_puma_id, ID_UNDECIDED);
	err = thaw_super(sb, FREEZE_HOLDER_KERNEL);
	if (err)
		pr_warn("%s: cannot be thawed (%d)\n", sb->s_id, err);
}

/**
 * puma_super_start - let mounts take part
 *
 * The hooks are armed already.
 *
 * Context: process, puma_lock held. Waits for operations on old mounts.
 */
void puma_super_start(void)
{
	struct super_block *sb;

	lockdep_assert_held(&puma_lock);
	iterate_supers(mark_waiting, NULL);
	/* Pairs with the acquire in puma_super_id(). */
	smp_store_release(&deciding, true);
	do {
		sb = NULL;
		iterate_supers(take_waiting, &sb);
		if (sb) {
			quiesce(sb);
			deactivate_super(sb);
		}
	} while (sb);
}

static void forget(struct super_block *sb, void *unused)
{
	WRITE_ONCE(sb->s_puma_id, ID_NEVER);
}

/**
 * puma_super_stop - let no mount take part any more
 *
 * Context: process, puma_lock held.
 */
void puma_super_stop(void)
{
	lockdep_assert_held(&puma_lock);
	WRITE_ONCE(deciding, false);
	iterate_supers(forget, NULL);
}
