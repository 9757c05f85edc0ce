// SPDX-License-Identifier: GPL-2.0
/*
 * The switches behind the hooks of include/linux/puma.h.
 *
 * The hooks themselves are where their work is: __puma_put_*() in put.c,
 * __puma_readahead() and __puma_read_folio() in get.c, __puma_inval_*() and
 * __puma_folio_changed() in invalidate.c, __puma_super_changed() in super.c,
 * __puma_give_back() in lend.c. main.c throws the switches. The tracepoints are
 * made here, too.
 */
#include <linux/export.h>

#include "internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/puma.h>

DEFINE_STATIC_KEY_FALSE(puma_borrow_key);
EXPORT_SYMBOL_GPL(puma_borrow_key);	/* file systems may be modules */

DEFINE_STATIC_KEY_FALSE(puma_lend_key);
