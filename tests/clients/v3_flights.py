"""The flights use case with the SageMaker Python SDK v3: ModelTrainer in local containers, all else in local mode.

    v3_flights.py PLAN RESULT

PLAN is a JSON file: `storage`, `images` by component, `hyperparameters`, `period` (which is scored), `folder` (for what
the trainer leaves) and `port` (of the local server). The storage holds the data and settings.json files. RESULT gets
the release.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import boto3
from sagemaker.core.local import LocalSession
from sagemaker.core.processing import Processor
from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output
from sagemaker.core.training.configs import Compute, InputData
from sagemaker.core.transformer import Transformer
from sagemaker.train.model_trainer import Mode, ModelTrainer

# In components/README.md from here
role = "arn:aws:iam::000000000000:role/quartet"  # of which local mode wants no more than its shape


def source(name: str, uri: str) -> ProcessingInput:
    place = {"s3_uri": uri, "local_path": f"/opt/ml/processing/input/{name}"}
    return ProcessingInput(
        input_name=name, s3_input=ProcessingS3Input(s3_data_type="S3Prefix", s3_input_mode="File", **place)
    )


def target(name: str, uri: str) -> ProcessingOutput:
    place = {"s3_uri": uri, "local_path": f"/opt/ml/processing/output/{name}"}
    return ProcessingOutput(output_name=name, s3_output=ProcessingS3Output(s3_upload_mode="EndOfJob", **place))


def process(session: LocalSession, image: str, mode: str, inputs: dict[str, str], outputs: dict[str, str]) -> None:
    # Local mode fails on a job with arguments and no entry point: this one is in every image.
    entrypoint = ["quartet-component", mode]
    # Local mode runs the job within this call; to wait for it as well would cost ten seconds of sleep.
    Processor(role, image, 1, "local", entrypoint, sagemaker_session=session).run(
        inputs=[source(name, uri) for name, uri in inputs.items()],
        outputs=[target(name, uri) for name, uri in outputs.items()],
        wait=False,
        logs=False,
    )


def fit(
    session: LocalSession, image: str, hyperparameters: dict[str, Any], channels: dict[str, str], folder: Path
) -> Path:
    ModelTrainer(
        training_mode=Mode.LOCAL_CONTAINER,
        training_image=image,
        compute=Compute(instance_type="local_cpu", instance_count=1),
        hyperparameters=hyperparameters,
        local_container_root=str(folder),
        role=role,
        sagemaker_session=session,
    ).train([InputData(channel_name=name, data_source=uri) for name, uri in channels.items()])
    return folder / "compressed_artifacts/model.tar.gz"


def transform(session: LocalSession, image: str, model: str, data: str, destination: str) -> None:
    # A model of the local client: ModelBuilder and Model ask the service. Environment may be empty but not missing.
    name = "flights"
    container = {"Image": image, "ModelDataUrl": model, "Environment": {}}
    session.sagemaker_client.create_model(ModelName=name, PrimaryContainer=container)
    # Without a name for the job, the service is asked for the model's image to make one. Local mode wants the strategy
    # named: it does not understand what containers answer on /execution-parameters.
    wanted: dict[str, Any] = {"strategy": "MultiRecord", "accept": "text/csv", "output_path": destination}
    transformer = Transformer(name, 1, "local", base_transform_job_name=name, sagemaker_session=session, **wanted)
    transformer.transform(data, content_type="text/csv", split_type="Line")


# to here

PLAN = json.loads(Path(sys.argv[1]).read_text())
IMAGES = PLAN["images"]
STORAGE = PLAN["storage"]
RESULTS = f"{STORAGE}/v3"


def run(
    session: LocalSession, step: str, mode: str, inputs: dict[str, str], outputs: tuple[str, ...]
) -> dict[str, str]:
    """One processing job; where its outputs lie."""
    places = {name: f"{RESULTS}/{step}/{name}" for name in outputs}
    process(session, IMAGES[step.rpartition("/")[2]], mode, inputs, places)
    return places


def settings(component: str) -> str:
    return f"{STORAGE}/config/{component}/"


def training(session: LocalSession) -> dict[str, str]:
    """All four components in mode train; the parts of a release."""
    raw = f"{STORAGE}/window/"
    given = {"data": raw, "settings": settings("processing")}
    made = run(session, "processing", "train", given, ("train", "validation", "state", "report"))
    channels = {name: made[name] for name in ("train", "validation", "state")}
    folder = Path(PLAN["folder"], "training")
    folder.mkdir()
    archive = fit(session, IMAGES["algorithm"], PLAN["hyperparameters"], channels, folder)
    # A local container's model stays on this machine.
    model = f"{RESULTS}/algorithm/model.tar.gz"
    bucket, _, key = model.removeprefix("s3://").partition("/")
    boto3.client("s3").upload_file(str(archive), bucket, key)
    given = {"data": raw, "model": model, "settings": settings("monitoring")}
    watch = run(session, "monitoring", "train", given, ("baseline", "report"))
    explain = run(session, "explainability", "train", {"data": made["train"], "model": model}, ("explainer", "report"))
    return {"model": model, "state": made["state"], "baseline": watch["baseline"], "explainer": explain["explainer"]}


def inference(session: LocalSession, release: dict[str, str], period: str) -> None:
    """All four components in mode serve, over one period."""
    raw = f"{STORAGE}/data/score/{period}.csv"
    given = {"data": raw, "state": release["state"], "settings": settings("processing")}
    made = run(session, f"{period}/processing", "serve", given, ("data", "rejected", "report"))
    scores = f"{RESULTS}/{period}/algorithm/scores"
    transform(session, IMAGES["algorithm"], release["model"], made["data"], scores)
    given = {"data": raw, "baseline": release["baseline"], "scores": scores, "settings": settings("monitoring")}
    given["labels"] = f"{STORAGE}/data/labels/{period}.csv"
    run(session, f"{period}/monitoring", "serve", given, ("report",))
    given = {"data": made["data"], "model": release["model"], "explainer": release["explainer"]}
    run(session, f"{period}/explainability", "serve", given, ("explanations", "report"))


if __name__ == "__main__":
    local = LocalSession(boto3.Session())
    local.config = {"local": {"serving_port": PLAN["port"]}}
    release = training(local)
    inference(local, release, PLAN["period"])
    Path(sys.argv[2]).write_text(json.dumps({"release": release}))
