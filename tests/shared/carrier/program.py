"""The small component of these tests as a program: what `python -m components.<name>` is to an image."""

from __future__ import annotations

import sys

from shared.entrypoint import run
from tests.shared.conftest import MEAN

if __name__ == "__main__":
    sys.exit(run(MEAN, sys.argv[1:]))
