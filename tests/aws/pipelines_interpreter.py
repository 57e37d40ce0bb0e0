"""SageMaker Pipelines on this machine: keeps definitions, and executes them as jobs of the loopback SageMaker.

An interpreter of the definition's JSON, written from the Developer Guide and what the SageMaker SDK prints: parameters,
`Get`, `Std:Join`, `Std:JsonGet`, property files, conditions, callbacks, model registration, caching and retries.
"""

from __future__ import annotations

import json
import re
import secrets
import string
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tests.aws.cloud import ACCOUNT, REGION
from tests.aws.sagemaker import Answer, SageMaker, ServiceError

Step = Mapping[str, Any]
JOBS: Final = {
    "Processing": "ProcessingJob",
    "Training": "TrainingJob",
    "Transform": "TransformJob",
    "Tuning": "HyperParameterTuningJob",
}
CACHE_KEYS: Final = {
    "Processing": ("AppSpecification", "Environment", "ProcessingInputs"),
    "Tuning": ("HyperParameterTuningJobConfig", "TrainingJobDefinition"),
    "Training": ("AlgorithmSpecification", "CheckpointConfig", "Environment", "HyperParameters", "InputDataConfig"),
}
"""What the guide's "Default cache key attributes by pipeline step type" lists, as far as our steps have it."""
PAUSE: Final = 0.01
"""Stands for the seconds between two tries."""


class StepError(Exception):
    """A step that failed; `kind` is what retry policies call it."""

    def __init__(self, reason: str, kind: str = "") -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass
class Callback:
    """A step that waits for somebody's answer."""

    step: str
    answered: threading.Event = field(default_factory=threading.Event)
    outputs: dict[str, str] = field(default_factory=dict)
    failure: str | None = None


@dataclass
class Execution:
    """One run of a pipeline."""

    owner: Pipelines
    pipeline: str
    id: str
    definition: Mapping[str, Any]
    parameters: Mapping[str, Any]
    role: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    status: str = "Executing"
    reason: str | None = None
    answers: dict[str, Answer] = field(default_factory=dict)
    told: dict[str, Answer] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def arn(self) -> str:
        return f"{arn(self.pipeline)}/execution/{self.id}"

    # --- Order

    def run(self) -> None:
        """Run every step as soon as the steps that it names are done; the first failure starts no more."""
        waiting: list[Step] = list(self.definition["Steps"])
        running: dict[Future[list[Step]], Step] = {}
        failed = False
        with ThreadPoolExecutor(4) as pool:
            while (waiting and not failed and not self.stopping.is_set()) or running:
                ready = [step for step in waiting if needed(step) <= set(self.answers)]
                if not failed and not self.stopping.is_set():
                    for step in ready:
                        waiting.remove(step)
                        running[pool.submit(self._observed, step)] = step
                if not running:
                    self.reason = f"ClientError: steps {[step['Name'] for step in waiting]} wait for what never comes"
                    failed = True
                    break
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    del running[future]
                    following = future.result()
                    failed = failed or following is FAILED
                    waiting += following
        self.status = "Stopped" if self.stopping.is_set() else "Failed" if failed else "Succeeded"
        if failed:
            self.reason = self.reason or "Step failure: One or multiple steps failed."
        self.done.set()

    def _observed(self, step: Step) -> list[Step]:
        """Run a step and remember how it ended; the steps that it lets go on."""
        told: Answer = {"StepName": step["Name"], "StartTime": datetime.now(UTC), "StepStatus": "Executing"}
        self.told[step["Name"]] = told
        try:
            following = self._tried(step, told)
            told["StepStatus"] = "Succeeded"
        except StepError as error:
            following, told["StepStatus"], told["FailureReason"] = FAILED, "Failed", str(error)
        except Exception as error:
            told["FailureReason"] = f"the interpreter failed: {error!r}\n{traceback.format_exc()}"
            following, told["StepStatus"] = FAILED, "Failed"
        told["EndTime"] = datetime.now(UTC)
        return following

    def _tried(self, step: Step, told: Answer) -> list[Step]:
        """A step, tried again as its policies say."""
        attempts: dict[str, int] = {}
        told["AttemptCount"] = 0
        while True:
            told["AttemptCount"] += 1
            try:
                return self._step(step, told)
            except StepError as error:
                limit = {
                    kind: policy["MaxAttempts"]
                    for policy in step.get("RetryPolicies", ())
                    for kind in policy["ExceptionType"]
                }.get(error.kind, 0)
                attempts[error.kind] = attempts.get(error.kind, 0) + 1
                if attempts[error.kind] > limit:
                    raise
                time.sleep(PAUSE)

    # --- Steps

    def _step(self, step: Step, told: Answer) -> list[Step]:
        kind, name = step["Type"], step["Name"]
        if kind == "Condition":
            arguments = step["Arguments"]
            met = all(self._holds(condition) for condition in arguments["Conditions"])
            told["Metadata"] = {"Condition": {"Outcome": str(met)}}
            self.answers[name] = {"Outcome": met}
            return list(arguments["IfSteps" if met else "ElseSteps"])
        arguments = self.value(step["Arguments"])
        if kind in JOBS:
            self.answers[name] = self._job(step, kind, arguments, told)
        elif kind == "Model":
            model = self._name(name)
            self._call("CreateModel", {**arguments, "ModelName": model})
            self.answers[name] = self._call("DescribeModel", {"ModelName": model})
            told["Metadata"] = {"Model": {"Arn": self.answers[name]["ModelArn"]}}
        elif kind == "RegisterModel":
            package = self._call("CreateModelPackage", arguments)["ModelPackageArn"]
            told["Metadata"] = {"RegisterModel": {"Arn": package}}
            self.answers[name] = self._call("DescribeModelPackage", {"ModelPackageName": package})
        elif kind == "Callback":
            self.answers[name] = self._callback(step, arguments, told)
        elif kind == "Fail":
            raise StepError(arguments["ErrorMessage"])
        else:
            raise StepError(f"ClientError: unknown step type {kind}")
        return []

    def _call(self, operation: str, request: Mapping[str, Any]) -> Answer:
        """What SageMaker answers; a refusal is the step's failure."""
        faults = self.owner.faults.get(operation, [])
        try:
            if faults:
                raise faults.pop(0)
            return self.owner.sagemaker.call(operation, request)
        except ServiceError as error:
            kinds = {"ThrottlingException": "Step.THROTTLING", "ResourceLimitExceeded": "SageMaker.RESOURCE_LIMIT"}
            raise StepError(f"ClientError: {error}", kinds.get(error.code, "")) from None

    def _job(self, step: Step, kind: str, arguments: Mapping[str, Any], told: Answer) -> Answer:
        # Of 63 characters, but for a tuning job's.
        name = secrets.token_hex(16) if kind == "Tuning" else self._name(step["Name"])
        key = self.cache_key(step, kind, arguments)
        if key in self.owner.cache:
            told["CacheHitResult"] = {"SourcePipelineExecutionArn": self.owner.cache[key][0]}
            return self.owner.cache[key][1]
        job = JOBS[kind]
        self._call(f"Create{job}", {**arguments, f"{job}Name": name})
        told["Metadata"] = {
            job.removeprefix("HyperParameter"): {"Arn": self.owner.sagemaker.jobs[job, name].kind.arn(name)}
        }
        answer = self.owner.sagemaker.finished(job, name)
        status = answer[f"{job}Status"]
        if status != "Completed":
            reason = answer.get("FailureReason", "")
            internal = reason.startswith("InternalServerError")
            raise StepError(
                f"ClientError: {job} {status}: {reason}", "SageMaker.JOB_INTERNAL_ERROR" if internal else ""
            )
        if kind == "Tuning":  # such a step has the properties of two answers
            answer |= self._call("ListTrainingJobsForHyperParameterTuningJob", {f"{job}Name": name})
        if step.get("CacheConfig", {}).get("Enabled"):
            self.owner.cache[key] = (self.arn, answer)
        return answer

    def cache_key(self, step: Step, kind: str, arguments: Mapping[str, Any]) -> str:
        if not step.get("CacheConfig", {}).get("Enabled"):
            return secrets.token_hex(8)
        assert re.fullmatch(r"P(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?", step["CacheConfig"]["ExpireAfter"])
        keys = CACHE_KEYS[kind]
        return json.dumps([self.pipeline, step["Name"], {name: arguments.get(name) for name in keys}], sort_keys=True)

    def _callback(self, step: Step, arguments: Mapping[str, Any], told: Answer) -> Answer:
        """Put a message on the queue, and wait until somebody answers its token."""
        token = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(10))
        waiting = self.owner.callbacks[token] = Callback(step["Name"])
        told["Metadata"] = {"Callback": {"CallbackToken": token, "SqsQueueUrl": step["SqsQueueUrl"]}}
        sqs = self.owner.sagemaker.cloud.client("sqs")
        try:
            queue = sqs.get_queue_url(QueueName=step["SqsQueueUrl"].rpartition("/")[2])["QueueUrl"]
        except sqs.exceptions.QueueDoesNotExist:
            raise StepError(f"ClientError: queue {step['SqsQueueUrl']} does not exist") from None
        body = {"token": token, "pipelineExecutionArn": self.arn, "status": "Executing", "arguments": arguments}
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(body))
        while not waiting.answered.wait(0.05):
            if self.stopping.is_set():
                raise StepError("the execution was stopped")
        if waiting.failure is not None:
            raise StepError(waiting.failure)
        declared = {item["OutputName"] for item in step.get("OutputParameters", ())}
        if set(waiting.outputs) - declared:
            raise StepError(f"ClientError: outputs {sorted(waiting.outputs)} are not those of the step")
        return {"OutputParameters": waiting.outputs}

    def _name(self, step: str) -> str:
        return f"pipelines-{self.id}-{step[:20].rstrip('-')}-{secrets.token_hex(5)}"

    # --- Values

    def value(self, node: Any) -> Any:
        """A part of the definition with everything that is known by now filled in."""
        if isinstance(node, Mapping):
            if set(node) == {"Get"}:
                return self._get(node["Get"])
            if set(node) == {"Std:Join"}:
                return node["Std:Join"]["On"].join(str(self.value(item)) for item in node["Std:Join"]["Values"])
            if set(node) == {"Std:JsonGet"}:
                return self._json_get(node["Std:JsonGet"])
            return {key: self.value(item) for key, item in node.items()}
        return [self.value(item) for item in node] if isinstance(node, list) else node

    def _get(self, path: str) -> Any:
        head, _, rest = path.partition(".")
        if head == "Parameters":
            return self.parameters[rest]
        if head == "Execution":
            return {
                "PipelineExecutionId": self.id,
                "PipelineExecutionArn": self.arn,
                "PipelineName": self.pipeline,
                "StartDateTime": self.started.isoformat(),
            }[rest]
        assert head == "Steps", path
        name, _, rest = rest.partition(".")
        if name not in self.answers:
            raise StepError(f"ClientError: {path} is not known yet")
        return descended(self.answers[name], rest, path)

    def _json_get(self, node: Mapping[str, Any]) -> Any:
        """A value of a property file, read from the output of the step that declares it."""
        match = re.fullmatch(r"Steps\.([\w-]+)\.PropertyFiles\.([\w-]+)", node["PropertyFile"]["Get"])
        assert match is not None, node
        step = next(item for item in every_step(self.definition["Steps"]) if item["Name"] == match[1])
        file = next(item for item in step["PropertyFiles"] if item["PropertyFileName"] == match[2])
        base = descended(
            self.answers[match[1]], f"ProcessingOutputConfig.Outputs['{file['OutputName']}'].S3Output.S3Uri", ""
        )
        uri = f"{base.rstrip('/')}/{file['FilePath']}"
        cloud = self.owner.sagemaker.cloud
        if uri not in cloud.list(uri):
            raise StepError(f"ClientError: property file {uri} does not exist")
        return descended(cloud.json(uri), node["Path"], node["Path"])

    def _holds(self, condition: Mapping[str, Any]) -> bool:
        kind = condition["Type"]
        if kind == "Not":
            return not self._holds(condition["Condition"])
        if kind == "Or":
            return any(self._holds(item) for item in condition["Conditions"])
        left, right = self.value(condition["LeftValue"]), self.value(condition["RightValue"])
        if kind == "Equals":
            return type(left) is type(right) and bool(left == right)
        orders = {
            "GreaterThan": left > right,
            "GreaterThanOrEqualTo": left >= right,
            "LessThan": left < right,
            "LessThanOrEqualTo": left <= right,
        }
        return bool(orders[kind])


FAILED: Final[list[Step]] = []
"""Told apart by identity from a step that lets nothing go on."""


def arn(pipeline: str) -> str:
    """The ARN of a pipeline."""
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/{pipeline.lower()}"


def every_step(steps: Any) -> Iterator[Step]:
    """All steps, those inside conditions too."""
    for step in steps:
        yield step
        if step["Type"] == "Condition":
            for branch in ("IfSteps", "ElseSteps"):
                yield from every_step(step["Arguments"][branch])


def gets(node: Any) -> Iterator[str]:
    """Every reference in a part of a definition."""
    if isinstance(node, Mapping):
        if set(node) == {"Get"}:
            yield node["Get"]
        for item in node.values():
            yield from gets(item)
    elif isinstance(node, list):
        for item in node:
            yield from gets(item)


def unresolved(definition: Mapping[str, Any]) -> Iterator[str]:
    """What a definition refers to and does not have, and other things that no definition may be."""
    if definition.get("Version") != "2020-12-01":
        yield f"version {definition.get('Version')}"
    parameters = {item["Name"] for item in definition.get("Parameters", ())}
    steps = list(every_step(definition["Steps"]))
    names = [step["Name"] for step in steps]
    yield from (f"step {name} twice" for name in set(names) if names.count(name) > 1)
    yield from (f"step name {name!r}" for name in names if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name))
    files = {
        f"Steps.{step['Name']}.PropertyFiles.{file['PropertyFileName']}"
        for step in steps
        for file in step.get("PropertyFiles", ())
        if file["OutputName"] in {of["OutputName"] for of in step["Arguments"]["ProcessingOutputConfig"]["Outputs"]}
    }
    outputs = {
        f"Steps.{step['Name']}.ProcessingOutputConfig.Outputs['{of['OutputName']}'].S3Output.S3Uri"
        for step in steps
        if step["Type"] == "Processing"
        for of in step["Arguments"]["ProcessingOutputConfig"]["Outputs"]
    }
    for path in gets(definition["Steps"]):
        head, _, rest = path.partition(".")
        if head == "Parameters" and rest not in parameters:
            yield f"no parameter {rest}"
        if head == "Steps" and rest.partition(".")[0] not in names:
            yield f"no step for {path}"
        if ".PropertyFiles." in path and path not in files:
            yield f"no property file {path}"
        if ".Outputs[" in path and path not in outputs:
            yield f"no output {path}"
    for step in steps:
        yield from (f"{step['Name']} waits for {name}" for name in step.get("DependsOn", ()) if name not in names)


def needed(step: Step) -> set[str]:
    """The steps that must be done before a step starts: those that it names, and those whose values it reads."""
    arguments = step["Arguments"]
    # What a condition holds back is looked at when it is let go.
    own = arguments["Conditions"] if step["Type"] == "Condition" else arguments
    read = {path.split(".")[1] for path in gets(own) if path.startswith("Steps.")}
    return read | set(step.get("DependsOn", ()))


def descended(value: Any, path: str, whole: str) -> Any:
    """The value at a path such as `A.B['c'].D[0]`; a name in brackets picks the list's item of that name."""
    for key, name, index in re.findall(r"([\w:-]+)|\['([^']+)'\]|\[(\d+)\]", path):
        if index:
            value = value[int(index)]
        elif name and isinstance(value, list):
            found = [item for item in value if name in (item.get("OutputName"), item.get("InputName"))]
            if not found:
                raise StepError(f"ClientError: {whole}: there is no {name!r}")
            value = found[0]
        elif not isinstance(value, Mapping) or (name or key) not in value:
            raise StepError(f"ClientError: {whole}: there is no {name or key!r}")
        else:
            value = value[name or key]
    return value


class Pipelines:
    """The operations on pipelines and model packages, added to a loopback SageMaker."""

    def __init__(self, sagemaker: SageMaker) -> None:
        self.sagemaker = sagemaker
        self.pipelines: dict[str, Answer] = {}
        self.executions: dict[str, Execution] = {}
        self.tokens: dict[tuple[str, str], str] = {}
        self.callbacks: dict[str, Callback] = {}
        self.cache: dict[str, tuple[str, Answer]] = {}
        self.packages: dict[str, list[Answer]] = {}
        self.faults: dict[str, list[ServiceError]] = {}
        """What SageMaker answers to the next calls of an operation that a step makes."""
        sagemaker.handlers |= {
            "CreatePipeline": self._create,
            "UpdatePipeline": self._update,
            "DescribePipeline": lambda request: self._pipeline(request["PipelineName"]),
            "DeletePipeline": self._delete,
            "StartPipelineExecution": self._start,
            "DescribePipelineExecution": self._describe,
            "StopPipelineExecution": self._stop,
            "ListPipelineExecutions": self._list,
            "ListPipelineExecutionSteps": self._steps,
            "SendPipelineExecutionStepSuccess": self._success,
            "SendPipelineExecutionStepFailure": self._failure,
            "CreateModelPackage": self._register,
            "DescribeModelPackage": lambda request: self._package(request["ModelPackageName"]),
            "UpdateModelPackage": self._approve,
            "ListModelPackages": self._list_packages,
        }

    def finished(self, execution: str) -> Execution:
        """Wait for the end of an execution."""
        found = self.executions[execution]
        assert found.done.wait(300), f"{execution} does not end: {found.told}"
        return found

    def close(self) -> None:
        """Stop what runs."""
        for execution in self.executions.values():
            execution.stopping.set()
            execution.done.wait(30)

    # --- Definitions

    def _pipeline(self, name: str) -> Answer:
        name = name.rpartition("/")[2]
        found = next((item for key, item in self.pipelines.items() if key.lower() == name.lower()), None)
        if found is None:
            raise ServiceError("ResourceNotFound", f"Pipeline {arn(name)!r} does not exist.")
        return found

    def _create(self, request: Any) -> Answer:
        name = request["PipelineName"]
        if name in self.pipelines:
            raise ServiceError("ValidationException", f"Pipeline names must be unique within an AWS account: {name}")
        self._understood(request["PipelineDefinition"])
        now = datetime.now(UTC)
        kept = {key: value for key, value in request.items() if key not in {"ClientRequestToken", "Tags"}}
        more = {"PipelineArn": arn(name), "PipelineStatus": "Active", "CreationTime": now, "LastModifiedTime": now}
        self.pipelines[name] = {**kept, **more}
        return {"PipelineArn": arn(name)}

    def _update(self, request: Any) -> Answer:
        found = self._pipeline(request["PipelineName"])
        if "PipelineDefinition" in request:
            self._understood(request["PipelineDefinition"])
        found |= {**request, "LastModifiedTime": datetime.now(UTC)}
        return {"PipelineArn": found["PipelineArn"]}

    def _delete(self, request: Any) -> Answer:
        found = self._pipeline(request["PipelineName"])
        del self.pipelines[found["PipelineName"]]
        return {"PipelineArn": found["PipelineArn"]}

    def _understood(self, text: str) -> None:
        """Refuse a definition whose references lead nowhere."""
        problems = list(unresolved(json.loads(text)))
        if problems:
            raise ServiceError("ValidationException", f"Unable to parse pipeline definition: {'; '.join(problems)}")

    # --- Executions

    def _start(self, request: Any) -> Answer:
        found = self._pipeline(request["PipelineName"])
        token = (found["PipelineName"], request["ClientRequestToken"])
        if token not in self.tokens:
            self.tokens[token] = self._begin(found, request)
        return {"PipelineExecutionArn": self.tokens[token]}

    def _begin(self, found: Answer, request: Any) -> str:
        definition = json.loads(found["PipelineDefinition"])
        declared = {item["Name"]: item.get("DefaultValue") for item in definition.get("Parameters", ())}
        given = {item["Name"]: item["Value"] for item in request.get("PipelineParameters", ())}
        unknown = sorted(set(given) - set(declared))
        lacking = sorted(name for name, value in (declared | given).items() if value is None)
        if unknown or lacking:
            raise ServiceError("ValidationException", f"Parameters unknown: {unknown}; without a value: {lacking}")
        name = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(12))
        execution = Execution(self, found["PipelineName"], name, definition, declared | given, found["RoleArn"])
        self.executions[execution.arn] = execution
        threading.Thread(target=execution.run, name=f"pipeline {name}", daemon=True).start()
        return execution.arn

    def _execution(self, request: Any) -> Execution:
        found = self.executions.get(request["PipelineExecutionArn"])
        if found is None:
            raise ServiceError("ResourceNotFound", f"Pipeline execution {request['PipelineExecutionArn']} not found.")
        return found

    def _describe(self, request: Any) -> Answer:
        found = self._execution(request)
        answer = {
            "PipelineArn": arn(found.pipeline),
            "PipelineExecutionArn": found.arn,
            "PipelineExecutionStatus": found.status,
            "CreationTime": found.started,
        }
        return answer | ({"FailureReason": found.reason} if found.reason else {})

    def _stop(self, request: Any) -> Answer:
        found = self._execution(request)
        found.stopping.set()
        return {"PipelineExecutionArn": found.arn}

    def _list(self, request: Any) -> Answer:
        name = self._pipeline(request["PipelineName"])["PipelineName"]
        found = [item for item in reversed(self.executions.values()) if item.pipeline == name]
        keys = {"PipelineExecutionArn", "PipelineExecutionStatus"}
        summaries = [
            {key: value for key, value in self._describe({"PipelineExecutionArn": item.arn}).items() if key in keys}
            | {"StartTime": item.started}
            for item in found
        ]
        return {"PipelineExecutionSummaries": summaries}

    def _steps(self, request: Any) -> Answer:
        told = list(self._execution(request).told.values())
        return {"PipelineExecutionSteps": told[::-1] if request.get("SortOrder") != "Ascending" else told}

    # --- Callbacks

    def _waiting(self, request: Any) -> Callback:
        found = self.callbacks.get(request["CallbackToken"])
        if found is None or found.answered.is_set():
            raise ServiceError("ValidationException", f"Callback token {request['CallbackToken']} is not waited for.")
        return found

    def _success(self, request: Any) -> Answer:
        waiting = self._waiting(request)
        waiting.outputs = {item["Name"]: item["Value"] for item in request.get("OutputParameters", ())}
        waiting.answered.set()
        return {}

    def _failure(self, request: Any) -> Answer:
        waiting = self._waiting(request)
        waiting.failure = request.get("FailureReason", "")
        waiting.answered.set()
        return {}

    # --- The registry

    def _register(self, request: Any) -> Answer:
        group = request["ModelPackageGroupName"]
        versions = self.packages.setdefault(group, [])
        number = len(versions) + 1
        name = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/{group}/{number}"
        package = {
            **{key: value for key, value in request.items() if key not in {"ClientToken", "Tags"}},
            "ModelPackageName": f"{group}/{number}",
            "ModelPackageVersion": number,
            "ModelPackageArn": name,
            "CreationTime": datetime.now(UTC),
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": []},
        }
        versions.append(package)
        self._tell(package)
        return {"ModelPackageArn": name}

    def _package(self, name: str) -> Answer:
        for package in (item for versions in self.packages.values() for item in versions):
            if package["ModelPackageArn"] == name:
                return package
        raise ServiceError("ValidationException", f"ModelPackage {name} does not exist.")

    def _approve(self, request: Any) -> Answer:
        package = self._package(request["ModelPackageArn"])
        changed = {key: value for key, value in request.items() if key != "ModelPackageArn"}
        package |= changed
        self._tell(package, UpdatedModelPackageFields=sorted(changed))
        return {"ModelPackageArn": package["ModelPackageArn"]}

    def _list_packages(self, request: Any) -> Answer:
        keys = ("ModelPackageName", "ModelPackageVersion", "ModelPackageArn", "CreationTime", "ModelPackageStatus")
        found = self.packages.get(request.get("ModelPackageGroupName", ""), [])
        return {
            "ModelPackageSummaryList": [
                {key: item[key] for key in keys} | {"ModelApprovalStatus": item["ModelApprovalStatus"]}
                for item in found
            ]
        }

    def _tell(self, package: Answer, **more: Any) -> None:
        """The event of a package that is new or was edited; its own metadata are not part of it."""
        keys = ("ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "ModelApprovalStatus")
        detail = {key: package[key] for key in keys}
        self.sagemaker.emit("SageMaker Model Package State Change", detail | more)
