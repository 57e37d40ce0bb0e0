"""Values as Python source, laid out as formatters lay it out: in one line if it fits, else one item a line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

WIDTH: Final = 120
"""Most characters of a line."""
INDENT: Final = 4


@dataclass(frozen=True)
class Code:
    """An expression, which stands in the source as it is."""

    text: str


@dataclass(frozen=True)
class Call:
    """A call: positional arguments, then keywords, then what is unpacked.

    Attributes:
        name: what is called.
        positional: its positional arguments.
        keywords: its arguments by name.
        unpacked: names of dictionaries with further arguments by name.
        tall: one argument a line, even where one line would do.
    """

    name: str
    positional: Sequence[Any] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    unpacked: Sequence[str] = ()
    tall: bool = False


def literal(value: Any, indent: int = 0, used: int | None = None) -> str:
    """A value as source.

    Args:
        value: numbers, text, None, `Code`, `Call`, and lists and dictionaries of these.
        indent: columns before the line that the value starts on.
        used: columns before the value itself, where its line holds more than the indent.

    Returns:
        The source, without indent before its first line. A line longer than `WIDTH` holds one text that cannot be
        parted, and says so to linters.
    """
    opening, closing = _brackets(value)
    items = list(_items(value))
    tall = isinstance(value, Call) and value.tall
    # The comma that will follow counts too.
    if not tall and (not items or (indent if used is None else used) + len(inline(value)) < WIDTH):
        return inline(value)
    inner = indent + INDENT
    return "\n".join([opening, *(_line(head, item, inner) for head, item in items), " " * indent + closing])


def inline(value: Any) -> str:
    """A value as source in one line."""
    if isinstance(value, Code):
        return value.text
    if isinstance(value, str):
        return text(value)
    opening, closing = _brackets(value)
    if not opening:
        return repr(value)
    return opening + ", ".join(head + inline(item) for head, item in _items(value)) + closing


def text(value: str) -> str:
    """A string in double quotes, or in single ones where that saves backslashes."""
    double = json.dumps(value, ensure_ascii=False)
    if value.count('"') <= value.count("'"):
        return double
    return "'" + double[1:-1].replace("'", "\\'").replace('\\"', '"') + "'"


def assignment(name: str, value: Any) -> str:
    """`NAME = value` at the margin; an image's uri that is too long for one line is parted before its digest."""
    line = f"{name} = {literal(value, 0, len(name) + 3)}"
    if isinstance(value, str) and len(line) > WIDTH and "@" in value:
        head, at, tail = value.rpartition("@")
        return f"{name} = (\n    {text(head)}\n    {text(at + tail)}\n)"
    return excused(line)


def excused(line: str) -> str:
    """The line, with a word to linters where it is too long."""
    return line if "\n" in line or len(line) <= WIDTH else line + "  # noqa: E501"


def _line(head: str, item: Any, indent: int) -> str:
    start = " " * indent + head
    return excused(f"{start}{literal(item, indent, len(start))},")


def _brackets(value: Any) -> tuple[str, str]:
    """What opens and closes a value that has items; nothing for others."""
    if isinstance(value, Call):
        return f"{value.name}(", ")"
    if isinstance(value, Mapping):
        return "{", "}"
    return ("[", "]") if isinstance(value, Sequence) and not isinstance(value, str) else ("", "")


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """The items of a value, each with what stands before it."""
    if isinstance(value, Call):
        yield from (("", item) for item in value.positional)
        yield from ((f"{name}=", item) for name, item in value.keywords.items())
        yield from (("**", Code(name)) for name in value.unpacked)
    elif isinstance(value, Mapping):
        yield from ((f"{text(key)}: ", item) for key, item in value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield from (("", item) for item in value)
