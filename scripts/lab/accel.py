# SPDX-License-Identifier: GPL-2.0
"""Which accelerator works: found out by booting our kernel with KVM.

The device node proves nothing: it can exist, open and answer, and still not
run a guest.  The answer is kept for this boot of the machine and this kernel.
"""

import hashlib
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from .paths import BUILD, LabError, kernel_image, say

SECONDS = 30
SILENT_SECONDS = 8      # with KVM the first line comes within one
# The kernel prints it when it is up and finds no root: everything before worked.
MARKER = "Unable to mount root fs"
QEMU = "/usr/bin/qemu-system-x86_64"
KVM = "/dev/kvm"
CACHE = BUILD / "probe-accel.json"


def wait_end(guest, console, begin):
    """Wait until QEMU ends or there is no hope; returns what happened."""
    while guest.poll() is None:
        age = time.monotonic() - begin
        if age > SILENT_SECONDS and not (console.exists() and console.stat().st_size):
            return f"no sign of life in {SILENT_SECONDS} s"
        if age > SECONDS:
            return f"not up after {SECONDS} s"
        time.sleep(0.05)
    return f"QEMU ended with status {guest.returncode}"


def boot_with_kvm(kernel):
    """(works, reason) of one real boot; no disk, so it ends in a panic and an exit."""
    if not os.path.exists(KVM):
        return False, f"there is no {KVM}"
    with tempfile.TemporaryDirectory() as tmp:
        console = Path(tmp) / "console"
        argv = [QEMU, "-accel", "kvm", "-cpu", "host", "-smp", "2",
                "-m", "256", "-nodefaults", "-display", "none", "-no-reboot",
                "-kernel", str(kernel), "-append", "console=ttyS0 panic=-1",
                "-serial", f"file:{console}"]
        begin = time.monotonic()
        try:
            with open(Path(tmp) / "stderr", "w+", encoding="utf-8") as err:
                guest = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=err, stderr=err)
                try:
                    end = wait_end(guest, console, begin)
                finally:
                    guest.kill()
                    guest.wait()
                err.seek(0)
                words = err.read().strip().splitlines()
        except OSError as err:
            raise LabError(f"cannot start QEMU: {err}; run 'scripts/install-deps lab'") from None
        if words:
            end += f" ({words[0]})"
        text = console.read_text(errors="replace") if console.exists() else ""
    if MARKER in text:
        return True, f"a guest booted with KVM in {time.monotonic() - begin:.1f} s"
    return False, f"{KVM} exists but a guest does not boot with it: {end}"


def probe(again=False):
    """{"accelerator": "kvm" or "tcg", "reason": ...}"""
    forced = os.environ.get("PUMA_ACCEL")
    if forced:
        if forced not in ("kvm", "tcg"):
            raise LabError(f"PUMA_ACCEL={forced}: must be kvm or tcg")
        return {"accelerator": forced, "reason": "PUMA_ACCEL says so"}
    kernel = kernel_image()
    key = [Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
           hashlib.sha256(kernel.read_bytes()).hexdigest()]
    if not again:
        try:
            cached = json.loads(CACHE.read_text())
            if cached["key"] == key:
                return cached
        except (OSError, ValueError, KeyError):
            pass
    works, reason = boot_with_kvm(kernel)
    result = {"accelerator": "kvm" if works else "tcg", "reason": reason, "key": key}
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    CACHE.write_text(json.dumps(result, indent=1) + "\n")
    say(f"accelerator: {result['accelerator']} ({reason})")
    return result
