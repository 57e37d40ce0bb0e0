"""SVG as text: elements with escaped attributes, labels that fit, the frame and axes that charts share.

Colours are class names (`page.css` gives them a value for light and for dark), so a drawing holds no colour of its own.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from shared.report.document import printable
from shared.report.scales import Scale, tick_labels

LETTER = 6.7
"""Width allowed for a letter at the charts' 11 px, in px: the mean in DejaVu Sans, the widest system sans font."""


def escape(text: str) -> str:
    """Text as XML content or attribute value."""
    return html.escape(printable(text))


def coordinate(value: float) -> str:
    """A position to a tenth of a pixel, without trailing zeros."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def element(name: str, *children: str, **attributes: str | float | None) -> str:
    """One element; `class_` is class, other underscores are hyphens, None leaves an attribute out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value) if isinstance(value, str) else coordinate(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{''.join(children)}</{name}>" if children else f"<{name}{written}/>"


def drawing(width: float, height: float, title: str, *children: str, class_: str = "chart") -> str:
    """The root element: an image with a name for those who can not see it, drawn at most `width` px wide.

    A wide one shrinks by a quarter at most, so that its text stays readable; then its box on the page scrolls.
    """
    least = f' style="min-width:{coordinate(0.75 * width)}px"' if width > 400 else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{class_}" role="img" viewBox="0 0 {coordinate(width)} '
        f'{coordinate(height)}" width="{coordinate(width)}" height="{coordinate(height)}"{least}>'
        f"<title>{escape(title)}</title>{''.join(children)}</svg>"
    )


def width_of(text: str) -> float:
    """About how wide a text is drawn, in px."""
    return LETTER * sum(1.9 if ord(letter) >= 0x1100 else 1.15 if letter.isupper() else 1.0 for letter in text)


def shortened(text: str, room: float) -> str:
    """The text cut to about `room` px, an ellipsis where something is missing."""
    if width_of(text) <= room:
        return text
    kept = text
    while kept and width_of(kept) + LETTER > room:
        kept = kept[:-1]
    return kept.rstrip() + "\u2026"


def label(x: float, y: float, text: str, *, room: float = 1e9, anchor: str = "start", class_: str = "") -> str:
    """Text at a baseline, cut to `room` px; what was cut is in its title."""
    shown = shortened(text, room)
    children = [escape(shown)] if shown == text else [element("title", escape(text)), escape(shown)]
    where = None if anchor == "start" else anchor
    return element("text", *children or [""], x=x, y=y, text_anchor=where, class_=class_ or None)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    """A straight line."""
    return element("path", d=f"M{coordinate(x1)} {coordinate(y1)}L{coordinate(x2)} {coordinate(y2)}", class_=class_)


def box(left: float, top: float, width: float, height: float, class_: str, title: str = "", radius: float = 0) -> str:
    """A rectangle; its title shows what it stands for when pointed at."""
    children = [element("title", escape(title))] if title else []
    return element(
        "rect",
        *children,
        x=left,
        y=top,
        width=max(width, 0.0),
        height=max(height, 0.0),
        rx=radius or None,
        class_=class_,
    )


def polyline(points: Sequence[tuple[float, float]]) -> str:
    """Path data through the points; points that fall on the one before are dropped."""
    written: list[str] = []
    for x, y in points:
        place = f"{coordinate(x)} {coordinate(y)}"
        if not written or written[-1] != place:
            written.append(place)
    return "M" + "L".join(written) if written else ""


def bottom_axis(scale: Scale, marks: Sequence[float], y: float, texts: Sequence[str] | None = None) -> str:
    """Mark labels under a plot, with short strokes."""
    parts = []
    for mark, text in zip(marks, texts or tick_labels(marks), strict=True):
        x = scale(mark)
        parts.append(line(x, y, x, y + 4, "axis"))
        parts.append(label(x, y + 15, text, anchor="middle", class_="mark"))
    return "".join(parts)


def left_axis(scale: Scale, marks: Sequence[float], left: float, right: float) -> str:
    """Mark labels left of a plot, with hairlines across it."""
    parts = []
    for mark, text in zip(marks, tick_labels(marks), strict=True):
        y = scale(mark)
        parts.append(line(left, y, right, y, "hair"))
        parts.append(label(left - 6, y + 3.8, text, anchor="end", class_="mark"))
    return "".join(parts)
