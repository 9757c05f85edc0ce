// SPDX-License-Identifier: GPL-2.0
/*
 * Counters of PUMA: one per-CPU array, named by PUMA_COUNTERS in internal.h.
 * Counting is safe in any context; a sum is exact only when nothing is under
 * way. sysfs.c shows them.
 */
#include "internal.h"

DEFINE_PER_CPU(struct puma_counts, puma_counts);

#define PUMA_COUNTER_NAME(name)	[PUMA_COUNT_##name] = #name,
static const char * const puma_counter_names[PUMA_NR_COUNTERS] = {
	PUMA_COUNTERS(PUMA_COUNTER_NAME)
};

/**
 * puma_count_sum - value of a counter over all CPUs
 * @counter: which
 *
 * Return: the sum.
 */
u64 puma_count_sum(enum puma_counter counter)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu(puma_counts, cpu).nr[counter]);
	return sum;
}

/**
 * puma_count_name - name of a counter, as in sysfs
 * @counter: which
 *
 * Return: the name.
 */
const char *puma_count_name(enum puma_counter counter)
{
	return puma_counter_names[counter];
}
