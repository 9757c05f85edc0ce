# SPDX-License-Identifier: GPL-2.0
"""Disks of a guest: a file, or a file behind nbdkit that answers slowly."""

import os
import time
from pathlib import Path

from .domain import fill
from .paths import LabError


class Disk:
    """A raw image file; dev is its name in the guest once it was given to one."""

    def __init__(self, path, readonly=False, shared_cache=False):
        self.path = Path(path).resolve()
        self.readonly = readonly
        self.shared_cache = shared_cache
        self.dev = None
        if not self.path.exists():
            raise LabError(f"no disk image {self.path}")

    def _can_be_direct(self):
        try:
            os.close(os.open(self.path, os.O_RDONLY | os.O_DIRECT))
            return True
        except OSError:
            return False        # tmpfs of an older kernel, for one

    def start(self, sandbox):
        """Nothing to run for a plain file."""

    def xml(self, target):
        self.dev = f"/dev/{target}"
        direct = not self.shared_cache and self._can_be_direct()
        return fill("disk-file.xml.in", path=self.path, target=target,
                    cache="none" if direct else "writeback",
                    readonly="<readonly/>" if self.readonly else "")


class SlowDisk(Disk):
    """An image served by nbdkit, read_ms late on each read.

    The delay is per request and requests overlap, as on a disk with a queue.
    """

    def __init__(self, path, read_ms=8, write_ms=0, readonly=False):
        super().__init__(path, readonly)
        self.read_ms = read_ms
        self.write_ms = write_ms
        self.pid = None
        self.socket = None

    def start(self, sandbox):
        self.socket = sandbox.state / f"nbd-{self.path.stem[:20]}-{id(self):x}.sock"
        log = sandbox.state / "log" / "nbdkit.log"
        argv = ["nbdkit", "--foreground", "--unix", self.socket, "--threads", "32",
                "--filter=delay", "file", self.path,
                f"rdelay={self.read_ms}ms", f"wdelay={self.write_ms}ms"]
        if self.readonly:
            argv.insert(1, "--readonly")
        self.pid = sandbox.spawn(argv, log)
        end = time.monotonic() + 10
        while not self.socket.exists():
            if not sandbox.alive(self.pid) or time.monotonic() > end:
                raise LabError("nbdkit did not start; " + sandbox.log_tail("nbdkit.log"))
            time.sleep(0.01)

    def xml(self, target):
        self.dev = f"/dev/{target}"
        return fill("disk-nbd.xml.in", socket=self.socket, target=target,
                    readonly="<readonly/>" if self.readonly else "")
