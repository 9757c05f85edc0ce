/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The events: ways in which a file changes, or what it is on.
 */
#ifndef PUMA_EVENTS_H
#define PUMA_EVENTS_H

#include "file.h"

#define NOCOW		1	/* the file is written in place, btrfs too */
#define ALONE		2	/* cannot be made while others use the file */
#define OWN_FILES	4	/* makes its files itself; only the path is given */

struct event {
	const char *name;
	int (*change)(struct file *f);
	size_t size;		/* of the file before */
	unsigned int flags;
};

/* Each ends with an event without a name. */
extern const struct event events_write[];
extern const struct event events_direct[];
extern const struct event events_range[];
extern const struct event events_clone[];
extern const struct event events_fs[];
extern const struct event events_btrfs[];
extern const struct event events_admin[];
extern const struct event events_held[];

extern const char *dm_name;	/* device mapper device that may be made to fail */
extern char mount_dir[1000];	/* the directory under test, if it is a mount point */
extern char mount_dev[1000];	/* device that it is on */
extern char mount_type[100];
extern char mount_options[2000];

/* racing.c: evict and read files while an event happens */
void racers_start(unsigned int seed);
void racers_stop(void);
void racers_add(struct file *f);
void racers_remove(struct file *f);
extern int racers_apart;		/* the first processor is for the event alone */
/* So that somebody may stop that: for the thread of the event, or of a racer. */
void racers_part(int racer);
void racers_unpart(void);
uint64_t racers_errors(void);	/* reads that failed */
int delay_points(void);		/* how many the kernel has */
void delay_set(const char *name, unsigned int us);

/* shell.c: what shell scripts call */
int shell_verb(int argc, char **argv);

#endif /* PUMA_EVENTS_H */
