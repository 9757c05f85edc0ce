// SPDX-License-Identifier: GPL-2.0
/*
 * Names of files and pages.
 *
 * A file is named by the mount it is on and by its exportfs file identifier,
 * not by i_ino: that is not unique on every file system (btrfs subvolumes) and
 * is used again. The name is a keyed hash, so nobody outside can make two
 * files collide. A page of a file in one version is named on the wire by a
 * token that a lender can neither guess nor use for anything else.
 *
 * Everything here is pure, does not sleep, and may run with interrupts off.
 */
#include <linux/btrfs_tree.h>
#include <linux/exportfs.h>
#include <linux/random.h>
#include <linux/xxhash.h>

#include "internal.h"

/**
 * puma_secret_init - draw new keys
 * @secret: where to
 */
void puma_secret_init(struct puma_secret *secret)
{
	get_random_bytes(secret, sizeof(*secret));
}

/**
 * puma_key_file - name of a file from its identifier
 * @secret: keys
 * @sb_id: name of the mount
 * @type: type of the identifier
 * @fid: the identifier
 * @words: its length, at most PUMA_FID_WORDS
 *
 * Return: the name, never 0.
 */
u64 puma_key_file(const struct puma_secret *secret, u64 sb_id, u32 type,
		  const u32 *fid, unsigned int words)
{
	struct {
		u64 sb_id;
		u32 type;
		u32 words;
		u32 fid[PUMA_FID_WORDS];
	} id = { .sb_id = sb_id, .type = type, .words = words };
	u64 name;

	memcpy(id.fid, fid, words * sizeof(*fid));
	name = siphash(&id, offsetof(typeof(id), fid) + words * sizeof(*fid),
		       &secret->file);
	return name ?: 1;
}

/**
 * puma_key_token - name of a page on the wire
 * @secret: keys
 * @file: name of the file
 * @index: page offset in the file
 * @version: version of the put
 *
 * Return: the token.
 */
u64 puma_key_token(const struct puma_secret *secret, u64 file, pgoff_t index,
		   u64 version)
{
	return siphash_3u64(file, index, version, &secret->token);
}

/**
 * puma_key_sum - checksum of a page, bound to its token
 * @secret: keys
 * @token: name of the page on the wire
 * @data: PAGE_SIZE bytes
 *
 * Return: the checksum.
 */
u64 puma_key_sum(const struct puma_secret *secret, u64 token, const void *data)
{
	return xxh64(data, PAGE_SIZE, siphash_1u64(token, &secret->seal));
}

/*
 * Inodes that btrfs keeps for itself are not always told by their mode: its
 * trees, the cache of free space, what a balance moves.
 */
static bool btrfs_internal(const u32 *fid, int words)
{
	u64 root;

	if (words < 4)
		return true;
	memcpy(&root, fid + 2, sizeof(root));
	return root != BTRFS_FS_TREE_OBJECTID &&
	       (root < BTRFS_FIRST_FREE_OBJECTID ||
		root > BTRFS_LAST_FREE_OBJECTID);
}

/**
 * puma_file - name of the file behind an inode
 * @secret: keys
 * @inode: the inode
 *
 * Says nothing about whether pages of the file may be put or fetched: that is
 * puma_inode_eligible(). Invalidation depends on this function alone.
 *
 * Return: the name, or 0 when no page of the file can have an entry.
 */
u64 puma_file(const struct puma_secret *secret, struct inode *inode)
{
	u32 fid[PUMA_FID_WORDS];
	int words = PUMA_FID_WORDS;
	u64 sb_id;
	int type;

	if (!S_ISREG(inode->i_mode))
		return 0;
	sb_id = puma_super_id(inode->i_sb);
	if (!sb_id)
		return 0;
	type = exportfs_encode_inode_fh(inode, (struct fid *)fid, &words, NULL,
					EXPORT_FH_FID);
	if (type <= 0 || type == FILEID_INVALID || words > PUMA_FID_WORDS)
		return 0;
	if (type == FILEID_BTRFS_WITHOUT_PARENT && btrfs_internal(fid, words))
		return 0;
	return puma_key_file(secret, sb_id, type, fid, words);
}
