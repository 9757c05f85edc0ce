// SPDX-License-Identifier: GPL-2.0
/*
 * Events: the file is written around the page cache, with O_DIRECT.
 */
#define _GNU_SOURCE
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "events.h"

#define QUEUE		4U		/* writes at once */
#define QUEUE_BYTES	(4 * PAGE)	/* of each */
#define QUEUE_AT	(16 * PAGE)

static int direct_write(struct file *f)
{
	return direct_write_at(f, 8 * PAGE, 8 * PAGE);
}

static int direct_write_sector(struct file *f)
{
	return direct_write_at(f, 5 * PAGE + 1024, 512);
}

static int direct_write_extend(struct file *f)
{
	return direct_write_at(f, (PAGES - 2) * PAGE, 6 * PAGE);
}

static int direct_write_hole(struct file *f)
{
	if (resize(f, 2 * PAGES * PAGE))
		return -1;
	/* The holes have entries too. */
	if (prove_entries(f))
		return -1;
	return direct_write_at(f, (PAGES + 7) * PAGE, 9 * PAGE);
}

static int direct_write_twice(struct file *f)
{
	/* A reader in between brings the pages back into the cache. */
	return direct_write(f) || read_compare(f, f->fd, "read between") ||
	       direct_write(f) || evict_file(f) || direct_write(f);
}

static int direct_write_beyond_end(struct file *f)
{
	return direct_write_at(f, (PAGES + 2) * PAGE, 2 * PAGE);
}

/* btrfs writes data with checksums elsewhere; this in place. */
static int direct_write_nocow(struct file *f)
{
	if (file_fs(f) != FS_BTRFS)
		return skip("direct_write is the same on this file system");
	return direct_write(f);
}

static int direct_write_aio(struct file *f)
{
	uint8_t *data = new_bytes(f, QUEUE_AT / PAGE, QUEUE * QUEUE_BYTES);
	struct iocb cb[QUEUE] = {}, *list[QUEUE];
	int fd = file_open_direct(f, O_WRONLY);
	struct io_event event[QUEUE];
	aio_context_t ctx = 0;
	unsigned int i;

	if (fd < 0)
		return wrong_errno("open O_DIRECT");
	if (syscall(SYS_io_setup, QUEUE, &ctx))
		return refused("io_setup");
	for (i = 0; i < QUEUE; i++) {
		cb[i].aio_lio_opcode = IOCB_CMD_PWRITE;
		cb[i].aio_fildes = fd;
		cb[i].aio_buf = (uintptr_t)(data + i * QUEUE_BYTES);
		cb[i].aio_nbytes = QUEUE_BYTES;
		cb[i].aio_offset = QUEUE_AT + i * QUEUE_BYTES;
		list[i] = &cb[i];
	}
	if (syscall(SYS_io_submit, ctx, QUEUE, list) != QUEUE)
		return wrong_errno("io_submit");
	if (syscall(SYS_io_getevents, ctx, QUEUE, QUEUE, event, NULL) != QUEUE)
		return wrong_errno("io_getevents");
	for (i = 0; i < QUEUE; i++)
		if (event[i].res != (long long)QUEUE_BYTES)
			return wrong("aio write returned %lld", (long long)event[i].res);
	model_write(f, QUEUE_AT, data, QUEUE * QUEUE_BYTES);
	syscall(SYS_io_destroy, ctx);
	close(fd);
	free(data);
	return 0;
}

struct ring {
	struct io_uring_params p;
	int fd;
	uint8_t *rings;
	struct io_uring_sqe *sqe;
};

static int ring_make(struct ring *r)
{
	size_t size, cq;

	r->fd = syscall(SYS_io_uring_setup, QUEUE, &r->p);
	if (r->fd < 0)
		return errno == EPERM ? skip("io_uring_setup: %s", strerror(errno)) :
					refused("io_uring_setup");
	if (!(r->p.features & IORING_FEAT_SINGLE_MMAP))
		return skip("io_uring without IORING_FEAT_SINGLE_MMAP");
	size = r->p.sq_off.array + r->p.sq_entries * sizeof(uint32_t);
	cq = r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe);
	r->rings = mmap(NULL, size > cq ? size : cq, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQ_RING);
	r->sqe = mmap(NULL, r->p.sq_entries * sizeof(*r->sqe), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
	if (r->rings == MAP_FAILED || r->sqe == MAP_FAILED)
		return wrong_errno("mmap of the ring");
	return 0;
}

/* All writes at once; waits for all. The ring is used once, so it never wraps. */
static int ring_write(struct ring *r, int fd, uint8_t *data)
{
	struct io_uring_cqe *cqe = (void *)(r->rings + r->p.cq_off.cqes);
	uint32_t *array = (void *)(r->rings + r->p.sq_off.array);
	uint32_t *tail = (void *)(r->rings + r->p.sq_off.tail);
	unsigned int i;

	for (i = 0; i < QUEUE; i++) {
		r->sqe[i] = (struct io_uring_sqe){
			.opcode = IORING_OP_WRITE,
			.fd = fd,
			.addr = (uintptr_t)(data + i * QUEUE_BYTES),
			.len = QUEUE_BYTES,
			.off = QUEUE_AT + i * QUEUE_BYTES,
		};
		array[i] = i;
	}
	__atomic_store_n(tail, QUEUE, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, r->fd, QUEUE, QUEUE, IORING_ENTER_GETEVENTS, NULL, 0) !=
	    QUEUE)
		return wrong_errno("io_uring_enter");
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	for (i = 0; i < QUEUE; i++)
		if (cqe[i].res != (int)QUEUE_BYTES)
			return wrong("io_uring write returned %d", cqe[i].res);
	return 0;
}

static int direct_write_uring(struct file *f)
{
	struct ring ring = {};
	uint8_t *data;
	int fd, ret;

	if (ring_make(&ring))
		return -1;
	fd = file_open_direct(f, O_WRONLY);
	if (fd < 0)
		return wrong_errno("open O_DIRECT");
	data = new_bytes(f, QUEUE_AT / PAGE, QUEUE * QUEUE_BYTES);
	ret = ring_write(&ring, fd, data);
	if (!ret)
		model_write(f, QUEUE_AT, data, QUEUE * QUEUE_BYTES);
	close(ring.fd);
	close(fd);
	free(data);
	return ret;
}

/*
 * The write fails in the middle, because the rest of its data is not in memory;
 * by then the first part is on the disk, if that is written in place.
 */
static int direct_write_torn(struct file *f)
{
	uint8_t *nowhere = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = file_open_direct(f, O_WRONLY);
	uint8_t *data = new_bytes(f, 8, 4 * PAGE), *old = malloc(f->size);
	struct iovec iov[2] = { { data, 4 * PAGE }, { nowhere, 4 * PAGE } };
	size_t i, changed = 0;
	ssize_t n;

	if (fd < 0)
		return wrong_errno("open O_DIRECT");
	n = pwritev(fd, iov, 2, 8 * PAGE);
	close(fd);
	munmap(nowhere, 4 * PAGE);
	if (n > (ssize_t)(4 * PAGE))
		return wrong("%zd bytes written from no memory", n);
	memcpy(old, f->want, f->size);
	if (model_from_disk(f))
		return -1;
	for (i = 0; i < f->size; i += PAGE) {
		if (!memcmp(f->want + i, old + i, PAGE))
			continue;
		changed++;
		if (i < 8 * PAGE || i >= 12 * PAGE ||
		    memcmp(f->want + i, data + i - 8 * PAGE, PAGE))
			return wrong("page %zu on the disk is neither old nor new", i / PAGE);
	}
	free(old);
	free(data);
	return changed ? 0 : wrong("nothing reached the disk (write returned %zd)", n);
}

const struct event events_direct[] = {
	{ "direct_write", direct_write, FULL, 0 },
	{ "direct_write_sector", direct_write_sector, FULL, 0 },
	{ "direct_write_extend", direct_write_extend, FULL, 0 },
	{ "direct_write_hole", direct_write_hole, FULL, 0 },
	{ "direct_write_twice", direct_write_twice, FULL, 0 },
	{ "direct_write_aio", direct_write_aio, FULL, 0 },
	{ "direct_write_uring", direct_write_uring, FULL, 0 },
	{ "direct_write_beyond_end", direct_write_beyond_end, ODD, 0 },
	{ "direct_write_torn", direct_write_torn, FULL, NOCOW },
	{ "direct_write_nocow", direct_write_nocow, FULL, NOCOW },
	{}
};
