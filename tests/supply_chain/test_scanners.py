"""Each scanner finds nothing here, and finds the fault that it is for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.supply_chain.workflows import ROOT

pytestmark = pytest.mark.scanners
TOOLS = Path(f"{sys.prefix}-supply-chain/bin")
WORKFLOW = """\
on: issues
permissions: {}
jobs:
  greet:
    runs-on: ubuntu-24.04
    permissions: {}
    steps:
"""
# In parts, so that this file has none of the faults.
FAULTS = {
    "an unknown expression": (
        "workflows", ".github/workflows/a.yml", WORKFLOW + "      - run: exit 1\n        if: github.evnt == 'x'\n",
        'property "evnt" is not defined',
    ),
    "text of a stranger in a script": (
        "workflows", ".github/workflows/a.yml", WORKFLOW + "      - run: echo ${{ github.event.issue.title }}\n",
        "template-injection",
    ),
    "an action by its tag": (
        "workflows", ".github/workflows/a.yml", WORKFLOW + "      - uses: actions/setup-python@v7\n", "unpinned-uses",
    ),
    "a fault of the shell in a step": (
        "workflows", ".github/workflows/a.yml", WORKFLOW + "      - run: rm -r $HOME/$x\n", "SC2086",
    ),
    "an image by no version": ("dockerfiles", "a/Dockerfile", "FROM debian:latest\n", "DL3007"),
    "a word that splits": ("scripts", "tool", "#!/usr/bin/env bash\nrm $1\n", "SC2086"),
    "a shell from Python": ("code", "a.py", "import subprocess\nsubprocess.run(input(), shell=" + "True)\n", "B602"),
    "a key of AWS": ("secrets", "notes.md", "key = '" + "AKIA" + "QZ7RM5XW2LTKD4HV" + "'\n", "AWS Access Key"),
    "a private key": ("secrets", "notes.md", "-----BEGIN " + "RSA PRIVATE KEY-----\nabc\n", "Private Key"),
}  # fmt: skip


def scan(root: Path, *checks: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ROOT": str(root)}
    return subprocess.run(
        (ROOT / ".github/scripts/scan", TOOLS, *checks),
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("check", ["workflows", "dockerfiles", "scripts", "code", "secrets"])
def test_nothing_is_found_here(check: str) -> None:
    done = scan(ROOT, check)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str, tmp_path: Path) -> None:
    check, name, content, told = FAULTS[fault]
    subprocess.run(("git", "init", "--quiet"), cwd=tmp_path, check=True)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(content)
    done = scan(tmp_path, check)

    assert done.returncode == 1
    assert told in done.stdout + done.stderr
    assert done.stderr.endswith(f"Faults found by: {check}.\n")
