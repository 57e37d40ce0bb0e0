"""Compiles just those modules that an image's program imports, Python's own among them.

An image is read-only and Python's base images hold no bytecode, so without this every start would compile each module
again: 1.6 CPU-seconds instead of 0.5 until a server's modules are in memory. The bytecode lies in a tree of its own
(PYTHONPYCACHEPREFIX), because Python's library belongs to the base.

    python packing/bytecode.py TREE --import NAME …      the modules that are in memory after these imports
    python packing/bytecode.py TREE --folder FOLDER      all modules of a folder

Without times and checks, so that two builds give the same bytes: the sources of an image do not change.
"""

from __future__ import annotations

import contextlib
import importlib
import py_compile
import sys
from collections.abc import Iterable
from importlib.util import cache_from_source
from pathlib import Path


def imported(names: Iterable[str]) -> set[Path]:
    """The sources of all modules in memory once these are imported; a name that this image lacks is passed over."""
    for name in names:
        # A framework that another variant has: the program does not import it here either.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    # torch.classes names a file that there is not.
    return {path for path in (Path(file) for file in files if file) if path.suffix == ".py" and path.is_file()}


def compiled(sources: Iterable[Path], tree: Path) -> int:
    """Compile the files into the tree; how many they were."""
    sys.pycache_prefix = str(tree)
    count = 0
    for source in sorted(sources):
        py_compile.compile(
            str(source),
            cfile=cache_from_source(str(source)),
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        count += 1
    return count


def main(tree: str, how: str, *what: str) -> None:
    """Compile into a tree what the arguments name."""
    sources = imported(what) if how == "--import" else {path for name in what for path in Path(name).rglob("*.py")}
    own = Path(__file__).resolve()
    print(f"{compiled((path for path in sources if path.resolve() != own), Path(tree))} modules compiled")


if __name__ == "__main__":
    main(*sys.argv[1:])
