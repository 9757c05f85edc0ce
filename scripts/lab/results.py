# SPDX-License-Identifier: GPL-2.0
"""What a command measured, as build/results/NAME.json; the same form for all of them."""

import json

from .paths import RESULTS


def write_results(name, accelerator, kernel, claims, keep=False, **more):
    """Write the claims, and what more there is to say about the run.

    With keep, what others have claimed for the same kernel in this file stays.
    """
    path = RESULTS / f"{name}.json"
    result = {"accelerator": accelerator, "kernel": kernel, **more, "claims": list(claims)}
    if keep:
        result["claims"] += others(path, result)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


def others(path, result):
    """The claims in a file that are none of result's, but of the same kernel and accelerator."""
    try:
        old = json.loads(path.read_text())
        if any(old[key] != result[key] for key in ("accelerator", "kernel")):
            return []
        names = {claim["name"] for claim in result["claims"]}
        return [claim for claim in old["claims"] if claim["name"] not in names]
    except (OSError, ValueError, KeyError, TypeError):
        return []               # no file, or not one of ours: nothing to keep
