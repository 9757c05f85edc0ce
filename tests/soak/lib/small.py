# SPDX-License-Identifier: GPL-2.0
"""A borrower that is too small for what it works on, and how much of what it
reads comes from the lender.
"""

import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "guest" / "lib"))
from pair import changed, delta, settle, start_borrower, start_lender, sums_ok, wait_lease  # noqa: E402
from tap import FLAVOUR, Disk, Lab, Tap, scratch, say         # noqa: E402
from lab import write_results                           # noqa: E402

__all__ = ["MOUNT", "Small", "Lab", "Tap"]

DISK_MB = 1024
MOUNT = {
    "ext4": ("mkfs.ext4 -q -F -b 4096", "-o noatime"),
    "xfs": ("mkfs.xfs -q -f", "-o noatime"),
    "btrfs": ("mkfs.btrfs -q -f", "-o noatime"),
    "f2fs": ("mkfs.f2fs -q -f", "-o noatime"),
}
# Of the pages of the data disk that a read missed in the page cache.
SHARE_BAR = 0.5


class Small:
    """The pair, the data disk, and what was measured."""

    def __init__(self, tap, lab, name, mem_mb, lender_mb):
        self.tap, self.lab, self.name = tap, lab, name
        self.claims = []
        image = scratch(f"{name}.img")
        subprocess.run(["truncate", "-s", f"{DISK_MB}M", image], check=True)
        self.disk = Disk(image)
        self.lender = start_lender(lab, mem_mb=lender_mb, options="puma.max_lend=85%")
        self.guest = start_borrower(lab, mem_mb=mem_mb, vcpus=2, disks=[self.disk], image="soak",
                                    options=f"puma.fs={','.join(MOUNT)} puma.deadline_ms=1000")
        lab.wait_ready()
        wait_lease(self.guest)
        self.kernel = self.guest.sh("uname -r")

    def mount(self, fs):
        mkfs, options = MOUNT[fs]
        self.guest.sh(f"wipefs -aq {self.disk.dev}; {mkfs} {self.disk.dev} && "
                      f"mount -t {fs} {options} {self.disk.dev} /data", timeout=120)

    def umount(self):
        self.guest.sh("umount /data", timeout=120)

    def step(self, what, command, timeout=300, good=None):
        """One command; it has to succeed, and its output to be good. Returns the output."""
        begin = time.monotonic()
        rc, out, err = self.guest.run(command, timeout=timeout)
        fine = rc == 0 and (good is None or good(out))
        self.tap.ok(fine, f"{self.name}: {what}", f"status {rc}\n{out[-3000:]}\n{err[-3000:]}")
        say(f"{self.name}: {what}: {time.monotonic() - begin:.0f} s")
        return out

    def count(self):
        """(counters, pages read from the data disk)"""
        return settle(self.guest), self.guest.disk_stat(self.disk)[1] // 8

    def share(self, what, before):
        """How much of what was read since before came from the lender."""
        (old, old_disk), (new, new_disk) = before, self.count()
        moved = delta(old, new)
        hits, disk = moved["get_hit"], new_disk - old_disk
        part = hits / max(1, hits + disk)
        self.tap.diag(f"{self.name}: {what}: {hits} pages from the lender, {disk} from the disk "
                      f"({100 * part:.0f} %); {changed(moved)}")
        self.tap.ok(part >= SHARE_BAR, f"{self.name}: {what}: most of what was read came from the "
                    f"lender", f"{100 * part:.0f} %")
        self.claims.append({"name": f"{self.name}_share".replace(" ", "_"),
                            "value": round(part, 4), "unit": "fraction", "bar": SHARE_BAR,
                            "pass": part >= SHARE_BAR, "samples": [hits, disk]})
        return moved

    def end(self, result):
        ours, theirs = settle(self.guest, self.lender)
        sums_ok(self.tap, ours, "borrower")
        sums_ok(self.tap, theirs, "lender")
        write_results(result, self.lab.accel, self.kernel, self.claims, flavour=FLAVOUR)
