"""What holds for every workflow: whose code runs, with which rights, and that a test has run each step before."""

from __future__ import annotations

import re
import sys
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
    r"make --silent bench .* \| tee benchmarks\.md \| \.github/scripts/table": "tests/benchmarks, in small",
    r"\.venv/bin/python -m pytest .*": "this test run",
    r"\.venv/bin/python build\.py build( .*)?": "tests/images",
    r"\.venv/bin/python build\.py size .* \| \.github/scripts/table": ".ci/run, and the table beside this file",
    r"\.venv/bin/python build\.py bases": "tests/images/test_registry.py, against a registry of this machine",
    r"sudo rm -rf .*": "it empties a runner",
}
"""Steps that no test of this folder runs, and where what they do is run."""
HERE = ("test_scripts.py", "test_registry.py")
"""The tests that run steps, by their names."""
TRIGGERS = {"pull_request", "push", "schedule", "workflow_call", "workflow_dispatch"}
"""Not pull_request_target, workflow_run or issue_comment, by which a stranger's words or files meet our rights."""
INPUTS = {
    "actions/attest": {"subject-name", "subject-digest", "sbom-path"},
    "actions/checkout": {"repository", "ref", "path", "fetch-depth", "persist-credentials"},
    "actions/download-artifact": {"name", "pattern", "path", "merge-multiple"},
    "actions/setup-python": {"python-version"},
    "actions/upload-artifact": {"name", "path", "compression-level", "retention-days"},
    "aws-actions/amazon-ecr-login": set(),
    "aws-actions/configure-aws-credentials": {"role-to-assume", "aws-region", "role-duration-seconds"},
    "ossf/scorecard-action": {"results_file", "results_format", "publish_results"},
    "sigstore/cosign-installer": {"cosign-release"},
}
"""What we tell actions, as their action.yml names it at the pinned commit; none of it is a cache or a key."""
TRUSTED = {
    "release": "${PublishEnvironment}",
    "${{ matrix.environment }}-plan": "${DeployEnvironment}-plan",
    "${{ inputs.environment }}": "${DeployEnvironment}",
}
"""A job's environment, and the one that a role of the account's template trusts."""


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


def identified() -> list[tuple[str, str, dict[str, Any]]]:
    """The jobs that may ask for an identity, and so for a role in AWS."""
    return [
        (workflow, name, job)
        for workflow, name, job in jobs()
        if job["permissions"].get("id-token") == "write" and "steps" in job
    ]


def test_a_role_in_aws_is_for_one_environment() -> None:
    """The account's template trusts an environment, which may want somebody's approval; a branch is trusted nowhere."""
    account = (ROOT / "infrastructure/account.yaml").read_text()
    trusted = re.findall(r'actions\.githubusercontent\.com:sub": !Sub "(.*)"', account)

    assert {TRUSTED[job["environment"]] for _, _, job in identified()} == set(TRUSTED.values())
    wanted = {name: "PublishRepository" if "Publish" in name else "Repository" for name in TRUSTED.values()}
    assert sorted(trusted) == sorted(f"repo:${{{whose}}}:environment:{name}" for name, whose in wanted.items())


def test_few_packages_are_installed_where_each_could_ask_for_the_identity() -> None:
    made = {
        (workflow, step["run"])
        for workflow, _, job in identified()
        for step in job["steps"]
        if "make" in step.get("run", "").split()
    }

    assert made == {
        ("release.yml", "make .venv/.installed-publishing"),
        ("deploy.yml", "make -C quartet .venv/.installed-runtime"),
        ("stage.yml", "make -C quartet .venv/.installed-runtime"),
    }


def test_those_few_packages_are_what_publishing_imports() -> None:
    lock = (ROOT / "requirements/publish.txt").read_text()
    own = {"components", "shared", *sys.stdlib_module_names}
    for path in (ROOT / "build.py", ROOT / ".github/scripts/digests.py"):
        found = set(re.findall(r"^ *(?:import|from) (\w+)", path.read_text(), flags=re.MULTILINE)) - own
        assert found
        assert [name for name in found if not re.search(rf"^{name}==", lock, flags=re.MULTILINE)] == []


@pytest.mark.parametrize("path", ALL, ids=ids)
def test_no_trigger_joins_a_stranger_s_text_with_our_rights(path: Path) -> None:
    assert set(read(path)["on"]) <= TRIGGERS


def used() -> list[tuple[str, str, dict[str, Any]]]:
    """Each use of an action: the workflow, the action's name, and what it is told."""
    return [
        (workflow, step["uses"].partition("@")[0], step.get("with", {}))
        for workflow, _, job in jobs()
        for step in job.get("steps", [])
        if "uses" in step
    ]


def test_an_action_is_told_what_it_understands() -> None:
    """An input that is misspelt is a warning in the log, and else nothing. No cache: a pull request could fill it."""
    assert {name for _, name, _ in used()} == set(INPUTS)
    assert [(workflow, name) for workflow, name, told in used() if not set(told) <= INPUTS[name]] == []


def artefacts(kind: str) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each upload or download: the workflow, its job, and what the action is told."""
    return [
        (workflow, job, step["with"])
        for workflow, _, job in jobs()
        for step in job.get("steps", [])
        if step.get("uses", "").startswith(f"actions/{kind}-artifact@")
    ]


def test_the_artefacts_of_a_matrix_have_names_of_their_own() -> None:
    """A second artefact of one name is refused."""
    names = [(workflow, told["name"]) for workflow, _, told in artefacts("upload")]

    assert len(names) == len(set(names))
    for workflow, job, told in artefacts("upload"):
        for key in matrix_keys(job):
            assert f"${{{{ matrix.{key} }}}}" in told["name"], (workflow, told)


def matrix_keys(job: dict[str, Any]) -> set[str]:
    """What the legs of a job's matrix differ by."""
    matrix = job.get("strategy", {}).get("matrix", {})
    return set(matrix) if isinstance(matrix, dict) else {"component", "variant", "arch"}


def test_what_a_job_takes_was_made_by_one_of_the_same_run() -> None:
    """None comes from another run, which a pull request could have been."""
    made = {(workflow, re.sub(r"\$\{\{.*?\}\}", "*", told["name"])) for workflow, _, told in artefacts("upload")}
    for workflow, _, told in artefacts("download"):
        wanted = re.sub(r"\$\{\{.*?\}\}", "*", told.get("name", told.get("pattern", "")))
        assert any(name.replace("-*", "") == wanted.replace("-*", "") for place, name in made if place == workflow)


def test_what_another_job_made_is_not_laid_over_what_this_one_runs() -> None:
    """A package that has gone bad in a job without rights could otherwise change the scripts of one that has some."""
    for workflow, job, told in artefacts("download"):
        checkouts = [step.get("with", {}) for step in job["steps"] if "actions/checkout@" in step.get("uses", "")]
        assert re.fullmatch(r"\w+", told["path"]), (workflow, told)
        assert told["path"] not in {checkout.get("path") for checkout in checkouts}
        assert not (ROOT / told["path"]).exists()


def test_the_plan_of_one_environment_lies_where_those_of_several_do() -> None:
    """Of one artefact that fits its pattern, download-artifact makes no folder, unless it never makes any."""
    (told,) = (told for workflow, _, told in artefacts("download") if workflow == "deploy.yml")
    (made,) = (told for workflow, _, told in artefacts("upload") if workflow == "deploy.yml")

    assert told["merge-multiple"] is True
    assert made["path"] == "plan-${{ matrix.environment }}.txt"


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


def group(job: dict[str, Any]) -> str:
    return str(job["concurrency"]["group"])


def test_each_commit_of_main_is_looked_at() -> None:
    """It is compared with the one before it. Of two runs that wait in a group, GitHub throws the older away."""
    concurrency = read(ROOT / ".github/workflows/ci.yml")["concurrency"]

    assert concurrency["group"].endswith("${{ github.event_name == 'pull_request' && github.ref || github.sha }}")


def test_a_release_that_waits_is_not_left_out() -> None:
    assert read(ROOT / ".github/workflows/release.yml")["concurrency"] == {
        "group": "release", "cancel-in-progress": False, "queue": "max",
    }  # fmt: skip


def test_no_job_of_a_release_starts_before_ci_is_known_to_be_green() -> None:
    release = read(ROOT / ".github/workflows/release.yml")["jobs"]

    def before(name: str) -> set[str]:
        needs = release[name].get("needs", [])
        direct = {needs} if isinstance(needs, str) else set(needs)
        return direct.union(*map(before, direct))

    assert [name for name in release if name != "green" and "green" not in before(name)] == []
    # With a condition of its own a job may follow a failure.
    assert [name for name, job in release.items() if "if" in job] == []


def test_going_back_waits_for_no_deployment() -> None:
    """A deployment waits for its training, and its run for somebody's approval: hours, and days."""
    stage = read(ROOT / ".github/workflows/stage.yml")["jobs"]

    assert group(stage["rollback"]) == group(stage["promote"]) != group(stage["deploy"])
    assert {job["concurrency"]["queue"] for job in stage.values()} == {"max"}
    assert "github.event_name == 'workflow_dispatch' && github.run_id ||" in group(read(TEMPLATE))


def test_use_cases_in_one_repository_do_not_wait_for_one_another() -> None:
    """Each has a copy of the template's workflow, whose name they may share; the file they cannot."""
    stage = read(ROOT / ".github/workflows/stage.yml")["jobs"]

    assert "${{ github.workflow_ref }}" in group(read(TEMPLATE))
    assert all("-${{ inputs.manifest }}-${{ inputs.environment }}-" in group(job) for job in stage.values())


def test_what_a_called_workflow_makes_is_named_after_the_use_case() -> None:
    """A run that calls it twice would otherwise make two artefacts of one name: GitHub refuses the second."""
    called = {path.name for path in FILES if "workflow_call" in read(path)["on"]}
    made = [told["name"] for workflow, _, told in artefacts("upload") if workflow in called]
    taken = [told["pattern"] for workflow, _, told in artefacts("download") if workflow in called]

    assert made == ["${{ steps.artefacts.outputs.name }}.${{ matrix.environment }}"]
    assert taken == ["${{ needs.plan.outputs.artefacts }}.*"]


def test_a_pull_request_from_a_fork_is_not_planned() -> None:
    """It would fail, for it gets no identity; and its manifest is nobody's here."""
    plan = read(ROOT / ".github/workflows/deploy.yml")["jobs"]["plan"]["if"]

    assert plan.endswith("|| github.event.pull_request.head.repo.full_name == github.repository)")


def test_what_is_proposed_stands_on_the_default_branch() -> None:
    """Started by hand, a workflow may be another branch's."""
    proposing = {workflow: job for workflow, _, job in jobs() if ".github/scripts/propose" in str(job)}

    assert set(proposing) == {"nightly.yml", "release.yml"}
    assert proposing["nightly.yml"]["if"] == (
        "github.event_name == 'schedule' || github.ref_name == github.event.repository.default_branch"
    )
    assert proposing["release.yml"]["steps"][0]["with"]["ref"] == "${{ github.event.repository.default_branch }}"


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
        for folder in ("requirements", "benchmarks", "components", "tests")
        for path in (ROOT / folder).rglob("*.txt")
        if "--hash=sha256:" in path.read_text() and "node_modules" not in path.parts
    }
    watched = {path for pattern in updates["pip"] for path in ROOT.glob(pattern.lstrip("/"))}

    assert locks <= watched
    assert updates["docker"] == ["/components/*"]
    # Below the root it looks into the very folder (dependabot-core, github_actions/file_fetcher.rb).
    assert updates["github-actions"] == ["/", f"/{workflows.TEMPLATE.parent.relative_to(ROOT)}"]
    assert all((ROOT / folder.lstrip("/") / "package-lock.json").is_file() for folder in updates["npm"])


def test_an_issue_form_asks_for_something_and_names_each_answer_once() -> None:
    forms = [path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]

    assert forms
    for form in map(read, forms):
        names = [field["id"] for field in form["body"]]
        assert {"name", "description"} <= set(form)
        assert len(names) == len(set(names)) >= 1
