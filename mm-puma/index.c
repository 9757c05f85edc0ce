// SPDX-License-Identifier: GPL-2.0
/*
 * The index: which page of which file is at which slot of which lender.
 *
 * It is an inverted table: one 64-bit word per remote page frame, at the place
 * of that frame. A page can be in any of 16 slots (two buckets of eight) of
 * the one segment that its cluster of 64 pages is placed in. A word holds
 *
 *	63..48	tag, more bits of the hash of (file, page)
 *	47..8	version, unique for every put
 *	7..0	flags
 *
 * Correctness of PUMA lives here and nowhere else: erasing a word, locally and
 * at once, is what makes a remote page unreachable, whatever messages are on
 * the wire. A tag can be the same for two pages: an erase then costs a good
 * entry, and a get asks for a token that the lender does not have. Neither
 * can return wrong data, because the token is derived from the full names.
 *
 * A version below a floor is dead. There are floors for everything, for each
 * part of the placement, and for groups of files.
 *
 * Look-up, publishing and erasing take no lock and do not allocate; they run
 * inside an RCU read-side section, in any context, interrupts off included.
 * Segments come and go in process context under puma_index.lock.
 */
#include <linux/rculist.h>
#include <linux/slab.h>

#include "internal.h"

#define BUCKET_SHIFT	3
#define BUCKET_SLOTS	8U
#define NR_BUCKETS	(PUMA_SEGMENT_SLOTS >> BUCKET_SHIFT)
#define WAYS		(2 * BUCKET_SLOTS)

#define VERSION_MASK	GENMASK_ULL(PUMA_TAG_SHIFT - 1, PUMA_VERSION_SHIFT)
#define VERSION_LAST	(BIT_ULL(PUMA_VERSION_BITS) - BIT_ULL(20))
#define FIRST_VERSION	BIT_ULL(PUMA_FLOOR_SHIFT)

struct puma_index __rcu *puma_index;

/* Where a page can be. */
struct place {
	struct puma_segment *seg;
	u64 tag;
	u64 floor;		/* smallest live version */
	u32 bucket[2];
};

static u64 word_version(u64 word)
{
	return (word & VERSION_MASK) >> PUMA_VERSION_SHIFT;
}

static u64 word_make(u64 tag, u64 version, u64 flags)
{
	return tag << PUMA_TAG_SHIFT | version << PUMA_VERSION_SHIFT | flags;
}

static u32 part_of(struct puma_index *ix, u64 file, pgoff_t index)
{
	return siphash_2u64(file, index >> PUMA_CLUSTER_SHIFT,
			    &ix->secret.place) % PUMA_PARTS;
}

/* False when there is no segment for the page. */
static bool find_place(struct puma_index *ix, u64 file, pgoff_t index,
		       struct place *pl)
{
	u32 part = part_of(ix, file, index);
	u32 floor, part_floor, file_floor;
	u64 hash;

	pl->seg = rcu_dereference(ix->part[part]);
	if (!pl->seg)
		return false;
	/* Pairs with part_move(): who sees the segment sees the floor. */
	smp_rmb();
	hash = siphash_2u64(file, index, &ix->secret.page);
	pl->tag = hash >> PUMA_TAG_SHIFT;
	pl->bucket[0] = hash % NR_BUCKETS;
	pl->bucket[1] = (hash / NR_BUCKETS) % NR_BUCKETS;
	if (pl->bucket[0] == pl->bucket[1])
		pl->bucket[1] ^= 1;
	/* Pairs with the release in raise_floor(). */
	floor = smp_load_acquire(&ix->floor_all);
	/* The same. */
	part_floor = smp_load_acquire(&ix->part_floor[part]);
	/* The same. */
	file_floor = smp_load_acquire(&ix->file_floor[file % PUMA_FILE_FLOORS]);
	floor = max3(floor, part_floor, file_floor);
	pl->floor = (u64)floor << PUMA_FLOOR_SHIFT;
	return true;
}

static u64 *place_word(const struct place *pl, unsigned int way)
{
	u32 bucket = pl->bucket[way / BUCKET_SLOTS];

	return &pl->seg->word[bucket * BUCKET_SLOTS + way % BUCKET_SLOTS];
}

static bool word_matches(const struct place *pl, u64 word)
{
	return (word & PUMA_WORD_VALID) && word >> PUMA_TAG_SHIFT == pl->tag;
}

static bool word_live(const struct place *pl, u64 word)
{
	return word_version(word) >= pl->floor;
}

/*
 * Everything published so far under @floor dies. The counter goes to the last
 * version of its unit, if it is not there already: then nothing was published
 * since the last time. Any context.
 */
static void raise_floor(struct puma_index *ix, u32 *floor)
{
	u64 version = atomic64_read(&ix->version), last;
	u32 old, new;

	do {
		last = version | (BIT_ULL(PUMA_FLOOR_SHIFT) - 1);
	} while (!atomic64_try_cmpxchg(&ix->version, (s64 *)&version, last));
	/* At the very end of the versions everything dies for good. */
	new = min_t(u64, (last + 1) >> PUMA_FLOOR_SHIFT, U32_MAX);
	old = READ_ONCE(*floor);
	while (old < new && !try_cmpxchg_release(floor, &old, new))
		;
}

/**
 * puma_index_alloc - make an empty index
 *
 * Return: the index, or NULL.
 */
struct puma_index *puma_index_alloc(void)
{
	struct puma_index *ix = kvzalloc(sizeof(*ix),
					 GFP_KERNEL | __GFP_NOWARN);

	if (!ix)
		return NULL;
	puma_secret_init(&ix->secret);
	atomic64_set(&ix->version, FIRST_VERSION);
	spin_lock_init(&ix->lock);
	INIT_LIST_HEAD(&ix->segments);
	return ix;
}

/**
 * puma_index_free - free an index that nobody can reach any more
 * @ix: the index
 */
void puma_index_free(struct puma_index *ix)
{
	struct puma_segment *seg, *next;

	if (!ix)
		return;
	list_for_each_entry_safe(seg, next, &ix->segments, list)
		puma_segment_free(seg);
	kvfree_sensitive(ix, sizeof(*ix));
}

/**
 * puma_segment_alloc - make a segment without entries
 * @lender: who granted it
 * @number: its place in the lender's lease
 *
 * Context: may sleep.
 * Return: the segment, or NULL.
 */
struct puma_segment *puma_segment_alloc(struct puma_lender *lender, u32 number)
{
	struct puma_segment *seg = kzalloc(sizeof(*seg), GFP_KERNEL);

	if (!seg)
		return NULL;
	/* An allocation of its own: together they would take twice the memory. */
	seg->word = kvcalloc(PUMA_SEGMENT_SLOTS, sizeof(*seg->word),
			     GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
	if (!seg->word) {
		kfree(seg);
		return NULL;
	}
	seg->lender = lender;
	seg->number = number;
	return seg;
}

/**
 * puma_segment_free - free a segment that nobody can reach any more
 * @seg: the segment
 */
void puma_segment_free(struct puma_segment *seg)
{
	kvfree(seg->word);
	kfree(seg);
}

static void segment_free_rcu(struct rcu_head *rcu)
{
	puma_segment_free(container_of(rcu, struct puma_segment, rcu));
}

static void part_move(struct puma_index *ix, unsigned int part,
		      struct puma_segment *from, struct puma_segment *to)
{
	lockdep_assert_held(&ix->lock);

	/*
	 * The floor goes up before the part moves, so that what the new
	 * segment may still hold from an earlier time is never live.
	 */
	raise_floor(ix, &ix->part_floor[part]);
	if (from)
		from->parts--;
	if (to)
		to->parts++;
	rcu_assign_pointer(ix->part[part], to);
}

/**
 * puma_index_add - add a segment
 * @ix: the index
 * @seg: the segment
 *
 * Takes the same share of parts from every other segment; their entries die.
 *
 * Context: process.
 */
void puma_index_add(struct puma_index *ix, struct puma_segment *seg)
{
	struct puma_segment *old;
	unsigned int part, share;

	spin_lock(&ix->lock);
	list_add_tail_rcu(&seg->list, &ix->segments);
	ix->nr_segments++;
	share = max(PUMA_PARTS / ix->nr_segments, 1U);
	for (part = 0; part < PUMA_PARTS; part++) {
		old = rcu_dereference_protected(ix->part[part],
						lockdep_is_held(&ix->lock));
		if (!old || (old->parts > share && seg->parts < share))
			part_move(ix, part, old, seg);
	}
	spin_unlock(&ix->lock);
}

/* The segment after @seg, round and round; NULL when there is none. */
static struct puma_segment *next_segment(struct puma_index *ix,
					 struct puma_segment *seg)
{
	lockdep_assert_held(&ix->lock);
	if (list_empty(&ix->segments))
		return NULL;
	if (!seg || list_is_last(&seg->list, &ix->segments))
		return list_first_entry(&ix->segments, struct puma_segment,
					list);
	return list_next_entry(seg, list);
}

/**
 * puma_index_remove - remove segments of a lender
 * @ix: the index
 * @lender: the lender
 * @from: number of its first segment to go
 *
 * The entries die at once; the memory is freed after a grace period.
 *
 * Context: process.
 * Return: number of segments removed.
 */
unsigned int puma_index_remove(struct puma_index *ix,
			       struct puma_lender *lender, u32 from)
{
	struct puma_segment *seg, *next, *owner, *heir = NULL;
	unsigned int part, removed = 0;

	spin_lock(&ix->lock);
	list_for_each_entry_safe(seg, next, &ix->segments, list) {
		if (seg->lender != lender || seg->number < from)
			continue;
		list_del_rcu(&seg->list);
		WRITE_ONCE(seg->lender, NULL);	/* marks it for the loop below */
		ix->nr_segments--;
		removed++;
		if (!seg->parts)
			call_rcu(&seg->rcu, segment_free_rcu);
	}
	for (part = 0; removed && part < PUMA_PARTS; part++) {
		owner = rcu_dereference_protected(ix->part[part],
						  lockdep_is_held(&ix->lock));
		if (!owner || owner->lender)
			continue;
		heir = next_segment(ix, heir);
		part_move(ix, part, owner, heir);
		if (!owner->parts)
			call_rcu(&owner->rcu, segment_free_rcu);
	}
	spin_unlock(&ix->lock);
	return removed;
}

/*
 * The slot for a new entry: that of an entry of the same page that is void or
 * was not sent yet; else an empty slot of the emptier bucket; else the oldest
 * entry that was not hit since the hand came by.
 */
static u64 *find_victim(struct place *pl, u64 *old)
{
	unsigned int way, nr_empty[2] = {};
	u64 *empty[2] = {}, *oldest = NULL;
	u64 *word, w;

	for (way = 0; way < WAYS; way++) {
		unsigned int b = way / BUCKET_SLOTS;

		word = place_word(pl, way);
		w = READ_ONCE(*word);
		if (word_matches(pl, w)) {
			*old = w;
			return word;
		}
		if (!(w & PUMA_WORD_VALID)) {
			empty[b] = word;
			nr_empty[b]++;
		} else if (w & PUMA_WORD_USED) {
			cmpxchg(word, w, w & ~PUMA_WORD_USED);
		} else if (!oldest || word_version(w) < word_version(*old)) {
			oldest = word;
			*old = w;
		}
	}
	if (empty[0] || empty[1]) {
		*old = 0;
		return empty[nr_empty[1] > nr_empty[0]];
	}
	if (!oldest) {
		/* All were hit lately and have lost the mark now. */
		oldest = place_word(pl, 0);
		*old = READ_ONCE(*oldest);
	}
	return oldest;
}

/**
 * puma_index_version - a version for the pages of one folio that is put
 * @ix: the index
 *
 * Return: the version, or 0 when they are used up and no put is possible.
 */
u64 puma_index_version(struct puma_index *ix)
{
	if (atomic64_read(&ix->version) >= VERSION_LAST) {
		pr_warn_once("all versions are used; no puts until mode is switched off and on\n");
		return 0;
	}
	return atomic64_inc_return(&ix->version);
}

/**
 * puma_index_publish - make an entry for a page that is about to be put
 * @ix: the index
 * @file: name of the file
 * @index: page offset
 * @version: from puma_index_version()
 *
 * The page is locked and still in the page cache, so that nobody can look the
 * entry up before its removal, and nobody else publishes the same page.
 *
 * Return: enum puma_publish.
 */
enum puma_publish puma_index_publish(struct puma_index *ix, u64 file,
				     pgoff_t index, u64 version)
{
	unsigned int way, tries;
	struct place pl;
	u64 *word, old;

	if (!find_place(ix, file, index, &pl))
		return PUMA_NO_PLACE;
	for (way = 0; way < WAYS; way++) {
		old = READ_ONCE(*place_word(&pl, way));
		if (word_matches(&pl, old) && word_live(&pl, old) &&
		    !(old & PUMA_WORD_QUEUED))
			return PUMA_KEPT;
	}
	if (!puma_lender_takes_puts(READ_ONCE(pl.seg->lender)))
		return PUMA_NO_PLACE;
	if (!version)
		return PUMA_NO_PLACE;
	for (tries = 0; tries < 4; tries++) {
		word = find_victim(&pl, &old);
		/* Fully ordered: visible before the folio leaves the cache. */
		if (cmpxchg(word, old, word_make(pl.tag, version,
						 PUMA_WORD_VALID |
						 PUMA_WORD_QUEUED)) == old)
			return PUMA_PUBLISHED;
	}
	return PUMA_NO_PLACE;
}

/* Find a live entry; of one version unless that is 0. */
static bool find_entry(struct puma_index *ix, u64 file, pgoff_t index,
		       u64 version, struct puma_entry *e)
{
	struct place pl;
	unsigned int way;
	u64 *word, w;

	if (!find_place(ix, file, index, &pl))
		return false;
	for (way = 0; way < WAYS; way++) {
		word = place_word(&pl, way);
		w = READ_ONCE(*word);
		if (!word_matches(&pl, w) || !word_live(&pl, w) ||
		    (version && word_version(w) != version))
			continue;
		e->lender = READ_ONCE(pl.seg->lender);
		if (!e->lender)
			return false;
		e->word = w;
		e->slot = pl.seg->number << PUMA_SEGMENT_SHIFT |
			  (u32)(word - pl.seg->word);
		e->token = puma_key_token(&ix->secret, file, index,
					  word_version(w));
		return true;
	}
	return false;
}

/**
 * puma_index_lookup - find the entry of a page
 * @ix: the index
 * @file: name of the file
 * @index: page offset
 * @e: filled when there is one
 *
 * Return: true when there is a live entry, sent or still queued.
 */
bool puma_index_lookup(struct puma_index *ix, u64 file, pgoff_t index,
		       struct puma_entry *e)
{
	return find_entry(ix, file, index, 0, e);
}

/**
 * puma_index_queued - find the entry that a put has made
 * @ix: the index
 * @file: name of the file
 * @index: page offset
 * @version: of the put
 * @e: filled when it is there
 *
 * The page has left the cache since: its file may have changed, and another
 * put of the same page may have made another entry. Only the exact version
 * belongs to the data that this put holds.
 *
 * Return: true when the entry is alive and was not sent.
 */
bool puma_index_queued(struct puma_index *ix, u64 file, pgoff_t index,
		       u64 version, struct puma_entry *e)
{
	return find_entry(ix, file, index, version, e) &&
	       (e->word & PUMA_WORD_QUEUED);
}

/* Change one exact word of a page. False when it is not there any more. */
static bool change_word(struct puma_index *ix, u64 file, pgoff_t index,
			u64 old, u64 new)
{
	struct place pl;
	unsigned int way;
	u64 *word;

	if (!find_place(ix, file, index, &pl) || !word_live(&pl, old))
		return false;
	for (way = 0; way < WAYS; way++) {
		word = place_word(&pl, way);
		if (READ_ONCE(*word) == old)
			return cmpxchg(word, old, new) == old;
	}
	return false;
}

/**
 * puma_index_used - remember that an entry was hit
 * @ix: the index
 * @file: name of the file
 * @index: page offset
 * @word: the word that was found
 */
void puma_index_used(struct puma_index *ix, u64 file, pgoff_t index, u64 word)
{
	if (!(word & PUMA_WORD_USED))
		change_word(ix, file, index, word, word | PUMA_WORD_USED);
}

/**
 * puma_index_sent - a queued put is about to go on the wire
 * @ix: the index
 * @file: name of the file
 * @index: page offset
 * @word: the word as it was queued
 *
 * Return: false when the entry was erased or replaced, and the put is void.
 */
bool puma_index_sent(struct puma_index *ix, u64 file, pgoff_t index, u64 word)
{
	return change_word(ix, file, index, word, word & ~PUMA_WORD_QUEUED);
}

/* Erase what can be an entry of a page; of one version unless that is 0. */
static unsigned int erase_version(struct puma_index *ix, u64 file,
				  pgoff_t index, u64 version)
{
	unsigned int way, erased = 0;
	struct place pl;
	u64 *word, w;

	if (!find_place(ix, file, index, &pl))
		return 0;
	for (way = 0; way < WAYS; way++) {
		word = place_word(&pl, way);
		w = READ_ONCE(*word);
		while (word_matches(&pl, w) &&
		       (!version || word_version(w) == version)) {
			if (try_cmpxchg(word, &w, 0)) {
				erased++;
				break;
			}
		}
	}
	return erased;
}

/**
 * puma_index_retract - erase the entry that a put has made
 * @ix: the index
 * @file: name of the file
 * @index: page offset
 * @version: of the put
 */
void puma_index_retract(struct puma_index *ix, u64 file, pgoff_t index,
			u64 version)
{
	erase_version(ix, file, index, version);
}

/**
 * puma_index_erase - erase every entry that can be that of a page
 * @ix: the index
 * @file: name of the file
 * @index: page offset
 *
 * Entries of other pages with the same tag go too: the first match could hide
 * the real one.
 *
 * Return: number of words erased.
 */
unsigned int puma_index_erase(struct puma_index *ix, u64 file, pgoff_t index)
{
	return erase_version(ix, file, index, 0);
}

/**
 * puma_index_erase_range - erase a range of pages of a file
 * @ix: the index
 * @file: name of the file
 * @start: first page offset
 * @end: last page offset, inclusive
 *
 * A huge range raises the floor of the file instead of probing every page.
 *
 * Return: number of words erased; 1 for a raised floor.
 */
unsigned long puma_index_erase_range(struct puma_index *ix, u64 file,
				     pgoff_t start, pgoff_t end)
{
	unsigned long erased = 0;
	pgoff_t index;

	if (start > end || !READ_ONCE(ix->nr_segments))
		return 0;
	if (end - start >= PUMA_ERASE_MAX) {
		raise_floor(ix, &ix->file_floor[file % PUMA_FILE_FLOORS]);
		return 1;
	}
	for (index = start; index <= end; index++)
		erased += puma_index_erase(ix, file, index);
	return erased;
}

static struct puma_segment *find_segment(struct puma_index *ix,
					 struct puma_lender *lender, u32 number)
{
	struct puma_segment *seg;

	list_for_each_entry_rcu(seg, &ix->segments, list)
		if (READ_ONCE(seg->lender) == lender && seg->number == number)
			return seg;
	return NULL;
}

static bool clear_sent_word(u64 *word)
{
	u64 w = READ_ONCE(*word);

	return w && !(w & PUMA_WORD_QUEUED) && cmpxchg(word, w, 0) == w;
}

/**
 * puma_index_erase_slots - a lender dropped slots
 * @ix: the index
 * @lender: who
 * @segment: number of the segment
 * @bitmap: bit a slot
 *
 * Entries whose put is still queued stay: their slot is about to be filled.
 */
void puma_index_erase_slots(struct puma_index *ix, struct puma_lender *lender,
			    u32 segment, const __le64 *bitmap)
{
	struct puma_segment *seg = find_segment(ix, lender, segment);
	unsigned int i, bit;

	if (!seg)
		return;
	for (i = 0; i < PUMA_GONE_WORDS; i++) {
		u64 bits = le64_to_cpu(bitmap[i]);

		while (bits) {
			bit = __ffs64(bits);
			bits &= bits - 1;
			clear_sent_word(&seg->word[i * 64 + bit]);
		}
	}
}

/**
 * puma_index_erase_all - every entry dies
 * @ix: the index
 */
void puma_index_erase_all(struct puma_index *ix)
{
	raise_floor(ix, &ix->floor_all);
}

/**
 * puma_index_entries - count entries
 * @ix: the index
 * @lender: of this lender, NULL for all
 *
 * Scans the table; entries under a floor of their part or file still count.
 *
 * Return: number of entries.
 */
unsigned long puma_index_entries(struct puma_index *ix,
				 struct puma_lender *lender)
{
	u64 floor = (u64)READ_ONCE(ix->floor_all) << PUMA_FLOOR_SHIFT;
	struct puma_segment *seg;
	unsigned long nr = 0;
	unsigned int i;

	list_for_each_entry_rcu(seg, &ix->segments, list) {
		if (lender && READ_ONCE(seg->lender) != lender)
			continue;
		for (i = 0; i < PUMA_SEGMENT_SLOTS; i++) {
			u64 w = READ_ONCE(seg->word[i]);

			if ((w & PUMA_WORD_VALID) && word_version(w) >= floor)
				nr++;
		}
	}
	return nr;
}

/**
 * puma_index_bytes - memory of the index
 * @ix: the index
 *
 * Return: bytes, all tables included.
 */
unsigned long puma_index_bytes(struct puma_index *ix)
{
	return sizeof(*ix) + READ_ONCE(ix->nr_segments) *
			     (sizeof(struct puma_segment) +
			      PUMA_SEGMENT_SLOTS * sizeof(u64));
}
