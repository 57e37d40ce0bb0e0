"""Asks GitHub whether ci.yml was green for a commit of a branch.

python .github/scripts/green.py <commit> <branch>

GH_TOKEN and GH_REPO are gh's. Ends with 1 and a sentence unless the newest run for exactly that commit, pushed to that
branch, has ended with success: one for a pull request has tried something else, and may have had a ci.yml of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

WORKFLOW: Final = "ci.yml"


def refusal(commit: str, branch: str, runs: Sequence[Mapping[str, Any]]) -> str | None:
    """Why the commit is not to be released; None where its newest run is green."""
    wanted = {"head_sha": commit, "head_branch": branch, "event": "push"}
    ours = [run for run in runs if all(run[key] == value for key, value in wanted.items())]
    if not ours:
        return f"{WORKFLOW} has not run for commit {commit} on {branch}: tag one with which a push to {branch} ended."
    newest = max(ours, key=lambda run: int(run["run_number"]))
    if newest["conclusion"] == "success":
        return None
    said = f"{WORKFLOW} says {newest['conclusion'] or newest['status']!r} of commit {commit}, wanted 'success'"
    return f"{said}: see {newest['html_url']}, and run this again once it does."


def main(commit: str, branch: str) -> None:
    """Ask, and refuse."""
    query = urlencode({"head_sha": commit, "branch": branch, "event": "push", "per_page": 100})
    path = f"repos/{os.environ['GH_REPO']}/actions/workflows/{WORKFLOW}/runs?{query}"
    asked = subprocess.run(("gh", "api", path), stdout=subprocess.PIPE, text=True, check=False)
    if asked.returncode != 0:
        sys.exit(f"GitHub does not say how {WORKFLOW} ended for commit {commit}: run this again.")
    reason = refusal(commit, branch, json.loads(asked.stdout)["workflow_runs"])
    if reason:
        sys.exit(reason)


if __name__ == "__main__":
    main(*sys.argv[1:])
