"""`python -m components.monitoring train|serve`."""

from __future__ import annotations

import sys

from components.monitoring.component import COMPONENT
from shared.entrypoint import run

if __name__ == "__main__":
    sys.exit(run(COMPONENT, sys.argv[1:]))
