# SPDX-License-Identifier: GPL-2.0
"""One guest: a transient libvirt domain, spoken to through its guest agent."""

import base64
import json
import re
import threading
import time
from typing import NamedTuple

import libvirt
import libvirt_qemu

from .disk import Disk
from .domain import domain_xml
from .paths import TIMEOUT_SCALE, LabError, kernel_image, root_image, say

BASE_CMDLINE = ("root=/dev/vda ro rootfstype=squashfs init=/puma/init console=ttyS0 "
                "random.trust_cpu=on panic=0")
PANIC = re.compile(rb"Kernel panic - not syncing[^\n]*")
# The emulated guest shares the processors with everything we ask it to do, so
# ask soon after the start and then ever more rarely.
POLL_FIRST, POLL_GROW, POLL_MOST = 0.05, 1.3, 0.5
FILE_CHUNK = 128 * 1024         # four times this stalls the agent


class GuestPanic(LabError):
    """The guest's kernel panicked and nobody expected it."""


class CommandFailed(LabError):
    """A command that had to succeed did not."""


class Result(NamedTuple):
    rc: int
    out: str
    err: str


class Proc:
    """A command that runs in a guest."""

    def __init__(self, guest, command, pid):
        self.guest = guest
        self.command = command
        self.pid = pid
        self.result = None
        self.begin = time.monotonic()

    def poll(self, seconds=30):
        """The Result, or None while it runs."""
        if self.result is None:
            status = self.guest.agent("guest-exec-status", {"pid": self.pid}, seconds)
            if status["exited"]:
                # A signal reads like a shell's exit status.
                code = status.get("exitcode", 128 + status.get("signal", 0))
                self.result = Result(code, *(
                    base64.b64decode(status.get(k, "")).decode("utf-8", "replace")
                    for k in ("out-data", "err-data")))
        return self.result

    def wait(self, timeout=60, check=False):
        end = time.monotonic() + timeout * TIMEOUT_SCALE
        pause = POLL_FIRST
        while self.poll() is None:
            if time.monotonic() > end:
                self.kill()
                raise self.guest.error(f"'{short(self.command)}' did not end within "
                                       f"{timeout * TIMEOUT_SCALE:.0f} s")
            self.guest.check_panic()
            time.sleep(pause)
            pause = min(pause * POLL_GROW, POLL_MOST)
        if check and self.result.rc:
            raise CommandFailed(f"{self.guest.name}: '{short(self.command)}' failed with status "
                                f"{self.result.rc}: {(self.result.err or self.result.out).strip()}")
        return self.result

    def kill(self, sig="KILL"):
        """Signal the command and all it started."""
        self.guest.agent("guest-exec", {"path": "/bin/kill", "arg": [f"-{sig}", "--", f"-{self.pid}"]})


def short(command):
    return command if len(command) < 200 else command[:200] + " ..."


class Guest:
    """Made by Lab.guest(); boots at once, ready after wait_ready()."""

    def __init__(self, lab, name, *, mem_mb, vcpus, address, cmdline, disks, kernel, nics,
                 image, genid):
        self.lab = lab
        self.name = name
        self.address = address
        self.mem_mb = mem_mb
        self.vcpus = vcpus
        self.disks = disks
        self.console = lab.logs / f"console-{name}.log"
        self.expected_splats = []
        self.expected_panic = None
        self.boot_seconds = None
        self._panic_from = 0
        self._boot_from = 0         # where on the console this boot begins
        self._boot_id = None
        self._ready = False
        self._begin = time.monotonic()
        words = [BASE_CMDLINE]
        if address:
            words.append(f"ip={address}:::255.255.255.0:{name}:eth0:off")
        words.append(cmdline)
        self.cmdline = " ".join(w for w in words if w)
        root = Disk(root_image(image), readonly=True, shared_cache=True)
        self._root = root.path, root.path.stat().st_ino
        for disk in disks:
            disk.start(lab.sandbox)
        self.xml = domain_xml(name, lab.accel, mem_mb, vcpus, kernel or kernel_image(), self.cmdline,
                         [root, *disks], nics, self.console, genid)
        (lab.logs / f"domain-{name}.xml").write_text(self.xml)
        self._power_on()

    def _power_on(self):
        # Labs clean up by killing all; autodestroy is for whoever uses another daemon.
        self.domain = self.lab.connection.createXML(self.xml, libvirt.VIR_DOMAIN_START_AUTODESTROY)

    # -- the agent

    def agent(self, command, arguments=None, seconds=30):
        """One command of the guest agent's own protocol."""
        request = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        limit = max(1, int(seconds * TIMEOUT_SCALE))
        try:
            reply = self._call_agent(json.dumps(request), limit)
        except libvirt.libvirtError as err:
            self.check_panic()
            raise self.error(f"agent command {command} failed: {err.get_error_message()}") from None
        return json.loads(reply)["return"]

    def _call_agent(self, request, limit):
        """In a thread, so that neither a panic nor Ctrl-C has to wait for a dead agent."""
        box = {}

        def call():
            try:
                box["reply"] = libvirt_qemu.qemuAgentCommand(self.domain, request, limit, 0)
            except libvirt.libvirtError as err:
                box["error"] = err

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.25)
            if thread.is_alive():
                self.check_panic()
        if "error" in box:
            raise box["error"]
        return box["reply"]

    def wait_ready(self, timeout=60):
        """Until the agent answers (and, after reboot(), is another boot's agent)."""
        begin = time.monotonic()
        end = begin + timeout * TIMEOUT_SCALE
        while not self._ready:
            # Asking too early costs libvirt's own long time-out.  If the line is
            # garbled by other output, ask after a while.
            if not self._said_ready() and time.monotonic() < min(end, begin + 20 * TIMEOUT_SCALE):
                self._wait_a_little()
                continue
            try:
                self._call_agent('{"execute":"guest-ping"}', 2)
                self._ready = self._is_new_boot()
                if self._ready:
                    break
            except libvirt.libvirtError:
                pass
            if time.monotonic() > end:
                raise self.error(f"not ready after {timeout * TIMEOUT_SCALE:.0f} s")
            self._wait_a_little()
        if self.boot_seconds is None:
            self.boot_seconds = time.monotonic() - self._begin
            say(f"{self.name}: ready {self.boot_seconds:.1f} s after its start")
        return self

    def _wait_a_little(self):
        if not self.is_active():
            raise self.error("the guest ended before it was ready")
        self.check_panic()
        time.sleep(0.1)

    def _said_ready(self):
        return re.search(r"puma-init: .* ready", self.console_text()[self._boot_from:])

    def _is_new_boot(self):
        boot_id = self._read("/proc/sys/kernel/random/boot_id", 5).strip()
        if boot_id == self._boot_id:
            return False
        self._boot_id = boot_id
        return True

    # -- commands and files

    def start(self, command):
        """Start a shell command; returns a Proc."""
        self.wait_ready()
        pid = self.agent("guest-exec", {"path": "/puma/bin/run", "arg": [command],
                                        "capture-output": True})["pid"]
        return Proc(self, command, pid)

    def run(self, command, timeout=60, check=False):
        """Run a shell command; returns (rc, out, err)."""
        return self.start(command).wait(timeout, check)

    def sh(self, command, timeout=60):
        """Run a shell command that must succeed; returns its output without the last newline."""
        return self.run(command, timeout, check=True).out.rstrip("\n")

    def read(self, path):
        """The contents of a file of the guest, without the last newline."""
        self.wait_ready()
        return self._read(path).rstrip("\n")

    def _read(self, path, seconds=30):
        handle = self.agent("guest-file-open", {"path": path, "mode": "r"}, seconds)
        data = b""
        try:
            while True:
                part = self.agent("guest-file-read", {"handle": handle, "count": FILE_CHUNK}, seconds)
                data += base64.b64decode(part["buf-b64"])
                if part["eof"] or not part["count"]:
                    return data.decode("utf-8", "replace")
        finally:
            self.agent("guest-file-close", {"handle": handle}, seconds)

    def read_numbers(self, directory):
        """{file name: number} of a directory with one number per file, in one go."""
        out = self.sh(f"cd {directory} && grep -H . *")
        return {name: int(value) for name, value in
                (line.split(":", 1) for line in out.splitlines()) if value.lstrip("-").isdigit()}

    def stats(self):
        """PUMA's counters."""
        return self.read_numbers("/sys/kernel/mm/puma/stats")

    def write(self, path, value, check=True):
        """One write(2) of a value to a (sysfs) file; the error has the kernel's errno name."""
        return self.run(f"setfile {path} '{value}'", check=check)

    def put_file(self, path, data):
        """Make a file in the guest."""
        self.wait_ready()
        handle = self.agent("guest-file-open", {"path": path, "mode": "w"})
        try:
            for at in range(0, len(data), FILE_CHUNK):
                part = base64.b64encode(data[at:at + FILE_CHUNK]).decode()
                self.agent("guest-file-write", {"handle": handle, "buf-b64": part})
        finally:
            self.agent("guest-file-close", {"handle": handle})

    def disk_stat(self, disk):
        """(reads, sectors read, writes, sectors written) of a disk since boot."""
        fields = self.read(f"/sys/block/{disk.dev.removeprefix('/dev/')}/stat").split()
        return int(fields[0]), int(fields[2]), int(fields[4]), int(fields[6])

    def cpu_seconds(self):
        """Processor time that all of the guest used since boot, without idle and I/O wait."""
        fields = [int(x) for x in self.read("/proc/stat").splitlines()[0].split()[1:]]
        return (sum(fields[:3]) + sum(fields[5:8])) / 100

    # -- its life

    def kill(self):
        """Pull the plug."""
        self.domain.destroy()
        self._ready = False

    def replug(self, timeout=60):
        """Pull the plug and switch on again.

        For a guest that has run for long: an emulated one needs minutes for a boot
        after a reset, because QEMU keeps what it has translated.
        """
        self.kill()
        self._boot_id = None
        self._boot_from = len(self.console_text())
        self._power_on()
        return self.wait_ready(timeout)

    def suspend(self):
        self.domain.suspend()

    def resume(self):
        self.domain.resume()

    def reboot(self, timeout=60):
        """Press reset and wait for the next boot."""
        self.reset()
        return self.wait_ready(timeout)

    def reset(self):
        """Press reset; wait_ready() then waits for the next boot."""
        if self._boot_id is None:
            self.wait_ready()
        self._ready = False
        self._boot_from = len(self.console_text())
        self.domain.reset(0)

    def save(self, path):
        """Stop it and keep memory and devices in a file; its disks are at rest then."""
        self.wait_ready()
        try:
            self.domain.save(str(path))
        except libvirt.libvirtError as err:
            raise self.error(f"cannot be saved: {err.get_error_message()}") from None
        self._ready = False

    def restore(self, path, paused=False, disks=None):
        """Go on from such a file, as often as you like, one after the other.

        disks: {path of a disk then: path now}; paused: until resume().
        """
        if self._root[0].stat().st_ino != self._root[1]:
            raise self.error(f"{self._root[0]} was built anew meanwhile")
        flags = libvirt.VIR_DOMAIN_SAVE_PAUSED if paused else libvirt.VIR_DOMAIN_SAVE_RUNNING
        try:
            xml = self.lab.connection.saveImageGetXMLDesc(str(path), 0)
            for then, now in (disks or {}).items():
                if f"'{then}'" not in xml:
                    raise self.error(f"has no disk {then}")
                xml = xml.replace(f"'{then}'", f"'{now}'")
            self.lab.connection.restoreFlags(str(path), xml, flags)
            self.domain = self.lab.connection.lookupByName(self.name)
        except libvirt.libvirtError as err:
            raise self.error(f"cannot be restored: {err.get_error_message()}") from None
        self._boot_id = None            # the boot is the old one
        self._ready = False

    def is_active(self):
        try:
            return bool(self.domain.isActive())
        except libvirt.libvirtError:
            return False

    # -- the console

    def console_text(self):
        try:
            return self.console.read_bytes().decode("utf-8", "replace")
        except OSError:
            return ""

    def wait_console(self, pattern, timeout=30):
        """Until the console shows a regular expression; returns the match."""
        end = time.monotonic() + timeout * TIMEOUT_SCALE
        while True:
            match = re.search(pattern, self.console_text())
            if match:
                return match
            if time.monotonic() > end:
                raise self.error(f"'{pattern}' is not on the console after "
                                 f"{timeout * TIMEOUT_SCALE:.0f} s")
            time.sleep(0.1)

    def expect_splat(self, pattern):
        """A report with a line that matches is not held against this guest."""
        self.expected_splats.append(pattern)

    def expect_panic(self, pattern):
        """The guest has to panic like this; everything after it is part of it."""
        self.expected_panic = pattern

    def check_panic(self):
        if self.expected_panic:
            return
        try:
            with open(self.console, "rb") as log:
                log.seek(self._panic_from)
                data = log.read()
        except OSError:
            return
        match = PANIC.search(data)
        if match:
            raise GuestPanic(f"{self.name}: {match[0].decode(errors='replace').strip()}\n"
                             + self.tail())
        # Keep a little, a line may have been half written.
        self._panic_from += max(0, len(data) - 200)

    def splats(self, scanner):
        """What the scan of the console has against this guest: a list of reports."""
        text = self.console_text()
        if not text.strip():
            return [f"the console {self.console} is empty: cannot be judged"]
        if self.expected_panic:
            match = re.search(self.expected_panic, text)
            if not match:
                return [f"expected a panic like '{self.expected_panic}', it did not come"]
            text = text[:text.rfind("\n", 0, match.start()) + 1]
        return [report for _, report in scanner.scan(text, self.expected_splats)]

    def tail(self, lines=25):
        text = self.console_text().rstrip().splitlines()[-lines:]
        return f"  end of {self.console}:\n" + "\n".join("  | " + line for line in text)

    def error(self, text):
        return LabError(f"{self.name}: {text}\n{self.tail()}")
