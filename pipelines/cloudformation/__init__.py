"""CloudFormation around an engine: one stack a use case and environment."""

from __future__ import annotations

from pipelines.cloudformation.printer import render

__all__ = ["render"]
