// SPDX-License-Identifier: GPL-2.0
/*
 * PID 1 of the test guests.
 *
 * Mounts what a shell expects, puts a writable overlay over the shared
 * read-only root, starts the guest agent and reaps children until somebody
 * asks for the end.  There is no service manager on purpose: under emulation
 * every process start costs, and a guest must be usable in a few seconds.
 *
 * Started under another name (shutdown, poweroff, reboot) the same program
 * sends the matching signal to PID 1.
 *
 * Kernel command line words it reads:
 *	init.noagent	do not start the agent (used by the accelerator probe)
 *	init.poweroff	power off as soon as everything is mounted
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AGENT		"/usr/sbin/qemu-ga"
#define AGENT_PORT	"org.qemu.guest_agent.0"
#define OVL		"/mnt"		/* scratch mount point of the base image */

static pid_t agent;
static sigset_t all_signals;	/* blocked in PID 1, taken by sigwaitinfo() */

/* One line on the console, with the uptime, so that boot time can be read off. */
static void say(const char *fmt, ...)
{
	struct timespec ts;
	char msg[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	clock_gettime(CLOCK_BOOTTIME, &ts);
	dprintf(2, "puma-init: [%ld.%03ld] %s\n", (long)ts.tv_sec, ts.tv_nsec / 1000000, msg);
}

/* Mounts are best effort: a kernel without cgroups must still boot. */
static int try_mount(const char *src, const char *dst, const char *type,
		     unsigned long flags, const char *data)
{
	if (mkdir(dst, 0755) && errno != EEXIST && errno != EROFS)
		say("cannot make %s: %s", dst, strerror(errno));
	if (!mount(src, dst, type, flags, data) || errno == EBUSY)
		return 0;
	say("cannot mount %s on %s: %s", type, dst, strerror(errno));
	return -1;
}

static int cmdline_has(const char *word)
{
	static char line[4096];
	char copy[4096], *tok, *save;

	if (!line[0]) {
		int fd = open("/proc/cmdline", O_RDONLY);
		ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);

		if (n > 0)
			line[n] = 0;
		if (fd >= 0)
			close(fd);
	}
	strcpy(copy, line);
	for (tok = strtok_r(copy, " \n", &save); tok; tok = strtok_r(NULL, " \n", &save))
		if (!strcmp(tok, word))
			return 1;
	return 0;
}

/* After this / is writable; nothing written there survives the guest. */
static void overlay_root(void)
{
	if (try_mount("tmpfs", OVL, "tmpfs", MS_NOSUID, "mode=0755"))
		return;
	mkdir(OVL "/upper", 0755);
	mkdir(OVL "/work", 0755);
	mkdir(OVL "/root", 0755);
	if (try_mount("overlay", OVL "/root", "overlay", 0,
		      "lowerdir=/,upperdir=" OVL "/upper,workdir=" OVL "/work"))
		return;
	/* The old root ends up on <new>/mnt and is then only held by the overlay. */
	if (chdir(OVL "/root") || syscall(SYS_pivot_root, ".", "mnt") || chroot(".") || chdir("/")) {
		say("cannot enter the overlay: %s", strerror(errno));
		return;
	}
	umount2("/mnt", MNT_DETACH);
}

static void mount_all(void)
{
	try_mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	try_mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	try_mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755");
	try_mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666");
	try_mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, NULL);
	try_mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
	try_mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, NULL);
	if (!access("/sys/fs/cgroup", F_OK))
		try_mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	if (!access("/sys/kernel/debug", F_OK))
		try_mount("debugfs", "/sys/kernel/debug", "debugfs", MS_NOSUID, NULL);
	if (!access("/sys/kernel/tracing", F_OK))
		try_mount("tracefs", "/sys/kernel/tracing", "tracefs", MS_NOSUID, NULL);
	mkdir("/data", 0755);
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
	/* The agent calls these by their full names. */
	symlink("/puma/init", "/usr/sbin/shutdown");
	symlink("/puma/init", "/usr/sbin/poweroff");
	symlink("/puma/init", "/usr/sbin/reboot");
}

static void set_file(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		say("cannot write %s to %s: %s", value, path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/*
 * A guest this small keeps so little memory free that the network driver runs
 * out of it while pages come in during reclaim. The admin guide says the same.
 */
static void tune_memory(void)
{
	set_file("/proc/sys/vm/min_free_kbytes", "6144");
}

static void loopback_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr))
		say("cannot bring up lo: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* There is no udev to name the port, so look for it. */
static int find_agent_port(char *dev, size_t len)
{
	struct dirent *e;
	int found = 0;
	DIR *d = opendir("/sys/class/virtio-ports");

	while (d && !found && (e = readdir(d))) {
		char path[300], name[64] = "";
		FILE *f;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", e->d_name);
		f = fopen(path, "r");
		if (f && fgets(name, sizeof(name), f)) {
			name[strcspn(name, "\n")] = 0;
			if (!strcmp(name, AGENT_PORT)) {
				snprintf(dev, len, "/dev/%s", e->d_name);
				found = 1;
			}
		}
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return found;
}

static void start_agent(void)
{
	char dev[300];

	if (!find_agent_port(dev, sizeof(dev))) {
		say("no virtio port named " AGENT_PORT ": no agent");
		return;
	}
	agent = fork();
	if (agent)
		return;
	setsid();
	sigprocmask(SIG_UNBLOCK, &all_signals, NULL);
	/* A guest short of memory must not lose the one way to talk to it. */
	{
		int fd = open("/proc/self/oom_score_adj", O_WRONLY);

		if (fd >= 0) {
			dprintf(fd, "-1000");
			close(fd);
		}
	}
	execl(AGENT, AGENT, "-m", "virtio-serial", "-p", dev, "-t", "/run", NULL);
	say("cannot start " AGENT ": %s", strerror(errno));
	_exit(127);
}

static void end(int how)
{
	say(how == RB_AUTOBOOT ? "restarting" : "powering off");
	signal(SIGCHLD, SIG_DFL);
	kill(-1, SIGTERM);
	usleep(100000);
	kill(-1, SIGKILL);
	sync();
	reboot(how);
	_exit(1);
}

static int as_client(const char *name, int argc, char **argv)
{
	int sig = SIGTERM, i;

	if (!strcmp(name, "reboot"))
		sig = SIGINT;
	for (i = 1; i < argc; i++)
		if (!strcmp(argv[i], "-r") || !strcmp(argv[i], "--reboot"))
			sig = SIGINT;
	if (kill(1, sig)) {
		fprintf(stderr, "%s: cannot signal PID 1: %s\n", name, strerror(errno));
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');
	int fd;

	name = name ? name + 1 : argv[0];
	if (getpid() != 1)
		return as_client(name, argc, argv);

	/* SIGTERM powers off, SIGINT restarts (also what ctrl-alt-del sends). */
	sigfillset(&all_signals);
	sigprocmask(SIG_BLOCK, &all_signals, NULL);

	/* devtmpfs may not be mounted yet; then the kernel gave us its own console. */
	overlay_root();
	mount_all();
	fd = open("/dev/console", O_RDWR);
	if (fd >= 0) {
		dup2(fd, 0);
		dup2(fd, 1);
		dup2(fd, 2);
		if (fd > 2)
			close(fd);
	}
	setenv("PATH", "/puma/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/root", 1);
	setenv("LC_ALL", "C", 1);
	tune_memory();
	loopback_up();
	reboot(RB_DISABLE_CAD);
	say("mounted");
	if (cmdline_has("init.poweroff"))
		end(RB_POWER_OFF);
	if (!cmdline_has("init.noagent"))
		start_agent();
	say("ready");

	for (;;) {
		int sig = sigwaitinfo(&all_signals, NULL);
		int status;
		pid_t pid;

		if (sig == SIGTERM)
			end(RB_POWER_OFF);
		if (sig == SIGINT)
			end(RB_AUTOBOOT);
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
			if (pid != agent)
				continue;
			say("the agent ended with status 0x%x, starting it again", status);
			sleep(1);
			start_agent();
		}
	}
}
