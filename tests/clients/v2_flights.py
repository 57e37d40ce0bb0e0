"""The flights use case with the SageMaker Python SDK v2 in local mode: job by job, then inference as a pipeline.

    v2_flights.py PLAN RESULT

PLAN is a JSON file: `storage`, `images` by component, `hyperparameters`, `period` (scored job by job), `periods`
(scored by the pipeline) and `port` (of the local server). The storage holds the data and settings.json files.
RESULT gets what the client was told.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import boto3
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.local import LocalSession
from sagemaker.model import Model
from sagemaker.processing import ProcessingInput, ProcessingOutput, Processor
from sagemaker.transformer import Transformer
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import ConditionEquals
from sagemaker.workflow.functions import Join, JsonGet
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parameters import ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import LocalPipelineSession
from sagemaker.workflow.properties import PropertyFile
from sagemaker.workflow.steps import ProcessingStep, TransformStep

Uris = dict[str, Any]
"""By the name of an input, an output or a channel; within a pipeline a uri may be a reference to another step."""

# In components/README.md from here
machine = "local"  # or an instance type, with a Session instead of a LocalSession
role = "arn:aws:iam::000000000000:role/quartet"  # of which local mode wants no more than its shape


def process(session: LocalSession, image: str, mode: str, inputs: Uris, outputs: Uris) -> Any:
    # Local mode fails on a job with arguments and no entry point: this one is in every image.
    entrypoint = ["quartet-component", mode]
    return Processor(role, image, 1, machine, entrypoint, sagemaker_session=session).run(
        inputs=[ProcessingInput(uri, f"/opt/ml/processing/input/{name}", name) for name, uri in inputs.items()],
        outputs=[ProcessingOutput(f"/opt/ml/processing/output/{name}", uri, name) for name, uri in outputs.items()],
    )


def fit(session: LocalSession, image: str, hyperparameters: dict[str, Any], channels: Uris, destination: str) -> str:
    given: dict[str, Any] = {"hyperparameters": hyperparameters, "output_path": destination}
    estimator = Estimator(image, role, 1, machine, sagemaker_session=session, **given)
    estimator.fit({name: TrainingInput(uri) for name, uri in channels.items()})
    return str(estimator.model_data)  # model.tar.gz


def transform(session: LocalSession, model_name: str, data: Any, destination: Any) -> Any:
    # Local mode wants the strategy named: it does not understand what containers answer on /execution-parameters.
    wanted: dict[str, Any] = {"strategy": "MultiRecord", "accept": "text/csv", "output_path": destination}
    transformer = Transformer(model_name, 1, machine, sagemaker_session=session, **wanted)
    return transformer.transform(data, content_type="text/csv", split_type="Line")


# to here

PLAN = json.loads(Path(sys.argv[1]).read_text())
IMAGES = PLAN["images"]
STORAGE = PLAN["storage"]
RESULTS = f"{STORAGE}/v2"


def run(session: LocalSession, step: str, mode: str, inputs: Uris, outputs: tuple[str, ...]) -> Uris:
    """One processing job; where its outputs lie."""
    places = {name: f"{RESULTS}/{step}/{name}" for name in outputs}
    process(session, IMAGES[step.rpartition("/")[2]], mode, inputs, places)
    return places


def settings(component: str) -> str:
    return f"{STORAGE}/config/{component}/"


def training(session: LocalSession) -> Uris:
    """All four components in mode train; the parts of a release."""
    raw = f"{STORAGE}/window/"
    given = {"data": raw, "settings": settings("processing")}
    made = run(session, "processing", "train", given, ("train", "validation", "state", "report"))
    channels = {name: made[name] for name in ("train", "validation", "state")}
    model = fit(session, IMAGES["algorithm"], PLAN["hyperparameters"], channels, f"{RESULTS}/algorithm")
    given = {"data": raw, "model": model, "settings": settings("monitoring")}
    watch = run(session, "monitoring", "train", given, ("baseline", "report"))
    explain = run(session, "explainability", "train", {"data": made["train"], "model": model}, ("explainer", "report"))
    return {"model": model, "state": made["state"], "baseline": watch["baseline"], "explainer": explain["explainer"]}


def inference(session: LocalSession, release: Uris, period: str) -> None:
    """All four components in mode serve, over one period."""
    raw = f"{STORAGE}/data/score/{period}.csv"
    given = {"data": raw, "state": release["state"], "settings": settings("processing")}
    made = run(session, f"{period}/processing", "serve", given, ("data", "rejected", "report"))
    model = Model(IMAGES["algorithm"], release["model"], role, name=f"flights-{period}", sagemaker_session=session)
    model.create(machine)
    scores = f"{RESULTS}/{period}/algorithm/scores"
    transform(session, model.name, made["data"], scores)
    # Local mode puts a folder of the job's name between, the service does not: components read everything below.
    given = {"data": raw, "baseline": release["baseline"], "scores": scores, "settings": settings("monitoring")}
    given["labels"] = f"{STORAGE}/data/labels/{period}.csv"
    run(session, f"{period}/monitoring", "serve", given, ("report",))
    given = {"data": made["data"], "model": release["model"], "explainer": release["explainer"]}
    run(session, f"{period}/explainability", "serve", given, ("explanations", "report"))


def pipeline(session: LocalPipelineSession, release: Uris) -> Pipeline:
    """Inference as one pipeline, which prepares data for training again where the scored period has drifted."""
    period = ParameterString("Period", default_value=PLAN["period"])
    raw = Join(on="", values=[f"{STORAGE}/data/score/", period, ".csv"])

    def job(step: str, component: str, mode: str, inputs: Uris, outputs: tuple[str, ...]) -> Any:
        return process(session, IMAGES[component], mode, inputs, {name: below(step, name) for name in outputs})

    def below(step: str, name: str) -> Join:
        return Join(on="/", values=[f"{RESULTS}/pipeline", period, step, name])

    given = {"data": raw, "state": release["state"], "settings": settings("processing")}
    arguments = job("processing", "processing", "serve", given, ("data", "rejected", "report"))
    prepared = ProcessingStep("processing", step_args=arguments)
    ready = prepared.properties.ProcessingOutputConfig.Outputs["data"].S3Output.S3Uri
    model = Model(IMAGES["algorithm"], release["model"], role, sagemaker_session=session)
    created = ModelStep("model", step_args=model.create(machine))
    arguments = transform(session, created.properties.ModelName, ready, below("algorithm", "scores"))
    scored = TransformStep("algorithm", step_args=arguments)
    scores = scored.properties.TransformOutput.S3OutputPath
    given = {"data": raw, "baseline": release["baseline"], "scores": scores, "settings": settings("monitoring")}
    verdict = PropertyFile("drift", output_name="report", path="drift.json")
    arguments = job("monitoring", "monitoring", "serve", given, ("report",))
    watched = ProcessingStep("monitoring", step_args=arguments, property_files=[verdict])
    given = {"data": f"{STORAGE}/window/", "settings": settings("processing")}
    arguments = job("retraining", "processing", "train", given, ("train", "validation", "state", "report"))
    again = ProcessingStep("retraining", step_args=arguments)
    detected = JsonGet(step_name=watched.name, property_file=verdict, json_path="detected")
    drifted = ConditionStep("drifted", conditions=[ConditionEquals(detected, True)], if_steps=[again], else_steps=[])
    steps = [prepared, created, scored, watched, drifted]
    return Pipeline("flights", parameters=[period], steps=steps, sagemaker_session=session)


def pipelines(session: LocalPipelineSession, release: Uris) -> dict[str, dict[str, str]]:
    """By period, the steps that a run of the pipeline executed, and how each ended."""
    made = pipeline(session, release)
    made.create(role)
    found = {}
    for period in PLAN["periods"]:
        # A run that fails does not raise, it says so.
        execution = made.start(parameters={"Period": period})
        steps = execution.list_steps()["PipelineExecutionSteps"]
        found[period] = {step["StepName"]: step["StepStatus"] for step in steps}
    return found


def failure(session: LocalSession) -> str | None:
    """What the client is told when a hyperparameter is misspelt."""
    channels = {"train": f"{RESULTS}/processing/train"}
    try:
        fit(session, IMAGES["algorithm"], {"max_dept": 6}, channels, f"{RESULTS}/failure")
    except RuntimeError as error:
        return str(error)
    return None


def local(session: LocalSession) -> LocalSession:
    """The session, its server on a port that is free."""
    session.config = {"local": {"serving_port": PLAN["port"]}}
    return session


if __name__ == "__main__":
    alone = local(LocalSession(boto3.Session()))
    release = training(alone)
    inference(alone, release, PLAN["period"])
    result = {
        "release": release,
        "pipelines": pipelines(local(LocalPipelineSession(boto3.Session())), release),
        "failure": failure(alone),
    }
    Path(sys.argv[2]).write_text(json.dumps(result))
