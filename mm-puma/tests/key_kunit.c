// SPDX-License-Identifier: GPL-2.0
/*
 * Shows that names never confuse two things: files of other mounts, subvolumes,
 * generations or identifier types have other names; a token is that of one
 * page of one file in one version; a checksum is that of one page content
 * under one token. And that the same file has the same name in every life of
 * its inode.
 */
#include <linux/exportfs.h>
#include <linux/sort.h>

#include "fixture.h"

struct file_case {
	const char *desc;
	u64 sb_id;
	u32 type;
	u32 fid[4];
	unsigned int words;
};

/* The first is what the others are compared with. */
static const struct file_case file_cases[] = {
	{ "a file", 16, FILEID_INO32_GEN, { 12, 1 }, 2 },
	{ "another mount", 17, FILEID_INO32_GEN, { 12, 1 }, 2 },
	{ "another inode number", 16, FILEID_INO32_GEN, { 13, 1 }, 2 },
	{ "another generation", 16, FILEID_INO32_GEN, { 12, 2 }, 2 },
	{ "numbers swapped", 16, FILEID_INO32_GEN, { 1, 12 }, 2 },
	{ "another type", 16, FILEID_INO64_GEN, { 12, 1 }, 2 },
	{ "a word of zeros longer", 16, FILEID_INO32_GEN, { 12, 1, 0 }, 3 },
	{ "a word shorter", 16, FILEID_INO32_GEN, { 12 }, 1 },
	{ "subvolume 256", 16, FILEID_BTRFS_WITHOUT_PARENT,
	  { 12, 0, 256, 0 }, 4 },
	{ "subvolume 257", 16, FILEID_BTRFS_WITHOUT_PARENT,
	  { 12, 0, 257, 0 }, 4 },
};

static u64 case_name(const struct puma_secret *secret,
		     const struct file_case *c)
{
	return puma_key_file(secret, c->sb_id, c->type, c->fid, c->words);
}

static void key_file_differs(struct kunit *test)
{
	struct puma_secret secret, other;
	unsigned int i, j;

	puma_secret_init(&secret);
	puma_secret_init(&other);
	for (i = 0; i < ARRAY_SIZE(file_cases); i++) {
		u64 name = case_name(&secret, &file_cases[i]);

		KUNIT_EXPECT_NE(test, name, 0);
		KUNIT_EXPECT_EQ_MSG(test, name,
				    case_name(&secret, &file_cases[i]),
				    "%s is not named twice alike",
				    file_cases[i].desc);
		KUNIT_EXPECT_NE_MSG(test, name,
				    case_name(&other, &file_cases[i]),
				    "%s has a name that another key gives",
				    file_cases[i].desc);
		for (j = 0; j < i; j++)
			KUNIT_EXPECT_NE_MSG(test, name,
					    case_name(&secret, &file_cases[j]),
					    "%s and %s have one name",
					    file_cases[i].desc,
					    file_cases[j].desc);
	}
}

static void key_file_longest(struct kunit *test)
{
	u32 fid[PUMA_FID_WORDS] = {};
	struct puma_secret secret;
	u64 name;

	puma_secret_init(&secret);
	name = puma_key_file(&secret, 16, 1, fid, PUMA_FID_WORDS);
	fid[PUMA_FID_WORDS - 1] = 1;
	KUNIT_EXPECT_NE(test, name,
			puma_key_file(&secret, 16, 1, fid, PUMA_FID_WORDS));
}

static int cmp_u64(const void *a, const void *b)
{
	return *(u64 *)a < *(u64 *)b ? -1 : *(u64 *)a > *(u64 *)b;
}

static void key_token_differs(struct kunit *test)
{
	enum { FILES = 8, PAGES = 32, VERSIONS = 8, KEYS = 2 };
	u64 *token = kunit_kcalloc(test, FILES * PAGES * VERSIONS * KEYS,
				   sizeof(*token), GFP_KERNEL);
	unsigned int f, p, v, k, n = 0;
	struct puma_secret secret[KEYS];

	KUNIT_ASSERT_NOT_NULL(test, token);
	for (k = 0; k < KEYS; k++)
		puma_secret_init(&secret[k]);
	for (f = 0; f < FILES; f++)
		for (p = 0; p < PAGES; p++)
			for (v = 0; v < VERSIONS; v++)
				for (k = 0; k < KEYS; k++)
					token[n++] = puma_key_token(&secret[k],
								    f, p, v);
	KUNIT_EXPECT_EQ(test, token[0], puma_key_token(&secret[0], 0, 0, 0));
	sort(token, n, sizeof(*token), cmp_u64, NULL);
	while (--n)
		KUNIT_ASSERT_NE(test, token[n], token[n - 1]);
}

static void key_sum_differs(struct kunit *test)
{
	u8 *data = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	struct puma_secret secret, other;
	unsigned int bit;
	u64 sum;

	KUNIT_ASSERT_NOT_NULL(test, data);
	puma_secret_init(&secret);
	puma_secret_init(&other);
	sum = puma_key_sum(&secret, 7, data);
	KUNIT_EXPECT_EQ(test, sum, puma_key_sum(&secret, 7, data));
	KUNIT_EXPECT_NE_MSG(test, sum, puma_key_sum(&secret, 8, data),
			    "not bound to the token");
	KUNIT_EXPECT_NE_MSG(test, sum, puma_key_sum(&other, 7, data),
			    "not bound to the key");
	for (bit = 0; bit < 8 * PAGE_SIZE; bit += 61) {
		data[bit / 8] ^= 1 << bit % 8;
		KUNIT_EXPECT_NE_MSG(test, sum, puma_key_sum(&secret, 7, data),
				    "bit %u is not summed", bit);
		data[bit / 8] ^= 1 << bit % 8;
	}
	data[PAGE_SIZE - 1] ^= 0x80;
	KUNIT_EXPECT_NE(test, sum, puma_key_sum(&secret, 7, data));
}

static void key_secret_is_new(struct kunit *test)
{
	struct puma_secret a = {}, b = {};

	puma_secret_init(&a);
	puma_secret_init(&b);
	KUNIT_EXPECT_MEMNEQ(test, &a, &b, sizeof(a));
	KUNIT_EXPECT_MEMNEQ(test, &a.file, &b.file, sizeof(a.file));
	KUNIT_EXPECT_MEMNEQ(test, &a.seal, &b.seal, sizeof(a.seal));
	KUNIT_EXPECT_MEMNEQ(test, &a.token, &a.page, sizeof(a.token));
}

/* Identifiers that a file system may give */

static u64 fake_root = 256;

/* As btrfs does: number in its tree, tree, generation. */
static int encode_root(struct inode *inode, __u32 *fh, int *max_len,
		       struct inode *parent)
{
	u64 id[2] = { inode->i_ino, fake_root };

	memcpy(fh, id, sizeof(id));
	fh[4] = inode->i_generation;
	*max_len = 5;
	return FILEID_BTRFS_WITHOUT_PARENT;
}

static int encode_invalid(struct inode *inode, __u32 *fh, int *max_len,
			  struct inode *parent)
{
	return FILEID_INVALID;
}

static int encode_error(struct inode *inode, __u32 *fh, int *max_len,
			struct inode *parent)
{
	return -EOVERFLOW;
}

static int encode_long(struct inode *inode, __u32 *fh, int *max_len,
		       struct inode *parent)
{
	*max_len = PUMA_FID_WORDS + 1;
	return FILEID_INO32_GEN;
}

static const struct export_operations root_ops = { .encode_fh = encode_root };
static const struct export_operations invalid_ops = {
	.encode_fh = encode_invalid
};

static const struct export_operations error_ops = { .encode_fh = encode_error };
static const struct export_operations long_ops = { .encode_fh = encode_long };
static const struct export_operations none_ops = {};

struct name_case {
	const char *desc;
	umode_t mode;
	u64 sb_id;
	const struct export_operations *ops;
	bool named;
};

static const struct name_case name_cases[] = {
	{ "regular file", S_IFREG, 16, NULL, true },
	{ "regular file, own identifiers", S_IFREG, 16, &root_ops, true },
	{ "directory", S_IFDIR, 16, NULL, false },
	{ "symbolic link", S_IFLNK, 16, NULL, false },
	{ "block device", S_IFBLK, 16, NULL, false },
	{ "mount that never takes part", S_IFREG, 1, NULL, false },
	{ "mount that waits", S_IFREG, 2, NULL, false },
	{ "undecided mount, no role", S_IFREG, 0, NULL, false },
	{ "no identifier", S_IFREG, 16, &invalid_ops, false },
	{ "identifier with an error", S_IFREG, 16, &error_ops, false },
	{ "identifier too long", S_IFREG, 16, &long_ops, false },
	{ "file system that gives none", S_IFREG, 16, &none_ops, false },
};

KUNIT_ARRAY_PARAM_DESC(name, name_cases, desc);

static void key_inode(struct kunit *test)
{
	const struct name_case *c = test->param_value;
	struct inode *inode = puma_fix_inode(test, 12);
	const struct export_operations *ops = inode->i_sb->s_export_op;
	struct puma_secret secret;
	u64 name;

	if (puma_mode_now() != PUMA_OFF)
		kunit_skip(test, "this machine has a role");
	puma_secret_init(&secret);
	inode->i_mode = c->mode | 0644;
	inode->i_sb->s_puma_id = c->sb_id;
	inode->i_sb->s_export_op = c->ops;
	name = puma_file(&secret, inode);
	inode->i_sb->s_export_op = ops;
	inode->i_mode = S_IFREG | 0644;
	if (c->named)
		KUNIT_EXPECT_NE(test, name, 0);
	else
		KUNIT_EXPECT_EQ(test, name, 0);
}

static void key_inode_lives(struct kunit *test)
{
	struct inode *inode = puma_fix_inode(test, 12);
	struct inode *again = puma_fix_inode(test, 12);
	struct puma_secret secret;
	u64 name;

	puma_secret_init(&secret);
	again->i_sb->s_puma_id = inode->i_sb->s_puma_id;
	name = puma_file(&secret, inode);
	KUNIT_EXPECT_EQ_MSG(test, name, puma_file(&secret, again),
			    "the name is lost with the inode cache");
	again->i_generation++;
	KUNIT_EXPECT_NE_MSG(test, name, puma_file(&secret, again),
			    "an inode number that is used again");
	again->i_generation--;
	again->i_sb->s_puma_id++;
	KUNIT_EXPECT_NE_MSG(test, name, puma_file(&secret, again),
			    "a mount after it was remounted writable");
}

static void key_inode_subvolumes(struct kunit *test)
{
	struct inode *inode = puma_fix_inode(test, 12);
	struct puma_secret secret;
	u64 name;

	puma_secret_init(&secret);
	inode->i_sb->s_export_op = &root_ops;
	fake_root = 256;
	name = puma_file(&secret, inode);
	fake_root = 257;
	KUNIT_EXPECT_NE(test, name, puma_file(&secret, inode));
	fake_root = 5;
	KUNIT_EXPECT_NE(test, 0, puma_file(&secret, inode));
	/* Trees and what a balance moves are no files, whatever the mode. */
	fake_root = 1;
	KUNIT_EXPECT_EQ(test, 0, puma_file(&secret, inode));
	fake_root = -9ULL;
	KUNIT_EXPECT_EQ(test, 0, puma_file(&secret, inode));
	fake_root = 256;
	inode->i_sb->s_export_op = NULL;
}

static struct kunit_case key_cases[] = {
	KUNIT_CASE(key_file_differs),
	KUNIT_CASE(key_file_longest),
	KUNIT_CASE(key_token_differs),
	KUNIT_CASE(key_sum_differs),
	KUNIT_CASE(key_secret_is_new),
	KUNIT_CASE_PARAM(key_inode, name_gen_params),
	KUNIT_CASE(key_inode_lives),
	KUNIT_CASE(key_inode_subvolumes),
	{}
};

static struct kunit_suite key_suite = {
	.name = "puma_key",
	.test_cases = key_cases,
};

kunit_test_suite(key_suite);
