# SPDX-License-Identifier: GPL-2.0
"""A borrower and its lender, and what tests ask of them.

The sums of docs: every page is counted once (see mm/puma/internal.h).
"""

import re
import time

from tap import FLAVOUR, LabError

PUMA = "/sys/kernel/mm/puma"
LENDER = 2                      # last number of the first lender's address

PUT = ("put_sent put_kept put_ineligible put_no_lender put_ring_full put_retracted put_stale "
       "put_lost put_queued").split()
GET = ("get_hit get_miss get_busy get_queued get_throttled get_bypass get_no_request get_gone "
       "get_timeout get_lost get_bad get_pending").split()
SUMS = {"put_offered": PUT, "get_lookups": GET,
        "lend_puts": ["lend_stored", "lend_refused"],
        "lend_gets": ["lend_served", "lend_gone_answers"]}


def start_lender(lab, name="lender", number=LENDER, mem_mb=384, options="", **more):
    return lab.guest(name, mem_mb=mem_mb, address=lab.address(number),
                     cmdline=f"puma.mode=lend {options}".strip(), **more)


def start_borrower(lab, name="borrower", number=1, mem_mb=176, lenders=(LENDER,), options="",
                   **more):
    hosts = ",".join(lab.address(n).split("/")[0] for n in lenders)
    if "deadline_ms" not in options:
        # An emulated guest on a busy machine takes its time; the default is 50.
        options += f" puma.deadline_ms={1000 if FLAVOUR == 'debug' else 300}"
    return lab.guest(name, mem_mb=mem_mb, address=lab.address(number),
                     cmdline=f"puma.mode=borrow puma.lenders={hosts} {options}".strip(), **more)


def wait_for(what, true, seconds=20, pause=0.2):
    """Until true() is; returns what it returned, or raises after a while."""
    end = time.monotonic() + seconds
    while True:
        value = true()
        if value:
            return value
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {seconds} s")
        time.sleep(pause)


def lender_states(borrower):
    """{address: state} of the lenders that the borrower knows."""
    out = borrower.run(f"cd {PUMA}/lenders && grep -H . */address */state").out
    found = {}
    for number, name, value in re.findall(r"^(\d+)/(\w+):(.*)$", out, re.M):
        found.setdefault(number, {})[name] = value
    return {v["address"].split(":")[0]: v["state"] for v in found.values() if len(v) == 2}


def lease_pages(borrower):
    out = borrower.run(f"cat {PUMA}/lenders/*/lease_pages").out
    return sum(int(x) for x in out.split())


def wait_lease(borrower, seconds=30):
    """Until the borrower may put pages somewhere."""
    return wait_for("the borrower gets a lease", lambda: lease_pages(borrower), seconds)


def set_mode(guest, mode, wait=True):
    guest.write(f"{PUMA}/mode", mode)
    if mode == "borrow" and wait:
        wait_lease(guest)


def unthrottle(borrower):
    """A lender that a busy machine made miss many deadlines gets another chance."""
    if "throttled" in lender_states(borrower).values():
        set_mode(borrower, "off")
        set_mode(borrower, "borrow")


def balanced(stats):
    """The sums that do not add up, as texts."""
    return [f"{total} {stats[total]} != {sum(stats[p] for p in parts)} = "
            + " + ".join(f"{p} {stats[p]}" for p in parts if stats[p])
            for total, parts in SUMS.items()
            if stats[total] != sum(stats[p] for p in parts)]


def settle(*guests, seconds=20):
    """The counters of each guest when nothing is under way any more.

    Reading them one by one is no snapshot, so: read until twice the same.
    """
    end = time.monotonic() + seconds
    last = None
    while True:
        now = [guest.stats() for guest in guests]
        still = not any(s["put_queued"] or s["get_pending"] for s in now)
        if now == last and still or time.monotonic() > end:
            return now[0] if len(now) == 1 else now
        last = now
        time.sleep(0.1)


def sums_ok(tap, stats, name):
    bad = balanced(stats)
    return tap.ok(not bad, f"{name}: every page is counted once", "\n".join(bad))


def delta(before, after):
    return {k: after[k] - before[k] for k in after}


def changed(difference):
    """For a message: the counters that moved."""
    return ", ".join(f"{k} {v:+d}" for k, v in difference.items() if v)


def evict(guest, path, timeout=120):
    return guest.sh(f"evict {path}", timeout=timeout)


def check_stamps(guest, path, seed, timeout=180):
    """(blocks checked, wrong ones)"""
    rc, out, err = guest.run(f"stamp check {path} {seed}", timeout=timeout)
    match = re.match(r"blocks (\d+) errors (\d+)", out)
    if not match:
        raise LabError(f"{guest.name}: stamp failed with status {rc}: {err or out}")
    return int(match[1]), int(match[2])


def puma_log(guest, since=0):
    """PUMA's lines of the kernel log, from line number since on."""
    lines = [line.split("puma: ", 1)[1] for line in guest.run("dmesg").out.splitlines()
             if re.search(r"\] puma: ", line)]
    return lines[since:]
