"""SageMaker on this machine, as far as our pipelines use it: it refuses what the service refuses, and runs the jobs.

    sagemaker.create("CreateProcessingJob", request)    runs the job; what DescribeProcessingJob answers at its end
    sagemaker.call("DescribeProcessingJob", {...})      any operation, as the API answers it
    sagemaker.endpoint                                  the same over HTTP (AWS JSON 1.1): endpoint_url of real clients

Data lie in moto's S3. A job gets an /opt/ml tree like the service's; its program is run by a runner, as a process of
this checkout or in the real image. Jobs that are created over HTTP run two at a time.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import botocore.session
from botocore.validate import ParamValidator
from werkzeug.serving import make_server
from werkzeug.wrappers import Request as HttpRequest
from werkzeug.wrappers import Response as HttpResponse

from tests.aws import opt_ml, tuning
from tests.aws.batch_transform import Server, transform
from tests.aws.cloud import ACCOUNT, REGION, Cloud
from tests.aws.opt_ml import JobError, Request
from tests.aws.runners import Launch, Runner, Running

Answer = dict[str, Any]
Handler = Callable[[Any], Answer]
TERMINAL: Final = frozenset({"Completed", "Failed", "Stopped"})
STOP_S: Final = 20
"""Seconds from SIGTERM to SIGKILL; the service gives 120, and a test should not."""


class ServiceError(Exception):
    """What the service answers instead of doing what it was asked."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@cache
def model() -> Any:
    """Botocore's model of the service."""
    return botocore.session.Session().get_service_model("sagemaker")


def validated(operation: str, request: Request) -> Request:
    """The request, if it fits the operation's input shape: names, types, lengths, patterns, choices.

    Raises:
        ServiceError: it does not.
    """
    if operation not in model().operation_names:
        raise ServiceError("UnknownOperationException", f"SageMaker has no operation {operation}.")
    shape = model().operation_model(operation).input_shape
    report = ParamValidator().validate(request, shape)
    problems = [report.generate_report()] if report.has_errors() else list(unfit(shape, request, operation))
    if problems:
        raise ServiceError("ValidationException", f"{operation}: {'; '.join(problems)}")
    return request


def unfit(shape: Any, value: Any, path: str) -> Iterator[str]:
    """What the service checks and botocore's validator does not: patterns, choices, greatest lengths and values."""
    if shape.type_name == "structure":
        for name, item in value.items():
            yield from unfit(shape.members[name], item, f"{path}.{name}")
        return
    size = value if shape.type_name in {"integer", "long", "float", "double"} else None
    if shape.type_name in {"list", "map", "string"}:
        size = len(value)
    if size is not None and size > shape.metadata.get("max", float("inf")):
        yield f"{path}: {size} is more than {shape.metadata['max']}"
    if shape.type_name == "list":
        for number, item in enumerate(value):
            yield from unfit(shape.member, item, f"{path}[{number}]")
    if shape.type_name == "map":
        for key, item in value.items():
            yield from unfit(shape.key, key, f"{path} key {key!r}")
            yield from unfit(shape.value, item, f"{path}[{key!r}]")
    if shape.type_name == "string":
        if shape.enum and value not in shape.enum:
            yield f"{path}: {value!r} is none of {shape.enum}"
        pattern = shape.metadata.get("pattern")
        if pattern and not matches(pattern, value):
            yield f"{path}: {value!r} does not match {pattern}"


CLASSES: Final = {
    r"\p{L}": r"A-Za-z\u00aa-\uffff",
    r"\p{M}": r"\u0300-\u036f",
    r"\p{N}": r"\d",
    r"\p{Z}": r"\s",
    r"\p{S}": r"$+<=>^`|~",
    r"\p{P}": r"!-#%-*,-/:;?@\[-\]_{}",
}
"""Java's classes of letters, marks, numbers, separators, symbols and punctuation, roughly as `re` can say them."""


def matches(pattern: str, value: str) -> bool:
    """Whether a text matches a pattern of the service model, which is a Java one."""
    for java, python in CLASSES.items():
        pattern = pattern.replace(java, python)
    try:
        return re.fullmatch(re.sub(r"\$\{1,\d+\}$", "", pattern), value) is not None
    except re.error:
        return True  # five patterns, of shapes that none of our requests has


@dataclass(frozen=True)
class Kind:
    """One kind of job: the words of its API."""

    name: str
    resource: str
    work: str
    """The method of SageMaker that does it."""

    def arn(self, name: str) -> str:
        return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{self.resource}/{name}"


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("ProcessingJob", "processing-job", "_process"),
        Kind("TrainingJob", "training-job", "_train"),
        Kind("TransformJob", "transform-job", "_transform"),
        Kind("HyperParameterTuningJob", "hyper-parameter-tuning-job", "_tune"),
    )
}


@dataclass
class Job:
    """A job that was created."""

    kind: Kind
    name: str
    request: Request
    created: datetime
    status: str = "InProgress"
    started: datetime | None = None
    ended: datetime | None = None
    more: Answer = field(default_factory=dict)
    said: str = ""
    running: Running | None = None
    done: Future[None] | None = None
    children: list[tuple[Job, dict[str, str]]] = field(default_factory=list)
    """The trainings of a tuning job, and the values of each."""

    def answer(self) -> Answer:
        """What Describe tells."""
        kind = self.kind.name
        start = kind.removesuffix("Job").replace("HyperParameter", "")
        times = {"CreationTime": self.created, f"{start}StartTime": self.started, f"{start}EndTime": self.ended}
        if kind == "HyperParameterTuningJob":
            times = {"CreationTime": self.created, "HyperParameterTuningEndTime": self.ended}
        if kind != "TransformJob":
            times["LastModifiedTime"] = self.ended or self.created
        known = model().operation_model(f"Describe{kind}").output_shape.members
        told: Answer = {f"{kind}Arn": self.kind.arn(self.name), f"{kind}Status": self.status}
        if kind == "TrainingJob":
            told["SecondaryStatus"] = {"InProgress": "Training"}.get(self.status, self.status)
            told["ModelArtifacts"] = {"S3ModelArtifacts": self.more.get("model", "")}
        asked = {name: value for name, value in self.request.items() if name in known}
        more = {name: value for name, value in self.more.items() if name in known}
        return {**asked, **told, **more, **{name: value for name, value in times.items() if value}}


@dataclass
class SageMaker:
    """The service.

    Attributes:
        cloud: the account that its data lie in.
        runner: runs the jobs' programs.
        folder: where the trees lie.
        images: the component behind each image uri. A uri that is not here cannot be pulled.
        endpoint: where it listens.
        events: what it has told EventBridge; `listeners` are told at once.
        trees: whether the trees of ended jobs stay, by job name below `folder`.
    """

    cloud: Cloud
    runner: Runner
    folder: Path
    images: Mapping[str, str]
    endpoint: str = ""
    events: list[Answer] = field(default_factory=list)
    listeners: list[Callable[[Answer], None]] = field(default_factory=list)
    trees: bool = False

    def __post_init__(self) -> None:
        self.jobs: dict[tuple[str, str], Job] = {}
        self.models: dict[str, Answer] = {}
        self.requests: list[tuple[str, Request]] = []
        self.handlers: dict[str, Handler] = {
            "CreateModel": self._create_model,
            "DescribeModel": self._describe_model,
            "DeleteModel": lambda request: self.models.pop(request["ModelName"], {}) and {},
            "ListModels": self._list_models,
            "AddTags": lambda request: {"Tags": request["Tags"]},
            "ListTags": lambda request: {"Tags": []},
        }
        for kind in KINDS.values():
            self.handlers |= self._handlers(kind)
        self.handlers["ListTrainingJobsForHyperParameterTuningJob"] = self._list_tuned
        self._lock = threading.RLock()
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="sagemaker")

    def close(self) -> None:
        """Stop what runs."""
        for job in self.jobs.values():
            if job.running is not None and job.status not in TERMINAL:
                job.running.stop(1)
        self._pool.shutdown(cancel_futures=True)

    def client(self) -> Any:
        """A real client of this service."""
        return self.cloud.client("sagemaker", self.endpoint)

    def call(self, operation: str, request: Request) -> Answer:
        """What an operation answers, at once: a job that it creates runs on.

        Raises:
            ServiceError: the request is refused.
        """
        validated(operation, request)
        handler = self.handlers.get(operation)
        if handler is None:
            raise ServiceError("UnknownOperationException", f"{operation} is not played here.")
        with self._lock:
            self.requests.append((operation, request))
            return handler(request)

    def create(self, operation: str, request: Request) -> Answer:
        """Create a job and wait for its end (or create a model): what Describe answers then.

        Raises:
            ServiceError: the request is refused.
        """
        self.call(operation, request)
        kind = operation.removeprefix("Create")
        return self.finished(kind, request[f"{kind}Name"])

    def finished(self, kind: str, name: str) -> Answer:
        """Wait for a job's end: what Describe answers then."""
        job = self.jobs.get((kind, name))
        if job is not None and job.done is not None:
            job.done.result()
        return self.call(f"Describe{kind}", {f"{kind}Name": name})

    def said(self, kind: str, name: str) -> str:
        """The log of a job."""
        return self.jobs[kind, name].said

    def emit(self, detail_type: str, detail: Answer) -> None:
        """Tell EventBridge."""
        event = {"source": "aws.sagemaker", "detail-type": detail_type, "detail": detail}
        self.events.append(event)
        for listener in self.listeners:
            listener(event)

    # --- Jobs

    def _handlers(self, kind: Kind) -> dict[str, Handler]:
        name = kind.name
        return {
            f"Create{name}": lambda request: self._create(kind, request),
            f"Describe{name}": lambda request: self._job(kind, request).answer(),
            f"Stop{name}": lambda request: self._stop(self._job(kind, request)),
            f"List{name}s": lambda request: self._list(kind, request),
        }

    def _create(self, kind: Kind, request: Request) -> Answer:
        name = request[f"{kind.name}Name"]
        if (kind.name, name) in self.jobs:
            raise ServiceError("ResourceInUse", f"Job name must be unique within an AWS account: {name} exists.")
        for problem in inconsistent(request):
            raise ServiceError("ValidationException", problem)
        if kind.name == "TransformJob" and request["ModelName"] not in self.models:
            raise ServiceError("ValidationException", f"Could not find model {request['ModelName']!r}.")
        job = Job(kind, name, request, datetime.now(UTC))
        self.jobs[kind.name, name] = job
        job.done = self._pool.submit(self._run, job)
        return {f"{kind.name}Arn": kind.arn(name)}

    def _job(self, kind: Kind, request: Request) -> Job:
        name = request[f"{kind.name}Name"]
        job = self.jobs.get((kind.name, name))
        if job is None:
            # Documented as ResourceNotFound; this is what real clients get, and what Airflow's operators look for.
            raise ServiceError("ValidationException", f"Could not find requested job with name: {name}")
        return job

    def _list(self, kind: Kind, request: Request) -> Answer:
        wanted = request.get("NameContains", "")
        found = [job.answer() for (of, name), job in self.jobs.items() if of == kind.name and wanted in name]
        known = model().shape_for(f"{kind.name}Summary").members
        summaries = [{key: value for key, value in answer.items() if key in known} for answer in found]
        return {f"{kind.name}Summaries": summaries}

    def _stop(self, job: Job) -> Answer:
        if job.status == "InProgress":
            job.status = "Stopping"
            for training, _ in job.children:
                self._stop(training)
            if job.running is not None:
                threading.Thread(target=job.running.stop, args=(STOP_S,)).start()
        return {}

    def _run(self, job: Job) -> None:
        """Do a job's work, whatever becomes of it."""
        root = self.folder / f"{job.kind.resource}-{job.name}"
        job.started = datetime.now(UTC)
        try:
            root.mkdir(parents=True)
            getattr(self, job.kind.work)(job, root)
            end = "Completed"
        except JobError as error:
            job.more["FailureReason"] = str(error)[:1024]
            end = "Failed"
        except Exception as error:
            # Ours: tell it where the test will look.
            job.said += traceback.format_exc()
            job.more["FailureReason"] = f"InternalServerError: {type(error).__name__}: {error}"[:1024]
            end = "Failed"
        if not self.trees:
            shutil.rmtree(root, ignore_errors=True)
        job.running = None
        job.ended = datetime.now(UTC)
        job.status = "Stopped" if job.status == "Stopping" else end

    def _tune(self, job: Job, root: Path) -> None:
        """Run the trainings one after another, with other values each; the best of those whose metric was found."""
        self._count(job)
        for number, values in enumerate(tuning.drawn(job.request), 1):
            if job.status == "Stopping":
                return
            name = f"{job.name}-{number:03}-{secrets.token_hex(4)}"
            training = Job(KINDS["TrainingJob"], name, tuning.training(job.request, name, values), datetime.now(UTC))
            validated("CreateTrainingJob", training.request)
            training.more["TuningJobArn"] = job.kind.arn(job.name)
            with self._lock:
                self.jobs["TrainingJob", name] = training
            job.children.append((training, values))
            self._run(training)
            training.more["FinalMetricDataList"] = tuning.found(job.request, training.said)
            self._count(job)
        ranked = self._ranked(job)
        if not any(of["TrainingJobStatus"] == "Completed" for of in ranked):
            raise JobError(
                "All training jobs failed. Please take a look at the training jobs failures to get more details."
            )
        if "FinalHyperParameterTuningJobObjectiveMetric" not in ranked[0]:
            raise JobError("No training job succeeded with an objective metric: no metric was found in the logs.")
        job.more["BestTrainingJob"] = ranked[0]

    def _count(self, job: Job) -> None:
        """What Describe counts."""
        states = [training.status for training, _ in job.children]
        objectives = [
            "FinalMetricDataList" in of.more and bool(of.more["FinalMetricDataList"]) for of, _ in job.children
        ]
        job.more["TrainingJobStatusCounters"] = {
            "Completed": states.count("Completed"),
            "InProgress": states.count("InProgress"),
            "RetryableError": 0,
            "NonRetryableError": states.count("Failed"),
            "Stopped": states.count("Stopped"),
        }
        job.more["ObjectiveStatusCounters"] = {
            "Succeeded": objectives.count(True),
            "Pending": 0,
            "Failed": objectives.count(False),
        }

    def _ranked(self, job: Job) -> list[Answer]:
        """The summaries of a tuning job's trainings, the best first and those without a metric last."""
        objective = job.request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
        summaries = []
        for training, values in job.children:
            summary: Answer = {
                "TrainingJobName": training.name,
                "TrainingJobArn": training.kind.arn(training.name),
                "CreationTime": training.created,
                "TrainingJobStatus": training.status,
                "TunedHyperParameters": values,
            }
            if "FailureReason" in training.more:
                summary["FailureReason"] = training.more["FailureReason"]
            metrics = training.more.get("FinalMetricDataList", ())
            if metrics and training.status == "Completed":
                summary["FinalHyperParameterTuningJobObjectiveMetric"] = {
                    "Type": objective["Type"],
                    "MetricName": objective["MetricName"],
                    "Value": metrics[0]["Value"],
                }
            summaries.append(summary)
        sign = -1 if objective["Type"] == "Maximize" else 1
        metric = "FinalHyperParameterTuningJobObjectiveMetric"
        return sorted(summaries, key=lambda of: (metric not in of, sign * of.get(metric, {}).get("Value", 0)))

    def _list_tuned(self, request: Any) -> Answer:
        found = self._ranked(self._job(KINDS["HyperParameterTuningJob"], request))
        wanted = request.get("StatusEquals")
        kept = [one for one in found if wanted in (None, one["TrainingJobStatus"])]
        return {"TrainingJobSummaries": kept[: request.get("MaxResults", 10)]}

    def _launch(self, job: Job, launch: Launch) -> int:
        """Run a program to its end."""
        with self.runner(launch) as running:
            job.running = running
            if job.status == "Stopping":
                running.stop(STOP_S)
            code = running.wait()
            job.said = running.said()
        return code

    def _image(self, uri: str) -> str:
        if uri not in self.images:
            raise JobError(f"ClientError: CannotPullContainerError: image {uri} does not exist.")
        return self.images[uri]

    def _process(self, job: Job, root: Path) -> None:
        request = job.request
        application = request["AppSpecification"]
        component = self._image(application["ImageUri"])
        opt_ml.processing_tree(self.cloud, root, request, job.kind.arn(job.name))
        launch = Launch(
            component,
            root,
            _words(application.get("ContainerEntrypoint")),
            _words(application.get("ContainerArguments")),
            request.get("Environment", {}),
            isolated=request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False),
            read_only=frozenset({"config"}),
        )
        code = self._launch(job, launch)
        message = opt_ml.told(root, "message")
        if message is not None:
            job.more["ExitMessage"] = message
        opt_ml.store_processing(self.cloud, root, request)
        if code:
            raise JobError(f"AlgorithmError: See job logs for more information, exit code: {code}")

    def _train(self, job: Job, root: Path) -> None:
        request = job.request
        algorithm = request["AlgorithmSpecification"]
        component = self._image(algorithm["TrainingImage"])
        opt_ml.training_tree(self.cloud, root, request)
        entrypoint, arguments = (_words(algorithm.get(f"Container{word}")) for word in ("Entrypoint", "Arguments"))
        names = {"TRAINING_JOB_NAME": job.name, "TRAINING_JOB_ARN": job.kind.arn(job.name)}
        launch = Launch(
            component,
            root,
            entrypoint,
            arguments if arguments or entrypoint else ("train",),
            {**names, **request.get("Environment", {})},
            isolated=request.get("EnableNetworkIsolation", False),
            read_only=frozenset({"input"}),
        )
        code = self._launch(job, launch)
        job.more["model"] = opt_ml.store_training(self.cloud, root, request)
        if code:
            reason = opt_ml.told(root, "failure") or "See job logs for more information"
            raise JobError(f"AlgorithmError: {reason}, exit code: {code}")

    def _transform(self, job: Job, root: Path) -> None:
        request = job.request
        container = self.models[request["ModelName"]]["PrimaryContainer"]
        component = self._image(container["Image"])
        opt_ml.model_tree(self.cloud, root, container.get("ModelDataUrl"))
        said = {
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": request.get("MaxPayloadInMB"),
            "SAGEMAKER_BATCH_STRATEGY": {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}.get(
                request.get("BatchStrategy", "")
            ),
            "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": request.get("MaxConcurrentTransforms"),
        }
        environment = {
            **container.get("Environment", {}),
            **request.get("Environment", {}),
            "SAGEMAKER_BATCH": "true",
            **{name: str(value) for name, value in said.items() if value is not None},
        }
        launch = Launch(
            component, root, None, ("serve",), environment, serves=True, read_only=frozenset({"model"})
        )  # fmt: skip
        with self.runner(launch) as running:
            job.running = running
            try:
                transform(self.cloud, request, Server(running.url, running.ended))
            finally:
                if not running.ended():
                    running.stop(STOP_S)
                job.said = running.said()

    # --- Models

    def _create_model(self, request: Any) -> Answer:
        name = request["ModelName"]
        if name in self.models:
            raise ServiceError("ValidationException", f"Cannot create already existing model {name}.")
        if "PrimaryContainer" not in request:
            raise ServiceError("ValidationException", "only models of one container are played here.")
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model/{name}"
        self.models[name] = {**request, "ModelArn": arn, "CreationTime": datetime.now(UTC)}
        return {"ModelArn": arn}

    def _describe_model(self, request: Any) -> Answer:
        found = self.models.get(request["ModelName"])
        if found is None:
            raise ServiceError("ValidationException", f"Could not find model {request['ModelName']!r}.")
        return {name: value for name, value in found.items() if name != "Tags"}

    def _list_models(self, request: Any) -> Answer:
        wanted = request.get("NameContains", "")
        keys = ("ModelName", "ModelArn", "CreationTime")
        return {"Models": [{key: of[key] for key in keys} for name, of in self.models.items() if wanted in name]}


def _words(given: Any) -> tuple[str, ...] | None:
    return None if given is None else tuple(given)


def inconsistent(request: Request) -> Iterator[str]:
    """What the service refuses although it fits the shapes."""
    if "HyperParameterTuningJobConfig" in request:
        yield from tuning.inconsistent(request)
        yield from inconsistent(request["TrainingJobDefinition"])
        return
    if request.get("MaxPayloadInMB", 6) * request.get("MaxConcurrentTransforms", 1) > 100:
        yield "MaxConcurrentTransforms times MaxPayloadInMB is more than 100."
    if "DataProcessing" in request:
        yield "DataProcessing is not played here."
    stopping = request.get("StoppingCondition", {})
    if request.get("EnableManagedSpotTraining", False) != ("MaxWaitTimeInSeconds" in stopping):
        yield "MaxWaitTimeInSeconds goes together with EnableManagedSpotTraining."
    if stopping.get("MaxWaitTimeInSeconds", 10**9) < stopping.get("MaxRuntimeInSeconds", 0):
        yield "MaxWaitTimeInSeconds is less than MaxRuntimeInSeconds."
    places = [item["S3Input"]["LocalPath"] for item in request.get("ProcessingInputs", ())]
    places += [item["S3Output"]["LocalPath"] for item in opt_ml.outputs_of(request)]
    for place in places:
        if not place.startswith("/opt/ml/processing/"):
            yield f"LocalPath {place} does not start with /opt/ml/processing/."
    if len(set(places)) < len(places):
        yield "Two inputs or outputs have the same LocalPath."


# --- HTTP


@contextmanager
def serving_sagemaker(cloud: Cloud, runner: Runner, folder: Path, images: Mapping[str, str]) -> Iterator[SageMaker]:
    """The service on a free port of 127.0.0.1, for as long as the block runs."""
    sagemaker = SageMaker(cloud, runner, folder, images)

    @HttpRequest.application
    def application(request: HttpRequest) -> HttpResponse:
        return answered(sagemaker, request)

    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    sagemaker.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield sagemaker
    finally:
        sagemaker.close()
        server.shutdown()
        thread.join()
        server.server_close()


def answered(sagemaker: SageMaker, request: HttpRequest) -> HttpResponse:
    """One call in AWS's JSON 1.1 protocol."""
    operation = request.headers.get("X-Amz-Target", "").removeprefix("SageMaker.")
    try:
        status, body = 200, sagemaker.call(operation, json.loads(request.get_data() or b"{}"))
    except ServiceError as error:
        status, body = 400, {"__type": error.code, "message": error.message}
    except Exception as error:
        status, body = 500, {"__type": "InternalFailure", "message": f"{type(error).__name__}: {error}"}
    return HttpResponse(json.dumps(body, default=as_json), status, content_type="application/x-amz-json-1.1")


def as_json(value: Any) -> Any:
    """Times as this protocol has them: seconds since 1970."""
    assert isinstance(value, datetime), value
    return value.timestamp()
