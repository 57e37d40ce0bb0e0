"""`python -m components.explainability train|serve`."""

from __future__ import annotations

import sys

from shared import signals


def main() -> int:
    """Start the program, deaf to no signal while its imports run, which takes longer than anything else here."""
    signals.end_at_once()
    from components.explainability.component import COMPONENT
    from shared.entrypoint import run

    return run(COMPONENT, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
