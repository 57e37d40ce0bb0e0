"""The SageMaker Pipelines engine: prints a use case as two pipeline definitions, and sets them to work.

render(use_case, specs, images)    training.json and inference.json, and what has to lie in S3 for them
client                             creates, updates, starts and awaits the pipelines
"""

from __future__ import annotations

from pipelines.sagemaker.printer import render

__all__ = ["render"]
