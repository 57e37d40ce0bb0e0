"""Both versions of the SageMaker Python SDK run the flights on the four images, and get what the images give."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

import pytest

from tests.aws.cloud import Cloud
from tests.aws.data import CALM, DRIFTED, ROWS, Flights
from tests.clients.conftest import SDKS, Client, Reference

pytestmark = [pytest.mark.clients, pytest.mark.docker]

PARTS = ("model", "state", "baseline", "explainer")
REPORTS = {"report.html", "report.json"}
"""What tells of a run, with its duration; all else tells of the data."""


@pytest.fixture(params=SDKS)
def client(request: pytest.FixtureRequest, clients: dict[str, Client]) -> Client:
    return clients[request.param]


def objects(account: Cloud, uri: str) -> dict[str, bytes]:
    """By name, the objects below a uri; of a model.tar.gz, the files in it."""
    if uri.endswith(".tar.gz"):
        return members(account.get(uri))
    prefix = f"{uri.rstrip('/')}/"
    return {found.removeprefix(prefix): account.get(found) for found in account.list(prefix)}


def members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        opened = ((item.name, tar.extractfile(item)) for item in tar)
        return {name: stream.read() for name, stream in opened if stream is not None}


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def scores_of(account: Cloud, client: Client) -> bytes:
    """What the client's Batch Transform wrote; the name of the job lies between the prefix and the file."""
    (found,) = [uri for uri in account.list(f"{client.storage}/{CALM}/algorithm/scores/") if uri.endswith(".csv.out")]
    return account.get(found)


@pytest.mark.parametrize("part", PARTS)
def test_training_makes_the_artefacts_that_the_image_makes(
    client: Client, account: Cloud, reference: Reference, part: str
) -> None:
    made = objects(account, client.result["release"][part])

    assert made == files(reference.release[part])


def test_prepared_rows_are_those_of_the_image(client: Client, account: Cloud, reference: Reference) -> None:
    made = objects(account, f"{client.storage}/{CALM}/processing/data")

    assert made == files(reference.served["processing"]["data"])


def test_every_flight_is_scored_in_order_and_as_the_server_scores_it(
    client: Client, account: Cloud, reference: Reference, raw: Flights
) -> None:
    scores = scores_of(account, client)
    flights = [line.split(",")[0] for line in (raw.folder / f"data/score/{CALM}.csv").read_text().splitlines()[1:]]

    assert [line.split(",")[0] for line in scores.decode().splitlines()] == flights
    assert len(flights) == ROWS
    assert scores == reference.scores


def test_the_verdict_on_drift_and_the_reports_of_monitoring_are_those_of_the_image(
    client: Client, account: Cloud, reference: Reference
) -> None:
    made = objects(account, f"{client.storage}/{CALM}/monitoring/report")
    wanted = files(reference.served["monitoring"]["report"])

    assert {"drift.json", "model_quality.json", "statistics.json", "constraint_violations.json"} <= set(made)
    assert {name: made[name] for name in made.keys() - REPORTS} == {
        name: wanted[name] for name in wanted.keys() - REPORTS
    }


def test_the_scores_are_judged_by_the_outcomes(client: Client, account: Cloud, raw: Flights) -> None:
    """Cancelled flights have scores and no outcome."""
    quality = account.json(f"{client.storage}/{CALM}/monitoring/report/model_quality.json")
    arrived = len((raw.folder / f"data/labels/{CALM}.csv").read_text().splitlines()) - 1

    assert (quality["labelled"], quality["unlabelled"]) == (arrived, ROWS - arrived)
    assert 0 < arrived < ROWS


def test_every_score_is_explained_as_the_image_explains_it(
    client: Client, account: Cloud, reference: Reference
) -> None:
    made = objects(account, f"{client.storage}/{CALM}/explainability/explanations")

    assert made == files(reference.served["explainability"]["explanations"])
    assert len(made["reasons.csv"].splitlines()) == ROWS + 1


# --- A pipeline in local mode, which only v2 has in a form that works


@pytest.fixture
def runs(clients: dict[str, Client]) -> dict[str, dict[str, str]]:
    """By period, the steps that the pipeline executed and how they ended."""
    found: dict[str, dict[str, str]] = clients["v2"].result["pipelines"]
    return found


@pytest.mark.parametrize(("period", "detected"), [(CALM, False), (DRIFTED, True)])
def test_a_condition_on_the_verdict_starts_training_where_there_is_drift_and_only_there(
    clients: dict[str, Client], account: Cloud, runs: dict[str, dict[str, str]], period: str, detected: bool
) -> None:
    storage = f"{clients['v2'].storage}/pipeline/{period}"
    wanted = ["processing", "model-CreateModel", "algorithm", "monitoring", "drifted", *["retraining"] * detected]

    assert runs[period] == dict.fromkeys(wanted, "Succeeded")
    assert account.json(f"{storage}/monitoring/report/drift.json")["detected"] is detected
    assert bool(account.list(f"{storage}/retraining/state/")) is detected


def test_the_pipeline_scores_as_the_single_job_does(
    clients: dict[str, Client], account: Cloud, runs: dict[str, dict[str, str]], reference: Reference
) -> None:
    found = account.list(f"{clients['v2'].storage}/pipeline/{CALM}/algorithm/scores/")

    assert [account.get(uri) for uri in found] == [reference.scores]


# --- A failure


def test_a_misspelt_hyperparameter_fails_the_job_with_one_sentence(clients: dict[str, Client], account: Cloud) -> None:
    """Local mode shows the exit code; the sentence is in the log and, as on SageMaker, in the failure file."""
    client = clients["v2"]
    (uri,) = [uri for uri in account.list(f"{client.storage}/failure/") if uri.endswith("output.tar.gz")]
    sentence = account.member(uri, "failure").decode()

    assert client.result["failure"].endswith("Process exited with code: 2")
    assert "'max_dept'" in sentence
    assert "Did you mean 'max_depth'?" in sentence
    assert sentence in client.said
    assert objects(account, uri.replace("output.tar.gz", "model.tar.gz")) == {}


# --- What users copy


@pytest.mark.parametrize("sdk", SDKS)
def test_the_readme_shows_what_the_client_runs(sdk: str) -> None:
    """Its functions as they are, below those of its imports that they need."""
    here = Path(__file__).parent
    source = (here / f"{sdk}_flights.py").read_text(encoding="utf-8")
    functions = source.partition("# In components/README.md from here\n")[2].partition("# to here\n")[0].strip()
    page = (here.parents[1] / "components/README.md").read_text(encoding="utf-8")
    (shown,) = [block for block in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S) if functions in block]
    imports, _, rest = shown.partition(functions)

    assert functions
    assert set(imports.splitlines()) <= set(source.splitlines())
    assert rest == "\n"
