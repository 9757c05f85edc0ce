# SPDX-License-Identifier: GPL-2.0
"""PID 1 of the lab's own world: holder.py STATE_DIR

sandbox.py starts it in new mount, network, PID and IPC namespaces.  It hides
the machine's libvirt behind private directories, makes the bridge and starts
libvirtd; later it starts other helpers (nbdkit) on request.  When it ends, for
whatever reason, the kernel kills everything in the PID namespace (libvirtd,
every QEMU, nbdkit) and drops the network namespace with bridge and taps.

Talks JSON, one object a line: requests on stdin, answers on stdout.  End of
stdin means: end.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

BRIDGE = "pumabr0"

# Private, so the machine's own files in /etc/libvirt are neither read nor changed.
LIBVIRTD_CONF = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
log_outputs = "3:stderr"
host_uuid = "{uuid}"
"""
# Everything runs as root inside namespaces of our own, so libvirt need not
# confine or relabel anything; the console must go to a plain file.
QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
security_default_confined = 0
dynamic_ownership = 0
remember_owner = 0
clear_emulator_capabilities = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
seccomp_sandbox = 0
"""

exited = {}                     # pid -> exit status of children already reaped


def command(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"'{' '.join(argv)}' failed: {done.stderr.strip() or done.returncode}")


def bind(source, target):
    source.mkdir(parents=True, exist_ok=True)
    Path(target).mkdir(parents=True, exist_ok=True)
    command("mount", "--bind", str(source), target)


def private_directories(state, cache):
    # Also hides the machine's D-Bus and udev, so nothing registers there.
    command("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    command("mount", "-t", "sysfs", "sysfs", "/sys")
    bind(state / "run", "/run/libvirt")
    bind(state / "etc", "/etc/libvirt")
    bind(state / "lib", "/var/lib/libvirt")
    bind(state / "log", "/var/log/libvirt")
    bind(cache, "/var/cache/libvirt")
    # By hand, because virtlogd and others expect them where a package made them.
    Path("/var/lib/libvirt/qemu").mkdir(exist_ok=True)
    Path("/etc/libvirt/qemu.conf").write_text(QEMU_CONF)
    uuid = Path("/proc/sys/kernel/random/uuid").read_text().strip()
    Path("/etc/libvirt/libvirtd.conf").write_text(LIBVIRTD_CONF.format(uuid=uuid))


def tun_device():
    if os.path.exists("/dev/net/tun"):
        return
    os.makedirs("/dev/net", exist_ok=True)
    # On a private tmpfs: the machine's /dev stays as it is.
    command("mount", "-t", "tmpfs", "tmpfs", "/dev/net")
    os.mknod("/dev/net/tun", 0o666 | 0o020000, os.makedev(10, 200))


def network():
    command("ip", "link", "set", "lo", "up")
    command("ip", "link", "add", BRIDGE, "type", "bridge", "forward_delay", "0", "stp_state", "0")
    # The host has no address on it: guests reach one another only.
    Path(f"/proc/sys/net/ipv6/conf/{BRIDGE}/disable_ipv6").exists() and \
        Path(f"/proc/sys/net/ipv6/conf/{BRIDGE}/disable_ipv6").write_text("1")
    command("ip", "link", "set", BRIDGE, "up")


def spawn(argv, log):
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.closerange(3, 256)
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/root",
               "TMPDIR": os.environ.get("TMPDIR", "/tmp")}
        os.execvpe(argv[0], argv, env)
    except OSError as err:
        os.write(2, f"{argv[0]}: {err}\n".encode())
    finally:
        os._exit(127)


def reap():
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        exited[pid] = os.waitstatus_to_exitcode(status)


def wait_pid(pid, seconds):
    end = time.monotonic() + seconds
    while pid not in exited and time.monotonic() < end:
        time.sleep(0.01)
        reap()
    return exited.get(pid)


def answer(request):
    op = request["op"]
    if op == "spawn":
        return {"pid": spawn(request["argv"], request["log"])}
    if op == "alive":
        reap()
        pid = request["pid"]
        return {"alive": pid not in exited, "status": exited.get(pid)}
    if op == "kill":
        pid = request["pid"]
        if pid not in exited:
            os.kill(pid, request.get("signal", signal.SIGTERM))
        return {"status": wait_pid(pid, request.get("wait", 5))}
    return {"error": f"unknown request {op}"}


def main():
    state, cache = Path(sys.argv[1]), Path(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def reply(obj):
        sys.stdout.write(json.dumps(obj) + "\n")
        sys.stdout.flush()

    try:
        private_directories(state, cache)
        tun_device()
        network()
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        libvirtd = spawn(["libvirtd"], str(state / "log" / "libvirtd.log"))
    except (OSError, RuntimeError) as err:
        reply({"error": str(err)})
        return
    reply({"libvirtd": libvirtd, "bridge": BRIDGE})

    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    poll.register(wake_read, select.POLLIN)
    pending = b""
    while True:
        ready = dict(poll.poll())
        if wake_read in ready:
            try:
                os.read(wake_read, 4096)
            except BlockingIOError:
                pass
            reap()
        if 0 not in ready:
            continue
        data = os.read(0, 65536)
        if not data:
            return
        pending += data
        while b"\n" in pending:
            line, pending = pending.split(b"\n", 1)
            try:
                reply(answer(json.loads(line)))
            except (OSError, KeyError, ValueError) as err:
                reply({"error": str(err)})


if __name__ == "__main__":
    main()
