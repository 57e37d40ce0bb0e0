"""The steps of the workflows that need no registry: run as a runner runs them, against stand-ins for GitHub and AWS."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from pipelines.cli import main
from tests.supply_chain.workflows import ROOT, fill, program, run, step

DIGEST = "sha256:" + "ab" * 32
REPOSITORY = "111111111111.dkr.ecr.eu-west-1.amazonaws.com/quartet"
LOCK = {
    f"{component}/{variant}/amd64": f"{REPOSITORY}/{component}@{DIGEST}"
    for component, variant in (
        ("algorithm", "xgboost-cpu"),
        ("explainability", "cpu"),
        ("monitoring", "cpu"),
        ("processing", "cpu"),
    )
}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A checkout that has been set up."""
    return fill(tmp_path / "workspace")


@pytest.fixture
def called(tmp_path: Path) -> Path:
    """What a called workflow sees: the caller's use case, and ours beside it."""
    workspace = tmp_path / "workspace"
    fill(workspace, "quartet")
    (workspace / "use-case").mkdir()
    shutil.copy(ROOT / "template/use-case.yaml", workspace / "use-case")
    (workspace / "use-case/images.lock.json").write_text(json.dumps(LOCK))
    return workspace


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    return subprocess.run(
        ("git", *identity, *words), cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


def path_with(folder: Path) -> str:
    return f"{folder}:{os.environ['PATH']}"


# --- Which images


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of what build.py reads, with one commit."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in ("components", "shared", ".github/scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("build.py", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / ".git/info").mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / ".git/info/exclude").write_text(".venv\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "All")
    return folder


def listed(output: str) -> tuple[set[tuple[str, str, str]], str, str]:
    """The images of a matrix, whether there are any, and whether containers are started, as jobs read them."""
    outputs = dict(line.split("=", 1) for line in output.splitlines())
    entries = json.loads(outputs["matrix"])["include"]
    images = {(item["component"], item["variant"], item["arch"]) for item in entries}
    return images, outputs["any"], outputs["started"]


def compared(repository: Path, base: str, index: str = "") -> tuple[set[tuple[str, str, str]], str, str]:
    out = repository.parent / "outputs"
    variables = {"BASE": base, "ACCELERATOR": "none", "TORCH_CPU_INDEX": index}
    done = run(step("ci.yml", "Compare with the base"), repository, variables, GITHUB_OUTPUT=str(out))

    assert done.returncode == 0, done.stderr
    return listed(out.read_text())


def test_a_change_of_one_component_builds_its_images_for_both_processors(repository: Path) -> None:
    base = git(repository, "rev-parse", "HEAD")
    with (repository / "components/monitoring/drift.py").open("a") as stream:
        stream.write("# changed\n")
    git(repository, "commit", "--quiet", "--all", "--message", "Change")

    built = {("monitoring", "cpu", "amd64"), ("monitoring", "cpu", "arm64")}
    assert compared(repository, base) == (built, "true", "true")


@pytest.mark.parametrize(
    ("path", "started"), [("README.md", "false"), ("tests/images/test_new.py", "true"), ("engine/start", "true")]
)
def test_a_change_beside_the_images_builds_none_and_of_a_test_starts_them(
    repository: Path, path: str, started: str
) -> None:
    """A wrong test is to be seen before it is merged. What main got meanwhile counts for nothing."""
    git(repository, "switch", "--quiet", "--create", "topic")
    (repository / path).parent.mkdir(parents=True, exist_ok=True)
    (repository / path).write_text("Words.\n")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "Change")
    git(repository, "switch", "--quiet", "-")
    (repository / "build.py").write_text("# changed\n")
    git(repository, "commit", "--quiet", "--all", "--message", "Somebody else's")
    base = git(repository, "rev-parse", "HEAD")
    git(repository, "switch", "--quiet", "topic")

    assert compared(repository, base) == (set(), "false", started)


def test_without_a_commit_to_compare_with_every_image_is_built_but_no_cuda_one(repository: Path) -> None:
    """A branch's first push is compared with zeros."""
    found, _, started = compared(repository, "0" * 40, index="somewhere")

    assert started == "true"
    assert {name for name, *_ in found} == {"algorithm", "explainability", "monitoring", "processing"}
    assert ("algorithm", "torch-cpu", "amd64") in found
    assert [variant for _, variant, _ in found if "cuda" in variant] == []


def test_without_an_index_for_pytorch_its_cpu_image_is_left_out(repository: Path) -> None:
    found, *_ = compared(repository, "0" * 40)

    assert found
    assert [variant for _, variant, _ in found if "torch" in variant] == []


def test_a_release_has_every_image_and_the_night_those_of_cuda(workspace: Path, tmp_path: Path) -> None:
    release, night = tmp_path / "release", tmp_path / "night"
    run(step("release.yml", "Every image"), workspace, {"TORCH_CPU_INDEX": "somewhere"}, GITHUB_OUTPUT=str(release))
    done = run(step("nightly.yml", "Those for CUDA"), workspace, {"ACCELERATOR": "cuda"}, GITHUB_OUTPUT=str(night))

    assert done.returncode == 0, done.stderr
    every = {tuple(line.split()[:2]) for line in declared()}
    assert {(f"quartet/{name}:{variant}", arch) for name, variant, arch in listed(release.read_text())[0]} == every
    cuda = {variant for _, variant, _ in listed(night.read_text())[0]}
    assert cuda == {"xgboost-cuda", "torch-cuda"}


def declared() -> list[str]:
    """What `build.py list` prints, with the processor where the name has it too."""
    words = (sys.executable, "build.py", "list")
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [line for line in said.splitlines() if " left out: " not in line]
    return [f"{line.split()[0].removesuffix('-' + line.split()[1])} {line.split()[1]}" for line in lines]


# --- What is released


@pytest.mark.parametrize(("branch", "code"), [("main", 0), ("topic", 1)])
def test_only_a_commit_of_the_default_branch_is_released(tmp_path: Path, branch: str, code: int) -> None:
    remote, clone = tmp_path / "remote", tmp_path / "clone"
    git(tmp_path, "init", "--quiet", "--initial-branch", "main", str(remote))
    git(remote, "commit", "--quiet", "--allow-empty", "--message", "First")
    git(remote, "switch", "--quiet", "--create", "topic")
    git(remote, "commit", "--quiet", "--allow-empty", "--message", "Not reviewed")
    git(remote, "tag", "v0.1.0", branch)
    git(remote, "switch", "--quiet", "main")
    git(remote, "commit", "--quiet", "--allow-empty", "--message", "Later")
    git(tmp_path, "clone", "--quiet", "--branch", "v0.1.0", str(remote), str(clone))
    done = run(step("release.yml", "The tag is on the default branch"), clone, {"BRANCH": "main"})

    assert (done.returncode, "Tag one that is." in done.stderr) == (code, bool(code)), done.stderr


COMMIT = "c0" * 20
"""The commit of a tag."""


def asked_of_ci(tmp_path: Path, *runs: dict[str, Any], code: int = 0) -> tuple[int, str]:
    """What comes of asking GitHub, which knows these runs of ci.yml, whether the commit is green."""
    told = [
        {
            "head_sha": COMMIT, "head_branch": "main", "event": "push", "run_number": 7, "status": "completed",
            "conclusion": "success", "html_url": "https://example.org/runs/7", **run,
        }
        for run in runs
    ]  # fmt: skip
    (tmp_path / "runs.json").write_text(json.dumps({"total_count": len(told), "workflow_runs": told}))
    binaries = tmp_path / "bin"
    program(binaries, "gh", f"cat '{tmp_path / 'runs.json'}'; exit {code}")
    variables = {"COMMIT": COMMIT, "BRANCH": "main", "GH_TOKEN": "token", "GH_REPO": "acme/quartet"}
    name = "The tests have passed for this very commit"
    done = run(step("release.yml", name), fill(tmp_path / "workspace"), variables, PATH=path_with(binaries))
    words = f"repos/acme/quartet/actions/workflows/ci.yml/runs?head_sha={COMMIT}&branch=main&event=push&per_page=100"

    assert (binaries / "gh.said").read_text() == f"api {words}\n"
    return done.returncode, done.stderr


def test_a_commit_that_ci_has_found_green_is_released(tmp_path: Path) -> None:
    """A red run that was followed by a green one is no obstacle."""
    assert asked_of_ci(tmp_path, {"run_number": 6, "conclusion": "failure"}, {}) == (0, "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"conclusion": "failure"}, "'failure'"),
        ({"conclusion": "cancelled"}, "'cancelled'"),
        ({"conclusion": None, "status": "in_progress"}, "'in_progress'"),
    ],
)
def test_a_commit_whose_newest_run_is_not_green_is_refused_with_its_state(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    code, sentence = asked_of_ci(tmp_path, {"run_number": 8} | changes, {})

    assert code == 1
    assert sentence == (
        f"ci.yml says {said} of commit {COMMIT}, wanted 'success': see https://example.org/runs/7, "
        "and run this again once it does.\n"
    )


@pytest.mark.parametrize(
    "changes",
    [[], [{"head_sha": "d1" * 20}], [{"head_branch": "topic"}], [{"event": "pull_request"}]],
    ids=["none", "another commit", "another branch", "a pull request"],
)
def test_only_a_run_of_that_commit_on_the_default_branch_counts(tmp_path: Path, changes: list[dict[str, Any]]) -> None:
    """A stranger's pull request may bring a ci.yml of its own, which is green whatever the commit holds."""
    code, sentence = asked_of_ci(tmp_path, *changes)

    assert code == 1
    assert sentence.startswith(f"ci.yml has not run for commit {COMMIT} on main: ")


def test_where_github_does_not_answer_nothing_is_released(tmp_path: Path) -> None:
    code, sentence = asked_of_ci(tmp_path, {}, code=4)

    assert (code, sentence) == (1, f"GitHub does not say how ci.yml ended for commit {COMMIT}: run this again.\n")


def test_the_notes_are_the_changelog_s_section_of_the_tag(workspace: Path) -> None:
    done = run(step("release.yml", "The changelog's section, which the tag has to have"), workspace, {"TAG": "v0.1.0"})
    text = (workspace / "notes.md").read_text()

    assert done.returncode == 0, done.stderr
    assert text.startswith("### Added\n\n- Four components")
    assert "[0.1.0]" not in text
    assert text.strip() in (ROOT / "CHANGELOG.md").read_text()


def test_a_tag_of_another_version_is_refused(workspace: Path) -> None:
    done = run(step("release.yml", "The changelog's section, which the tag has to have"), workspace, {"TAG": "v9.9.9"})

    assert done.returncode == 1
    assert "the tag is 'v9.9.9' and pyproject.toml says" in done.stderr


def published(workspace: Path) -> None:
    """One lock for each image, as the jobs leave them."""
    for key, image in LOCK.items():
        folder = workspace / "published" / f"published-{key.replace('/', '-')}"
        folder.mkdir(parents=True)
        (folder / "published.json").write_text(json.dumps({key: image}))


@pytest.fixture(scope="module")
def parameter_store() -> Iterator[Any]:
    """A Parameter Store of this machine."""
    import boto3

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield boto3.client(
            "ssm", endpoint_url=f"http://{host}:{port}", region_name="eu-west-1",
            aws_access_key_id="test", aws_secret_access_key="test",  # pragma: allowlist secret
        )  # fmt: skip
    finally:
        server.stop()


def test_the_digests_of_all_images_become_one_lock_and_parameters(workspace: Path, parameter_store: Any) -> None:
    published(workspace)
    merged = run(step("release.yml", "One lock of all"), workspace, {})
    account = {
        "AWS_ENDPOINT_URL": parameter_store.meta.endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",  # pragma: allowlist secret
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    first = run(step("release.yml", "Into Parameter Store"), workspace, {}, **account)
    again = run(step("release.yml", "Into Parameter Store"), workspace, {}, **account)
    pages = parameter_store.get_paginator("get_parameters_by_path").paginate(Path="/quartet/images", Recursive=True)
    stored = {item["Name"]: (item["Value"], item["Version"]) for page in pages for item in page["Parameters"]}

    assert (merged.returncode, first.returncode, again.returncode) == (0, 0, 0), merged.stderr + first.stderr
    assert json.loads((workspace / "images.lock.json").read_text()) == LOCK
    assert stored == {f"/quartet/images/{key}": (image, 1) for key, image in LOCK.items()}
    assert again.stdout == ""


def test_the_digest_of_one_image_alone_becomes_a_lock(workspace: Path) -> None:
    """Of one artefact that fits its pattern, download-artifact makes no folder."""
    key, image = next(iter(LOCK.items()))
    (workspace / "published").mkdir()
    (workspace / "published/published.json").write_text(json.dumps({key: image}))
    done = run(step("release.yml", "One lock of all"), workspace, {})

    assert done.returncode == 0, done.stderr
    assert json.loads((workspace / "images.lock.json").read_text()) == {key: image}


def test_an_image_by_its_tag_is_in_no_lock(workspace: Path) -> None:
    (workspace / "published").mkdir()
    (workspace / "published/one.json").write_text(json.dumps({"processing/cpu/amd64": f"{REPOSITORY}/processing:v1"}))
    done = run(step("release.yml", "One lock of all"), workspace, {})

    assert done.returncode == 1
    assert "wanted component/variant/arch to repository@sha256:" in done.stderr
    assert not (workspace / "images.lock.json").exists()


def test_the_release_has_the_notes_and_the_lock(workspace: Path, tmp_path: Path) -> None:
    program(tmp_path / "bin", "gh", "")
    variables = {"GH_TOKEN": "token", "GH_REPO": "acme/quartet", "TAG": "v0.1.0"}
    done = run(
        step("release.yml", "The changelog's section, with the lock beside it"),
        workspace, variables, PATH=path_with(tmp_path / "bin"),
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bin/gh.said").read_text() == (
        "release create v0.1.0 --verify-tag --title v0.1.0 --notes-file notes/notes.md lock/images.lock.json\n"
    )


# --- By pull request


@pytest.mark.parametrize(
    ("workflow", "file"), [("release.yml", "images.lock.json"), ("nightly.yml", "base-images.lock")]
)
def test_a_changed_lock_becomes_a_pull_request_and_the_same_one_nothing(
    workflow: str, file: str, tmp_path: Path
) -> None:
    wanted = {"release.yml": step("release.yml", "Propose it"), "nightly.yml": step("nightly.yml", "Propose it")}
    remote, clone = tmp_path / "remote.git", tmp_path / "clone"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch", "main", str(remote))
    git(tmp_path, "clone", "--quiet", str(remote), str(clone))
    (clone / ".github").symlink_to(ROOT / ".github")
    (clone / ".git/info/exclude").write_text(".github\n")
    (clone / "README.md").write_text("A repository.\n")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "--message", "First")
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    program(tmp_path / "bin", "gh", "")
    variables = {"BRANCH": "b", "TITLE": "Lock the images", "FILE": file, "BASE": "main", "GH_TOKEN": "token"}
    (clone / "proposed").mkdir()
    (clone / "proposed" / file).write_text("{}\n")

    first = run(wanted[workflow], clone, variables, PATH=path_with(tmp_path / "bin"))
    again = run(wanted[workflow], clone, variables, PATH=path_with(tmp_path / "bin"))

    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert git(remote, "show", f"b:{file}") == "{}"
    assert git(remote, "ls-tree", "--name-only", "-r", "b").splitlines() == sorted(["README.md", file])
    assert git(remote, "log", "-1", "--format=%s", "b") == "Lock the images"
    assert git(remote, "log", "--format=%s", "main") == "First"
    assert (
        (tmp_path / "bin/gh.said").read_text().splitlines()[1].startswith("pr create --head b --base main --title Lock")
    )
    assert again.stdout == f"{file} has not changed.\n"


# --- Deploying


def said_to_pipelines(called: Path, name: str, variables: dict[str, str], answer: str = "") -> tuple[list[str], str]:
    """The words that a step gives to the command line, and what the step prints; the real one takes such words."""
    workflow = "deploy.yml" if name == "Plan" else "stage.yml"
    python = program(called.parent / "bin", "python", answer)
    given = {
        "PYTHON": str(python),
        "GITHUB_OUTPUT": str(called / "outputs"),
        "GITHUB_STEP_SUMMARY": str(called / "sum"),
    }
    done = run(
        step(workflow, name), called, {"MANIFEST": "use-case/use-case.yaml", "ENVIRONMENT": "dev", **variables}, **given
    )
    (line,) = (python.parent / "python.said").read_text().splitlines()
    words = line.split()

    assert done.returncode == 0, done.stderr
    assert words[:2] == ["-m", "pipelines"]
    assert words[3] == str(called / "use-case/use-case.yaml")
    main.commands[words[2]].make_context(words[2], words[3:])  # it raises what it would tell of unknown words
    return [words[2], *words[4:]], done.stdout


@pytest.mark.parametrize(("name", "words"), [("Plan", ["plan"]), ("Deploy", ["deploy"])])
def test_plan_and_deployment_are_of_the_same_roles(called: Path, name: str, words: list[str]) -> None:
    roles = {"STACK_ROLE_ARN": "arn:aws:iam::1:role/stacks", "BOUNDARY_ARN": "arn:aws:iam::1:policy/boundary"}
    found, _ = said_to_pipelines(called, name, roles)

    given = ["--role-arn", "arn:aws:iam::1:role/stacks", "--boundary-arn", "arn:aws:iam::1:policy/boundary"]
    asked = ["--no-start", "--yes"] if name == "Deploy" else []
    assert found == [*words, *given, *asked, "--environment", "dev"]


@pytest.mark.parametrize(
    "execution",
    [
        "arn:aws:states:eu-west-1:111111111111:execution:quartet-customers-dev-training:github-7-1",
        "arn:aws:sagemaker:eu-west-1:111111111111:pipeline/quartet-customers-dev-training/execution/github-7-1",
    ],
)
def test_the_release_to_promote_is_that_of_the_run_that_was_waited_for(called: Path, execution: str) -> None:
    answer = f"echo {execution}; echo 'processing   succeeded'"
    words, _ = said_to_pipelines(called, "Train, and wait", {"RUN": "github-7-1"}, answer)

    assert words == ["start", "--pipeline", "training", "--run-id", "github-7-1", "--wait", "--environment", "dev"]
    assert (called / "outputs").read_text() == "release=github-7-1\n"


def test_a_training_that_fails_promotes_nothing(called: Path) -> None:
    python = program(called.parent / "bin", "python", "echo arn:x:run; exit 3")
    variables = {"MANIFEST": "use-case/use-case.yaml", "ENVIRONMENT": "dev", "RUN": "r"}
    given = {"PYTHON": str(python), "GITHUB_OUTPUT": str(called / "outputs")}
    done = run(step("stage.yml", "Train, and wait"), called, variables, **given)

    assert done.returncode == 3
    assert (called / "outputs").read_text() == ""


def test_a_promotion_is_never_forced_and_a_rollback_needs_no_name(called: Path) -> None:
    promoted, _ = said_to_pipelines(called, "Promote, if every gate is met", {"RELEASE": "github-7-1"})
    (called.parent / "bin/python.said").unlink()
    back, _ = said_to_pipelines(called, "Go back to the release before", {})

    assert promoted == ["promote", "github-7-1", "--environment", "dev"]
    assert back == ["rollback", "--environment", "dev"]


def test_the_gates_are_in_the_summary(called: Path) -> None:
    answer = "echo '* github-7-1  gates met  validation:auc 0.7812'"
    words, _ = said_to_pipelines(called, "Show the gates to whoever approves", {}, answer)

    assert words == ["status", "--environment", "dev"]
    assert (called / "sum").read_text() == "```\n* github-7-1  gates met  validation:auc 0.7812\n```\n"


GH = """\
case "$1 $2" in
  "api --paginate") printf '%s\\n' "$WRITTEN" ;;
  "api --silent") file=${*: -1}; cat "${file#body=@}" ;;
  "pr comment") cat "${@: -1}" ;;
esac"""
"""GitHub's command: what is written on the pull request, and what is written now."""


def commented(called: Path, plans: dict[str, str], written: str = "") -> tuple[str, str]:
    """The words that gh is told last, and the comment, of plans by environment."""
    (called / ".github").symlink_to(ROOT / ".github")  # this job checks out ours alone
    (called / "plans").mkdir()
    for name, plan in plans.items():
        (called / f"plan-{name}.txt").write_text(plan)
        variables = {"ENVIRONMENT": name}
        shown = run(step("deploy.yml", "Show it"), called, variables, GITHUB_STEP_SUMMARY=str(called / "sum"))
        assert shown.returncode == 0, shown.stderr
        assert plan in (called / "sum").read_text()
        (called / f"plan-{name}.txt").rename(called / f"plans/plan-{name}.txt")
    binaries = called.parent / "bin"
    program(binaries, "gh", GH)
    variables = {"FOLDER": "plans", "MANIFEST": "use-case.yaml", "PULL_REQUEST": "7"}
    github = {"GH_TOKEN": "token", "GH_REPO": "acme/customers"}
    done = run(step("deploy.yml", "Comment"), called, variables | github, PATH=path_with(binaries), WRITTEN=written)

    assert done.returncode == 0, done.stderr
    return (binaries / "gh.said").read_text().splitlines()[-1], done.stdout


def artefacts_of(tmp_path: Path, manifest: str) -> str:
    """What the artefacts of a use case's plans are called, but for the environment."""
    out = tmp_path / "outputs"
    out.write_text("")
    done = run(
        step("deploy.yml", "Name it after the use case"), tmp_path, {"MANIFEST": manifest}, GITHUB_OUTPUT=str(out)
    )

    assert done.returncode == 0, done.stderr
    return out.read_text().removeprefix("name=").removesuffix("\n")


def test_the_plans_of_a_use_case_are_not_taken_for_another_s(tmp_path: Path) -> None:
    """One repository may hold several, whose plans are artefacts of one run."""
    manifests = (
        *("churn.yaml", "churn-eu.yaml", "churn", "churn-eu", "churn.yaml-2", "use case*.yaml"),
        *("eu/churn.yaml", "eu_churn.yaml", "eu.churn.yaml"),
    )
    pairs = [(manifest, name) for manifest in manifests for name in ("dev", "eu-prod")]
    made = {pair: f"{artefacts_of(tmp_path, pair[0])}.{pair[1]}" for pair in pairs}

    assert re.fullmatch(r"plan\.eu_churn_yaml\.[0-9a-f]{8}\.dev", made["eu/churn.yaml", "dev"])
    assert len(set(made.values())) == len(made)
    assert [
        name for name in made.values() if not re.fullmatch(r"[\w.-]+", name)
    ] == []  # GitHub refuses / : * and others
    for manifest in manifests:
        pattern = f"{artefacts_of(tmp_path, manifest)}.*"
        assert {pair for pair, name in made.items() if fnmatchcase(name, pattern)} == {
            pair for pair in made if pair[0] == manifest
        }


def test_the_plans_of_all_environments_are_one_comment(called: Path) -> None:
    plans = {name: f"stack quartet-customers-{name}: 3 changes\n" for name in ("dev", "prod")}
    words, comment = commented(called, plans)

    assert words.startswith("pr comment 7 --body-file ")
    assert comment.startswith("<!-- quartet: plans of use-case.yaml -->\n### dev\n")
    assert comment.index("customers-dev: 3 changes") < comment.index("### prod") < comment.index("customers-prod: 3")


def test_a_push_replaces_our_comment_and_nobody_else_s(called: Path) -> None:
    other = "11\t<!-- quartet: plans of another.yaml -->\n12\tcoverage 93 %\n"
    words, comment = commented(
        called, {"prod": "nothing to change\n"}, other + "13\t<!-- quartet: plans of use-case.yaml -->\n14\tbye"
    )

    assert words.startswith("api --silent --method PATCH repos/acme/customers/issues/comments/13 --field body=@")
    assert "nothing to change" in comment


def test_a_plan_that_is_too_long_for_a_comment_is_shortened(called: Path) -> None:
    """GitHub takes 65,536 characters, and refuses more."""
    _, comment = commented(called, {"prod": "ü" * 100_000})

    assert 60_000 < len(comment) < 65_000
    assert comment.endswith("ü\n````\n\nThe rest is in the summary of the run.\n")


def test_the_template_s_manifest_renders_for_each_of_its_environments(called: Path) -> None:
    for name in ("dev", "staging", "prod"):
        words = (sys.executable, "-m", "pipelines", "render", str(called / "use-case/use-case.yaml"))
        done = subprocess.run(
            (*words, "--engine", "cloudformation", "--environment", name, "--out", str(called / name)),
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip

        assert done.returncode == 0, done.stderr
        assert json.loads((called / name / "template.json").read_text())["Resources"]


# --- By night


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("echo 'No known vulnerabilities found'", 0),
        ("echo 'Found 1 known vulnerability'; exit 1", 1),
        ("echo 'flask  Dependency not found on the index and could not be audited: flask (3.1.3)'", 1),
    ],
)
def test_an_audit_that_could_not_look_is_no_pass(workspace: Path, tmp_path: Path, answer: str, code: int) -> None:
    """pip-audit ends well where nobody answers."""
    program(tmp_path / "bin", "pip-audit", answer)
    done = run(step("nightly.yml", "Ask for each lock"), workspace, {}, TOOLS=str(tmp_path / "bin"))
    asked = (tmp_path / "bin/pip-audit.said").read_text()

    assert done.returncode == code, done.stdout
    for lock in ROOT.glob("components/*/requirements/*.txt"):
        assert f"--requirement {lock.relative_to(ROOT)} " in asked


# --- The bill of materials, compared


def bill(packages: dict[str, str], place: str = "/opt/venv/lib/python3.13/site-packages") -> dict[str, Any]:
    entries = [
        {
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
            "properties": [{"name": "syft:location:0:path", "value": f"{place}/{name}.dist-info/METADATA"}],
        }
        for name, version in packages.items()
    ]
    return {"components": entries}


def compare(tmp_path: Path, content: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "bom.cdx.json"
    path.write_text(json.dumps(content))
    words = (sys.executable, ".github/scripts/bill.py", str(path), "processing", "cpu")
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_package_more_fewer_or_of_another_version_is_named(tmp_path: Path) -> None:
    lines = (ROOT / "components/processing/requirements/cpu.txt").read_text().splitlines()
    pins = [line.split(" ;")[0].rstrip(" \\") for line in lines if line[:1].isalpha() and "< '3.12'" not in line]
    right = dict(line.split("==") for line in pins)
    wrong = {**right, "flask": "0.1", "intruder": "1.0"}
    del wrong["urllib3"]

    same, other = compare(tmp_path, bill(right)), compare(tmp_path, bill(wrong))

    assert same.returncode == 0, same.stdout
    assert other.returncode == 1
    assert [line.partition(":")[0] for line in other.stdout.splitlines()] == ["flask", "intruder", "urllib3"]


def test_packages_of_the_base_image_are_not_the_lock_s(tmp_path: Path) -> None:
    done = compare(tmp_path, bill({"pip": "25.1.1"}, place="/usr/lib/python3/dist-packages"))

    assert done.returncode == 1
    assert "wanted one" in done.stderr


def test_an_image_by_its_tag_is_not_signed(tmp_path: Path) -> None:
    done = subprocess.run(
        (ROOT / ".github/scripts/sign",),
        env={**os.environ, "IMAGE": "here/quartet/processing:v1", "COSIGN": "false"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (2, "IMAGE is 'here/quartet/processing:v1', wanted repository@sha256:…\n")


@pytest.mark.parametrize(("verified", "signs"), [(0, False), (1, True)])
def test_an_image_that_this_tag_has_signed_is_not_signed_again(tmp_path: Path, verified: int, signs: bool) -> None:
    """Signed at another tag, or by another workflow, it is not: SECURITY.md asks for this very identity."""
    cosign = program(tmp_path, "cosign", f'[ "$1" != verify ] || exit {verified}')
    identity = "acme/quartet/.github/workflows/release.yml@refs/tags/v0.1.0"
    image = f"{REPOSITORY}/processing@{DIGEST}"
    done = run(
        step("release.yml", "Sign"), fill(tmp_path / "workspace"),
        {"COMPONENT": "processing", "VARIANT": "cpu", "ARCH": "amd64", "IMAGE": image},
        COSIGN=str(cosign), GITHUB_WORKFLOW_REF=identity,
    )  # fmt: skip
    asked, *rest = (tmp_path / "cosign.said").read_text().splitlines()

    assert done.returncode == 0, done.stderr
    assert f"--certificate-identity https://github.com/{identity} {image}" in asked
    assert rest == ([f"sign --yes {image}"] if signs else [])
