/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the suites share: a connection without a socket. What it receives is
 * handed over as buffers, what it would send is looked at in puma_conn.tx; its
 * works are disabled, so nothing happens behind the test's back.
 */
#ifndef _NET_PUMA_TESTS_FIXTURE_H
#define _NET_PUMA_TESTS_FIXTURE_H

#include <kunit/test.h>

#include "../internal.h"

struct puma_conn *puma_fix_conn(struct kunit *test, bool at_borrower);
size_t puma_fix_feed(struct kunit *test, struct puma_conn *conn,
		     const void *bytes, size_t len);
bool puma_fix_next(struct kunit *test, struct puma_conn *conn,
		   struct puma_wire_hdr *hdr);
size_t puma_fix_frame(void *to, enum puma_wire_type type, u8 flags, u16 nr,
		      u32 id, const void *meta, u32 len_meta, u32 pages);
size_t puma_fix_hello(void *to, u64 node);

#endif /* _NET_PUMA_TESTS_FIXTURE_H */
