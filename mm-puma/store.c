// SPDX-License-Identifier: GPL-2.0
/*
 * The lender's store: pages kept for borrowers.
 *
 * Each borrower has one anonymous inode of a pseudo file system; the page in
 * slot N is the folio at offset N of its page cache. So lent pages are clean
 * page cache: counted as available, migrated, and reclaimed like any other,
 * even without the hook that gives them back first (lend.c).
 *
 * PG_private makes reclaim call ->release_folio, which marks the slot as gone;
 * the mark stays until the borrower has been told or has filled the slot again.
 * A stored folio is never written to: a put into a filled slot replaces it, so
 * that a folio that is being sent keeps its bytes.
 *
 * AS_EXITING is set on the mappings for life: reclaim then leaves no shadow
 * entries, which would disturb the working-set estimate of our own files.
 *
 * puma_store.lock serialises the connection's receiver, its sender and changes
 * of the lease. Reclaim takes none of our locks but the folio's.
 */
#include <linux/highmem.h>
#include <linux/idr.h>
#include <linux/mount.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>
#include <linux/pseudo_fs.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/vmalloc.h>
#include <trace/events/puma.h>

#include "internal.h"

#define PUMA_FS_MAGIC	0x50554d41	/* PUMA */
#define LOOK_MIN	512	/* folios looked at for any number wanted */

/* Never wakes kswapd, never reclaims, never touches the reserves. */
#define STORE_GFP	((GFP_HIGHUSER_MOVABLE & ~__GFP_RECLAIM) | \
			 __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN)

static struct vfsmount *store_mnt;
static LIST_HEAD(stores);
static DEFINE_SPINLOCK(stores_lock);	/* protects @stores */
static atomic_t all_shelves;		/* segments granted to all borrowers */
static DEFINE_IDA(store_ids);

static struct puma_shelf *shelf_of(struct puma_store *store, u32 slot)
{
	u32 nr = slot >> PUMA_SEGMENT_SHIFT;

	return nr < store->nr_shelves ? store->shelf[nr] : NULL;
}

static void forget_private(struct puma_store *store, struct folio *folio)
{
	folio_detach_private(folio);
	atomic_long_dec(&store->stored);
	atomic_long_dec(&puma_lent);
}

/* The borrower has to be told that a slot is empty. */
static void note_gone(struct puma_store *store, struct puma_shelf *shelf,
		      u32 slot)
{
	set_bit(slot % PUMA_SEGMENT_SLOTS, shelf->gone);
	/* Pairs with test_and_clear_bit() in puma_store_gone(). */
	smp_mb__after_atomic();
	if (!test_and_set_bit(0, &store->gone_pending))
		puma_net_gone(store->conn);
}

/* Reclaim takes a lent page. The folio is locked. */
static bool store_release_folio(struct folio *folio, gfp_t gfp)
{
	struct puma_store *store = folio_get_private(folio);
	u32 slot = folio->index;
	struct puma_shelf *shelf = READ_ONCE(store->shelf[slot >>
							  PUMA_SEGMENT_SHIFT]);

	forget_private(store, folio);
	puma_count(lend_dropped);
	trace_puma_lend(store->borrower.addr, slot, "drop");
	note_gone(store, shelf, slot);
	return true;
}

/* The slot goes away with its segment or with the borrower. */
static void store_invalidate_folio(struct folio *folio, size_t offset,
				   size_t len)
{
	if (folio_test_private(folio))
		forget_private(folio_get_private(folio), folio);
}

static const struct address_space_operations store_aops = {
	.dirty_folio		= noop_dirty_folio,
	.release_folio		= store_release_folio,
	.invalidate_folio	= store_invalidate_folio,
	.migrate_folio		= filemap_migrate_folio,
	.error_remove_folio	= generic_error_remove_folio,
};

static struct inode *store_inode(void)
{
	struct inode *inode = alloc_anon_inode(store_mnt->mnt_sb);

	if (IS_ERR(inode))
		return inode;
	/* generic_error_remove_folio() punches regular files only. */
	inode->i_mode |= S_IFREG;
	inode->i_mapping->a_ops = &store_aops;
	mapping_set_gfp_mask(inode->i_mapping, STORE_GFP);
	mapping_set_exiting(inode->i_mapping);
	return inode;
}

static void store_free(struct puma_store *store)
{
	u32 i;

	if (store->inode) {
		truncate_inode_pages(store->inode->i_mapping, 0);
		iput(store->inode);
	}
	for (i = 0; store->shelf && i < store->nr_shelves; i++) {
		vfree(store->shelf[i]);
		atomic_dec(&all_shelves);
	}
	kvfree(store->shelf);
	kfree(store);
}

static void store_free_work(struct work_struct *work)
{
	store_free(container_of(work, struct puma_store, work));
}

/**
 * puma_store_release - the last reference to a store is gone
 * @kobj: its kobject
 *
 * Context: any; the work is done in process context.
 */
void puma_store_release(struct kobject *kobj)
{
	struct puma_store *store = container_of(kobj, struct puma_store, kobj);

	queue_work(puma_wq, &store->work);
}

/**
 * puma_store_open - a borrower has connected
 * @conn: its connection
 * @borrower: where it is
 *
 * Context: process.
 * Return: its store, or NULL.
 */
struct puma_store *puma_store_open(struct puma_conn *conn,
				   const struct puma_endpoint *borrower)
{
	struct puma_store *store = kzalloc(sizeof(*store), GFP_KERNEL);
	struct inode *inode;
	int nr;

	if (!store)
		return NULL;
	INIT_WORK(&store->work, store_free_work);
	INIT_LIST_HEAD(&store->list);
	mutex_init(&store->lock);
	store->conn = conn;
	store->borrower = *borrower;
	store->shelf = kvcalloc(PUMA_MAX_SEGMENTS, sizeof(*store->shelf),
				GFP_KERNEL | __GFP_NOWARN);
	inode = store->shelf ? store_inode() : ERR_PTR(-ENOMEM);
	if (IS_ERR(inode)) {
		store_free(store);
		return NULL;
	}
	store->inode = inode;
	nr = ida_alloc(&store_ids, GFP_KERNEL);
	if (nr < 0) {
		store_free(store);
		return NULL;
	}
	store->id = nr;
	if (puma_sysfs_add_store(store, nr)) {
		ida_free(&store_ids, nr);
		kobject_put(&store->kobj);
		return NULL;
	}
	spin_lock(&stores_lock);
	list_add_tail(&store->list, &stores);
	spin_unlock(&stores_lock);
	return store;
}

/**
 * puma_store_close - a borrower has gone
 * @store: its store
 *
 * Its pages are freed soon. The connection is not called any more.
 *
 * Context: process.
 */
void puma_store_close(struct puma_store *store)
{
	spin_lock(&stores_lock);
	list_del(&store->list);
	spin_unlock(&stores_lock);
	/*
	 * Takes all folios out, waiting for those that reclaim has locked:
	 * from here on nobody calls net/puma for the connection.
	 */
	truncate_inode_pages(store->inode->i_mapping, 0);
	kobject_del(&store->kobj);
	ida_free(&store_ids, store->id);
	kobject_put(&store->kobj);
}

/* Take the folio out of a slot without telling the borrower. */
static void empty_slot(struct puma_store *store, u32 slot)
{
	struct address_space *mapping = store->inode->i_mapping;
	struct folio *folio = filemap_lock_folio(mapping, slot);

	if (IS_ERR(folio))
		return;
	if (folio_test_private(folio))
		forget_private(store, folio);
	filemap_remove_folio(folio);
	folio_unlock(folio);
	folio_put(folio);
}

/* A put found no room: the slot is empty and the borrower is told. */
static void refuse_slot(struct puma_store *store, u32 slot)
{
	struct puma_shelf *shelf = shelf_of(store, slot);

	lockdep_assert_held(&store->lock);
	trace_puma_lend(store->borrower.addr, slot, "refuse");
	if (!shelf)
		return;		/* beyond the lease: the borrower knows */
	empty_slot(store, slot);
	store->refused = true;
	note_gone(store, shelf, slot);
}

static void shelves_shrink(struct puma_store *store, u32 nr)
{
	pgoff_t first = (pgoff_t)nr << PUMA_SEGMENT_SHIFT;

	lockdep_assert_held(&store->lock);
	truncate_inode_pages(store->inode->i_mapping,
			     (loff_t)first << PAGE_SHIFT);
	while (store->nr_shelves > nr) {
		vfree(store->shelf[--store->nr_shelves]);
		store->shelf[store->nr_shelves] = NULL;
		atomic_dec(&all_shelves);
	}
}

/**
 * puma_store_lease - bring a borrower's lease up to date
 * @store: its store
 * @room: set to the pages that could be taken now
 *
 * Context: process; one caller at a time, who alone changes nr_shelves.
 * Return: number of segments granted.
 */
u32 puma_store_lease(struct puma_store *store, u32 *room)
{
	u32 want = puma_lend_lease(store->nr_shelves,
				   atomic_read(&all_shelves));

	if (want < store->nr_shelves) {
		mutex_lock(&store->lock);
		shelves_shrink(store, want);
		mutex_unlock(&store->lock);
	}
	while (store->nr_shelves < want) {
		/* Without the lock, and not at the cost of our own pages. */
		struct puma_shelf *shelf = __vmalloc(sizeof(*shelf),
						     GFP_KERNEL | __GFP_ZERO |
						     __GFP_NORETRY |
						     __GFP_NOWARN);

		if (!shelf)
			break;
		mutex_lock(&store->lock);
		store->shelf[store->nr_shelves++] = shelf;
		mutex_unlock(&store->lock);
		atomic_inc(&all_shelves);
	}
	*room = puma_store_room();
	return store->nr_shelves;
}

/**
 * puma_store_room - pages that a borrower could put now
 *
 * Return: the number.
 */
u32 puma_store_room(void)
{
	return min_t(unsigned long, puma_lend_room(), U32_MAX);
}

/**
 * puma_store_alloc - memory for a page that is about to arrive
 * @store: the borrower's store
 * @slot: where it is to be stored
 *
 * Context: process.
 * Return: a folio for puma_store_put(), or NULL: no.
 */
struct folio *puma_store_alloc(struct puma_store *store, u32 slot)
{
	if (slot >> PUMA_SEGMENT_SHIFT >= READ_ONCE(store->nr_shelves) ||
	    !puma_lend_may_store())
		return NULL;
	return folio_alloc(STORE_GFP, 0);
}

/**
 * puma_store_put - store a page
 * @store: the borrower's store
 * @slot: where
 * @token: its name
 * @seal: what came with it
 * @nr: number of the put, from one to the next
 * @folio: the page, from puma_store_alloc(); not the caller's any more
 *
 * When there is no room for it the slot is empty and the borrower is told.
 *
 * Context: process.
 */
void puma_store_put(struct puma_store *store, u32 slot, u64 token,
		    const struct puma_seal *seal, u32 nr,
		    struct folio *folio)
{
	struct address_space *mapping = store->inode->i_mapping;
	struct puma_shelf *shelf;
	int err = -ENOSPC;

	puma_count(lend_puts);
	mutex_lock(&store->lock);
	shelf = shelf_of(store, slot);
	if (shelf) {
		empty_slot(store, slot);
		err = filemap_add_folio(mapping, folio, slot, STORE_GFP);
	}
	if (err) {
		refuse_slot(store, slot);
		goto out;
	}
	shelf->token[slot % PUMA_SEGMENT_SLOTS] = token;
	shelf->seal[slot % PUMA_SEGMENT_SLOTS] = *seal;
	shelf->nr[slot % PUMA_SEGMENT_SLOTS] = nr;
	clear_bit(slot % PUMA_SEGMENT_SLOTS, shelf->gone);
	folio_attach_private(folio, store);
	atomic_long_inc(&store->stored);
	atomic_long_inc(&puma_lent);
	folio_mark_uptodate(folio);
	folio_unlock(folio);
	trace_puma_lend(store->borrower.addr, slot, "store");
out:
	mutex_unlock(&store->lock);
	folio_put(folio);
	if (err)
		puma_count(lend_refused);
	else
		puma_count(lend_stored);
}

/**
 * puma_store_refuse - a page was received and cannot be stored
 * @store: the borrower's store
 * @slot: where it should have gone; what was there is dropped
 *
 * Context: process.
 */
void puma_store_refuse(struct puma_store *store, u32 slot)
{
	puma_count(lend_puts);
	puma_count(lend_refused);
	mutex_lock(&store->lock);
	refuse_slot(store, slot);
	mutex_unlock(&store->lock);
}

/**
 * puma_store_get - find a page that a borrower asks for
 * @store: its store
 * @slot: where
 * @token: its name
 * @before: number that the next put had when the borrower asked
 * @seal: filled with what came with it
 * @consume: the borrower will not ask again
 *
 * A stored folio is never written to, so the page may be sent without its lock.
 *
 * What was put after it was asked for is not what the borrower meant (a page
 * that was put 2^31 puts ago looks like that too, and is gone then): such a
 * put can only come from another life of it, see puma_wire_puts().
 *
 * Context: process.
 * Return: the folio with a reference, or NULL: gone.
 */
struct folio *puma_store_get(struct puma_store *store, u32 slot, u64 token,
			     u32 before, struct puma_seal *seal, bool consume)
{
	struct folio *folio = ERR_PTR(-ENOENT);
	u32 at = slot % PUMA_SEGMENT_SLOTS;
	struct puma_shelf *shelf;

	puma_count(lend_gets);
	mutex_lock(&store->lock);
	shelf = shelf_of(store, slot);
	if (shelf && shelf->token[at] == token &&
	    (s32)(shelf->nr[at] - before) < 0)
		folio = filemap_get_folio(store->inode->i_mapping, slot);
	if (!IS_ERR(folio)) {
		*seal = shelf->seal[at];
		if (consume)
			empty_slot(store, slot);
	}
	mutex_unlock(&store->lock);
	if (IS_ERR(folio)) {
		puma_count(lend_gone_answers);
		return NULL;
	}
	puma_count(lend_served);
	return folio;
}

static bool take_gone(struct puma_shelf *shelf, __le64 *bitmap)
{
	unsigned int i;
	bool any = false;

	for (i = 0; i < PUMA_GONE_WORDS; i++) {
		unsigned long word = READ_ONCE(shelf->gone[i]);

		if (word)
			word = xchg(&shelf->gone[i], 0);
		bitmap[i] = cpu_to_le64(word);
		any |= word != 0;
	}
	return any;
}

/**
 * puma_store_gone - collect slots that a borrower must be told of
 * @store: its store
 * @bitmap: PUMA_GONE_WORDS words, filled with a bit a slot
 * @refused: set when a put was refused since the last call
 *
 * The slots count as told; the caller must send them or end the connection.
 *
 * Context: process.
 * Return: number of the segment, or -1 when there is nothing to tell.
 */
int puma_store_gone(struct puma_store *store, __le64 *bitmap, bool *refused)
{
	int segment = -1;
	u32 i, nr;

	if (!test_and_clear_bit(0, &store->gone_pending))
		return -1;
	mutex_lock(&store->lock);
	for (i = 0; i < store->nr_shelves; i++) {
		nr = (store->gone_next + i) % store->nr_shelves;
		if (!take_gone(store->shelf[nr], bitmap))
			continue;
		segment = nr;
		store->gone_next = nr + 1;
		*refused = store->refused;
		store->refused = false;
		/* There may be more: come again. */
		set_bit(0, &store->gone_pending);
		break;
	}
	mutex_unlock(&store->lock);
	return segment;
}

/**
 * puma_store_largest - the store that gives back next
 *
 * Context: any but interrupts.
 * Return: the store with the most pages, with a reference to its kobject, or
 * NULL.
 */
struct puma_store *puma_store_largest(void)
{
	struct puma_store *store, *best = NULL;
	long most = 0;

	spin_lock(&stores_lock);
	list_for_each_entry(store, &stores, list) {
		long nr = atomic_long_read(&store->stored);

		if (nr > most) {
			most = nr;
			best = store;
		}
	}
	if (best)
		kobject_get(&best->kobj);
	spin_unlock(&stores_lock);
	return best;
}

/* Evict a locked folio that nobody uses. Returns the pages freed. */
static long evict_folio(struct address_space *mapping, struct folio *folio)
{
	/* The cache, our mark, and the caller. */
	if (folio_ref_count(folio) > 2 + folio_test_private(folio))
		return 0;
	if (!filemap_release_folio(folio, 0))
		return 0;
	return remove_mapping(mapping, folio);
}

/**
 * puma_store_shrink - drop pages of a store
 * @store: the store
 * @pgdat: on this node
 * @zone_idx: in this zone or a lower one
 * @nr_pages: how many
 *
 * Goes round by slot, which is no order of age: the borrower places pages by
 * hash. Skips what somebody uses, and does not look for ever.
 *
 * Context: reclaim. Does not allocate.
 * Return: number of pages freed.
 */
unsigned long puma_store_shrink(struct puma_store *store,
				struct pglist_data *pgdat, int zone_idx,
				unsigned long nr_pages)
{
	struct address_space *mapping = store->inode->i_mapping;
	unsigned long freed = 0, look = 4 * nr_pages + LOOK_MIN;
	pgoff_t hand = READ_ONCE(store->hand);
	struct folio_batch batch;
	bool wrapped = false;
	unsigned int i;

	folio_batch_init(&batch);
	while (freed < nr_pages && look) {
		if (!filemap_get_folios(mapping, &hand, ULONG_MAX, &batch)) {
			if (wrapped)
				break;
			wrapped = true;
			hand = 0;
			continue;
		}
		look -= min_t(unsigned long, look, folio_batch_count(&batch));
		for (i = 0; i < folio_batch_count(&batch); i++) {
			struct folio *folio = batch.folios[i];

			if (freed >= nr_pages ||
			    folio_pgdat(folio) != pgdat ||
			    folio_zonenum(folio) > zone_idx ||
			    !folio_trylock(folio))
				continue;
			if (folio->mapping == mapping)
				freed += evict_folio(mapping, folio);
			folio_unlock(folio);
		}
		folio_batch_release(&batch);
		cond_resched();
	}
	WRITE_ONCE(store->hand, hand);
	return freed;
}

/**
 * puma_store_kick_all - tell all borrowers of a new lease
 */
void puma_store_kick_all(void)
{
	struct puma_store *store;

	spin_lock(&stores_lock);
	list_for_each_entry(store, &stores, list)
		puma_net_lease(store->conn);
	spin_unlock(&stores_lock);
}

static int store_init_fs_context(struct fs_context *fc)
{
	return init_pseudo(fc, PUMA_FS_MAGIC) ? 0 : -ENOMEM;
}

static struct file_system_type store_fs = {
	.name			= "puma",
	.init_fs_context	= store_init_fs_context,
	.kill_sb		= kill_anon_super,
};

/**
 * puma_store_init - mount the pseudo file system
 *
 * Return: 0 or an error.
 */
int puma_store_init(void)
{
	store_mnt = kern_mount(&store_fs);
	return PTR_ERR_OR_ZERO(store_mnt);
}
