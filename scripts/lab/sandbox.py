# SPDX-License-Identifier: GPL-2.0
"""The lab's own world: namespaces with a bridge and a private libvirtd in them.

Everything the lab starts lives in one PID namespace whose first process dies
with us (parent-death signal), even when we are killed with SIGKILL.  So there
is no list of things to take down that could be forgotten.  All that can stay
behind is the state directory; the next lab removes those whose lock is free.
"""

import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from .paths import BUILD, LabError

PREFIX = "puma-lab-"
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
NEEDED = {"libvirtd": "libvirt-daemon-system", "qemu-system-x86_64": "qemu-system-x86",
          "nbdkit": "nbdkit", "ip": "iproute2", "unshare": "util-linux", "mount": "mount"}


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start_time(pid):
    """When a process started, in clock ticks, or None: makes a PID unambiguous."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rsplit(")", 1)[1].split()[19]


def clean_stale():
    """Remove what labs left behind whose process was killed; returns the directories."""
    removed = []
    for state in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        if not state.is_dir() or state.stat().st_uid != os.getuid():
            continue
        try:
            with open(state / "lock", "a", encoding="ascii") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The owner is dead, so its world should be too; make sure.
                try:
                    pid, began = (state / "pid").read_text().split()
                    if start_time(pid) == began:
                        os.kill(int(pid), signal.SIGKILL)
                except (OSError, ValueError):
                    pass
                shutil.rmtree(state, ignore_errors=True)
                removed.append(str(state))
        except OSError:
            continue            # somebody is using it
    return removed


class Sandbox:
    """Start with start(), end with stop(); in between spawn() runs helpers inside."""

    def __init__(self):
        self.state = None
        self.bridge = None
        self._lock = None
        self._child = None
        self._talk = threading.Lock()
        self._buffer = b""

    def start(self):
        self._check_machine()
        clean_stale()
        self._make_state()
        for sub in ("run", "etc", "lib", "log"):
            (self.state / sub).mkdir()
        cache = BUILD / "lab-cache"     # what libvirt learnt about this QEMU
        cache.mkdir(parents=True, exist_ok=True)
        holder = Path(__file__).with_name("holder.py")
        with open(self.state / "log" / "holder.log", "wb") as log:
            self._child = subprocess.Popen(
                ["unshare", "--mount", "--net", "--pid", "--ipc", "--fork", "--mount-proc",
                 "--kill-child=SIGKILL", "--", "/usr/bin/python3", "-I", str(holder),
                 str(self.state), str(cache)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                start_new_session=True, preexec_fn=die_with_parent)
        (self.state / "pid").write_text(f"{self._child.pid} {start_time(self._child.pid)}\n")
        hello = self._answer(30)
        self.bridge = hello["bridge"]
        self.libvirtd = hello["libvirtd"]

    def _make_state(self):
        """A directory that clean_stale() of another lab sees only once it is locked."""
        # Short path: a unix socket's name has 107 characters at most.
        hidden = Path(tempfile.mkdtemp(prefix="." + PREFIX))
        self._lock = open(hidden / "lock", "w", encoding="ascii")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.state = hidden.rename(hidden.with_name(hidden.name[1:]))

    @staticmethod
    def _check_machine():
        if os.geteuid():
            raise LabError("run as root: the lab makes network namespaces and starts libvirtd")
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        missing = [pkg for prog, pkg in NEEDED.items() if not shutil.which(prog, path=path)]
        if missing:
            raise LabError("missing packages, run 'scripts/install-deps lab' or "
                           f"'apt-get install {' '.join(missing)}'")

    def _answer(self, seconds):
        end = time.monotonic() + seconds
        pipe = self._child.stdout.fileno()
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise LabError(f"the lab's holder process did not answer in {seconds} s; "
                               + self.log_tail("holder.log"))
            data = os.read(pipe, 65536)
            if not data:
                raise LabError("the lab's holder process died; " + self.log_tail("holder.log"))
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        reply = json.loads(line)
        if "error" in reply:
            raise LabError("the lab's holder process says: " + reply["error"])
        return reply

    def ask(self, seconds=30, **request):
        with self._talk:
            if not self._child or self._child.poll() is not None:
                raise LabError("the lab is not running")
            try:
                self._child.stdin.write(json.dumps(request).encode() + b"\n")
                self._child.stdin.flush()
            except OSError:
                raise LabError("the lab's holder process died; "
                               + self.log_tail("holder.log")) from None
            return self._answer(seconds)

    def spawn(self, argv, log):
        return self.ask(op="spawn", argv=[str(a) for a in argv], log=str(log))["pid"]

    def alive(self, pid):
        return self.ask(op="alive", pid=pid)["alive"]

    def kill(self, pid, sig=signal.SIGTERM):
        return self.ask(op="kill", pid=pid, signal=int(sig))["status"]

    def log_tail(self, name, lines=10):
        try:
            text = (self.state / "log" / name).read_text(errors="replace").splitlines()
        except OSError:
            text = []
        return f"end of {name}:\n  " + "\n  ".join(text[-lines:] or ["(empty)"])

    @property
    def socket(self):
        return self.state / "run" / "libvirt-sock"

    def stop(self, keep_logs=None):
        """Kill everything inside and remove the state directory."""
        if self._child:
            # The direct child is unshare(1); its parent-death signal kills the holder,
            # which is PID 1 inside, and with it all others.
            self._child.kill()
            self._child.wait()
            self._child.stdin.close()
            # The pipe's other end is held by everything inside: end of file
            # means that all of it is gone.
            pipe = self._child.stdout.fileno()
            end = time.monotonic() + 10
            while time.monotonic() < end:
                if select.select([pipe], [], [], 0.2)[0] and not os.read(pipe, 65536):
                    break
            self._child.stdout.close()
            self._child = None
        if self.state:
            if keep_logs:
                for log in (self.state / "log").rglob("*.log"):
                    shutil.copy(log, keep_logs / log.name)
            shutil.rmtree(self.state, ignore_errors=True)
            self._lock.close()
            self.state = None
