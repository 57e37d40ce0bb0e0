"""What the monitoring component is."""

from __future__ import annotations

from typing import Final

from components.monitoring.sample import sample
from components.monitoring.serve import load, serve
from components.monitoring.settings import MonitoringSettings
from components.monitoring.train import train
from shared.component import Component, Ports

COMPONENT: Final = Component(
    name="monitoring",
    summary="Learns the distribution of the training data, and checks production data against it.",
    settings=MonitoringSettings,
    train=train,
    serve=serve,
    load=load,
    artefact="baseline",
    train_ports=Ports(
        inputs=("data",),
        optional_inputs=("model", "settings"),
        outputs=("baseline", "report"),
    ),
    serve_ports=Ports(
        inputs=("data", "baseline"),
        optional_inputs=("scores", "labels", "settings"),
        outputs=("report",),
    ),
    sample=sample,
)
