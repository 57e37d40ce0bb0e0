"""What holds for every workflow: whose code runs, with which rights, and that a test has run each step before."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.supply_chain import workflows
from tests.supply_chain.workflows import FILES, ROOT, TEMPLATE, jobs, read, steps

ALL = [*FILES, TEMPLATE]
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*")
"""An action by its commit, with the version that a person can read."""
OWN = re.compile(r"\$/\.github/workflows/[\w-]+\.yml")
"""A workflow of the same repository, at the same commit."""
WRITES = {
    ("deploy.yml", "plan"): {"id-token"},
    ("deploy.yml", "show"): {"pull-requests"},
    ("deploy.yml", "dev"): {"id-token"},
    ("deploy.yml", "staging"): {"id-token"},
    ("deploy.yml", "prod"): {"id-token"},
    ("nightly.yml", "propose"): {"contents", "pull-requests"},
    ("release.yml", "publish"): {"id-token", "attestations"},
    ("release.yml", "digests"): {"id-token"},
    ("release.yml", "lock"): {"contents", "pull-requests"},
    ("release.yml", "release"): {"contents"},
    ("stage.yml", "deploy"): {"id-token"},
    ("stage.yml", "promote"): {"id-token"},
    ("stage.yml", "rollback"): {"id-token"},
}
"""The jobs that may write anything at all."""
ELSEWHERE = {
    r"make (-C quartet )?[\w./ -]+": "what .ci/run and every user call",
    r"\.venv/bin/python -m pytest .*": "this test run",
    r"\.venv/bin/python build\.py build .*": "tests/images",
    r"\.venv/bin/python build\.py size .* \| \.github/scripts/table": ".ci/run, and the table beside this file",
    r"\.venv/bin/python build\.py bases": "tests/images/test_registry.py, against a registry of this machine",
    r"sudo rm -rf .*": "it empties a runner",
}
"""Steps that no test of this folder runs, and where what they do is run."""
HERE = ("test_scripts.py", "test_registry.py")
"""The tests that run steps, by their names."""


def ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", ALL, ids=ids)
def test_an_action_is_named_by_its_commit_with_its_version_beside_it(path: Path) -> None:
    used = re.findall(r"^\s*(?:- )?uses: (.*)$", path.read_text(), flags=re.MULTILINE)

    assert used
    assert [line for line in used if not PINNED.fullmatch(line) and not OWN.fullmatch(line)] == []


def test_an_action_has_one_commit_in_all_workflows() -> None:
    used = {line for path in ALL for line in re.findall(r"uses: (\S+@.*)$", path.read_text(), flags=re.MULTILINE)}

    assert sorted(line.partition("@")[0] for line in used) == sorted({line.partition("@")[0] for line in used})


@pytest.mark.parametrize("path", ALL, ids=ids)
def test_a_workflow_may_do_nothing_unless_a_job_says_so(path: Path) -> None:
    content = read(path)

    assert content["permissions"] == {}
    assert all("permissions" in job for job in content["jobs"].values())


def test_few_jobs_write_and_each_what_it_has_to() -> None:
    found = {
        (workflow, name): {scope for scope, right in job["permissions"].items() if right == "write"}
        for workflow, name, job in jobs()
    }

    assert {key: scopes for key, scopes in found.items() if scopes} == WRITES
    assert {right for _, _, job in jobs() for right in job["permissions"].values()} <= {"read", "write"}


def test_no_expression_is_pasted_into_a_script() -> None:
    assert [step for step in steps() if "${{" in step.script] == []


@pytest.mark.parametrize("path", ALL, ids=ids)
def test_no_workflow_has_a_stored_secret(path: Path) -> None:
    assert "secrets." not in path.read_text()
    assert "secrets: inherit" not in path.read_text()


def test_a_role_in_aws_is_for_one_environment() -> None:
    """The account's template trusts an environment, which may want somebody's approval; a branch is trusted nowhere."""
    roles = [job for _, _, job in jobs() if job["permissions"].get("id-token") == "write" and "steps" in job]

    assert roles
    assert all("environment" in job for job in roles)


def test_what_has_credentials_builds_nothing_and_runs_no_scanner() -> None:
    for workflow, name, job in jobs():
        if "write" in job["permissions"].values():
            scripts = "\n".join(step.get("run", "") for step in job.get("steps", []))
            assert not re.search(r"build\.py (build|smoke)|supply-chain|scripts/(scan|sbom|audit)|pytest", scripts), (
                workflow,
                name,
            )


def test_no_token_stays_in_a_checkout() -> None:
    checkouts = [
        step for _, _, job in jobs() for step in job.get("steps", []) if "actions/checkout" in step.get("uses", "")
    ]

    assert checkouts
    assert {step["with"]["persist-credentials"] for step in checkouts} == {False}


@pytest.mark.parametrize("path", ALL, ids=ids)
def test_runs_that_would_meet_wait_for_one_another(path: Path) -> None:
    """A called workflow says so for its jobs: a group of the whole would be its caller's too."""
    content = read(path)
    called = "workflow_call" in content["on"]
    moving = [job for job in content["jobs"].values() if job.get("environment") == "${{ inputs.environment }}"]

    assert all(item.get("concurrency", {}).get("group") for item in (moving if called else [content]))


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_a_pipe_fails_with_its_first_half(path: Path) -> None:
    """A runner's shell is without pipefail unless it is named."""
    assert read(path)["defaults"] == {"run": {"shell": "bash"}}


def test_every_job_ends_in_time() -> None:
    assert [(workflow, name) for workflow, name, job in jobs() if "steps" in job and "timeout-minutes" not in job] == []


def test_environments_come_one_after_the_other_and_a_failure_ends_the_chain() -> None:
    chain: dict[str, Any] = read(ROOT / ".github/workflows/deploy.yml")["jobs"]

    assert chain["staging"]["needs"] == "dev"
    assert chain["prod"]["needs"] == ["dev", "staging"]
    for name in ("staging", "prod"):
        # Without these two a job is skipped after one that was left out, and with `always()` it would follow a failure.
        assert chain[name]["if"].startswith("${{ !cancelled() && !failure() && ")
        assert "always()" not in chain[name]["if"]
    assert {chain[name]["with"]["environment"] for name in ("dev", "staging", "prod")} == {"dev", "staging", "prod"}


def test_the_template_calls_our_workflow_with_inputs_that_it_has() -> None:
    inputs = set(read(ROOT / ".github/workflows/deploy.yml")["on"]["workflow_call"]["inputs"])
    calls = list(read(TEMPLATE)["jobs"].values())

    assert {call["with"]["action"] for call in calls} == {"plan", "deploy", "rollback"}
    assert all(set(call["with"]) <= inputs for call in calls)
    assert all(call["uses"].partition("@")[0].endswith("/.github/workflows/deploy.yml") for call in calls)


def test_a_caller_grants_what_any_job_of_ours_may_want() -> None:
    """GitHub refuses a call that lends less than the called workflow declares, whichever jobs are skipped."""
    wanted: dict[str, str] = {}
    for workflow, _, job in jobs():
        if workflow in {"deploy.yml", "stage.yml"}:
            wanted |= {scope: right for scope, right in job["permissions"].items() if wanted.get(scope) != "write"}

    for call in read(TEMPLATE)["jobs"].values():
        assert call["permissions"] == wanted


def test_every_step_is_run_by_a_test_or_known_to_be_run_elsewhere() -> None:
    tests = "".join(Path(__file__).with_name(name).read_text() for name in HERE)
    known = [
        step
        for step in steps()
        if f'"{step.name}"' in tests or any(re.fullmatch(pattern, step.script) for pattern in ELSEWHERE)
    ]

    assert [(step.workflow, step.name) for step in steps() if step not in known] == []


def test_every_script_is_used() -> None:
    text = "".join(path.read_text() for path in (*FILES, ROOT / "Makefile", ROOT / ".github/scripts/sbom"))

    assert [
        path.name for path in (ROOT / ".github/scripts").iterdir() if path.is_file() and path.name not in text
    ] == []


def test_dependabot_looks_into_every_folder_that_pins_something() -> None:
    updates = {
        item["package-ecosystem"]: item["directories"] for item in read(ROOT / ".github/dependabot.yml")["updates"]
    }
    locks = {
        path.parent
        for folder in ("requirements", "components", "tests")
        for path in (ROOT / folder).rglob("*.txt")
        if "--hash=sha256:" in path.read_text() and "node_modules" not in path.parts
    }
    watched = {path for pattern in updates["pip"] for path in ROOT.glob(pattern.lstrip("/"))}

    assert locks <= watched
    assert updates["docker"] == ["/components/*"]
    assert workflows.TEMPLATE.is_relative_to(ROOT / updates["github-actions"][1].lstrip("/"))


def test_an_issue_form_asks_for_something_and_names_each_answer_once() -> None:
    forms = [path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]

    assert forms
    for form in map(read, forms):
        names = [field["id"] for field in form["body"]]
        assert {"name", "description"} <= set(form)
        assert len(names) == len(set(names)) >= 1
