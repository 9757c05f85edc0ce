# SPDX-License-Identifier: GPL-2.0
"""Find splats in console logs: lines that match the deny list and not the allow list."""

import re
from pathlib import Path

from .paths import ROOT

DENY = ROOT / "scripts" / "splats.deny"
ALLOW = ROOT / "scripts" / "splats.allow"

CONTEXT_BEFORE = 2
# A report is over after this many lines without a line that belongs to one.
CONTEXT_AFTER = 45
# "[   12.345678] " and, with CONFIG_PRINTK_CALLER, "[   12.345678][  T123] "
TIME = re.compile(r"^(<\d+>)?\[ *\d+\.\d+\](\[ *[TC]\d+\])? ?")
END = re.compile(r"---\[ end (trace|Kernel panic)")


class PatternError(Exception):
    """A pattern list cannot be used; the message says which and why."""


def load_patterns(path):
    """A list with nothing in it would judge nothing, so that is an error."""
    patterns = []
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as err:
        raise PatternError(f"cannot read the pattern list {path}: {err.strerror}") from None
    for number, line in enumerate(text.splitlines(), 1):
        # Blanks at the end count, they are part of a pattern like 'BUG: '.
        if not line.strip() or line.startswith("#"):
            continue
        try:
            pattern = re.compile(line)
        except re.error as err:
            raise PatternError(f"{path}:{number}: bad regular expression: {err}") from None
        if pattern.search(""):
            raise PatternError(f"{path}:{number}: '{line}' matches every line")
        patterns.append(pattern)
    if not patterns:
        raise PatternError(f"the pattern list {path} is empty: it would judge nothing")
    return patterns


class Scanner:
    """deny and allow lists, loaded once."""

    def __init__(self, deny=DENY, allow=ALLOW):
        self.deny = load_patterns(deny)
        self.allow = load_patterns(allow)

    def is_splat(self, line):
        if not any(p.search(line) for p in self.deny):
            return False
        return not any(p.search(line) for p in self.allow)

    def scan(self, text, expected=()):
        """The splats of a log: a list of (line number, report text).

        A report of which a line matches one of the expected expressions is left out.
        """
        expected = [re.compile(p) for p in expected]
        # A terminal escape or a carriage return must not hide anything.
        lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", raw) for raw in text.split("\n")]
        found, at = [], 0
        while at < len(lines):
            if not self.is_splat(lines[at]):
                at += 1
                continue
            end, last = at + 1, at
            while end < len(lines) and end - last <= CONTEXT_AFTER:
                if END.search(lines[end]):
                    last = end
                    break
                if self.is_splat(lines[end]):
                    last = end
                end += 1
            stop = min(len(lines), max(last + 1, min(end, last + CONTEXT_AFTER)))
            if END.search(lines[last]):
                stop = last + 1
            first = max(0, at - CONTEXT_BEFORE)
            report = lines[first:stop]
            if not any(p.search(line) for p in expected for line in report):
                found.append((at + 1, "\n".join(report)))
            at = stop
        return found

    def scan_file(self, path, expected=()):
        data = Path(path).read_bytes().decode("utf-8", "replace")
        return self.scan(data, expected)


def headline(report):
    """The first denied-looking line of a report without its time stamp, for a message."""
    for line in report.split("\n")[CONTEXT_BEFORE:] or report.split("\n"):
        if line.strip():
            return TIME.sub("", line).strip()
    return report.strip()
