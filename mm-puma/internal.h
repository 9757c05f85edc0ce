/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of mm/puma share. One section a file, in the order of the
 * Makefile. No socket header is included here or anywhere in this folder.
 */
#ifndef _MM_PUMA_INTERNAL_H
#define _MM_PUMA_INTERNAL_H

#include <linux/fs.h>
#include <linux/kobject.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/puma.h>
#include <linux/siphash.h>
#include <linux/workqueue.h>
#include <net/puma.h>

/* An invariant of ours, checked where CONFIG_PUMA_DEBUG asks for it. */
#define puma_assert(cond) \
	WARN_ON_ONCE(IS_ENABLED(CONFIG_PUMA_DEBUG) && !(cond))

/* delay.c */

#define PUMA_DELAY_POINTS(X) \
	X(put_begin)	/* published, still in the cache */ \
	X(put_commit)	/* not in the cache, not queued */ \
	X(put_send)	/* about to go on the wire */ \
	X(get_lookup)	/* found, not asked for */ \
	X(get_fill)	/* answered, folio not filled */ \
	X(inval_erase)	/* old pages removed, not erased */

#define PUMA_DELAY_ENUM(name)	PUMA_DELAY_##name,
enum puma_delay {
	PUMA_DELAY_POINTS(PUMA_DELAY_ENUM)
	PUMA_NR_DELAYS
};

#ifdef CONFIG_PUMA_DELAY
void __puma_delay(enum puma_delay point);
#else
static inline void __puma_delay(enum puma_delay point)
{
}
#endif

#define puma_delay(name)	__puma_delay(PUMA_DELAY_##name)

/* main.c */

enum puma_mode {
	PUMA_OFF,
	PUMA_BORROW,
	PUMA_LEND,
};

enum puma_strategy {
	PUMA_NONINCLUSIVE,	/* a hit leaves the page with the lender */
	PUMA_EXCLUSIVE,		/* a hit takes the page from the lender */
};

#define PUMA_TEXT_MAX		384	/* longest value of a parameter */

struct puma_settings {
	char lenders[PUMA_TEXT_MAX];
	char fs[PUMA_TEXT_MAX];
	struct puma_endpoint listen;
	unsigned int deadline_ms;
	enum puma_strategy strategy;
	bool verify;
};

extern struct puma_settings puma_set;	/* protected by puma_lock for writing */
extern struct mutex puma_lock;		/* serialises changes of role and settings */
extern struct workqueue_struct *puma_wq;

enum puma_mode puma_mode_now(void);
int puma_mode_change(enum puma_mode mode);
int puma_setting_change(const char *name, const char *value);
int puma_mode_parse(const char *text, enum puma_mode *mode);
int puma_endpoint_parse(const char *text, bool need_host,
			struct puma_endpoint *ep);

/* super.c */

void puma_super_start(void);
void puma_super_stop(void);
int puma_super_check_list(const char *list);
u64 puma_super_id(struct super_block *sb);

/* key.c */

#define PUMA_FID_WORDS		16

/**
 * struct puma_secret - keys of one life of the index
 * @file: names files
 * @place: spreads clusters of pages over segments
 * @page: spreads pages inside a segment
 * @token: makes names that a lender cannot guess
 * @seal: seeds the checksums
 */
struct puma_secret {
	siphash_key_t file;
	siphash_key_t place;
	siphash_key_t page;
	siphash_key_t token;
	siphash_key_t seal;
};

void puma_secret_init(struct puma_secret *secret);
u64 puma_key_file(const struct puma_secret *secret, u64 sb_id, u32 type,
		  const u32 *fid, unsigned int words);
u64 puma_key_token(const struct puma_secret *secret, u64 file, pgoff_t index,
		   u64 version);
u64 puma_key_sum(const struct puma_secret *secret, u64 token,
		 const void *data);
u64 puma_file(const struct puma_secret *secret, struct inode *inode);

/* index.c */

#define PUMA_CLUSTER_SHIFT	6	/* pages of a cluster share a segment */
#define PUMA_PARTS		2048	/* unit of placement */
#define PUMA_FILE_FLOORS	1024
#define PUMA_ERASE_MAX		65536	/* pages probed before a floor is raised */

#define PUMA_WORD_VALID		BIT_ULL(0)
#define PUMA_WORD_USED		BIT_ULL(1)	/* CLOCK: hit since inserted */
#define PUMA_WORD_QUEUED	BIT_ULL(2)	/* put not sent yet */
#define PUMA_VERSION_SHIFT	8
#define PUMA_VERSION_BITS	40
#define PUMA_TAG_SHIFT		48
#define PUMA_FLOOR_SHIFT	8		/* floors count 256 versions */

/**
 * struct puma_segment - a run of slots that a lender granted
 * @list: in puma_index.segments
 * @rcu: frees it
 * @lender: who granted it
 * @number: its place in the lender's lease
 * @parts: number of placement parts that map to it
 * @word: one word a slot, PUMA_SEGMENT_SLOTS of them
 */
struct puma_segment {
	struct list_head list;
	struct rcu_head rcu;
	struct puma_lender *lender;
	u32 number;
	unsigned int parts;
	u64 *word;
};

/**
 * struct puma_index - which page of which file is at which slot
 * @secret: keys of this life of the index
 * @version: counter that makes every put unique
 * @floor_all: words below are dead, in units of 256 versions
 * @part_floor: the same for a part that moved to another segment
 * @file_floor: the same for files that lost a huge range
 * @part: the segment of each part, NULL while there is none
 * @lock: protects @segments and changes of @part
 * @segments: all segments
 * @nr_segments: how many
 *
 * Words are read and changed without a lock, from any context.
 */
struct puma_index {
	struct puma_secret secret;
	atomic64_t version;
	u32 floor_all;
	u32 part_floor[PUMA_PARTS];
	u32 file_floor[PUMA_FILE_FLOORS];
	struct puma_segment __rcu *part[PUMA_PARTS];
	spinlock_t lock;	/* of the segments */
	struct list_head segments;
	unsigned int nr_segments;
};

/**
 * struct puma_entry - an entry as a look-up found it
 * @word: the word
 * @token: name of the page on the wire
 * @lender: who has it
 * @slot: where
 *
 * Valid inside the RCU read-side section of the look-up.
 */
struct puma_entry {
	u64 word;
	u64 token;
	struct puma_lender *lender;
	u32 slot;
};

enum puma_publish {
	PUMA_PUBLISHED,		/* a new entry, to be sent */
	PUMA_KEPT,		/* the lender has this page already */
	PUMA_NO_PLACE,		/* no segment, or its lender takes no puts */
};

extern struct puma_index __rcu *puma_index;

struct puma_index *puma_index_alloc(void);
void puma_index_free(struct puma_index *ix);
struct puma_segment *puma_segment_alloc(struct puma_lender *lender, u32 number);
void puma_segment_free(struct puma_segment *seg);
void puma_index_add(struct puma_index *ix, struct puma_segment *seg);
unsigned int puma_index_remove(struct puma_index *ix,
			       struct puma_lender *lender, u32 from);
u64 puma_index_version(struct puma_index *ix);
enum puma_publish puma_index_publish(struct puma_index *ix, u64 file,
				     pgoff_t index, u64 version);
bool puma_index_queued(struct puma_index *ix, u64 file, pgoff_t index,
		       u64 version, struct puma_entry *e);
bool puma_index_lookup(struct puma_index *ix, u64 file, pgoff_t index,
		       struct puma_entry *e);
void puma_index_used(struct puma_index *ix, u64 file, pgoff_t index, u64 word);
bool puma_index_sent(struct puma_index *ix, u64 file, pgoff_t index, u64 word);
unsigned int puma_index_erase(struct puma_index *ix, u64 file, pgoff_t index);
void puma_index_retract(struct puma_index *ix, u64 file, pgoff_t index,
			u64 version);
unsigned long puma_index_erase_range(struct puma_index *ix, u64 file,
				     pgoff_t start, pgoff_t end);
void puma_index_erase_slots(struct puma_index *ix, struct puma_lender *lender,
			    u32 segment, const __le64 *bitmap);
void puma_index_erase_all(struct puma_index *ix);
unsigned long puma_index_entries(struct puma_index *ix,
				 struct puma_lender *lender);
unsigned long puma_index_bytes(struct puma_index *ix);

/* policy.c */

/**
 * struct puma_budget - how much time a lender may waste
 * @last_us: when @credit_us was last filled up
 * @credit_us: time it may still waste; negative means not to be used
 */
struct puma_budget {
	u64 last_us;
	s64 credit_us;
};

void puma_budget_init(struct puma_budget *b, u64 now_us);
bool puma_budget_ok(struct puma_budget *b, u64 now_us);
void puma_budget_charge(struct puma_budget *b, u64 lost_us);

/**
 * struct puma_split - what a readahead batch looks like to the splitter
 * @hits: pages that lenders have
 * @misses: pages that they do not have
 * @runs: number of runs of misses
 * @start: first page of the last run of misses
 * @end: page after the last run of misses
 * @in_run: the last page added was a miss
 */
struct puma_split {
	unsigned long hits;
	unsigned long misses;
	unsigned int runs;
	pgoff_t start;
	pgoff_t end;
	bool in_run;
};

void puma_split_add(struct puma_split *split, pgoff_t index,
		    unsigned long nr_pages, bool hit);
bool puma_split_worth(const struct puma_split *split);
void puma_rtt_add(u32 *srtt_us, u32 *var_us, u64 sample_us);
unsigned long puma_deadline_us(u32 srtt_us, u32 var_us, unsigned int max_ms);
bool puma_inode_eligible(struct inode *inode);

/* put.c */

int puma_put_start(void);
void puma_put_stop(void);
unsigned int puma_put_queued(void);

#if IS_ENABLED(CONFIG_KUNIT)
struct puma_put_buf *puma_put_buf_take(void);
#endif

/* invalidate.c */

bool puma_inval_busy(struct address_space *mapping);

/* get.c */

enum puma_get_state {
	PUMA_PAGE_ASKED,	/* no answer yet */
	PUMA_PAGE_FILLED,	/* the folio holds it */
	PUMA_PAGE_GONE,		/* the lender does not have it any more */
	PUMA_PAGE_BAD,		/* the checksum did not match */
};

/**
 * struct puma_large - a folio that takes several requests
 * @left: requests that have not ended
 * @failed: some page of it did not come
 * @tokens: @token is there
 * @token: names of all its pages, for verify mode
 *
 * Belongs to the request that ends last.
 */
struct puma_large {
	atomic_t left;
	bool failed;
	bool tokens;
	u64 token[];
};

/* The position in a request of the first page of the folio of page @i. */
static inline unsigned int puma_get_first(const struct puma_get *req,
					  unsigned int i)
{
	return i - req->page[i].offset % PUMA_BATCH;
}

int puma_get_init(void);
void puma_get_drain(void);
void puma_get_free(struct puma_get *req);
long puma_get_pending(void);

/* fill.c */

extern atomic_long_t puma_get_nr_pending;
void puma_get_work(struct work_struct *work);

#if IS_ENABLED(CONFIG_KUNIT)
struct puma_get *puma_get_alloc(void);
void puma_get_give_up(struct puma_get *req);
#endif

/* verify.c */

struct puma_verify *puma_verify_begin(struct puma_get *req);
void puma_verify_end(struct puma_verify *v, struct puma_get *req);

/* lender.c */

enum puma_lender_state {
	PUMA_LENDER_DOWN,
	PUMA_LENDER_UP,
};

/**
 * struct puma_lender - a lender that this borrower knows
 * @list: in the list of lenders, protected by puma_lock
 * @kobj: its folder lenders/N
 * @endpoint: where it is
 * @conn: its connection, kept over reconnects
 * @state: enum puma_lender_state
 * @segments: number of segments it grants
 * @room: pages it said it could still take
 * @put_pause: no puts before this time, in jiffies
 * @srtt_us: smoothed time of a get or ping
 * @var_us: its mean deviation
 * @lock: protects @budget, @charged_us, @srtt_us and @var_us
 * @charged_us: losses up to this time are in @budget
 * @budget: what it may cost
 */
struct puma_lender {
	struct list_head list;
	struct kobject kobj;
	struct puma_endpoint endpoint;
	struct puma_conn *conn;
	enum puma_lender_state state;
	u32 segments;
	u32 room;
	unsigned long put_pause;
	u32 srtt_us;
	u32 var_us;
	spinlock_t lock;	/* of the measurements */
	u64 charged_us;
	struct puma_budget budget;
};

int puma_lenders_check(const char *text);
int puma_lenders_start(const char *text);
void puma_lenders_stop(void);
void puma_lenders_redial(void);
bool puma_lender_takes_puts(const struct puma_lender *lender);
bool puma_lender_usable(struct puma_lender *lender);
void puma_lender_cost(struct puma_lender *lender, u64 start_us, u64 end_us);
void puma_lender_rtt(struct puma_lender *lender, u64 rtt_us);
unsigned long puma_lender_deadline(struct puma_lender *lender,
				   unsigned long ahead_us);

/* fork.c */

int puma_fork_init(void);

/* store.c */

/**
 * struct puma_shelf - what the lender keeps about one segment
 * @token: name of the page in each slot
 * @seal: what came with it
 * @nr: number of its put
 * @gone: slots that reclaim emptied and the borrower was not told of
 */
struct puma_shelf {
	u64 token[PUMA_SEGMENT_SLOTS];
	struct puma_seal seal[PUMA_SEGMENT_SLOTS];
	u32 nr[PUMA_SEGMENT_SLOTS];
	DECLARE_BITMAP(gone, PUMA_SEGMENT_SLOTS);
};

/**
 * struct puma_store - the pages kept for one borrower
 * @list: in the list of stores, protected by its lock
 * @kobj: its folder borrowers/N, holds the last reference
 * @work: frees it
 * @borrower: where it is
 * @conn: its connection
 * @inode: its page cache holds the pages, at the offset of their slot
 * @lock: serialises the connection's use of the shelves
 * @shelf: one a segment
 * @nr_shelves: number of segments granted
 * @id: N of its folder
 * @stored: pages held
 * @gone_pending: some shelf has a bit in @gone
 * @refused: a put was refused and the borrower was not told
 * @gone_next: shelf to look at first
 * @hand: where giving back goes on
 */
struct puma_store {
	struct list_head list;
	struct kobject kobj;
	struct work_struct work;
	struct puma_endpoint borrower;
	struct puma_conn *conn;
	struct inode *inode;
	struct mutex lock;	/* of the shelves */
	struct puma_shelf **shelf;
	u32 nr_shelves;
	int id;
	atomic_long_t stored;
	unsigned long gone_pending;
	bool refused;
	u32 gone_next;
	pgoff_t hand;
};

int puma_store_init(void);
unsigned long puma_store_shrink(struct puma_store *store,
				struct pglist_data *pgdat, int zone_idx,
				unsigned long nr_pages);
void puma_store_kick_all(void);
struct puma_store *puma_store_largest(void);
void puma_store_release(struct kobject *kobj);

/* lend.c */

int puma_lend_parse(const char *text, unsigned long *pages);
int puma_lend_set_max(const char *text);
unsigned long puma_lend_max(void);
int puma_lend_start(void);
void puma_lend_stop(void);
bool puma_lend_may_store(void);
unsigned long puma_lend_room(void);
u32 puma_lend_lease(u32 have, u32 all);
extern atomic_long_t puma_lent;

/* stats.c */

/*
 * Every page is counted once in each partition:
 *   put_offered  = put_sent to put_lost + put_queued
 *   get_lookups  = get_hit to get_bad + get_pending
 *   lend_puts    = lend_stored + lend_refused
 *   lend_gets    = lend_served + lend_gone_answers
 */
#define PUMA_COUNTERS(X) \
	X(put_offered) \
	X(put_sent) \
	X(put_kept) \
	X(put_ineligible) \
	X(put_no_lender) \
	X(put_ring_full) \
	X(put_retracted) \
	X(put_stale) \
	X(put_lost) \
	X(put_pauses) \
	X(get_lookups) \
	X(get_hit) \
	X(get_miss) \
	X(get_busy) \
	X(get_queued) \
	X(get_throttled) \
	X(get_bypass) \
	X(get_no_request) \
	X(get_gone) \
	X(get_timeout) \
	X(get_lost) \
	X(get_bad) \
	X(gone_received) \
	X(inval_calls) \
	X(inval_erased) \
	X(verify_ok) \
	X(verify_mismatch) \
	X(verify_skipped) \
	X(lend_puts) \
	X(lend_stored) \
	X(lend_refused) \
	X(lend_gets) \
	X(lend_served) \
	X(lend_gone_answers) \
	X(lend_dropped)

#define PUMA_COUNTER_ENUM(name)	PUMA_COUNT_##name,
enum puma_counter {
	PUMA_COUNTERS(PUMA_COUNTER_ENUM)
	PUMA_NR_COUNTERS
};

struct puma_counts {
	u64 nr[PUMA_NR_COUNTERS];
};

DECLARE_PER_CPU(struct puma_counts, puma_counts);

#define puma_count_n(name, n) \
	this_cpu_add(puma_counts.nr[PUMA_COUNT_##name], (n))
#define puma_count(name)	puma_count_n(name, 1)

u64 puma_count_sum(enum puma_counter counter);
const char *puma_count_name(enum puma_counter counter);

/* sysfs.c */

int puma_sysfs_init(void);
int puma_sysfs_add_lender(struct puma_lender *lender, unsigned int nr);
int puma_sysfs_add_store(struct puma_store *store, unsigned int nr);

#endif /* _MM_PUMA_INTERNAL_H */
