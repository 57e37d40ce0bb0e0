"""A component that obeys the `/opt/ml` contract with the standard library alone: the engine's tests run it four times.

Settings make it misbehave: `fail` ends a job with that exit code, `fail_times` so often, `auc` is what training
reaches, and over HTTP `QUARTET_SICK` never gets healthy, `QUARTET_DIES` ends the server, `QUARTET_LOSES` swallows a
record. A record `bad` is refused with 400, `flaky` fails once with 500, `slow` waits.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

ROOT = Path(os.environ["SAGEMAKER_BASE_DIR"])
NAME = Path(__file__).parent.name


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value, sort_keys=True))


def report(rows: int, mode: str) -> dict[str, object]:
    head = {"format": 1, "kind": "report", "title": NAME, "component": NAME, "mode": mode, "rows": rows}
    return {**head, "sections": [], "verdict": "", "state": ""}


def lines(folder: Path) -> list[str]:
    return [
        line
        for path in sorted(folder.rglob("*.csv*"))
        for line in path.read_text().splitlines()
        if line and not line.startswith("id,")
    ]


def fail(code: int, times: int | None = None) -> None:
    # Its folder outlives its tree, so that attempts can be counted there.
    counter = ROOT.parent / "failed"
    failed = len(counter.read_text()) if counter.exists() else 0
    if code and (times is None or failed < times):
        counter.write_text("x" * (failed + 1))
        name = "failure" if NAME == "algorithm" else "message"
        write(ROOT / "output" / name, f"{NAME} cannot go on: told so.")
        print("a line of the log", flush=True)
        sys.exit(code)


def artefact(folder: Path, rows: int, parents: dict[str, str] | None = None, **extra: object) -> None:
    """Seal a folder as an artefact without a schema."""
    files = {path.name: digest(path) for path in sorted(folder.glob("*")) if path.is_file()}
    head = {"format": 1, "component": NAME, "rows": rows, "versions": {"fake": "1"}, "settings": {}}
    body = {
        "schema": json.loads('{"columns": [], "ids": [], "target": null}'),
        "parents": parents or {},
        "extra": extra,
        "golden": {},
        "files": files,
    }
    write(folder / "manifest.json", {**head, **body})


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def release() -> None:
    # The real step: it belongs to no component, and its tests are these runs too.
    import logging

    from shared.contract import Contract
    from shared.errors import QuartetError
    from shared.release import release

    try:
        release(Contract(ROOT), os.environ, logging.getLogger())
    except QuartetError as error:
        Contract(ROOT).write_failure(str(error))
        sys.exit(error.exit_code)


def processing_job(mode: str) -> None:
    config = json.loads((ROOT / "config/processingjobconfig.json").read_text())
    places = {item["InputName"]: item["S3Input"]["LocalPath"] for item in config["ProcessingInputs"]}
    inputs = {name: ROOT / Path(path).relative_to("/opt/ml") for name, path in places.items()}
    outs = {item["OutputName"]: item["S3Output"]["LocalPath"] for item in config["ProcessingOutputConfig"]["Outputs"]}
    outputs = {name: ROOT / Path(path).relative_to("/opt/ml") for name, path in outs.items()}
    settings = json.loads((inputs["settings"] / "settings.json").read_text()) if "settings" in inputs else {}
    time.sleep(float(settings.get("sleep", 0)))
    fail(int(settings.get("fail", 0)) if settings.get("fail_in", mode) == mode else 0, settings.get("fail_times"))
    rows = lines(inputs["data"])
    for name in ("state", "baseline", "explainer"):
        if name in outputs:
            raw = {path.name: digest(path) for path in sorted(inputs["data"].glob("*"))}
            artefact(outputs[name], len(rows), data=raw)
    for name in ("train", "validation", "data"):
        if name in outputs:
            write(outputs[name] / "part-0000-of-0001.csv", "".join(f"{row}\n" for row in rows))
    write(outputs["report"] / "report.json", report(len(rows), mode))
    write(outputs["report"] / "seen.json", {"inputs": sorted(inputs), "settings": settings, "arguments": sys.argv[1:]})
    if NAME == "monitoring" and mode == "serve":
        drifted = any("drift" in row for row in rows)
        write(outputs["report"] / "drift.json", {"detected": drifted, "columns": ["value"] if drifted else []})
        if "labels" in inputs:
            write(outputs["report"] / "model_quality.json", {"binary": {"auc": {"value": 0.65}}})


def training_job() -> None:
    settings = json.loads((ROOT / "input/config/hyperparameters.json").read_text())
    fail(int(settings.get("fail", 0)))
    rows = lines(ROOT / "input/data/train")
    auc = float(settings.get("auc", 0.7))
    print(f"validation-auc=0.99;\nvalidation:auc={auc};", flush=True)
    write(ROOT / "model/evaluation.json", {"validation": {"auc": auc}})
    state = ROOT / "input/data/state/manifest.json"
    artefact(ROOT / "model", len(rows), {"state": digest(state)} if state.exists() else {})
    write(ROOT / "output/data/report.json", report(len(rows), "train"))


def handler() -> type:
    # Here, because only a server should wait for it: it takes longer to import than a job takes.
    from http.server import BaseHTTPRequestHandler

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        flaky = True

        def log_message(self, format: str, *values: object) -> None:
            """Say nothing."""

        def answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            if self.path == "/ping":
                self.answer(503 if "QUARTET_SICK" in os.environ else 200)
            else:
                said = {"BatchStrategy": "MULTI_RECORD", "MaxConcurrentTransforms": 2, "MaxPayloadInMB": 1}
                self.answer(200, json.dumps(said).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if "slow" in body:
                time.sleep(60)
            if "flaky" in body and Handler.flaky:
                Handler.flaky = False
                self.answer(500, b"try again")
            elif "bad" in body:
                self.answer(400, b"record 'bad' holds no number")
            else:
                scores = [f"{row.split(',')[0]},0.5\n" for row in body.splitlines()]
                self.answer(200, "".join(scores["QUARTET_LOSES" in os.environ :]).encode())

    return Handler


def server() -> None:
    if "QUARTET_DIES" in os.environ:
        write(ROOT / "output/failure", "the model cannot be loaded.")
        sys.exit(3)
    from http.server import ThreadingHTTPServer

    assert (ROOT / "model/manifest.json").exists()
    assert os.environ["SAGEMAKER_BATCH"] == "true"
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), handler()).serve_forever(0.05)


if __name__ == "__main__":
    if sys.argv[1] == "release":
        release()
    elif (ROOT / "config/processingjobconfig.json").exists():
        processing_job(sys.argv[1])
    elif sys.argv[1] == "train":
        training_job()
    else:
        server()
