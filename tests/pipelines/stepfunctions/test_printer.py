"""The definitions as text: the same bytes for the same manifest, requests that fit, states that lead somewhere."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from components.spec import specs
from pipelines.aws.places import Rendered
from pipelines.aws.shapes import jsonata_hole, problems
from pipelines.manifest import UseCase
from pipelines.stepfunctions.loop import render_loop
from pipelines.stepfunctions.printer import definitions, render
from shared.errors import SettingsError
from tests.aws.data import DIGESTS, flights_use_case, toy_use_case
from tests.aws.states import lower

CHECKER: Final = Path(__file__).parents[2] / "asl/node_modules/.bin/asl-validator"
STORAGE: Final = "s3://quartet-test/flights"
BODIES: Final = {"Detail"}
"""Members that the integration turns from an object to text."""


@pytest.fixture
def flights(tmp_path: Path) -> UseCase:
    return flights_use_case(tmp_path)


def rendered(use_case: UseCase, **options: Any) -> Rendered:
    return render(use_case, specs(), {}, **options)


def every_machine(use_case: UseCase) -> dict[str, Any]:
    """All definitions: those of the engine, the same on AWS Batch, and those around SageMaker pipelines."""
    others = {"batch": rendered(use_case, platform="batch"), "around": render_loop(use_case, specs())}
    more = {f"{kind} {name}": machine for kind in others for name, machine in definitions(others[kind]).items()}
    return definitions(rendered(use_case)) | more


def scopes(machine: Any) -> Iterator[Any]:
    """The machine, and each branch in it: what has `StartAt` and `States`."""
    yield machine
    for state in machine["States"].values():
        for branch in state.get("Branches", ()):
            yield from scopes(branch)


def all_states(machine: Any) -> dict[str, Any]:
    return {name: state for scope in scopes(machine) for name, state in scope["States"].items()}


def followers(state: Any) -> set[str]:
    """The states that may come next."""
    found = {state[key] for key in ("Next", "Default") if key in state}
    return found | {item["Next"] for key in ("Choices", "Catch") for item in state.get(key, ())}


def test_a_use_case_has_a_machine_for_each_pipeline_and_one_for_drift(flights: UseCase) -> None:
    assert sorted(rendered(flights).files) == ["inference.asl.json", "retrain.asl.json", "training.asl.json"]
    assert sorted(render_loop(flights, specs()).files) == ["promote.asl.json", "retrain.asl.json", "start.asl.json"]


def test_the_same_manifest_renders_the_same_bytes(flights: UseCase) -> None:
    assert rendered(flights) == rendered(flights)


def test_on_batch_a_rendering_holds_what_its_jobs_are_submitted_to(flights: UseCase) -> None:
    found = rendered(flights, platform="batch")
    machine = definitions(found)["inference"]
    definition = {item["jobDefinitionName"] for item in json.loads(found.files["inference.json"])["definitions"]}
    queues = {queue["jobQueueName"] for queue in json.loads(found.files["queues.json"])}
    submitted = [
        state["Arguments"]
        for state in all_states(machine).values()
        if state.get("Resource", "").endswith("submitJob.sync")
    ]

    assert {request["JobDefinition"] for request in submitted} == definition
    assert {request["JobQueue"] for request in submitted} <= queues
    assert submitted[1]["Parameters"]["Model"] == "{% $Parts.model %}"


def test_an_image_by_tag_is_refused(tmp_path: Path) -> None:
    use_case = flights_use_case(tmp_path, (f", digest: '{DIGESTS['algorithm']}'", ""))

    with pytest.raises(SettingsError, match=r"^the image of 'algorithm' is .*, wanted one by digest"):
        rendered(use_case)


def test_all_is_jsonata_and_no_state_says_otherwise(flights: UseCase) -> None:
    for machine in every_machine(flights).values():
        assert machine["QueryLanguage"] == "JSONata"
        assert not any("QueryLanguage" in state for state in all_states(machine).values())


def test_every_state_can_be_reached_and_leads_to_states_that_are_there(flights: UseCase) -> None:
    for machine in every_machine(flights).values():
        for scope in scopes(machine):
            states = scope["States"]
            reached, new = set(), {scope["StartAt"]}
            while new:
                reached |= new
                new = {name for state in new for name in followers(states[state])} - reached

            assert reached == set(states)


def test_states_have_names_of_their_own_that_the_service_takes(flights: UseCase) -> None:
    for machine in every_machine(flights).values():
        names = [name for scope in scopes(machine) for name in scope["States"]]

        assert len(names) == len(set(names))
        assert max(map(len, names)) <= 80


def test_no_error_of_the_language_is_raised_again(flights: UseCase) -> None:
    """A Fail state must not have an error whose name starts with `States.`."""
    ends = [state for machine in every_machine(flights).values() for state in all_states(machine).values()]
    errors = {state["Error"] for state in ends if state["Type"] == "Fail"}

    assert not any(error.startswith("States.") for error in errors)
    assert {error for error in errors if jsonata_hole(error)} == {"{% $states.input.error %}"}


def test_every_request_fits_the_service_that_gets_it(flights: UseCase) -> None:
    """Botocore's models, with expressions as holes; the optimised integrations write every name with a capital."""
    checked = []
    for machine in every_machine(flights).values():
        for state in all_states(machine).values():
            if state["Type"] == "Task":
                service, action = state["Resource"].removeprefix("arn:aws:states:::").split(":")[-2:]
                operation = action[0].upper() + action[1:].removesuffix(".sync")
                arguments = json.loads(json.dumps(state["Arguments"]), object_hook=without_bodies)
                if service == "batch":
                    arguments = lower(arguments)
                if service == "states":
                    service, arguments = "stepfunctions", lower(arguments)
                    arguments["input"] = json.dumps(arguments["input"])
                assert list(problems(operation, arguments, jsonata_hole, service=service)) == []
                checked.append(f"{service}:{operation}")

    assert {"sagemaker:CreateTrainingJob", "sagemaker:CreateTransformJob", "sagemaker:CreateModel"} <= set(checked)
    assert checked.count("sagemaker:CreateProcessingJob") == 7


def without_bodies(value: dict[str, Any]) -> dict[str, Any]:
    return {key: "{% body %}" if key in BODIES else item for key, item in value.items()}


@pytest.mark.skipif(not CHECKER.exists(), reason="asl-validator is not installed: make asl")
def test_the_checker_of_the_language_finds_nothing(flights: UseCase, tmp_path: Path) -> None:
    options = []
    for name, machine in every_machine(flights).items():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(machine))
        options += ["--json-path", str(path)]

    done = subprocess.run([str(CHECKER), *options], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("is valid") == 9


def test_jobs_that_do_not_wait_for_one_another_run_side_by_side(flights: UseCase) -> None:
    """In inference, explaining needs no scores: it goes beside scoring and monitoring, not after scoring alone."""
    machines = definitions(rendered(flights))

    assert branches(machines["inference"]) == [["algorithm model", "algorithm", "monitoring"], ["explainability"]]
    assert branches(machines["training"]) == [["monitoring"], ["explainability"]]


def branches(machine: Any) -> list[list[str]]:
    """The states of each branch in order, without those of failure."""
    (parallel,) = (state for state in machine["States"].values() if state["Type"] == "Parallel")
    return [[name for name in branch["States"] if not name.endswith("failed")] for branch in parallel["Branches"]]


def test_steps_that_are_switched_off_are_in_no_machine(tmp_path: Path) -> None:
    steps = "{steps: [processing, algorithm], "
    change = ("training: {gates", f"inference: {{steps: [processing, algorithm]}}\n  training: {steps}gates")
    machines = definitions(rendered(toy_use_case(tmp_path, change)))
    inference = all_states(machines["inference"])

    assert [name for name, state in inference.items() if state["Type"] == "Task"] == [
        "Find the release",
        "Read the release",
        "processing",
        "algorithm model",
        "algorithm",
    ]
    assert inference["Scored"]["Output"]["Drifted"] is False


def test_a_setting_that_looks_like_an_expression_stays_text(tmp_path: Path) -> None:
    use_case = toy_use_case(tmp_path, ("auc: 0.7", 'auc: 0.7, note: "{% $uuid() %}"'))
    states = all_states(definitions(rendered(use_case))["training"])

    assert states["algorithm"]["Arguments"]["HyperParameters"]["note"] == '{% "{% $uuid() %}" %}'


def test_an_environment_has_its_own_names_pointer_and_storage(tmp_path: Path) -> None:
    use_case = toy_use_case(tmp_path, ("data:\n", "environments: {prod: {storage: 's3://prod-bucket/toy'}}\ndata:\n"))
    machines = definitions(rendered(use_case, environment="prod"))
    text = json.dumps(machines)

    assert all_states(machines["training"])["Move the pointer"]["Arguments"]["Name"] == "/toy/prod/releases/current"
    assert all_states(machines["retrain"])["Read the state"]["Arguments"]["Name"] == "/toy/prod/drift/state"
    arn = all_states(machines["retrain"])["Start the training"]["Arguments"]["StateMachineArn"]
    assert arn.endswith(":stateMachine:quartet-toy-prod-training")
    assert "s3://quartet-test/toy" not in text


def test_uploads_are_named_by_their_content_and_hold_every_window(flights: UseCase) -> None:
    found = rendered(flights)
    listings = [json.loads(content) for uri, content in found.uploads.items() if uri.endswith("train.manifest")]
    windows = all_states(definitions(found)["retrain"])["Start"]["Assign"]["TrainData"]

    assert [
        {"prefix": f"{STORAGE}/data/train/"},
        *(f"2013-0{month}.csv" for month in (7, 8, 9)),
        "2013-10.csv",
    ] in listings
    assert len(listings) == 12
    assert all(uri in windows for uri in found.uploads if uri.endswith("train.manifest"))


REFUSED: Final[list[tuple[str, Callable[[Path], UseCase]]]] = [
    ("the manifest has no 'region'", lambda folder: toy_use_case(folder, ("region: eu-west-1\n", ""))),
]


@pytest.mark.parametrize(("sentence", "declare"), REFUSED, ids=[sentence for sentence, _ in REFUSED])
def test_what_the_engine_cannot_keep_is_refused(
    sentence: str, declare: Callable[[Path], UseCase], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=sentence):
        rendered(declare(tmp_path))
