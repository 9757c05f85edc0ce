// SPDX-License-Identifier: GPL-2.0
/*
 * Shows the decisions: a lender may waste 2 % of the time and no more; the
 * deadline follows the measured round-trip times inside its limits; files whose
 * pages may change or leak behind the page cache take no part; and settings
 * that make no sense are refused.
 */
#include <linux/pagemap.h>

#include "fixture.h"

#define MS	1000LL
#define SEC	1000000LL

struct budget_case {
	const char *desc;
	unsigned int losses;	/* so many times */
	s64 lost_us;		/* this much is wasted */
	s64 then_us;		/* and after this time */
	bool ok;		/* the lender may be used */
};

static const struct budget_case budget_cases[] = {
	{ "new", 0, 0, 0, true },
	{ "one timeout", 1, 50 * MS, 0, true },
	{ "nine timeouts", 9, 50 * MS, 0, true },
	{ "ten timeouts", 10, 50 * MS, 0, false },
	{ "just used up", 1, 500 * MS, 0, false },
	{ "just used up, 1 ms", 1, 500 * MS, 1 * MS, true },
	{ "not just used up", 1, 500 * MS - 1, 0, true },
	{ "1 s of debt, 49 s", 1, 1500 * MS, 49 * SEC, false },
	{ "1 s of debt, 51 s", 1, 1500 * MS, 51 * SEC, true },
	{ "debt is bounded, 99 s", 100, 10 * SEC, 99 * SEC, false },
	{ "debt is bounded, 101 s", 100, 10 * SEC, 101 * SEC, true },
	{ "an absurd loss", 1, S64_MAX, 101 * SEC, true },
	{ "credit is bounded", 0, 0, 1000000 * SEC, true },
	{ "time goes backwards", 1, 600 * MS, -1 * SEC, false },
};

KUNIT_ARRAY_PARAM_DESC(budget, budget_cases, desc);

static void policy_budget(struct kunit *test)
{
	const struct budget_case *c = test->param_value;
	const u64 start = 1000 * SEC;
	struct puma_budget b;
	unsigned int i;

	puma_budget_init(&b, start);
	for (i = 0; i < c->losses; i++)
		puma_budget_charge(&b, c->lost_us);
	KUNIT_EXPECT_EQ(test, c->ok, puma_budget_ok(&b, start + c->then_us));
	KUNIT_EXPECT_EQ(test, c->ok, puma_budget_ok(&b, start + c->then_us));
	KUNIT_EXPECT_LE(test, b.credit_us, 500 * MS);
	KUNIT_EXPECT_GE(test, b.credit_us, -2 * SEC);
}

/* However long it was good: it cannot save more than half a second. */
static void policy_budget_lump(struct kunit *test)
{
	struct puma_budget b;

	puma_budget_init(&b, 0);
	KUNIT_EXPECT_TRUE(test, puma_budget_ok(&b, 1000000 * SEC));
	puma_budget_charge(&b, 500 * MS);
	KUNIT_EXPECT_FALSE(test, puma_budget_ok(&b, 1000000 * SEC));
}

struct often_case {
	const char *desc;
	unsigned int every_us;
};

static const struct often_case often_cases[] = {
	{ "every second", 1000000 },
	{ "every millisecond", 1000 },
	{ "every 99 us", 99 },
	{ "every 50 us", 50 },
	{ "every 7 us", 7 },
	{ "every microsecond", 1 },
};

KUNIT_ARRAY_PARAM_DESC(often, often_cases, desc);

/* A useless lender wastes 2 % of ten minutes, however often it is tried. */
static void policy_budget_share(struct kunit *test)
{
	const struct often_case *c = test->param_value;
	const u64 seconds = c->every_us < 50 ? 60 : 600;
	u64 now, lost = 0, share;
	struct puma_budget b;

	puma_budget_init(&b, 0);
	b.credit_us = 0;
	for (now = 0; now < seconds * SEC; now += c->every_us) {
		if (!puma_budget_ok(&b, now))
			continue;
		puma_budget_charge(&b, 50 * MS);
		lost += 50 * MS;
	}
	share = lost * 10000 / (seconds * SEC);
	kunit_info(test, "%llu.%02llu %% of the time\n", share / 100,
		   share % 100);
	KUNIT_EXPECT_LE(test, share, 210);
	KUNIT_EXPECT_GE(test, share, 190);
}

struct deadline_case {
	const char *desc;
	u32 srtt_us, var_us;
	unsigned int max_ms;
	unsigned long want_us;
};

static const struct deadline_case deadline_cases[] = {
	{ "unknown lender", 0, 0, 50, 50000 },
	{ "unknown lender, deviation ignored", 0, 1000000, 50, 50000 },
	{ "fast lender", 100, 20, 50, 10000 },
	{ "just above the least", 1250, 1, 50, 10004 },
	{ "8 times and 4 deviations", 2000, 500, 50, 18000 },
	{ "slow lender", 20000, 10000, 50, 50000 },
	{ "absurd lender", 10000000, 10000000, 1000, 1000000 },
	{ "limit below the least", 100, 20, 1, 1000 },
	{ "limit below the least, unknown", 0, 0, 1, 1000 },
	{ "largest numbers", U32_MAX, U32_MAX, 1000, 1000000 },
};

KUNIT_ARRAY_PARAM_DESC(deadline, deadline_cases, desc);

static void policy_deadline(struct kunit *test)
{
	const struct deadline_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, c->want_us,
			puma_deadline_us(c->srtt_us, c->var_us, c->max_ms));
}

static void policy_rtt(struct kunit *test)
{
	u32 srtt = 0, var = 0;
	unsigned int i;

	puma_rtt_add(&srtt, &var, 800);
	KUNIT_EXPECT_EQ(test, srtt, 800);
	KUNIT_EXPECT_EQ(test, var, 400);
	for (i = 0; i < 100; i++)
		puma_rtt_add(&srtt, &var, 800);
	KUNIT_EXPECT_EQ(test, srtt, 800);
	KUNIT_EXPECT_LT(test, var, 4);

	/* One slow answer does not change much, many do. */
	puma_rtt_add(&srtt, &var, 8000);
	KUNIT_EXPECT_EQ(test, srtt, (7 * 800 + 8000) / 8);
	KUNIT_EXPECT_GT(test, var, 1000);
	for (i = 0; i < 100; i++)
		puma_rtt_add(&srtt, &var, 8000);
	KUNIT_EXPECT_GE(test, srtt, 7900);
	KUNIT_EXPECT_LE(test, srtt, 8000);
	for (i = 0; i < 100; i++)
		puma_rtt_add(&srtt, &var, 100);
	KUNIT_EXPECT_GE(test, srtt, 100);
	KUNIT_EXPECT_LE(test, srtt, 120);
}

struct rtt_case {
	const char *desc;
	u64 sample;
	u32 least, most;
};

static const struct rtt_case rtt_cases[] = {
	{ "no time at all", 0, 1, 1 },
	{ "the shortest", 1, 1, 1 },
	{ "ten seconds", 10 * SEC, 9 * SEC, 10 * SEC },
	{ "an hour counts as ten seconds", 3600 * SEC, 9 * SEC, 10 * SEC },
	{ "the largest number", U64_MAX, 9 * SEC, 10 * SEC },
};

KUNIT_ARRAY_PARAM_DESC(rtt, rtt_cases, desc);

/* The estimate is never 0, which would mean that it is unknown. */
static void policy_rtt_limits(struct kunit *test)
{
	const struct rtt_case *c = test->param_value;
	u32 srtt = 0, var = 0;
	unsigned int i;

	for (i = 0; i < 200; i++) {
		puma_rtt_add(&srtt, &var, c->sample);
		KUNIT_ASSERT_GT(test, srtt, 0);
	}
	KUNIT_EXPECT_GE(test, srtt, c->least);
	KUNIT_EXPECT_LE(test, srtt, c->most);
}

static void policy_lender_usable(struct kunit *test)
{
	struct puma_lender *lender = puma_fix_lender(test);
	unsigned int i;

	KUNIT_EXPECT_TRUE(test, puma_lender_usable(lender));
	KUNIT_EXPECT_TRUE(test, puma_lender_takes_puts(lender));
	lender->state = PUMA_LENDER_DOWN;
	KUNIT_EXPECT_FALSE(test, puma_lender_usable(lender));
	KUNIT_EXPECT_FALSE(test, puma_lender_takes_puts(lender));
	KUNIT_EXPECT_FALSE(test, puma_lender_takes_puts(NULL));
	lender->state = PUMA_LENDER_UP;
	/* Lost together, the same time counts once; one after the other, not. */
	for (i = 0; i < 20; i++)
		puma_lender_cost(lender, i, 50 * MS + i);
	KUNIT_EXPECT_TRUE_MSG(test, puma_lender_usable(lender), "one wait");
	for (i = 1; i < 20; i++)
		puma_lender_cost(lender, i * 50 * MS, (i + 1) * 50 * MS);
	KUNIT_EXPECT_FALSE_MSG(test, puma_lender_usable(lender), "throttled");
	KUNIT_EXPECT_TRUE_MSG(test, puma_lender_takes_puts(lender),
			      "puts cost nothing");

	KUNIT_EXPECT_GE(test, puma_lender_deadline(lender, 0), 1);
	puma_lender_rtt(lender, 500);
	KUNIT_EXPECT_EQ(test, lender->srtt_us, 500);
	KUNIT_EXPECT_GE(test, jiffies_to_usecs(puma_lender_deadline(lender, 0)),
			10 * MS);
	KUNIT_EXPECT_GE(test, puma_lender_deadline(lender, 10 * MS),
			usecs_to_jiffies(20 * MS));
	/* However many are ahead, and however slow they are. */
	puma_lender_rtt(lender, 45 * MS);
	KUNIT_EXPECT_LE(test, puma_lender_deadline(lender, 9000 * MS),
			msecs_to_jiffies(puma_set.deadline_ms) + 1);
}

struct eligible_case {
	const char *desc;
	unsigned int flags;
	bool unhashed, other_mapping, wb_err, barred;
	bool eligible;
};

static const struct eligible_case eligible_cases[] = {
	{ .desc = "a file", .eligible = true },
	{ "append-only is fine", .flags = S_APPEND, .eligible = true },
	{ "swap file", .flags = S_SWAPFILE },
	{ "DAX", .flags = S_DAX, .eligible = !S_DAX },
	{ "encrypted", .flags = S_ENCRYPTED },
	{ "verity", .flags = S_VERITY },
	{ "no name any more", .unhashed = true },
	{ "cache of another inode", .other_mapping = true },
	{ "write-back failed", .wb_err = true },
	{ "kept away", .barred = true },
};

KUNIT_ARRAY_PARAM_DESC(eligible, eligible_cases, desc);

static void policy_eligible(struct kunit *test)
{
	const struct eligible_case *c = test->param_value;
	struct inode *inode = puma_fix_inode(test, 12);
	struct address_space *mapping = inode->i_mapping;
	struct inode *other = puma_fix_inode(test, 13);

	inode->i_flags |= c->flags;
	if (c->unhashed)
		remove_inode_hash(inode);
	if (c->other_mapping)
		inode->i_mapping = other->i_mapping;
	if (c->wb_err)
		mapping_set_error(mapping, -EIO);
	if (c->barred)
		set_bit(AS_PUMA_BARRED, &mapping->flags);
	KUNIT_EXPECT_EQ(test, c->eligible, puma_inode_eligible(inode));
	inode->i_mapping = mapping;
	inode->i_flags &= ~c->flags;
	clear_bit(AS_PUMA_BARRED, &mapping->flags);
}

struct text_case {
	const char *desc;
	const char *text;
	bool good;
};

static const struct text_case fs_cases[] = {
	{ "nothing", "", true },
	{ "one", "ext4", true },
	{ "another", "squashfs", true },
	{ "two", "ext4,squashfs", true },
	{ "in the other order", "squashfs,ext4", true },
	{ "one that is not proven", "ocfs2", false },
	{ "one that is not proven, among others", "ext4,ocfs2,squashfs",
	  false },
	{ "the beginning of a name", "ext", false },
	{ "more than a name", "ext4x", false },
	{ "two names without a comma", "ext4squashfs", false },
	{ "comma at the end", "ext4,", false },
	{ "comma at the start", ",ext4", false },
	{ "empty word", "ext4,,squashfs", false },
	{ "only a comma", ",", false },
	{ "space", "ext4, squashfs", false },
	{ "newline", "ext4\n", false },
};

KUNIT_ARRAY_PARAM_DESC(fs, fs_cases, desc);

static void policy_fs_list(struct kunit *test)
{
	const struct text_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, c->good, !puma_super_check_list(c->text));
}

/* Longer than the setting can hold. */
static void policy_fs_list_long(struct kunit *test)
{
	char text[PUMA_TEXT_MAX + 16] = "ext4";
	unsigned int len;

	for (len = 4; len + 5 < PUMA_TEXT_MAX; len += 5)
		strcat(text, ",ext4");
	KUNIT_EXPECT_EQ(test, 0, puma_super_check_list(text));
	strcat(text, ",ext4");
	KUNIT_EXPECT_NE(test, 0, puma_super_check_list(text));
}

struct lenders_case {
	const char *desc;
	const char *text;
	int want;
};

#define FOUR	"1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1"

static const struct lenders_case lenders_cases[] = {
	{ "none", "", 0 },
	{ "one", "10.77.0.2", 1 },
	{ "one with a port", "10.77.0.2:7000", 1 },
	{ "three", "10.77.0.2,10.77.0.3:1,10.77.0.4:65535", 3 },
	{ "16", FOUR "," FOUR "," FOUR "," FOUR, 16 },
	{ "17", FOUR "," FOUR "," FOUR "," FOUR ",1.1.1.1", -EINVAL },
	{ "a name", "lender.example.org", -EINVAL },
	{ "a port alone", "7862", -EINVAL },
	{ "any address", "0.0.0.0", -EINVAL },
	{ "too large a number", "10.77.0.256", -EINVAL },
	{ "too few numbers", "10.77.0", -EINVAL },
	{ "port 0", "10.77.0.2:0", -EINVAL },
	{ "port too large", "10.77.0.2:65536", -EINVAL },
	{ "no port after the colon", "10.77.0.2:", -EINVAL },
	{ "no number as port", "10.77.0.2:x", -EINVAL },
	{ "space", "10.77.0.2, 10.77.0.3", -EINVAL },
	{ "empty word", "10.77.0.2,,10.77.0.3", -EINVAL },
	{ "comma at the start", ",10.77.0.2", -EINVAL },
	{ "comma at the end", "10.77.0.2,", -EINVAL },
	{ "IPv6", "fe80::1", -EINVAL },
};

KUNIT_ARRAY_PARAM_DESC(lenders, lenders_cases, desc);

static void policy_lender_list(struct kunit *test)
{
	const struct lenders_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, c->want, puma_lenders_check(c->text));
}

struct listen_case {
	const char *desc;
	const char *text;
	int err;
	u32 addr;
	u16 port;
};

static const struct listen_case listen_cases[] = {
	{ "a port", "7000", 0, 0, 7000 },
	{ "address and port", "10.77.0.2:7000", 0, 0x0a4d0002, 7000 },
	{ "address", "10.77.0.2", 0, 0x0a4d0002, PUMA_PORT },
	{ "any address", "0.0.0.0:7000", 0, 0, 7000 },
	{ "nothing", "", -EINVAL, 0, 0 },
	{ "port 0", "0", -EINVAL, 0, 0 },
	{ "port too large", "65536", -EINVAL, 0, 0 },
	{ "negative port", "-1", -EINVAL, 0, 0 },
	{ "hexadecimal port", "0x10", -EINVAL, 0, 0 },
	{ "more after the port", "7000x", -EINVAL, 0, 0 },
	{ "a colon alone", ":7000", -EINVAL, 0, 0 },
};

KUNIT_ARRAY_PARAM_DESC(listen, listen_cases, desc);

static void policy_endpoint(struct kunit *test)
{
	const struct listen_case *c = test->param_value;
	struct puma_endpoint ep = {};

	KUNIT_ASSERT_EQ(test, c->err, puma_endpoint_parse(c->text, false, &ep));
	if (c->err)
		return;
	KUNIT_EXPECT_EQ(test, c->addr, be32_to_cpu(ep.addr));
	KUNIT_EXPECT_EQ(test, c->port, be16_to_cpu(ep.port));
}

struct lend_case {
	const char *desc;
	const char *text;
	int err;
	unsigned long percent;	/* or */
	unsigned long pages;
};

static const struct lend_case lend_cases[] = {
	{ "bytes", "8192", 0, 0, 2 },
	{ "megabytes", "256M", 0, 0, 65536 },
	{ "small letter", "256m", 0, 0, 65536 },
	{ "gigabytes", "2G", 0, 0, 524288 },
	{ "nothing to lend", "0", 0, 0, 0 },
	{ "half", "50%", 0, 50, 0 },
	{ "all", "100%", 0, 100, 0 },
	{ "more than all", "101%", -EINVAL, 0, 0 },
	{ "no number", "M", -EINVAL, 0, 0 },
	{ "empty", "", -EINVAL, 0, 0 },
	{ "negative", "-1", -EINVAL, 0, 0 },
	{ "bytes are not a unit", "10B", -EINVAL, 0, 0 },
	{ "more after the unit", "10MB", -EINVAL, 0, 0 },
	{ "more after the percent", "10%%", -EINVAL, 0, 0 },
	{ "kilopercent", "1K%", -EINVAL, 0, 0 },
};

KUNIT_ARRAY_PARAM_DESC(lend, lend_cases, desc);

static void policy_max_lend(struct kunit *test)
{
	const struct lend_case *c = test->param_value;
	unsigned long pages = 0;

	KUNIT_ASSERT_EQ(test, c->err, puma_lend_parse(c->text, &pages));
	if (c->err)
		return;
	if (c->percent)
		KUNIT_EXPECT_EQ(test, pages,
				totalram_pages() * c->percent / 100);
	else
		KUNIT_EXPECT_EQ(test, pages, c->pages);
}

static struct kunit_case policy_cases[] = {
	KUNIT_CASE_PARAM(policy_budget, budget_gen_params),
	KUNIT_CASE(policy_budget_lump),
	KUNIT_CASE_PARAM(policy_budget_share, often_gen_params),
	KUNIT_CASE_PARAM(policy_deadline, deadline_gen_params),
	KUNIT_CASE(policy_rtt),
	KUNIT_CASE_PARAM(policy_rtt_limits, rtt_gen_params),
	KUNIT_CASE(policy_lender_usable),
	KUNIT_CASE_PARAM(policy_eligible, eligible_gen_params),
	KUNIT_CASE_PARAM(policy_fs_list, fs_gen_params),
	KUNIT_CASE(policy_fs_list_long),
	KUNIT_CASE_PARAM(policy_lender_list, lenders_gen_params),
	KUNIT_CASE_PARAM(policy_endpoint, listen_gen_params),
	KUNIT_CASE_PARAM(policy_max_lend, lend_gen_params),
	{}
};

static struct kunit_suite policy_suite = {
	.name = "puma_policy",
	.test_cases = policy_cases,
};

kunit_test_suite(policy_suite);
