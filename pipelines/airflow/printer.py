"""A use case as an Airflow 3 DAG file: one file, two DAGs, the Amazon provider's operators with their requests.

The file holds all that it needs. Requests stand in it where they are used, and not in a JSON file beside it: files
reach schedulers and workers one by one, and a worker must never see a new DAG with old requests, or the reverse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from components.spec import NAMES, Spec
from pipelines import periods
from pipelines.airflow.dags import Dag, Surroundings, inference_dag, training_dag
from pipelines.airflow.literals import WIDTH, Call, Code, assignment
from pipelines.airflow.references import DATA_TYPE, PERIOD, RUN, STARTED_BY, TRY, image_name, resolver
from pipelines.airflow.schedule import checked_timezone
from pipelines.aws.deployment import deployment_of
from pipelines.aws.places import (
    Rendered,
    Site,
    no_labels,
    prefixes,
    settings_files,
    training_data,
    windows,
)
from pipelines.aws.shapes import checked, jinja_hole
from pipelines.graph import (
    PARTS,
    Graph,
    Job,
    Released,
    Resolve,
    TransformJob,
)
from pipelines.limits import check_job_name
from pipelines.manifest import UseCase
from pipelines.periods import kind_of

BODY: Final = Path(__file__).with_name("body.py")
CALENDAR: Final = Path(periods.__file__)
LONGEST: Final = "20261122T120000-3fa2-31"
"""A run and a try, which the name of a job ends with."""
SECTION: Final = "# --- "
"""How a section of the body begins; a DAG file gets the sections that its use case needs."""
AMAZON: Final = "airflow.providers.amazon.aws"
STANDARD: Final = "airflow.providers.standard.operators"
MODULES: Final[Mapping[str, str]] = {
    "EventBridgePutEventsOperator": f"{AMAZON}.operators.eventbridge",
    "SageMakerModelOperator": f"{AMAZON}.operators.sagemaker",
    "SageMakerProcessingOperator": f"{AMAZON}.operators.sagemaker",
    "SageMakerTrainingOperator": f"{AMAZON}.operators.sagemaker",
    "SageMakerTransformOperator": f"{AMAZON}.operators.sagemaker",
    "SageMakerTuningOperator": f"{AMAZON}.operators.sagemaker",
    "SnsPublishOperator": f"{AMAZON}.operators.sns",
    "send_sns_notification": f"{AMAZON}.notifications.sns",
    "EmptyOperator": f"{STANDARD}.empty",
    "BranchPythonOperator": f"{STANDARD}.python",
    "PythonOperator": f"{STANDARD}.python",
    "TriggerDagRunOperator": f"{STANDARD}.trigger_dagrun",
}
"""Where the names are that a DAG file may use."""


def render(
    use_case: UseCase,
    specs: Mapping[str, Spec],
    images: Mapping[str, str],
    environment: str | None = None,
    revision: str | None = None,
) -> Rendered:
    """The DAG file of a use case, and the files that its jobs read.

    Args:
        use_case: the manifest.
        specs: the components.
        images: each component's image by digest, for those that the manifest does not name.
        environment: the one of the manifest's environments that is meant.
        revision: the code's git revision, for releases.

    Returns:
        The file `quartet-<name>.py` for Airflow's DAG folder, and what has to lie in S3 before it runs. The same
        arguments give the same bytes.

    Raises:
        SettingsError: the manifest says what Airflow or the cloud cannot do: a schedule with years, an image by tag.
    """
    deployment = deployment_of(use_case, specs, images, environment, revision)
    manifest, site = deployment.manifest, deployment.site
    training_uri, uploads = training_data(site, manifest.data)
    deployment.check_data(training_uri)
    labels = no_labels(site, manifest.data)
    around = Surroundings(manifest, site, training_uri, labels[0])
    graphs = list(deployment.graphs(tunes=True).values())
    uploads |= [labels] if len(graphs) > 1 else []
    dags = []
    for graph in graphs:
        files = settings_files(site, graph)
        uploads |= files.values()
        resolve = resolver(site, graph, prefixes(files))
        for job in graph.jobs:
            _fits(site, job, resolve)
        dags.append((training_dag if graph.pipeline == "training" else inference_dag)(around, graph, resolve))
    found_windows = _windows(around)
    uploads |= found_windows.values()
    ends = {last: uri for last, (uri, _) in found_windows.items()}
    sections = "\n\n\n".join(_sections(_titles(around, graphs)))
    head = [
        _introduction(use_case, site, graphs),
        _imports(dags, sections),
        _constants(around, graphs, deployment.images),
        *_policy(around, graphs, ends),
    ]
    parts = ["\n\n".join(head), sections, *(dag.source() for dag in dags)]
    return Rendered({f"{_title(site)}.py": ("\n\n\n".join(parts) + "\n").encode()}, uploads)


def _title(site: Site) -> str:
    """What the file and its DAGs are called, such as `quartet-flights.prod`.

    Nobody else keeps the DAGs of two use cases apart. Neither a use case nor an environment has a dot in its name, so
    that `flights-prod` and `flights` in the environment `prod` are two.
    """
    return f"quartet-{site.name}.{site.environment}" if site.environment else site.title


def _windows(around: Surroundings) -> dict[str, tuple[str, bytes]]:
    """The training data after a drift, by the period that has drifted, where the policy names a number of periods."""
    data = around.policy.with_ if around.policy and around.policy.then == "retrain" else None
    return windows(around.site, around.manifest.data, data.periods) if data and data.periods else {}


def _fits(site: Site, job: Job, resolve: Resolve) -> None:
    """Hold a job's requests against the service's model.

    Raises:
        SettingsError: they do not fit, or the job's name may be too long.
    """
    check_job_name(f"{site.name}-{job.name}-{LONGEST}")

    def filled_in(value: Any) -> bool:
        return isinstance(value, Code) or jinja_hole(value)

    checked(job.operation, job.request(resolve), filled_in)
    if isinstance(job, TransformJob):
        checked("CreateModel", job.model_request(resolve), filled_in)


def _released(job: Job) -> Iterator[str]:
    """The parts of a release that a job reads."""
    places = [job.data, job.model] if isinstance(job, TransformJob) else list(getattr(job, "inputs", {}).values())
    yield from (place.part for place in places if isinstance(place, Released))


def _introduction(use_case: UseCase, site: Site, graphs: Sequence[Graph]) -> str:
    inference = (
        f"`{_title(site)}-inference` scores data with the release in use, watches for drift and explains the scores.\n"
        if len(graphs) > 1
        else ""
    )
    return f'''"""# {_title(site)}: {" and ".join(graph.pipeline for graph in graphs)}

Rendered by Quartet from the manifest with SHA-256 `{use_case.document.digest[:16]}…`. Change the manifest and render
again: what is changed here is lost.

`{_title(site)}-training` prepares the data, trains, measures and explains the model, and makes a release of what comes
out. Parameter Store points to the release in use; the pointer moves when the gates are met and approval is automatic.
{inference}
Jobs run in SageMaker. Airflow needs its Amazon provider and a connection to AWS. The section `quartet` of airflow.cfg
(or `AIRFLOW__QUARTET__…`) may set `aws_conn_id`, `check_interval` (seconds between two looks at a job) and `print_log`
(whether a training job's log appears here). `[operators] default_deferrable` frees the workers while jobs run.
"""

from __future__ import annotations'''


def _imports(dags: Sequence[Dag], sections: str) -> str:
    """The imports, in the order in which linters sort them; `sections` is the code that uses those of the body."""
    found = {"DAG": "airflow.sdk", "Param": "airflow.sdk", "conf": "airflow.sdk"}
    for dag in dags:
        for value in (*dag.tasks.values(), *dag.declaration.keywords.values()):
            if isinstance(value, Call) and value.name in MODULES:
                found[value.name] = MODULES[value.name]
    body = BODY.read_text(encoding="utf-8")
    standard = body[body.index("import hashlib") : body.index("\n\nfrom pipelines")]
    if "datetime" not in sections:
        standard = standard.replace("import datetime, ", "import ")
    if "PATTERNS" in sections:
        standard = standard.replace("import Mapping", "import Mapping, Sequence")
        standard = standard.replace("import datetime", "import date, datetime")
    lines = ["import pendulum"]
    for module in sorted(set(found.values())):
        names = sorted((name for name, where in found.items() if where == module), key=_sorting)
        line = f"from {module} import {', '.join(names)}"
        lines.append(line if len(line) <= WIDTH else f"from {module} import (\n    " + ",\n    ".join(names) + ",\n)")
    return standard + "\n\n" + "\n".join(lines)


def _sorting(name: str) -> tuple[bool, bool, str]:
    """Constants, then classes, then the rest."""
    return not name.isupper(), not name[0].isupper(), name


def _constants(around: Surroundings, graphs: Sequence[Graph], images: Mapping[str, str]) -> str:
    """What tells this use case's file from another's."""
    site = around.site
    used = {job.component for graph in graphs for job in graph.jobs}
    connection = Call("conf.get", ["quartet", "aws_conn_id"], {"fallback": "aws_default"})
    groups: list[Mapping[str, Any]] = [
        {
            "USE_CASE": site.name,
            "ENVIRONMENT": site.environment,
            **{graph.pipeline.upper(): f"{_title(site)}-{graph.pipeline}" for graph in graphs},
            "TIMEZONE": checked_timezone(around.manifest.schedule.timezone),
        },
        {
            "STORAGE": site.storage,
            "POINTER": site.pointer,
            "ROLE": site.role,
            **{image_name(name): images[name] for name in NAMES if name in used},
        },
        {
            "AWS": {"aws_conn_id": connection, "region_name": site.region},
            "CHECK_INTERVAL": Call("conf.getfloat", ["quartet", "check_interval"], {"fallback": 30}),
            "PRINT_LOG": Call("conf.getboolean", ["quartet", "print_log"], {"fallback": True}),
            "TASK": {"retry_delay": Code("timedelta(minutes=2)"), "retry_exponential_backoff": True},
        },
        {"RUN": RUN, "TRY": TRY, "STARTED_BY": STARTED_BY, "DATA_TYPE": DATA_TYPE},
    ]
    texts = ["\n".join(assignment(name, value) for name, value in group.items()) for group in groups]
    texts[3] += f"\n{assignment('PERIOD', PERIOD)}" if len(graphs) > 1 else ""
    texts[3] = "# What Airflow fills in when a task runs.\n" + texts[3]
    return "\n\n".join(texts)


def _policy(around: Surroundings, graphs: Sequence[Graph], ends: Mapping[str, str]) -> Iterator[str]:
    """The constants of the inference DAG."""
    policy, titles = around.policy, _titles(around, graphs)
    if "The release in use" not in titles:
        return
    reads = {part for job in graphs[-1].jobs for part in _released(job)}
    constants: dict[str, Any] = {
        "PARTS": [part for part in PARTS if part in reads],
        "CALENDAR": kind_of(around.manifest.data.known_periods),
    }
    if policy:
        constants |= {"DRIFT_STATE": around.site.drift_state, "DRIFTS_IN_A_ROW": policy.when.runs}
    if policy and "Retraining" in titles:
        hours, rest = divmod(policy.cooldown, 3600)
        cooldown = {"seconds": policy.cooldown} if rest else {"hours": hours}
        constants |= {"COOLDOWN": Call("timedelta", (), cooldown), "MAX_PER_MONTH": policy.max_per_month}
    if ends and policy and policy.with_:
        uri = around.site.path(around.manifest.data.train.uri)
        constants |= {"TRAIN_FILE": uri, "WINDOW": policy.with_.periods, "WINDOWS": ends}
    yield "\n".join(assignment(name, value) for name, value in constants.items())


def _titles(around: Surroundings, graphs: Sequence[Graph]) -> list[str]:
    """The sections of the body that the use case needs."""
    titles = ["Runs and releases"]
    if len(graphs) < 2:
        return titles
    titles += ["Calendar", "The release in use", "Periods"]
    policy = around.policy
    if policy:
        titles.append("Drift")
        if policy.then == "retrain":
            titles.append("Retraining")
            titles += ["Windows"] if policy.with_ and policy.with_.periods else []
    return titles


def _sections(titles: Sequence[str]) -> Iterator[str]:
    """The sections of the calendar and of the body with these titles."""
    for path in (CALENDAR, BODY):
        for section in path.read_text(encoding="utf-8").split(f"\n{SECTION}")[1:]:
            title, _, text = section.partition("\n")
            if title.rstrip(" -") in titles:
                yield f"{SECTION}{title}\n{text.rstrip()}"
