// SPDX-License-Identifier: GPL-2.0
/*
 * The only user of sockets.
 *
 * PUMA never deserves the memory reserves: a put may be dropped and a get may
 * miss. So the sockets send without waiting for memory and are not SOCK_MEMALLOC,
 * and nothing here ever waits for the network but connect.
 *
 * At the borrower's end pages are received in the softirq that brought them,
 * under the socket's lock; at the lender's end puma_recv_work() receives.
 */
#include <linux/mmzone.h>
#include <linux/sched/mm.h>
#include <linux/tcp.h>
#include <linux/vmstat.h>
#include <net/inet_connection_sock.h>
#include <net/sock.h>
#include <net/tcp.h>

#include "internal.h"

#define SOCK_GFP		(GFP_NOWAIT | __GFP_NOWARN | __GFP_NOMEMALLOC)
#define BUFFER_BYTES		(1024 * 1024)
#define NOTSENT_LOWAT		(64 * 1024)
#define DEAD_MS			5000	/* unacknowledged data end a connection */
#define CONNECT_TIMEOUT		(3 * HZ)
#define RTO_MIN			msecs_to_jiffies(10)
#define BACKLOG			16

/*
 * The locks of sockets that we dialled nest inside page cache locks, those of
 * other sockets outside of them.
 */
static struct lock_class_key puma_sk_key;
static struct lock_class_key puma_slock_key;

static void reclassify(struct socket *sock)
{
	if (IS_ENABLED(CONFIG_DEBUG_LOCK_ALLOC) &&
	    sock_allow_reclassification(sock->sk))
		sock_lock_init_class_and_name(sock->sk, "slock-AF_INET-PUMA",
					      &puma_slock_key,
					      "sk_lock-AF_INET-PUMA",
					      &puma_sk_key);
}

static void set_options(struct socket *sock)
{
	struct sock *sk = sock->sk;

	tcp_sock_set_nodelay(sk);
	tcp_sock_set_user_timeout(sk, DEAD_MS);
	lock_sock(sk);
	sk->sk_allocation = SOCK_GFP;
	sk->sk_use_task_frag = false;
	sk->sk_sndbuf = BUFFER_BYTES;
	sk->sk_rcvbuf = BUFFER_BYTES;
	sk->sk_userlocks |= SOCK_SNDBUF_LOCK | SOCK_RCVBUF_LOCK;
	WRITE_ONCE(tcp_sk(sk)->notsent_lowat, NOTSENT_LOWAT);
	inet_csk(sk)->icsk_rto_min = RTO_MIN;
	release_sock(sk);
}

static int make_socket(struct socket **sockp)
{
	int err = sock_create_kern(&init_net, AF_INET, SOCK_STREAM,
				   IPPROTO_TCP, sockp);

	if (!err)
		reclassify(*sockp);
	return err;
}

static struct sockaddr_in to_sockaddr(const struct puma_endpoint *ep)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = ep->addr,
		.sin_port = ep->port,
	};
}

/**
 * puma_tcp_connect - reach a peer
 * @to: where
 * @sockp: set to the connected socket
 *
 * Context: process, waits up to CONNECT_TIMEOUT.
 * Return: 0 or an error.
 */
int puma_tcp_connect(const struct puma_endpoint *to, struct socket **sockp)
{
	struct sockaddr_in addr = to_sockaddr(to);
	struct socket *sock;
	int err = make_socket(&sock);

	if (err)
		return err;
	set_options(sock);
	sock->sk->sk_sndtimeo = CONNECT_TIMEOUT;
	err = kernel_connect(sock, (struct sockaddr *)&addr, sizeof(addr), 0);
	if (err) {
		sock_release(sock);
		return err == -EINPROGRESS ? -ETIMEDOUT : err;
	}
	*sockp = sock;
	return 0;
}

static void listen_ready(struct sock *sk)
{
	struct work_struct *work;

	read_lock_bh(&sk->sk_callback_lock);
	work = sk->sk_user_data;
	if (work && sk->sk_state == TCP_LISTEN)
		queue_work(puma_ctl_wq, work);
	read_unlock_bh(&sk->sk_callback_lock);
}

/**
 * puma_tcp_listen - wait for peers
 * @at: where
 * @sockp: set to the listening socket
 * @work: queued when a peer waits to be accepted
 *
 * Return: 0 or an error.
 */
int puma_tcp_listen(const struct puma_endpoint *at, struct socket **sockp,
		    struct work_struct *work)
{
	struct sockaddr_in addr = to_sockaddr(at);
	struct socket *sock;
	int err = make_socket(&sock);

	if (err)
		return err;
	set_options(sock);	/* for the children, from their first packet */
	sock_set_reuseaddr(sock->sk);
	write_lock_bh(&sock->sk->sk_callback_lock);
	sock->sk->sk_user_data = work;
	sock->sk->sk_data_ready = listen_ready;
	write_unlock_bh(&sock->sk->sk_callback_lock);
	err = kernel_bind(sock, (struct sockaddr *)&addr, sizeof(addr));
	if (!err)
		err = kernel_listen(sock, BACKLOG);
	if (err) {
		puma_tcp_close(sock);
		return err;
	}
	*sockp = sock;
	return 0;
}

/**
 * puma_tcp_accept - take one waiting peer
 * @listener: the listening socket
 * @sockp: set to the connected socket
 * @peer: set to where it is
 *
 * Return: 0, -EAGAIN when nobody waits, -ECONNABORTED when the peer has gone
 * again, or another error.
 */
int puma_tcp_accept(struct socket *listener, struct socket **sockp,
		    struct puma_endpoint *peer)
{
	struct sockaddr_in addr;
	struct socket *sock;
	int err = kernel_accept(listener, &sock, O_NONBLOCK);

	if (err)
		return err;
	/* The child inherited the listener's callback. */
	write_lock_bh(&sock->sk->sk_callback_lock);
	sock->sk->sk_user_data = NULL;
	write_unlock_bh(&sock->sk->sk_callback_lock);
	set_options(sock);
	err = kernel_getpeername(sock, (struct sockaddr *)&addr);
	if (err < 0) {
		puma_tcp_close(sock);
		return -ECONNABORTED;
	}
	peer->addr = addr.sin_addr.s_addr;
	peer->port = addr.sin_port;
	*sockp = sock;
	return 0;
}

static void data_ready(struct sock *sk)
{
	struct puma_conn *conn;

	read_lock_bh(&sk->sk_callback_lock);
	conn = sk->sk_user_data;
	if (conn && conn->lender)
		puma_tcp_receive(conn);
	else if (conn)
		queue_work(puma_net_wq, &conn->rx_work);
	read_unlock_bh(&sk->sk_callback_lock);
}

static void write_space(struct sock *sk)
{
	struct puma_conn *conn;

	read_lock_bh(&sk->sk_callback_lock);
	conn = sk->sk_user_data;
	if (conn && sk_stream_is_writeable(sk)) {
		clear_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
		puma_send_kick(conn);
	}
	read_unlock_bh(&sk->sk_callback_lock);
}

static void state_change(struct sock *sk)
{
	struct puma_conn *conn;

	read_lock_bh(&sk->sk_callback_lock);
	conn = sk->sk_user_data;
	if (conn && sk->sk_state != TCP_ESTABLISHED)
		puma_conn_break(conn, -sk->sk_err ?: -ECONNRESET);
	read_unlock_bh(&sk->sk_callback_lock);
}

/**
 * puma_tcp_attach - let the socket serve its connection
 * @conn: the connection
 *
 * Data that came in before are received now.
 *
 * Context: process.
 */
void puma_tcp_attach(struct puma_conn *conn)
{
	struct sock *sk = conn->sock->sk;

	write_lock_bh(&sk->sk_callback_lock);
	sk->sk_user_data = conn;
	sk->sk_data_ready = data_ready;
	sk->sk_write_space = write_space;
	sk->sk_state_change = state_change;
	write_unlock_bh(&sk->sk_callback_lock);
	if (sk->sk_state != TCP_ESTABLISHED)
		puma_conn_break(conn, -ECONNRESET);
	if (!conn->lender) {
		queue_work(puma_net_wq, &conn->rx_work);
		return;
	}
	lock_sock(sk);
	puma_tcp_receive(conn);
	release_sock(sk);
}

/**
 * puma_tcp_detach - end a socket's service
 * @conn: the connection; nothing is received for it from now on
 *
 * Context: process.
 */
void puma_tcp_detach(struct puma_conn *conn)
{
	struct sock *sk = conn->sock->sk;

	write_lock_bh(&sk->sk_callback_lock);
	sk->sk_user_data = NULL;
	write_unlock_bh(&sk->sk_callback_lock);
	kernel_sock_shutdown(conn->sock, SHUT_RDWR);
}

static void no_data_ready(struct sock *sk)
{
}

/**
 * puma_tcp_silence - let a listening socket queue no more work
 * @sock: the socket
 */
void puma_tcp_silence(struct socket *sock)
{
	struct sock *sk = sock->sk;

	write_lock_bh(&sk->sk_callback_lock);
	sk->sk_user_data = NULL;
	sk->sk_data_ready = no_data_ready;
	write_unlock_bh(&sk->sk_callback_lock);
}

/**
 * puma_tcp_close - close a socket
 * @sock: the socket, detached
 *
 * By reset: what is still on its way is of no interest, and nobody would send
 * it again for a socket of the kernel's own.
 */
void puma_tcp_close(struct socket *sock)
{
	puma_tcp_silence(sock);
	sock_no_linger(sock->sk);
	sock_release(sock);
}

/**
 * puma_tcp_send - push the current frame
 * @conn: the connection
 * @more: more frames follow at once
 *
 * Context: process, conn->tx_lock held. Does not wait.
 * Return: 0 when the whole frame is in the socket, -EAGAIN when it is full,
 * -ENOBUFS when there is no memory, or an error that ends the connection.
 */
int puma_tcp_send(struct puma_conn *conn, bool more)
{
	struct msghdr msg = {
		.msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL,
	};
	struct puma_tx *tx = &conn->tx;
	unsigned int noio;
	int ret = 0;

	lockdep_assert_held(&conn->tx_lock);
	if (more)
		msg.msg_flags |= MSG_MORE;
	noio = memalloc_noio_save();
	while (tx->sent < tx->len) {
		iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, tx->vec, tx->nr_vec,
			      tx->len);
		iov_iter_advance(&msg.msg_iter, tx->sent);
		ret = sock_sendmsg(conn->sock, &msg);
		if (ret <= 0)
			break;
		tx->sent += ret;
	}
	memalloc_noio_restore(noio);
	if (tx->sent == tx->len)
		return 0;
	/* An empty socket is never full: it was memory that lacked. */
	if (ret == -EAGAIN && !READ_ONCE(conn->sock->sk->sk_wmem_queued))
		return -ENOBUFS;
	return ret ?: -EAGAIN;
}

static int recv_actor(read_descriptor_t *desc, struct sk_buff *skb,
		      unsigned int offset, size_t len)
{
	return puma_recv_skb(desc->arg.data, skb, offset, len);
}

/**
 * puma_tcp_receive - take in what has arrived
 * @conn: the connection
 *
 * Context: the socket's lock is held, by this task or in softirq.
 */
void puma_tcp_receive(struct puma_conn *conn)
{
	read_descriptor_t desc = {
		.arg.data = conn,
		.count = 1,
	};

	lockdep_assert(lockdep_sock_is_held(conn->sock->sk));
	tcp_read_sock(conn->sock->sk, &desc, recv_actor);
}

/**
 * puma_tcp_memory_low - would sending eat into what others need?
 *
 * A failed allocation puts every TCP socket of the machine under pressure, so
 * puts wait before it comes to that.
 *
 * Return: true when free memory is near the minimum.
 */
bool puma_tcp_memory_low(void)
{
	unsigned long mark = 0;
	struct zone *zone;

	for_each_populated_zone(zone)
		mark += min_wmark_pages(zone);
	return global_zone_page_state(NR_FREE_PAGES) < mark + mark / 4;
}
