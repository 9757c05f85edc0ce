# SPDX-License-Identifier: GPL-2.0
"""Read KUnit's results from the console log of a guest."""

import re
from typing import NamedTuple

STAMP = re.compile(r"^(<\d+>)?\[ *\d+\.\d+\](\[ *[TC]\d+\])? ?")
PLAN = re.compile(r"^( *)1\.\.(\d+)$")
RESULT = re.compile(r"^( *)(not )?ok (\d+)(?: -)? (\S+)(?: # (SKIP|TODO)\b ?(.*))?")


class Suite(NamedTuple):
    """The cases are (name, status, what was printed before the result)."""
    name: str
    passed: bool
    cases: list
    problem: str


def ktap_lines(console):
    """The log from the first KTAP heading on, without time stamps."""
    lines = [STAMP.sub("", line.rstrip("\r")) for line in console.split("\n")]
    for at, line in enumerate(lines):
        if line.startswith("KTAP version"):
            return lines[at + 1:]
    return []


def parse(console):
    """(suites, problem): problem is a text if the log as a whole is not complete."""
    lines = ktap_lines(console)
    if not lines:
        return [], "there is no KTAP on the console: is CONFIG_KUNIT in this kernel?"
    suites, cases, notes = [], [], []
    planned, case_plan = None, None
    for line in lines:
        plan, result = PLAN.match(line), RESULT.match(line)
        if plan and not plan[1]:
            planned = int(plan[2])
        elif plan and len(plan[1]) == 4:
            case_plan, cases, notes = int(plan[2]), [], []
        elif result and len(result[1]) == 4:
            status = "skip" if result[5] == "SKIP" else "fail" if result[2] else "ok"
            cases.append((result[4], status, notes))
            notes = []
        elif result and not result[1]:
            problem = ""
            if case_plan is None or len(cases) != case_plan:
                problem = f"{len(cases)} cases of {case_plan} reported"
            elif any(status == "fail" for _, status, _ in cases):
                problem = "failed cases"
            suites.append(Suite(result[4], not result[2] and not problem, cases, problem))
            cases, notes, case_plan = [], [], None
            if len(suites) == planned:
                return suites, ""
        else:
            notes.append(line)
    return suites, f"{len(suites)} suites of {planned} reported: the run was cut short"
