"""Step Functions on this machine: moto's interpreter of state machines, with what it lacks for ours.

Inside moto lies an interpreter of the Amazon States Language which is off by default. Missing there, and added here for
as long as a block runs:

    JSONata                   evaluated by jsonata-python, with the functions that Step Functions adds to the language
    sagemaker:create….sync    asks the SageMaker of the tests, and waits for the job
    s3:getObject              the body as text
    names of errors           `Ssm.ParameterNotFoundException`, as the service writes them

Moto runs in this process, so that it can be told by patches.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from unittest.mock import patch

import jsonata
from botocore import xform_name
from botocore.exceptions import ClientError
from moto.core.config import default_user_config
from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.state.exec.state_task import state_task_factory
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_aws_sdk,
    state_task_service_factory,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import ResourceCondition
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk import (
    StateTaskServiceAwsSdk,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_batch import (
    StateTaskServiceBatch,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_callback import (
    StateTaskServiceCallback,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn import (
    StateTaskServiceSfn,
)
from moto.stepfunctions.parser.asl.jsonata.jsonata import JSONataException

from tests.aws.cloud import ACCOUNT, REGION, Cloud

TIMEOUT: Final = 300.0
"""Seconds that an execution may take."""
PARSER: Final = "moto.stepfunctions.parser.asl"
SERVICES: Final = f"{PARSER}.component.state.exec.state_task.service"
ROLE: Final = f"arn:aws:iam::{ACCOUNT}:role/quartet-states"


@dataclass(frozen=True)
class Execution:
    """How an execution ended."""

    arn: str
    status: str
    output: Any
    error: str
    cause: str

    @property
    def name(self) -> str:
        """Its name."""
        return self.arn.rpartition(":")[2]


@dataclass(frozen=True)
class StateMachines:
    """The state machines of an account."""

    cloud: Cloud

    @property
    def client(self) -> Any:
        """A client of Step Functions."""
        return self.cloud.client("stepfunctions")

    def arn(self, name: str) -> str:
        """The ARN of the machine of this name."""
        return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}"

    def create(self, name: str, definition: Mapping[str, Any] | bytes) -> str:
        """A machine, or a new definition of one that exists; its ARN."""
        text = definition.decode() if isinstance(definition, bytes) else json.dumps(definition)
        try:
            self.client.update_state_machine(stateMachineArn=self.arn(name), definition=text)
        except self.client.exceptions.StateMachineDoesNotExist:
            self.client.create_state_machine(name=name, definition=text, roleArn=ROLE)
        return self.arn(name)

    def start(self, name: str, given: Mapping[str, Any] | None = None, execution: str | None = None) -> str:
        """Start a machine; the execution's ARN."""
        answer = self.client.start_execution(
            stateMachineArn=self.arn(name), name=execution or str(uuid.uuid4()), input=json.dumps(given or {})
        )
        return str(answer["executionArn"])

    def run(self, name: str, given: Mapping[str, Any] | None = None, execution: str | None = None) -> Execution:
        """Run a machine to its end."""
        return self.ended(self.start(name, given, execution))

    def ended(self, arn: str) -> Execution:
        """An execution, once it has ended."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            answer = self.client.describe_execution(executionArn=arn)
            if answer["status"] != "RUNNING":
                output = json.loads(answer["output"]) if answer.get("output") else None
                return Execution(arn, answer["status"], output, answer.get("error", ""), answer.get("cause", ""))
            time.sleep(0.05)
        raise AssertionError(f"{arn} did not end within {TIMEOUT:g} s")

    def executions(self, name: str) -> list[str]:
        """The names of a machine's executions, sorted."""
        found = self.client.list_executions(stateMachineArn=self.arn(name))["executions"]
        return sorted(item["name"] for item in found)


@contextmanager
def state_machines(cloud: Cloud, sagemaker: Any = None) -> Iterator[StateMachines]:
    """Step Functions that executes, for as long as the block runs.

    Args:
        cloud: the account.
        sagemaker: what answers SageMaker's calls: something with an `endpoint`.
    """

    def client(region: str, service: str, state_credentials: Any = None) -> Any:
        return cloud.client(service, sagemaker.endpoint if service == "sagemaker" else None)

    def service_for(service_name: str) -> Any:
        own: dict[str, Callable[[], Any]] = {
            "aws-sdk": AwsSdkTask,
            "batch": BatchTask,
            "sagemaker": SageMakerTask,
            "states": StatesTask,
        }
        return own.get(service_name, lambda: state_task_service_factory.state_task_service_for(service_name))()

    with ExitStack() as patches:
        patches.enter_context(patch.dict(default_user_config, {"stepfunctions": {"execute_state_machine": True}}))
        for service in ("aws_sdk", "batch", "events", "sfn"):
            patches.enter_context(patch(f"{SERVICES}.state_task_service_{service}.boto_client_for", client))
        patches.enter_context(patch.object(state_task_factory, "state_task_service_for", service_for))
        patches.enter_context(patch.object(SageMakerTask, "client", staticmethod(lambda: client(REGION, "sagemaker"))))
        patches.enter_context(
            patch.dict(
                state_task_service_aws_sdk._SERVICE_ERROR_NAMES, {"ssm": "Ssm", "s3": "S3", "sagemaker": "SageMaker"}
            )
        )
        patches.enter_context(
            patch(f"{SERVICES}.state_task_service_callback._DELAY_SECONDS_SYNC_CONDITION_CHECK", 0.05)
        )
        for module in ("component.common.string.string_expression", "jsonata.validations"):
            patches.enter_context(patch(f"{PARSER}.{module}.eval_jsonata_expression", evaluated))
        patches.enter_context(
            patch(
                f"{PARSER}.component.common.string.string_expression.get_intrinsic_functions_declarations",
                _no_functions,
            )
        )
        for module in ("states", "variable_store"):
            patches.enter_context(patch(f"{PARSER}.eval.{module}.encode_jsonata_variable_declarations", declarations))
        # A retry's pause is the service's affair; here it would only be waited for.
        patches.enter_context(patch(f"{PARSER}.component.common.retry.retrier_decl.time.sleep", _short_sleep))
        yield StateMachines(cloud)


_sleep = time.sleep


def _short_sleep(seconds: float) -> None:
    _sleep(min(seconds, 0.05))


# --- JSONata

_turn = threading.Lock()
"""Jsonata-python keeps the expression at work in a place of its own."""


def evaluated(text: str) -> Any:
    """The value of an expression.

    Raises:
        JSONataException: it cannot be parsed or evaluated.
    """
    with _turn:
        try:
            made = jsonata.Jsonata(text)
            for name, function in FUNCTIONS.items():
                made.register_lambda(name, function)
            return json.loads(json.dumps(made.evaluate(None)))
        except Exception as error:
            raise JSONataException("States.QueryEvaluationError", f"{text[-300:]}: {error}") from error


def declarations(bindings: Mapping[str, Any]) -> str:
    """Variables as JSONata. Moto's own forgets that text may hold quotation marks."""
    return "".join(f"{name}:={json.dumps(value, default=as_text)};" for name, value in bindings.items())


def as_text(value: Any) -> str:
    """A moment as the service writes it: `2026-11-22T04:00:00.000Z`."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def _no_functions(variable_references: Any) -> str:
    return ""


def _hash(value: Any, algorithm: str) -> str:
    return hashlib.new(algorithm.replace("-", "").lower(), str(value).encode()).hexdigest()


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "hash": _hash,
    "parse": json.loads,
    "uuid": lambda: str(uuid.uuid4()),
}
"""What Step Functions adds to JSONata, as far as our machines use it."""


# --- Services


class AwsSdkTask(StateTaskServiceAwsSdk):
    """Any API call, with the body of an answer as text, and that of a request as the JSON that the service makes of it.

    A text too becomes JSON then, with quotation marks around it.
    """

    def _eval_service_task(
        self, env: Any, resource_runtime_part: Any, normalised_parameters: Any, state_credentials: Any
    ) -> None:
        if "Body" in normalised_parameters:
            body = json.dumps(normalised_parameters["Body"], separators=(",", ":"))
            normalised_parameters = {**normalised_parameters, "Body": body.encode()}
        super()._eval_service_task(env, resource_runtime_part, normalised_parameters, state_credentials)
        answer = env.stack[-1]
        if "Body" in answer:
            answer["Body"] = answer["Body"].read().decode()
        env.stack[-1] = json.loads(json.dumps(answer, default=as_text))

    def _from_error(self, env: Any, ex: Exception) -> FailureEvent:
        if isinstance(ex, ClientError):
            ex.response["ResponseMetadata"].setdefault("RequestId", "none")
        return super()._from_error(env, ex)


class StatesTask(StateTaskServiceSfn):
    """`states:startExecution`."""

    def _eval_service_task(
        self, env: Any, resource_runtime_part: Any, normalised_parameters: Any, state_credentials: Any
    ) -> None:
        super()._eval_service_task(env, resource_runtime_part, lower(normalised_parameters), state_credentials)
        env.stack[-1] = upper(env.stack[-1])


class BatchTask(StateTaskServiceBatch):
    """`batch:submitJob.sync`."""

    def _eval_service_task(
        self, env: Any, resource_runtime_part: Any, normalised_parameters: Any, state_credentials: Any
    ) -> None:
        super()._eval_service_task(env, resource_runtime_part, lower(normalised_parameters), state_credentials)
        env.stack[-1] = upper(env.stack[-1])

    def _normalise_response(
        self, response: Any, boto_service_name: str | None = None, service_action_name: str | None = None
    ) -> None:
        if service_action_name == "describe_jobs":
            for job in response["jobs"]:  # in place: the caller holds one of them
                answer = upper(job)
                job.clear()
                job.update(answer)


MAPS: Final = {"Parameters", "Tags"}
"""Members whose keys are the caller's."""


def lower(value: Any) -> Any:
    """A request as botocore wants it where the API's names start with a small letter, and the language's do not."""
    if isinstance(value, Mapping):
        return {key[:1].lower() + key[1:]: item if key in MAPS else lower(item) for key, item in value.items()}
    return [lower(item) for item in value] if isinstance(value, list) else value


def upper(value: Any) -> Any:
    """An answer as the language has it."""
    if isinstance(value, Mapping):
        return {key[:1].upper() + key[1:]: upper(item) for key, item in value.items()}
    return [upper(item) for item in value] if isinstance(value, list) else value


class SageMakerTask(StateTaskServiceCallback):
    """`sagemaker:createX` and `sagemaker:createX.sync`."""

    client: Callable[[], Any] = staticmethod(lambda: None)

    def __init__(self) -> None:
        patterns: Any = {ResourceCondition.Sync, ResourceCondition.WaitForTaskToken}
        super().__init__(supported_integration_patterns=patterns)

    def _get_supported_parameters(self) -> set[str]:
        return set()

    def _eval_service_task(
        self, env: Any, resource_runtime_part: Any, normalised_parameters: Any, state_credentials: Any
    ) -> None:
        answer = getattr(self.client(), self._get_boto_service_action())(**normalised_parameters)
        answer.pop("ResponseMetadata", None)
        env.stack.append(answer)

    def _build_sync_resolver(
        self, env: Any, resource_runtime_part: Any, normalised_parameters: Any, state_credentials: Any
    ) -> Callable[[], Any]:
        env.stack.pop()
        kind = self.resource.api_action.removeprefix(
            "create"
        )  # ProcessingJob, TrainingJob, TransformJob, HyperParameterTuningJob
        describe = getattr(self.client(), xform_name(f"Describe{kind}"))
        name = {f"{kind}Name": normalised_parameters[f"{kind}Name"]}

        def ended() -> Any:
            """What Describe says once the job has ended; None before."""
            answer = describe(**name)
            answer.pop("ResponseMetadata", None)
            job = json.loads(json.dumps(answer, default=as_text))
            if job[f"{kind}Status"] in {"Failed", "Stopped"}:
                raise FailureEventException(self._failed(env, StatesErrorNameType.StatesTaskFailed, json.dumps(job)))
            return job if job[f"{kind}Status"] == "Completed" else None

        return ended

    def _failed(self, env: Any, kind: StatesErrorNameType, cause: str) -> FailureEvent:
        return self._event(env, StatesErrorName(typ=kind), cause)

    def _event(self, env: Any, name: Any, cause: str) -> FailureEvent:
        details = TaskFailedEventDetails(
            error=name.error_name,
            cause=cause,
            resource=self._get_sfn_resource(),
            resourceType=self._get_sfn_resource_type(),
        )
        told: Any = {"taskFailedEventDetails": details}
        return FailureEvent(
            env=env,
            error_name=name,
            event_type=HistoryEventType.TaskFailed,
            event_details=told,
        )

    def _from_error(self, env: Any, ex: Exception) -> FailureEvent:
        """A refusal has the name that the optimised integration gives it."""
        if not isinstance(ex, ClientError):
            return super()._from_error(env=env, ex=ex)
        code, message = ex.response["Error"]["Code"], ex.response["Error"]["Message"]
        known = {"ResourceLimitExceeded": "SageMaker.ResourceLimitExceededException"}
        return self._event(env, CustomErrorName(known.get(code, "SageMaker.AmazonSageMakerException")), message)
