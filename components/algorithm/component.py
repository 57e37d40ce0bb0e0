"""What the algorithm component is."""

from __future__ import annotations

from components.algorithm.sample import sample
from components.algorithm.serve import load
from components.algorithm.settings import AlgorithmSettings
from components.algorithm.train import train
from shared.component import Component, Ports

COMPONENT = Component(
    name="algorithm",
    summary="learns a model from prepared rows, and answers HTTP with its scores",
    settings=AlgorithmSettings,
    train=train,
    # Scoring a whole dataset is Batch Transform's work, which speaks HTTP: there is no second way to the same scores.
    serve=None,
    load=load,
    artefact="model",
    train_ports=Ports(inputs=("train",), optional_inputs=("validation", "state"), outputs=("model", "report")),
    serve_ports=Ports(inputs=("data", "model"), outputs=("scores",)),
    sample=sample,
    variant="xgboost-cpu",
)
