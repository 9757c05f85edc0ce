// SPDX-License-Identifier: GPL-2.0
/*
 * run COMMAND: runs a shell command as the lab wants it: in a session of its
 * own so that all of it can be killed, and killable by the OOM killer, which
 * the guest agent itself is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int fd;

	if (argc != 2) {
		fprintf(stderr, "usage: run COMMAND\n");
		return 2;
	}
	setsid();
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "0", 1) < 0)
		perror("run: oom_score_adj");
	setenv("PATH", "/puma/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	execl("/bin/sh", "sh", "-c", argv[1], NULL);
	fprintf(stderr, "run: /bin/sh: %s\n", strerror(errno));
	return 127;
}
