"""The Airflow engine: prints a use case as one DAG file, which imports nothing of ours.

render(use_case, specs, images)    quartet-<name>.py for the dags folder, and what has to lie in S3 for its jobs
"""

from __future__ import annotations

from pipelines.airflow.printer import render

__all__ = ["render"]
