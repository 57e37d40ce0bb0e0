"""The engine Step Functions: prints the two pipelines and the drift loop as state machines, and starts them.

render(use_case, specs, images)    training, inference and retrain, and what has to lie in S3 for them
client                             starts and awaits them
"""

from __future__ import annotations

from pipelines.stepfunctions.printer import render

__all__ = ["render"]
