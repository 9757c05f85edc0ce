// SPDX-License-Identifier: GPL-2.0
/*
 * Delay points: waits that a tester puts between two steps of which the order
 * matters, so that a race is explored and not left to luck.
 *
 * Each is a file in debugfs, puma/delay_us/NAME: microseconds, 0 is off. They
 * are reached in every context, softirq included, so they spin.
 */
#include <linux/debugfs.h>
#include <linux/ktime.h>

#include "internal.h"

#define DELAY_MAX_US	100000U

static u32 delay_us[PUMA_NR_DELAYS];

#define DELAY_NAME(name)	[PUMA_DELAY_##name] = #name,
static const char * const delay_name[PUMA_NR_DELAYS] = {
	PUMA_DELAY_POINTS(DELAY_NAME)
};

/**
 * __puma_delay - wait here if a tester asked for it
 * @point: where
 *
 * Context: any but hard interrupts.
 */
void __puma_delay(enum puma_delay point)
{
	u32 us = READ_ONCE(delay_us[point]);
	ktime_t end;

	if (likely(!us))
		return;
	end = ktime_add_us(ktime_get(), min(us, DELAY_MAX_US));
	while (ktime_before(ktime_get(), end))
		cpu_relax();
}

static int __init delay_init(void)
{
	struct dentry *dir;
	unsigned int i;

	dir = debugfs_create_dir("delay_us", debugfs_create_dir("puma", NULL));
	for (i = 0; i < PUMA_NR_DELAYS; i++)
		debugfs_create_u32(delay_name[i], 0600, dir, &delay_us[i]);
	return 0;
}
late_initcall(delay_init);
