"""`python -m components.processing train|serve`."""

from __future__ import annotations

import sys

from components.processing.component import COMPONENT
from shared.entrypoint import run

sys.exit(run(COMPONENT, sys.argv[1:]))
