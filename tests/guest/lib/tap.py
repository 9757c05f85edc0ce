# SPDX-License-Identifier: GPL-2.0
"""What every test over guests begins with: the lab, and TAP lines.

    with Tap() as tap, Lab("name") as lab:
        guest = lab.guest("borrower")
        tap.ok(guest.run("true").rc == 0, "the shell works")

An exception in the body, a splat on a console or a panic is a failed test too.
The exit status is 1 if anything failed.
"""

import atexit
import os
import shutil
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

from lab import (BUILD, FLAVOUR, HOST_BIN, ROOT, Disk, GuestPanic, Lab, LabError,  # noqa: E402
                 SlowDisk, SplatsFound, kernel_image, say)

__all__ = ["Tap", "Lab", "LabError", "GuestPanic", "SplatsFound", "Disk", "SlowDisk",
           "BUILD", "FLAVOUR", "HOST_BIN", "ROOT", "kernel_image", "say", "scratch"]


class Tap:
    """Counts and prints test results; a context manager around the whole test."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def _line(self, good, name, more=""):
        self.count += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.count} - {name}{more}", flush=True)
        return good

    def ok(self, good, name, seen=None):
        """One test; seen is shown when it failed."""
        self._line(bool(good), name)
        if not good and seen is not None:
            self.diag(seen() if callable(seen) else seen)
        return bool(good)

    def equal(self, got, want, name):
        return self.ok(got == want, name, f"got {got!r}, want {want!r}")

    def at_least(self, got, bar, name):
        return self.ok(got >= bar, f"{name} (at least {bar})", f"got {got}")

    def at_most(self, got, bar, name):
        return self.ok(got <= bar, f"{name} (at most {bar})", f"got {got}")

    def raises(self, kind, pattern, name, action):
        """The action has to raise this kind of error with this text in it."""
        try:
            action()
        except kind as err:
            return self.ok(pattern in str(err), name, f"the message is: {err}")
        return self.ok(False, name, "nothing was raised")

    def skip(self, name, reason):
        return self._line(True, name, f" # SKIP {reason}")

    @staticmethod
    def diag(text):
        for line in str(text).splitlines() or ["(nothing)"]:
            print(f"# {line}", flush=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind and not issubclass(kind, Exception):
            self._line(False, f"stopped by {kind.__name__}")
        elif kind:
            self._line(False, f"{kind.__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            self.diag(error)
            if not issubclass(kind, LabError):
                self.diag("".join(traceback.format_exception(kind, error, trace)))
        print(f"1..{self.count}", flush=True)
        if kind and not issubclass(kind, Exception):
            return False
        sys.stdout.flush()
        # Now, and without the exception that was just reported.
        raise SystemExit(1 if self.failed or not self.count else 0)


def scratch(name):
    """A path below build/ for an image that a test makes; removed at the end."""
    directory = BUILD / "scratch" / str(os.getpid())
    if not directory.exists():
        for old in directory.parent.glob("[0-9]*"):
            if not Path(f"/proc/{old.name}").exists():
                shutil.rmtree(old, ignore_errors=True)      # of a test that was killed
        directory.mkdir(parents=True)
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory / name
