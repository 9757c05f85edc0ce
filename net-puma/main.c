// SPDX-License-Identifier: GPL-2.0
/*
 * net/puma: how pages travel between peers. Start-up only; the connections are
 * made by connect.c and listen.c when mm/puma asks for them.
 */
#include <linux/init.h>
#include <linux/random.h>

#include "internal.h"

struct workqueue_struct *puma_net_wq;
struct workqueue_struct *puma_ctl_wq;
u64 puma_node;
u64 puma_incarnation;

/**
 * puma_net_forked - this machine is a copy; it is not the other one
 *
 * Context: process.
 */
void puma_net_forked(void)
{
	WRITE_ONCE(puma_node, get_random_u64());
	WRITE_ONCE(puma_incarnation, get_random_u64());
}

static int __init puma_net_init(void)
{
	BUILD_BUG_ON(sizeof(struct puma_wire_hdr) != 16);
	BUILD_BUG_ON(sizeof(struct puma_wire_hello) != 40);
	BUILD_BUG_ON(sizeof(struct puma_wire_refuse) != 8);
	BUILD_BUG_ON(sizeof(struct puma_wire_lease) != 8);
	BUILD_BUG_ON(sizeof(struct puma_wire_put) != 32);
	BUILD_BUG_ON(sizeof(struct puma_wire_get) != 16);
	BUILD_BUG_ON(sizeof(struct puma_wire_page) != 16);
	BUILD_BUG_ON(sizeof(struct puma_wire_dropped) != 1032);
	BUILD_BUG_ON(sizeof(struct puma_wire_ping) != 16);
	BUILD_BUG_ON(PUMA_BATCH * sizeof(struct puma_wire_put) >
		     PUMA_WIRE_META_MAX);
	BUILD_BUG_ON(sizeof(struct puma_wire_dropped) > PUMA_WIRE_META_MAX);

	puma_net_wq = alloc_workqueue("puma_net",
				      WQ_MEM_RECLAIM | WQ_HIGHPRI, 0);
	puma_ctl_wq = alloc_workqueue("puma_ctl", WQ_UNBOUND, 0);
	if (!puma_net_wq || !puma_ctl_wq)
		return -ENOMEM;
	puma_node = get_random_u64();
	puma_incarnation = get_random_u64();
	return 0;
}
fs_initcall(puma_net_init);
