// SPDX-License-Identifier: GPL-2.0
/*
 * PUMA: start, stop, settings.
 *
 * A machine is a borrower, a lender, or nothing. Every setting has one text
 * form, checked in one place, whether it comes from the kernel command line
 * (puma.NAME=) or from sysfs. puma_lock serialises all of it.
 */
#include <linux/inet.h>
#include <linux/module.h>

#include "internal.h"

#define DEADLINE_MS_MAX	1000
#define FS_PROVEN	"ext4,squashfs,xfs,erofs,btrfs,f2fs"	/* see super.c */

DEFINE_MUTEX(puma_lock);	/* of role and settings */
struct workqueue_struct *puma_wq;

struct puma_settings puma_set = {
	.fs = FS_PROVEN,
	.listen = { .port = cpu_to_be16(PUMA_PORT) },
	.deadline_ms = 50,
	.strategy = PUMA_NONINCLUSIVE,
};

static enum puma_mode puma_mode;

/* What the command line said; parsed once, by puma_init(). */
static char *boot_mode;
module_param_named(mode, boot_mode, charp, 0);
MODULE_PARM_DESC(mode, "off, borrow or lend");
static char *boot_lenders;
module_param_named(lenders, boot_lenders, charp, 0);
MODULE_PARM_DESC(lenders, "ADDR[:PORT][,...] to borrow from (IPv4)");
static char *boot_listen;
module_param_named(listen, boot_listen, charp, 0);
MODULE_PARM_DESC(listen, "PORT, ADDR or ADDR:PORT to lend at (IPv4)");
static char *boot_strategy;
module_param_named(strategy, boot_strategy, charp, 0);
MODULE_PARM_DESC(strategy, "noninclusive or exclusive");
static char *boot_fs;
module_param_named(fs, boot_fs, charp, 0);
MODULE_PARM_DESC(fs, "file systems that take part, NAME[,...]");
static char *boot_max_lend;
module_param_named(max_lend, boot_max_lend, charp, 0);
MODULE_PARM_DESC(max_lend, "most memory to lend, SIZE or PERCENT");
static char *boot_verify;
module_param_named(verify, boot_verify, charp, 0);
MODULE_PARM_DESC(verify, "1: compare every page from a lender with the disk");
static char *boot_deadline_ms;
module_param_named(deadline_ms, boot_deadline_ms, charp, 0);
MODULE_PARM_DESC(deadline_ms, "longest time a lender may take, 1 to 1000");

/**
 * puma_endpoint_parse - parse an address and a port
 * @text: ADDR, ADDR:PORT, or PORT when no address is needed
 * @need_host: the address is needed
 * @ep: filled
 *
 * Return: 0 or -EINVAL.
 */
int puma_endpoint_parse(const char *text, bool need_host,
			struct puma_endpoint *ep)
{
	const char *end = text;
	unsigned int port = PUMA_PORT;

	ep->addr = 0;
	if (strchr(text, '.')) {
		if (!in4_pton(text, -1, (u8 *)&ep->addr, ':', &end))
			return -EINVAL;
		if (need_host && !ep->addr)
			return -EINVAL;
		if (*end == ':' && !end[1])
			return -EINVAL;
		if (*end == ':')
			end++;
	} else if (need_host) {
		return -EINVAL;
	}
	if (*end && (kstrtouint(end, 10, &port) || !port || port > 65535))
		return -EINVAL;
	if (!*text)
		return -EINVAL;
	ep->port = cpu_to_be16(port);
	return 0;
}

/**
 * puma_mode_parse - parse a role
 * @text: off, borrow or lend
 * @mode: filled
 *
 * Return: 0 or -EINVAL.
 */
int puma_mode_parse(const char *text, enum puma_mode *mode)
{
	static const char * const names[] = { "off", "borrow", "lend" };
	int i = match_string(names, ARRAY_SIZE(names), text);

	if (i < 0) {
		pr_err("mode=%s: must be off, borrow or lend\n", text);
		return -EINVAL;
	}
	*mode = i;
	return 0;
}

static int set_strategy(const char *text)
{
	if (!strcmp(text, "noninclusive"))
		WRITE_ONCE(puma_set.strategy, PUMA_NONINCLUSIVE);
	else if (!strcmp(text, "exclusive"))
		WRITE_ONCE(puma_set.strategy, PUMA_EXCLUSIVE);
	else
		return -EINVAL;
	return 0;
}

static int set_verify(const char *text)
{
	if (strcmp(text, "0") && strcmp(text, "1"))
		return -EINVAL;
	WRITE_ONCE(puma_set.verify, text[0] == '1');
	return 0;
}

static int set_deadline_ms(const char *text)
{
	unsigned int value;
	int err = kstrtouint(text, 10, &value);

	if (err || !value || value > DEADLINE_MS_MAX)
		return -EINVAL;
	WRITE_ONCE(puma_set.deadline_ms, value);
	return 0;
}

static int set_fs(const char *text)
{
	int err = puma_super_check_list(text);

	if (!err)
		strscpy(puma_set.fs, text);
	return err;
}

static int set_listen(const char *text)
{
	struct puma_endpoint ep;
	int err = puma_endpoint_parse(text, false, &ep);

	if (!err)
		puma_set.listen = ep;
	return err;
}

static int set_lenders(const char *text)
{
	int nr = strlen(text) < PUMA_TEXT_MAX ? puma_lenders_check(text) :
						-EINVAL;

	if (nr < 0)
		return nr;
	strscpy(puma_set.lenders, text);
	return 0;
}

static const struct setting {
	const char *name;
	int (*set)(const char *text);
	bool only_off;		/* may not change under a role */
	const char *form;
} settings[] = {
	{ "strategy", set_strategy, false, "noninclusive or exclusive" },
	{ "verify", set_verify, false, "0 or 1" },
	{ "deadline_ms", set_deadline_ms, false, "a number from 1 to 1000" },
	{ "max_lend", puma_lend_set_max, false,
	  "a size such as 512M or a share such as 50%" },
	{ "fs", set_fs, true, "some of " FS_PROVEN },
	{ "listen", set_listen, true, "PORT, ADDR or ADDR:PORT (IPv4)" },
	{ "lenders", set_lenders, true,
	  "up to 16 of ADDR or ADDR:PORT (IPv4), separated by commas" },
};

/**
 * puma_setting_change - change a setting
 * @name: its name on the command line
 * @value: its text, a newline at its end is ignored
 *
 * Return: 0, -EINVAL for a bad value, -EBUSY when the role must be off.
 */
int puma_setting_change(const char *name, const char *value)
{
	size_t len = strcspn(value, "\n");
	char text[PUMA_TEXT_MAX];
	unsigned int i;
	int err = -EINVAL;

	for (i = 0; strcmp(settings[i].name, name); i++)
		;
	if (len < sizeof(text)) {
		memcpy(text, value, len);
		text[len] = 0;
		mutex_lock(&puma_lock);
		if (settings[i].only_off && puma_mode != PUMA_OFF)
			err = -EBUSY;
		else
			err = settings[i].set(text);
		mutex_unlock(&puma_lock);
	}
	if (err == -EBUSY)
		pr_err("%s: can only be changed while mode is off\n", name);
	else if (err)
		pr_err("%s=%.*s: must be %s\n", name, (int)min(len, 80UL),
		       value, settings[i].form);
	return err;
}

/**
 * puma_mode_now - the role of this machine
 *
 * Return: enum puma_mode.
 */
enum puma_mode puma_mode_now(void)
{
	return READ_ONCE(puma_mode);
}

static int borrow_start(void)
{
	struct puma_index *ix;
	int err;

	lockdep_assert_held(&puma_lock);
	if (!puma_set.lenders[0]) {
		pr_err("mode=borrow: no lenders given (puma.lenders=, lender_list)\n");
		return -EINVAL;
	}
	ix = puma_index_alloc();
	if (!ix)
		return -ENOMEM;
	err = puma_put_start();
	if (err) {
		puma_index_free(ix);
		return err;
	}
	rcu_assign_pointer(puma_index, ix);
	static_branch_enable(&puma_borrow_key);
	puma_super_start();
	return puma_lenders_start(puma_set.lenders);
}

static void borrow_stop(void)
{
	struct puma_index *ix;

	lockdep_assert_held(&puma_lock);
	ix = rcu_dereference_protected(puma_index,
				       lockdep_is_held(&puma_lock));
	/* No mount takes part: no hook finds or makes an entry any more. */
	puma_super_stop();
	static_branch_disable(&puma_borrow_key);
	RCU_INIT_POINTER(puma_index, NULL);
	synchronize_rcu();
	puma_lenders_stop();
	puma_put_stop();
	/* Segments on their way out are freed by RCU on their own. */
	puma_index_free(ix);
}

static int role_start(enum puma_mode mode)
{
	switch (mode) {
	case PUMA_BORROW:
		return borrow_start();
	case PUMA_LEND:
		return puma_lend_start();
	default:
		return 0;
	}
}

static void role_stop(enum puma_mode mode)
{
	switch (mode) {
	case PUMA_BORROW:
		borrow_stop();
		break;
	case PUMA_LEND:
		puma_lend_stop();
		break;
	default:
		break;
	}
}

/**
 * puma_mode_change - take another role
 * @mode: the role
 *
 * Context: process. May wait for file systems and for the network.
 * Return: 0, or an error and the role is off.
 */
int puma_mode_change(enum puma_mode mode)
{
	int err = 0;

	mutex_lock(&puma_lock);
	if (mode != puma_mode) {
		role_stop(puma_mode);
		WRITE_ONCE(puma_mode, PUMA_OFF);
		err = role_start(mode);
		if (!err)
			WRITE_ONCE(puma_mode, mode);
		else if (mode == PUMA_BORROW &&
			 rcu_access_pointer(puma_index))
			borrow_stop();
	}
	mutex_unlock(&puma_lock);
	return err;
}

/* Settings of the command line; a bad one is reported and leaves PUMA off. */
static int __init read_command_line(void)
{
	const struct {
		const char *name;
		const char *value;
	} given[] = {
		{ "strategy", boot_strategy }, { "verify", boot_verify },
		{ "deadline_ms", boot_deadline_ms },
		{ "max_lend", boot_max_lend },
		{ "fs", boot_fs }, { "listen", boot_listen },
		{ "lenders", boot_lenders },
	};
	unsigned int i;
	int err, bad = 0;

	for (i = 0; i < ARRAY_SIZE(given); i++) {
		if (!given[i].value)
			continue;
		err = puma_setting_change(given[i].name, given[i].value);
		if (err)
			bad = err;
	}
	return bad;
}

static int __init prepare(void)
{
	int err;

	puma_wq = alloc_workqueue("puma", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	err = puma_wq ? puma_get_init() : -ENOMEM;
	if (!err)
		err = puma_store_init();
	if (!err)
		err = puma_sysfs_init();
	if (!err)
		err = puma_fork_init();
	if (err)
		pr_err("cannot be used: preparing it at boot failed (%d)\n",
		       err);
	return err;
}

static int __init puma_init(void)
{
	enum puma_mode want = PUMA_OFF;
	int err = prepare();

	if (err)
		return err;
	err = puma_setting_change("max_lend", "50%");
	if (!err)
		err = read_command_line();
	if (!err && boot_mode)
		err = puma_mode_parse(boot_mode, &want);
	if (!err)
		err = puma_mode_change(want);
	if (err)
		pr_err("not started (%d), mode is off; it can be set in /sys/kernel/mm/puma\n",
		       err);
	return 0;
}

late_initcall_sync(puma_init);	/* after ip_auto_config() */
