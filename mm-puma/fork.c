// SPDX-License-Identifier: GPL-2.0
/*
 * A machine that is copied, put back to a snapshot or hibernated.
 *
 * Its memory remembers what lenders held at another time, and it would give
 * other pages the names that it gave to pages after that time. So nothing may
 * go over a connection of before: every lender is dialled again, which begins
 * with an empty index here and an empty store there.
 *
 * The hypervisor says so (VM generation ID). Without that the connection breaks,
 * because the lender's end of it has gone on: TCP notices, or the answers say
 * that other pages were put, see puma_wire_puts(). Hibernation is told by the
 * kernel.
 *
 * Context: process.
 */
#include <linux/notifier.h>
#include <linux/random.h>
#include <linux/suspend.h>

#include "internal.h"

static int machine_forked(struct notifier_block *nb, unsigned long event,
			  void *data)
{
	pr_info("this machine was copied or put back\n");
	puma_net_forked();
	puma_lenders_redial();
	return NOTIFY_DONE;
}

static int machine_sleeps(struct notifier_block *nb, unsigned long event,
			  void *data)
{
	switch (event) {
	case PM_HIBERNATION_PREPARE:
	case PM_POST_HIBERNATION:
	case PM_POST_RESTORE:
		puma_lenders_redial();
	}
	return NOTIFY_DONE;
}

static struct notifier_block fork_nb = { .notifier_call = machine_forked };
static struct notifier_block sleep_nb = { .notifier_call = machine_sleeps };

/**
 * puma_fork_init - be told when the machine is copied
 *
 * Return: 0 or an error.
 */
int __init puma_fork_init(void)
{
	int err = register_random_vmfork_notifier(&fork_nb);

	return err ?: register_pm_notifier(&sleep_nb);
}
