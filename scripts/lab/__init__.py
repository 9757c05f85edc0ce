# SPDX-License-Identifier: GPL-2.0
"""Boot guests through libvirt, in a world of their own that leaves nothing behind.

    with Lab("pair") as lab:
        lender = lab.guest("lender", mem_mb=512, address=lab.address(2))
        borrower = lab.guest("borrower", mem_mb=192, cmdline="puma.mode=borrow",
                             disks=[SlowDisk("build/image/data.ext4", read_ms=8)])
        lab.wait_ready()
        rc, out, err = borrower.run("uname -r")

Guests boot in parallel.  At the end everything is killed, and the consoles are
scanned: a splat that was not announced (Guest.expect_splat) is an error.
"""

import os
import shutil
import signal
import sys
import threading
import time

try:
    import libvirt
except ImportError:
    sys.exit(f"{sys.executable} has no libvirt module: install the Debian package "
             "python3-libvirt and use /usr/bin/python3")

from . import accel, splats
from .disk import Disk, SlowDisk
from .guest import CommandFailed, Guest, GuestPanic, Proc, Result
from .paths import BUILD, FLAVOUR, HOST_BIN, LOGS, RESULTS, ROOT, LabError, kernel_image, say
from .results import write_results
from .sandbox import Sandbox

__all__ = ["Lab", "Guest", "Proc", "Result", "Disk", "SlowDisk", "LabError", "GuestPanic",
           "CommandFailed", "SplatsFound", "BUILD", "FLAVOUR", "HOST_BIN", "RESULTS", "ROOT",
           "kernel_image", "say", "write_results"]

KEEP_RUNS = 4                   # log directories kept for each name
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class SplatsFound(LabError):
    """A guest's kernel complained."""


def on_signal(number, _frame):
    # As an exception, so that every with-block on the way out does its part.
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


class Lab:
    """Context manager; see the package's description."""

    def __init__(self, name):
        self.name = name
        self.guests = []
        self.sandbox = Sandbox()
        self.connection = None
        self.accel = None
        self.logs = None
        self._old_handlers = {}

    # -- begin

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in END_SIGNALS:
                self._old_handlers[number] = signal.signal(number, on_signal)
        try:
            self.accel = accel.probe()["accelerator"]
            self._make_log_directory()
            self.sandbox.start()
            self._connect()
        except BaseException:
            self._take_down()
            raise
        return self

    def _make_log_directory(self):
        LOGS.mkdir(parents=True, exist_ok=True)
        old = sorted(LOGS.glob(f"{self.name}@*"))
        for directory in old[:max(0, len(old) - KEEP_RUNS + 1)]:
            shutil.rmtree(directory, ignore_errors=True)
        self.logs = LOGS / f"{self.name}@{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        self.logs.mkdir()

    def _connect(self):
        libvirt.registerErrorHandler(lambda *_: None, None)     # we report errors ourselves
        uri = f"qemu+unix:///system?socket={self.sandbox.socket}"
        end = time.monotonic() + 60
        while True:
            if self.sandbox.socket.exists():
                try:
                    self.connection = libvirt.open(uri)
                    return
                except libvirt.libvirtError as err:
                    problem = err.get_error_message()
            else:
                problem = "no socket"
            if not self.sandbox.alive(self.sandbox.libvirtd):
                raise LabError("libvirtd ended; " + self.sandbox.log_tail("libvirtd.log"))
            if time.monotonic() > end:
                raise LabError(f"libvirtd does not answer ({problem}); "
                               + self.sandbox.log_tail("libvirtd.log"))
            time.sleep(0.05)

    # -- guests

    @staticmethod
    def address(number):
        """Of the lab's network; by custom the borrower is 1 and lenders follow."""
        return f"10.77.0.{number}/24"

    def guest(self, name, *, mem_mb=256, vcpus=1, cmdline="", disks=(), address=None, kernel=None,
              image="root", genid=True):
        """Start a guest; it gets the next address unless told otherwise.

        Disks are /dev/vdb and following in the given order (disk.dev says it).
        image: root, or soak, which has more programs.
        genid: whether it is told that it was restored (VM generation ID).
        """
        number = len(self.guests) + 1
        ip = (address or self.address(number)).split("/")[0]
        nic = {"mac": f"52:54:00:77:00:{int(ip.rsplit('.', 1)[1]):02x}",
               "bridge": self.sandbox.bridge, "tap": f"pumatap{number}"}
        try:
            guest = Guest(self, name, mem_mb=mem_mb, vcpus=vcpus, address=ip, cmdline=cmdline,
                          disks=list(disks), kernel=kernel, nics=[nic], image=image,
                          genid=genid)
        except libvirt.libvirtError as err:
            raise LabError(f"libvirt cannot start {name}: {err.get_error_message()}; "
                           + self.sandbox.log_tail("libvirtd.log")) from None
        self.guests.append(guest)
        return guest

    def wait_ready(self, timeout=60):
        for guest in self.guests:
            guest.wait_ready(timeout)

    # -- end

    def __exit__(self, kind, error, trace):
        # A second Ctrl-C must not stop the cleaning.
        for number in self._old_handlers:
            signal.signal(number, signal.SIG_IGN)
        self._take_down()
        if kind and not issubclass(kind, Exception):
            return
        problems = self._scan()
        if problems and kind is None:
            raise SplatsFound(problems)
        if problems:
            say(problems)

    def _take_down(self):
        if self.connection:
            # Not close(): that would wait for each guest to be destroyed in turn.
            connection, self.connection = self.connection, None
        else:
            connection = None
        self.sandbox.stop(keep_logs=self.logs)
        if connection:
            try:
                connection.close()
            except libvirt.libvirtError:
                pass
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        self._old_handlers = {}

    def _scan(self):
        scanner = splats.Scanner()
        problems = []
        for guest in self.guests:
            for report in guest.splats(scanner):
                lines = report.splitlines()
                problems.append(f"splat on the console of {guest.name} ({guest.console}):\n  | "
                                + "\n  | ".join(lines))
        return "\n".join(problems)
