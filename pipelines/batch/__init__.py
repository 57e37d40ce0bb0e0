"""AWS Batch: a job a step, chained by dependencies; the images carry their own inputs and outputs (shared.carrier).

render(use_case, specs, images)    queues.json, training.json and inference.json, and what has to lie in S3 for them
client                             registers, submits and awaits them
"""

from __future__ import annotations

from pipelines.batch.printer import render

__all__ = ["render"]
