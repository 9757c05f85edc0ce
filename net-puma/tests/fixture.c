// SPDX-License-Identifier: GPL-2.0
/*
 * What the suites share: a connection without a socket.
 */
#include <linux/skbuff.h>

#include "fixture.h"

static void fix_free_conn(void *data)
{
	struct puma_conn *conn = data;

	timer_delete_sync(&conn->timer);
	puma_send_reset(conn);
	puma_recv_reset(conn);
	if (conn->store)
		puma_store_close(conn->store);
	puma_conn_put(conn);
}

/**
 * puma_fix_conn - make a connection that is up and was greeted
 * @test: the test
 * @at_borrower: which end; the borrower's lender must not be looked into
 *
 * Return: the connection.
 */
struct puma_conn *puma_fix_conn(struct kunit *test, bool at_borrower)
{
	const struct puma_endpoint peer = {
		.addr = cpu_to_be32(0x0a4d0002),
		.port = cpu_to_be16(PUMA_PORT),
	};
	struct puma_lender *lender = NULL;
	struct puma_conn *conn;

	if (at_borrower) {
		lender = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, lender);
	}
	conn = puma_conn_alloc(lender, &peer);
	KUNIT_ASSERT_NOT_NULL(test, conn);
	disable_delayed_work(&conn->work);
	disable_delayed_work(&conn->tx_work);
	disable_work(&conn->rx_work);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, fix_free_conn, conn));
	conn->state = PUMA_CONN_UP;
	conn->greeted = true;
	conn->heard = jiffies;
	return conn;
}

/**
 * puma_fix_feed - let bytes arrive
 * @test: the test
 * @conn: the connection
 * @bytes: the bytes
 * @len: how many
 *
 * Return: how many were taken in.
 */
size_t puma_fix_feed(struct kunit *test, struct puma_conn *conn,
		     const void *bytes, size_t len)
{
	struct sk_buff *skb = alloc_skb(len + 3, GFP_KERNEL);
	size_t done;

	KUNIT_ASSERT_NOT_NULL(test, skb);
	/* Not at the start of the buffer. */
	skb_put_zero(skb, 3);
	skb_put_data(skb, bytes, len);
	done = puma_recv_skb(conn, skb, 3, len);
	kfree_skb(skb);
	return done;
}

/**
 * puma_fix_next - drop the frame under way and make the next one
 * @test: the test
 * @conn: the connection; the frame is in its tx
 * @hdr: set to the header
 *
 * Return: false when there is nothing to be sent.
 */
bool puma_fix_next(struct kunit *test, struct puma_conn *conn,
		   struct puma_wire_hdr *hdr)
{
	struct puma_tx *tx = &conn->tx;
	bool more;

	mutex_lock(&conn->tx_lock);
	puma_send_reset(conn);
	more = puma_send_next_frame(conn, false);
	mutex_unlock(&conn->tx_lock);
	KUNIT_EXPECT_EQ(test, more, tx->head_len != 0);
	if (!more)
		return false;
	memcpy(hdr, tx->head, sizeof(*hdr));
	KUNIT_EXPECT_EQ(test, tx->len, sizeof(*hdr) + le32_to_cpu(hdr->len));
	KUNIT_EXPECT_EQ(test, tx->sent, 0);
	return true;
}

/**
 * puma_fix_frame - write a frame
 * @to: where; data pages are filled with their number
 * @type: enum puma_wire_type
 * @flags: by type
 * @nr: by type
 * @id: by type
 * @meta: the counted part
 * @len_meta: its length
 * @pages: number of data pages
 *
 * Return: bytes written.
 */
size_t puma_fix_frame(void *to, enum puma_wire_type type, u8 flags, u16 nr,
		      u32 id, const void *meta, u32 len_meta, u32 pages)
{
	struct puma_wire_hdr hdr;
	size_t len = sizeof(hdr);
	u32 i;

	puma_wire_header(&hdr, type, flags, nr,
			 len_meta + pages * PUMA_WIRE_PAGE_SIZE, id);
	memcpy(to, &hdr, sizeof(hdr));
	if (len_meta)
		memcpy(to + len, meta, len_meta);
	len += len_meta;
	for (i = 0; i < pages; i++) {
		memset(to + len, i + 1, PUMA_WIRE_PAGE_SIZE);
		len += PUMA_WIRE_PAGE_SIZE;
	}
	return len;
}

/**
 * puma_fix_hello - write a good HELLO
 * @to: where
 * @node: the machine that says it
 *
 * Return: bytes written.
 */
size_t puma_fix_hello(void *to, u64 node)
{
	const struct puma_wire_hello hello = {
		.magic = cpu_to_le64(PUMA_WIRE_MAGIC),
		.version = cpu_to_le16(PUMA_WIRE_VERSION),
		.min_version = cpu_to_le16(PUMA_WIRE_MIN_VERSION),
		.page_size = cpu_to_le32(PUMA_WIRE_PAGE_SIZE),
		.node = cpu_to_le64(node),
		.incarnation = cpu_to_le64(1),
	};

	return puma_fix_frame(to, PUMA_WIRE_HELLO, 0, 0, 0, &hello,
			      sizeof(hello), 0);
}
