"""`profile.json`: what each column of each part holds, in figures."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any, Final

from components.processing.passes import Known
from shared.schema import Column, Type

FORMAT: Final = 1


def profile(columns: Iterable[Column], known: Known) -> dict[str, Any]:
    """The profile as JSON values: rows by part, and by column its type and a summary by part that has rows."""
    filled = [part for part, rows in known.rows.items() if rows]
    return {
        "format": FORMAT,
        "rows": dict(known.rows),
        "columns": [
            {
                "name": column.name,
                "type": column.type,
                "parts": {part: readable(known.columns[part][column.name].result(), column.type) for part in filled},
            }
            for column in columns
        ],
    }


def readable(figures: dict[str, Any], kind: Type) -> dict[str, Any]:
    """Figures of dates as dates; the others unchanged."""
    if kind not in ("date", "datetime"):
        return figures
    kept = {name: value for name, value in figures.items() if name != "deviation"}
    return kept | {name: moment(kept[name], kind) for name in ("minimum", "mean", "maximum")}


def moment(value: float | None, kind: Type) -> str | None:
    """A day or a microsecond since 1970 as text."""
    if value is None:
        return None
    if kind == "date":
        return (date(1970, 1, 1) + timedelta(days=int(value))).isoformat()
    return (datetime(1970, 1, 1) + timedelta(microseconds=int(value))).isoformat()
