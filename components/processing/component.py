"""What the processing component is."""

from __future__ import annotations

from typing import Final

from components.processing.sample import sample
from components.processing.serve import load, serve
from components.processing.settings import ProcessingSettings
from components.processing.train import train
from shared.component import Component, Ports

COMPONENT: Final = Component(
    name="processing",
    summary="Learns how raw tables become features, and makes the same features of production data.",
    settings=ProcessingSettings,
    train=train,
    serve=serve,
    load=load,
    artefact="state",
    train_ports=Ports(
        inputs=("data",),
        optional_inputs=("validation", "settings"),
        outputs=("train", "validation", "state", "report"),
        optional_outputs=("test",),
    ),
    serve_ports=Ports(
        inputs=("data", "state"),
        optional_inputs=("settings",),
        outputs=("data", "rejected", "report"),
    ),
    sample=sample,
)
