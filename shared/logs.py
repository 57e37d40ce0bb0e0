"""One event a line on standard output, unbuffered: what CloudWatch stores and what a metric's regex searches."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping


class JsonLines(logging.Formatter):
    """A record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """`{"time", "level", "logger", "message"[, "traceback"]}` on one line."""
        event = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False)


def configure(component: str, environment: Mapping[str, str] = os.environ) -> logging.Logger:
    """The component's logger, as `QUARTET_LOG` (`text` or `json`) and `SAGEMAKER_CONTAINER_LOG_LEVEL` want it."""
    handler = logging.StreamHandler(sys.stdout)
    if environment.get("QUARTET_LOG") == "json":
        handler.setFormatter(JsonLines())
    else:
        text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        text.converter = time.gmtime
        handler.setFormatter(text)
    level = environment.get("SAGEMAKER_CONTAINER_LOG_LEVEL", "20")
    logging.basicConfig(handlers=[handler], level=int(level) if level.isdigit() else logging.INFO, force=True)
    return logging.getLogger(component)
