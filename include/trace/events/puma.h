/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM puma

#if !defined(_TRACE_PUMA_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_PUMA_H

#include <linux/fs.h>
#include <linux/tracepoint.h>
#include <net/puma.h>

TRACE_DEFINE_ENUM(PUMA_GET_ANSWERED);
TRACE_DEFINE_ENUM(PUMA_GET_TIMEOUT);
TRACE_DEFINE_ENUM(PUMA_GET_LOST);

/* A page was copied and queued for a lender. */
TRACE_EVENT(puma_put,
	TP_PROTO(u64 file, pgoff_t index, u32 slot),
	TP_ARGS(file, index, slot),
	TP_STRUCT__entry(
		__field(u64, file)
		__field(pgoff_t, index)
		__field(u32, slot)
	),
	TP_fast_assign(
		__entry->file = file;
		__entry->index = index;
		__entry->slot = slot;
	),
	TP_printk("file=%016llx index=%lu slot=%u",
		  __entry->file, __entry->index, __entry->slot)
);

/* A request is handed to the connection. */
TRACE_EVENT(puma_get_submit,
	TP_PROTO(const struct puma_get *req),
	TP_ARGS(req),
	TP_STRUCT__entry(
		__field(u64, file)
		__field(unsigned int, nr)
		__field(u32, slot)
	),
	TP_fast_assign(
		__entry->file = req->file;
		__entry->nr = req->nr;
		__entry->slot = req->page[0].slot;
	),
	TP_printk("file=%016llx pages=%u slot=%u",
		  __entry->file, __entry->nr, __entry->slot)
);

/* A request has ended. */
TRACE_EVENT(puma_get_done,
	TP_PROTO(const struct puma_get *req, enum puma_get_end why, u64 us,
		 unsigned int unfilled),
	TP_ARGS(req, why, us, unfilled),
	TP_STRUCT__entry(
		__field(u64, file)
		__field(u64, us)
		__field(unsigned int, nr)
		__field(unsigned int, unfilled)
		__field(int, why)
	),
	TP_fast_assign(
		__entry->file = req->file;
		__entry->us = us;
		__entry->nr = req->nr;
		__entry->unfilled = unfilled;
		__entry->why = why;
	),
	TP_printk("file=%016llx pages=%u unfilled=%u us=%llu %s",
		  __entry->file, __entry->nr, __entry->unfilled, __entry->us,
		  __print_symbolic(__entry->why,
				   { PUMA_GET_ANSWERED, "answered" },
				   { PUMA_GET_TIMEOUT, "timeout" },
				   { PUMA_GET_LOST, "lost" }))
);

/* A range of a file changed; entries were erased. */
TRACE_EVENT(puma_inval,
	TP_PROTO(const struct inode *inode, pgoff_t start, pgoff_t end,
		 unsigned long erased),
	TP_ARGS(inode, start, end, erased),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(unsigned long, ino)
		__field(pgoff_t, start)
		__field(pgoff_t, end)
		__field(unsigned long, erased)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->start = start;
		__entry->end = end;
		__entry->erased = erased;
	),
	TP_printk("dev=%d:%d ino=%lu pages=%lu-%lu erased=%lu",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  __entry->start, __entry->end, __entry->erased)
);

/* A lender said which slots of a segment it has dropped. */
TRACE_EVENT(puma_gone,
	TP_PROTO(u32 segment),
	TP_ARGS(segment),
	TP_STRUCT__entry(
		__field(u32, segment)
	),
	TP_fast_assign(
		__entry->segment = segment;
	),
	TP_printk("segment=%u", __entry->segment)
);

/* A lender came, went, or changed its lease. */
TRACE_EVENT(puma_lender,
	TP_PROTO(__be32 addr, const char *what, u32 segments),
	TP_ARGS(addr, what, segments),
	TP_STRUCT__entry(
		__field(__be32, addr)
		__string(what, what)
		__field(u32, segments)
	),
	TP_fast_assign(
		__entry->addr = addr;
		__assign_str(what);
		__entry->segments = segments;
	),
	TP_printk("lender=%pI4 %s segments=%u",
		  &__entry->addr, __get_str(what), __entry->segments)
);

/* The lender stored, refused or dropped a page. */
TRACE_EVENT(puma_lend,
	TP_PROTO(__be32 addr, u32 slot, const char *what),
	TP_ARGS(addr, slot, what),
	TP_STRUCT__entry(
		__field(__be32, addr)
		__field(u32, slot)
		__string(what, what)
	),
	TP_fast_assign(
		__entry->addr = addr;
		__entry->slot = slot;
		__assign_str(what);
	),
	TP_printk("borrower=%pI4 slot=%u %s",
		  &__entry->addr, __entry->slot, __get_str(what))
);

#endif /* _TRACE_PUMA_H */

#include <trace/define_trace.h>
