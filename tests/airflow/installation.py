"""A real Airflow in a folder of its own: SQLite, no scheduler, tasks that speak to the AWS of the tests."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

PROGRAMS: Final = Path(f"{sys.prefix}-airflow") / "bin"
"""Beside our own environment: `make airflow`."""
CARRIERS: Final = ("AIRFLOW", "AWS_", "PYTHON")
"""Nothing that the caller's environment says of these may reach a test."""
WARM: Final = """
import contextlib, json, os, sys
from airflow.cli import cli_parser
answers = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    order = json.loads(line)
    os.environ.update(order["environment"])
    with open(order["log"], "wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            arguments = cli_parser.get_parser().parse_args(order["arguments"])
            arguments.func(arguments)
            code = 0
        except SystemExit as end:
            code = end.code
        except BaseException:
            import traceback
            traceback.print_exc()
            code = 1
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
    print(json.dumps(code), file=answers, flush=True)
"""
"""The command `airflow`, one order after the other in one process: most of its time goes into its start."""


@dataclass(frozen=True)
class DagRun:
    """A run of a DAG that has ended.

    Attributes:
        run_id: Airflow's name of it.
        state: success or failed.
        tasks: the state of each task.
        said: what the command printed, the tasks' logs among it.
    """

    run_id: str
    state: str
    tasks: Mapping[str, str]
    said: str

    def ended(self, state: str) -> set[str]:
        """The tasks that ended so."""
        return {task for task, found in self.tasks.items() if found == state}


@dataclass(frozen=True)
class Airflow:
    """An installation.

    Attributes:
        home: its folder.
        cloud: the variables by which its tasks find AWS.
        warm: a process that takes orders for the command `airflow`.
    """

    home: Path
    cloud: Mapping[str, str]
    warm: subprocess.Popen[str] | None = None

    @property
    def dags(self) -> Path:
        """Where DAG files go."""
        return self.home / "dags"

    @property
    def environment(self) -> dict[str, str]:
        """The variables of its commands."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(CARRIERS)}
        return {
            **kept,
            **self.cloud,
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW__QUARTET__CHECK_INTERVAL": "0.2",
            # Otherwise the provider looks at a training job every 30 seconds, whatever the interval.
            "AIRFLOW__QUARTET__PRINT_LOG": "False",
            "AIRFLOW_CONN_AWS_DEFAULT": '{"conn_type": "aws"}',
            "NO_COLOR": "1",
        }

    def command(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the installation, `airflow` or `python`, to its end."""
        return subprocess.run(
            (str(PROGRAMS / program), *arguments),
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )

    def install(self) -> None:
        """Make the database."""
        self.dags.mkdir(parents=True)
        done = self.command("airflow", "db", "migrate")
        assert done.returncode == 0, done.stdout[-3000:]

    @contextmanager
    def warmed(self) -> Iterator[Airflow]:
        """This installation with a process that takes orders, and its end."""
        with subprocess.Popen(
            (str(PROGRAMS / "python"), "-c", WARM),
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                yield replace(self, warm=process)
            finally:
                process.kill()

    def order(self, *arguments: str) -> str:
        """`airflow` with these arguments, in the warm process: what it printed."""
        assert self.warm is not None
        assert self.warm.stdin is not None
        assert self.warm.stdout is not None
        with tempfile.NamedTemporaryFile(dir=self.home, suffix=".log") as log:
            order = {"arguments": arguments, "environment": dict(self.cloud), "log": log.name}
            self.warm.stdin.write(json.dumps(order) + "\n")
            self.warm.stdin.flush()
            answer = self.warm.stdout.readline()
            said = Path(log.name).read_text(encoding="utf-8", errors="replace")
        assert answer, f"Airflow has ended: {said[-3000:]}"
        return said

    def test(self, dag: str, **parameters: str) -> DagRun:
        """`airflow dags test`: one run of a DAG, task after task, to its end."""
        before = {run["run_id"] for run in self.runs(dag)}
        said = self.order("dags", "test", dag, "--conf", json.dumps(parameters))
        found = [run for run in self.runs(dag) if run["run_id"] not in before]
        assert len(found) == 1, said[-3000:]
        query = "SELECT task_id, state FROM task_instance WHERE dag_id = ? AND run_id = ?"
        tasks = {row["task_id"]: str(row["state"]) for row in self.rows(query, dag, found[0]["run_id"])}
        return DagRun(found[0]["run_id"], found[0]["state"], tasks, said)

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """The runs of a DAG, with what each was told."""
        rows = self.rows("SELECT run_id, state, conf FROM dag_run WHERE dag_id = ? ORDER BY id", dag)
        return [{**row, "conf": json.loads(row["conf"] or "{}")} for row in rows]

    def rows(self, query: str, *values: str) -> list[dict[str, Any]]:
        """What the database answers."""
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(query, values)]
