"""What this component is."""

from __future__ import annotations

from typing import Final

from components.explainability.sample import sample
from components.explainability.serve import load, serve
from components.explainability.settings import ExplainabilitySettings
from components.explainability.train import train
from shared.component import Component, Ports

COMPONENT: Final = Component(
    name="explainability",
    summary="exact attributions of a tree model's scores, global and per row, and their drift",
    settings=ExplainabilitySettings,
    train=train,
    serve=serve,
    load=load,
    artefact="explainer",
    train_ports=Ports(inputs=("data", "model"), optional_inputs=("settings",), outputs=("explainer", "report")),
    serve_ports=Ports(
        inputs=("data", "model", "explainer"), optional_inputs=("settings",), outputs=("explanations", "report")
    ),
    sample=sample,
)
