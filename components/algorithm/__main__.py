"""`python -m components.algorithm train|serve`."""

from __future__ import annotations

import sys

from components.algorithm.component import COMPONENT
from shared.entrypoint import run

if __name__ == "__main__":
    sys.exit(run(COMPONENT, sys.argv[1:]))
