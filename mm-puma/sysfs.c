// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/mm/puma: one value a file, as described in
 * Documentation/ABI/testing/sysfs-kernel-mm-puma. Files only, no logic: what a
 * value means is decided in main.c and lend.c.
 *
 * A write that is refused says why in the kernel log, in one line.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "internal.h"

static struct kobject *puma_kobj;
static struct kobject *lenders_kobj;
static struct kobject *borrowers_kobj;

static const char * const mode_names[] = {
	[PUMA_OFF] = "off",
	[PUMA_BORROW] = "borrow",
	[PUMA_LEND] = "lend",
};

static const char * const strategy_names[] = {
	[PUMA_NONINCLUSIVE] = "noninclusive",
	[PUMA_EXCLUSIVE] = "exclusive",
};

/* Copy a written value without its newline. */
static int take_text(char *to, size_t size, const char *from)
{
	size_t len = strcspn(from, "\n");

	if (len >= size)
		return -EINVAL;
	memcpy(to, from, len);
	to[len] = 0;
	return 0;
}

static ssize_t mode_show(struct kobject *kobj, struct kobj_attribute *attr,
			 char *buf)
{
	return sysfs_emit(buf, "%s\n", mode_names[puma_mode_now()]);
}

static ssize_t mode_store(struct kobject *kobj, struct kobj_attribute *attr,
			  const char *buf, size_t count)
{
	char text[PUMA_TEXT_MAX];
	enum puma_mode mode;
	int err;

	err = take_text(text, sizeof(text), buf);
	if (err)
		pr_err("mode: must be off, borrow or lend\n");
	else
		err = puma_mode_parse(text, &mode);
	if (!err)
		err = puma_mode_change(mode);
	return err ?: count;
}

static struct kobj_attribute mode_attr = __ATTR_RW(mode);

static ssize_t strategy_show(struct kobject *kobj, struct kobj_attribute *attr,
			     char *buf)
{
	return sysfs_emit(buf, "%s\n", strategy_names[puma_set.strategy]);
}

static ssize_t strategy_store(struct kobject *kobj, struct kobj_attribute *attr,
			      const char *buf, size_t count)
{
	int err = puma_setting_change("strategy", buf);

	return err ?: count;
}

static struct kobj_attribute strategy_attr = __ATTR_RW(strategy);

static ssize_t verify_show(struct kobject *kobj, struct kobj_attribute *attr,
			   char *buf)
{
	return sysfs_emit(buf, "%d\n", puma_set.verify);
}

static ssize_t verify_store(struct kobject *kobj, struct kobj_attribute *attr,
			    const char *buf, size_t count)
{
	int err = puma_setting_change("verify", buf);

	return err ?: count;
}

static struct kobj_attribute verify_attr = __ATTR_RW(verify);

static ssize_t fs_show(struct kobject *kobj, struct kobj_attribute *attr,
		       char *buf)
{
	ssize_t len;

	mutex_lock(&puma_lock);
	len = sysfs_emit(buf, "%s\n", puma_set.fs);
	mutex_unlock(&puma_lock);
	return len;
}

static ssize_t fs_store(struct kobject *kobj, struct kobj_attribute *attr,
			const char *buf, size_t count)
{
	int err = puma_setting_change("fs", buf);

	return err ?: count;
}

static struct kobj_attribute fs_attr = __ATTR_RW(fs);

static ssize_t listen_show(struct kobject *kobj, struct kobj_attribute *attr,
			   char *buf)
{
	return sysfs_emit(buf, "%pI4:%u\n", &puma_set.listen.addr,
			  be16_to_cpu(puma_set.listen.port));
}

static ssize_t listen_store(struct kobject *kobj, struct kobj_attribute *attr,
			    const char *buf, size_t count)
{
	int err = puma_setting_change("listen", buf);

	return err ?: count;
}

static struct kobj_attribute listen_attr = __ATTR_RW(listen);

static ssize_t lender_list_show(struct kobject *kobj,
				struct kobj_attribute *attr, char *buf)
{
	ssize_t len;

	mutex_lock(&puma_lock);
	len = sysfs_emit(buf, "%s\n", puma_set.lenders);
	mutex_unlock(&puma_lock);
	return len;
}

static ssize_t lender_list_store(struct kobject *kobj,
				 struct kobj_attribute *attr, const char *buf,
				 size_t count)
{
	int err = puma_setting_change("lenders", buf);

	return err ?: count;
}

static struct kobj_attribute lender_list_attr = __ATTR_RW(lender_list);

static ssize_t max_lend_show(struct kobject *kobj, struct kobj_attribute *attr,
			     char *buf)
{
	return sysfs_emit(buf, "%lu\n", puma_lend_max() << PAGE_SHIFT);
}

static ssize_t max_lend_store(struct kobject *kobj, struct kobj_attribute *attr,
			      const char *buf, size_t count)
{
	int err = puma_setting_change("max_lend", buf);

	return err ?: count;
}

static struct kobj_attribute max_lend_attr = __ATTR_RW(max_lend);

static ssize_t deadline_ms_show(struct kobject *kobj,
				struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", puma_set.deadline_ms);
}

static ssize_t deadline_ms_store(struct kobject *kobj,
				 struct kobj_attribute *attr, const char *buf,
				 size_t count)
{
	int err = puma_setting_change("deadline_ms", buf);

	return err ?: count;
}

static struct kobj_attribute deadline_ms_attr = __ATTR_RW(deadline_ms);

static struct attribute *puma_attrs[] = {
	&mode_attr.attr,
	&strategy_attr.attr,
	&verify_attr.attr,
	&fs_attr.attr,
	&listen_attr.attr,
	&lender_list_attr.attr,
	&max_lend_attr.attr,
	&deadline_ms_attr.attr,
	NULL,
};

static const struct attribute_group puma_group = {
	.attrs = puma_attrs,
};

/* stats/: the counters, then the gauges */

static struct kobj_attribute counter_attrs[PUMA_NR_COUNTERS];

static ssize_t counter_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%llu\n", puma_count_sum(attr - counter_attrs));
}

static ssize_t put_queued_show(struct kobject *kobj,
			       struct kobj_attribute *attr, char *buf)
{
	unsigned int nr;

	mutex_lock(&puma_lock);
	nr = puma_put_queued();
	mutex_unlock(&puma_lock);
	return sysfs_emit(buf, "%u\n", nr);
}

static struct kobj_attribute put_queued_attr = __ATTR_RO(put_queued);

static ssize_t get_pending_show(struct kobject *kobj,
				struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%ld\n", puma_get_pending());
}

static struct kobj_attribute get_pending_attr = __ATTR_RO(get_pending);

static ssize_t index_entries_show(struct kobject *kobj,
				  struct kobj_attribute *attr, char *buf)
{
	struct puma_index *ix;
	unsigned long nr = 0;

	rcu_read_lock();
	ix = rcu_dereference(puma_index);
	if (ix)
		nr = puma_index_entries(ix, NULL);
	rcu_read_unlock();
	return sysfs_emit(buf, "%lu\n", nr);
}

static struct kobj_attribute index_entries_attr =
	__ATTR(index_entries, 0400, index_entries_show, NULL); /* scans the index */

static ssize_t index_bytes_show(struct kobject *kobj,
				struct kobj_attribute *attr, char *buf)
{
	struct puma_index *ix;
	unsigned long nr = 0;

	rcu_read_lock();
	ix = rcu_dereference(puma_index);
	if (ix)
		nr = puma_index_bytes(ix);
	rcu_read_unlock();
	return sysfs_emit(buf, "%lu\n", nr);
}

static struct kobj_attribute index_bytes_attr = __ATTR_RO(index_bytes);

static ssize_t lent_pages_show(struct kobject *kobj,
			       struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%ld\n", atomic_long_read(&puma_lent));
}

static struct kobj_attribute lent_pages_attr = __ATTR_RO(lent_pages);

static struct attribute *stats_attrs[PUMA_NR_COUNTERS + 6];

static const struct attribute_group stats_group = {
	.name = "stats",
	.attrs = stats_attrs,
};

static void stats_fill(void)
{
	struct kobj_attribute *gauges[] = {
		&put_queued_attr, &get_pending_attr, &index_entries_attr,
		&index_bytes_attr, &lent_pages_attr,
	};
	unsigned int i, n = 0;

	for (i = 0; i < PUMA_NR_COUNTERS; i++) {
		sysfs_attr_init(&counter_attrs[i].attr);
		counter_attrs[i].attr.name = puma_count_name(i);
		counter_attrs[i].attr.mode = 0444;
		counter_attrs[i].show = counter_show;
		stats_attrs[n++] = &counter_attrs[i].attr;
	}
	for (i = 0; i < ARRAY_SIZE(gauges); i++)
		stats_attrs[n++] = &gauges[i]->attr;
}

/* lenders/N/ */

static struct puma_lender *lender_of(struct kobject *kobj)
{
	return container_of(kobj, struct puma_lender, kobj);
}

static ssize_t address_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *buf)
{
	struct puma_endpoint *ep = &lender_of(kobj)->endpoint;

	return sysfs_emit(buf, "%pI4:%u\n", &ep->addr, be16_to_cpu(ep->port));
}

static struct kobj_attribute address_attr = __ATTR_RO(address);

static ssize_t state_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	struct puma_lender *lender = lender_of(kobj);

	if (READ_ONCE(lender->state) == PUMA_LENDER_DOWN)
		return sysfs_emit(buf, "down\n");
	return sysfs_emit(buf, "%s\n",
			  puma_lender_usable(lender) ? "up" : "throttled");
}

static struct kobj_attribute state_attr = __ATTR_RO(state);

static ssize_t lease_pages_show(struct kobject *kobj,
				struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lu\n",
			  (unsigned long)READ_ONCE(lender_of(kobj)->segments) <<
			  PUMA_SEGMENT_SHIFT);
}

static struct kobj_attribute lease_pages_attr = __ATTR_RO(lease_pages);

static ssize_t room_pages_show(struct kobject *kobj,
			       struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(lender_of(kobj)->room));
}

static struct kobj_attribute room_pages_attr = __ATTR_RO(room_pages);

static ssize_t rtt_us_show(struct kobject *kobj, struct kobj_attribute *attr,
			   char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(lender_of(kobj)->srtt_us));
}

static struct kobj_attribute rtt_us_attr = __ATTR_RO(rtt_us);

static struct attribute *lender_attrs[] = {
	&address_attr.attr,
	&state_attr.attr,
	&lease_pages_attr.attr,
	&room_pages_attr.attr,
	&rtt_us_attr.attr,
	NULL,
};
ATTRIBUTE_GROUPS(lender);

static void lender_release(struct kobject *kobj)
{
	kfree(lender_of(kobj));
}

static const struct kobj_type lender_ktype = {
	.release	= lender_release,
	.sysfs_ops	= &kobj_sysfs_ops,
	.default_groups	= lender_groups,
};

/**
 * puma_sysfs_add_lender - show a lender
 * @lender: the lender; its kobject is initialised even on error
 * @nr: name of its folder
 *
 * Return: 0 or an error.
 */
int puma_sysfs_add_lender(struct puma_lender *lender, unsigned int nr)
{
	return kobject_init_and_add(&lender->kobj, &lender_ktype, lenders_kobj,
				    "%u", nr);
}

/* borrowers/N/ */

static struct puma_store *store_of(struct kobject *kobj)
{
	return container_of(kobj, struct puma_store, kobj);
}

static ssize_t borrower_address_show(struct kobject *kobj,
				     struct kobj_attribute *attr, char *buf)
{
	struct puma_endpoint *ep = &store_of(kobj)->borrower;

	return sysfs_emit(buf, "%pI4:%u\n", &ep->addr, be16_to_cpu(ep->port));
}

static struct kobj_attribute borrower_address_attr =
	__ATTR(address, 0444, borrower_address_show, NULL);

static ssize_t borrower_lease_show(struct kobject *kobj,
				   struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lu\n",
			  (unsigned long)READ_ONCE(store_of(kobj)->nr_shelves) <<
			  PUMA_SEGMENT_SHIFT);
}

static struct kobj_attribute borrower_lease_attr =
	__ATTR(lease_pages, 0444, borrower_lease_show, NULL);

static ssize_t stored_pages_show(struct kobject *kobj,
				 struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%ld\n",
			  atomic_long_read(&store_of(kobj)->stored));
}

static struct kobj_attribute stored_pages_attr = __ATTR_RO(stored_pages);

static struct attribute *store_attrs[] = {
	&borrower_address_attr.attr,
	&borrower_lease_attr.attr,
	&stored_pages_attr.attr,
	NULL,
};
ATTRIBUTE_GROUPS(store);

static const struct kobj_type store_ktype = {
	.release	= puma_store_release,
	.sysfs_ops	= &kobj_sysfs_ops,
	.default_groups	= store_groups,
};

/**
 * puma_sysfs_add_store - show a borrower
 * @store: its store; the kobject is initialised even on error
 * @nr: name of its folder
 *
 * Return: 0 or an error.
 */
int puma_sysfs_add_store(struct puma_store *store, unsigned int nr)
{
	return kobject_init_and_add(&store->kobj, &store_ktype, borrowers_kobj,
				    "%u", nr);
}

/**
 * puma_sysfs_init - make /sys/kernel/mm/puma
 *
 * Return: 0 or -ENOMEM.
 */
int __init puma_sysfs_init(void)
{
	int err;

	puma_kobj = kobject_create_and_add("puma", mm_kobj);
	if (!puma_kobj)
		return -ENOMEM;
	lenders_kobj = kobject_create_and_add("lenders", puma_kobj);
	borrowers_kobj = kobject_create_and_add("borrowers", puma_kobj);
	if (!lenders_kobj || !borrowers_kobj)
		return -ENOMEM;
	stats_fill();
	err = sysfs_create_group(puma_kobj, &puma_group);
	if (!err)
		err = sysfs_create_group(puma_kobj, &stats_group);
	return err;
}
