// SPDX-License-Identifier: GPL-2.0
/*
 * Shows that counters have one name each, fit for a file name; that a sum is
 * that of all CPUs; and that the partitions that are promised are there.
 */
#include <linux/ctype.h>

#include "fixture.h"

static void stats_names(struct kunit *test)
{
	unsigned int i, j;

	for (i = 0; i < PUMA_NR_COUNTERS; i++) {
		const char *name = puma_count_name(i);

		KUNIT_ASSERT_NOT_NULL(test, name);
		KUNIT_EXPECT_GT(test, strlen(name), 3);
		for (j = 0; name[j]; j++)
			KUNIT_EXPECT_TRUE_MSG(test, islower(name[j]) ||
					      name[j] == '_', "%s", name);
		for (j = 0; j < i; j++)
			KUNIT_EXPECT_STRNEQ(test, name, puma_count_name(j));
	}
}

/* Names of the gauges beside them in stats/. */
static void stats_gauges(struct kunit *test)
{
	static const char * const gauges[] = {
		"put_queued", "get_pending", "index_entries", "index_bytes",
		"lent_pages",
	};
	unsigned int i, j;

	for (i = 0; i < PUMA_NR_COUNTERS; i++)
		for (j = 0; j < ARRAY_SIZE(gauges); j++)
			KUNIT_EXPECT_STRNEQ(test, gauges[j],
					    puma_count_name(i));
}

static void stats_sum(struct kunit *test)
{
	u64 before[PUMA_NR_COUNTERS];
	unsigned int i;
	int cpu;

	for (i = 0; i < PUMA_NR_COUNTERS; i++)
		before[i] = puma_count_sum(i);
	puma_count(verify_ok);
	puma_count_n(verify_ok, 41);
	puma_count_n(verify_ok, 0);
	for_each_possible_cpu(cpu)
		per_cpu(puma_counts, cpu).nr[PUMA_COUNT_verify_skipped] += 3;
	for (i = 0; i < PUMA_NR_COUNTERS; i++) {
		u64 more = i == PUMA_COUNT_verify_ok ? 42 :
			   i == PUMA_COUNT_verify_skipped ?
			   3 * num_possible_cpus() : 0;

		KUNIT_EXPECT_EQ_MSG(test, before[i] + more, puma_count_sum(i),
				    "%s", puma_count_name(i));
	}
}

static void stats_large(struct kunit *test)
{
	u64 before = puma_count_sum(PUMA_COUNT_verify_ok);

	puma_count_n(verify_ok, 1ULL << 40);
	KUNIT_EXPECT_EQ(test, before + (1ULL << 40),
			puma_count_sum(PUMA_COUNT_verify_ok));
	puma_count_n(verify_ok, -(1ULL << 40));
	KUNIT_EXPECT_EQ(test, before, puma_count_sum(PUMA_COUNT_verify_ok));
}

struct part_case {
	const char *desc;
	enum puma_counter whole;
	const char *part[12];
};

static const struct part_case part_cases[] = {
	{ "pages offered", PUMA_COUNT_put_offered,
	  { "put_sent", "put_kept", "put_ineligible", "put_no_lender",
	    "put_ring_full", "put_retracted", "put_stale", "put_lost" } },
	{ "pages looked up", PUMA_COUNT_get_lookups,
	  { "get_hit", "get_miss", "get_busy", "get_queued", "get_throttled",
	    "get_bypass", "get_no_request", "get_gone", "get_timeout",
	    "get_lost", "get_bad" } },
	{ "puts of borrowers", PUMA_COUNT_lend_puts,
	  { "lend_stored", "lend_refused" } },
	{ "gets of borrowers", PUMA_COUNT_lend_gets,
	  { "lend_served", "lend_gone_answers" } },
};

KUNIT_ARRAY_PARAM_DESC(part, part_cases, desc);

/* The parts follow the whole in this order, as the tests that sum rely on. */
static void stats_partition(struct kunit *test)
{
	const struct part_case *c = test->param_value;
	unsigned int i;

	for (i = 0; c->part[i]; i++)
		KUNIT_EXPECT_STREQ(test, c->part[i],
				   puma_count_name(c->whole + 1 + i));
}

static struct kunit_case stats_cases[] = {
	KUNIT_CASE(stats_names),
	KUNIT_CASE(stats_gauges),
	KUNIT_CASE(stats_sum),
	KUNIT_CASE(stats_large),
	KUNIT_CASE_PARAM(stats_partition, part_gen_params),
	{}
};

static struct kunit_suite stats_suite = {
	.name = "puma_stats",
	.test_cases = stats_cases,
};

kunit_test_suite(stats_suite);
