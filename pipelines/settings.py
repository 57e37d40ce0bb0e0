"""The settings of components, judged before any job starts: each against its component's schema, with its line.

The schemas in `schemas/` are what `python -m components.<name> schema` prints; `make schemas` writes them and a test
compares. A value passes here whenever the component might take it (a number in quotes, a list as `a,b`); what only
the component can know, such as settings that contradict each other, it says when its job starts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from components.spec import NAMES
from pipelines.manifest import Document, Loc, Range, UseCase, at_most
from shared.errors import SettingsError, did_you_mean, names
from shared.settings import ENVIRONMENT_PREFIX, RESERVED_VARIABLES

FOLDER: Final = Path(__file__).with_name("schemas")
RESERVED: Final = frozenset(name.removeprefix(ENVIRONMENT_PREFIX).lower() for name in RESERVED_VARIABLES)
"""Names that reach a server as variables of the entrypoint, and are no settings of its component."""
BOOLEANS: Final = ("true", "false", "yes", "no", "on", "off", "1", "0")
OF_THE_IMAGE: Final = ("framework", "device")
"""Settings of the algorithm by which its image is chosen."""
KNOWN: Final = 12
"""So many known names are listed when none is near."""

Schema = Mapping[str, Any]
Problem = tuple[Loc, str]


def judge(use_case: UseCase) -> None:
    """Make sure that components can use the settings that a manifest gives them.

    Raises:
        SettingsError: they cannot; every problem is named, a line each.
    """
    document = use_case.document
    found = sorted(_problems(use_case, document))
    if found:
        raise SettingsError("\n".join(at_most(text for _, text in found)))


def _problems(use_case: UseCase, document: Document) -> Iterator[tuple[int, str]]:
    for name in NAMES:
        component = getattr(use_case.manifest.components, name)
        places: tuple[tuple[Loc, Mapping[str, Any]], ...] = (
            (("settings",), component.settings),
            (("train", "settings"), component.train.settings),
            (("serve", "settings"), component.serve.settings),
        )
        for below, settings in places:
            for path, text in problems(settings, schema_of(name)):
                loc = ("components", name, *below, *path)
                yield document.line(loc), f"{document.where(loc)}: {text}"
    tuning = use_case.manifest.components.algorithm.train.tuning
    for path, text in range_problems(tuning.ranges, schema_of("algorithm")) if tuning else ():
        loc = ("components", "algorithm", "train", "tuning", "ranges", *path)
        yield document.line(loc), f"{document.where(loc)}: {text}"


@cache
def schema_of(component: str) -> Schema:
    """The schema of a component's settings."""
    schema: Schema = json.loads((FOLDER / f"{component}.json").read_text(encoding="utf-8"))
    return schema


def problems(settings: Mapping[str, Any], schema: Schema) -> list[Problem]:
    """What is wrong with the settings: the path of each wrong thing, and a sentence."""
    return list(_Judge(schema).mapping(schema, settings, (), RESERVED))


def range_problems(ranges: Mapping[str, Range], schema: Schema) -> Iterator[Problem]:
    """What is wrong with the ranges of tuning: each end and each listed value has to be one that the setting takes."""
    owners: dict[str, str] = {}
    for name, found in ranges.items():
        own = own_name(name, schema)
        if own in owners:
            yield (name,), f"the same setting as {owners[own]!r}, wanted one range of each. Keep one of the two."
        owners.setdefault(own, name)
        if own in OF_THE_IMAGE:
            yield (name,), "no setting to tune: it decides on the image, which all trainings share. Fix it in settings."
            continue
        ends: tuple[tuple[Loc, Any], ...] = ((("min",), found.min), (("max",), found.max))
        listed: tuple[tuple[Loc, Any], ...] = tuple(((number,), value) for number, value in enumerate(found.values))
        for below, value in listed or ends:
            for (_, *inner), text in problems({name: value}, schema):
                unknown = own not in schema.get("properties", {})
                yield (name, *(() if unknown else (*below, *inner))), text
                if unknown:
                    break
            else:
                continue
            break


def own_name(name: str, schema: Schema) -> str:
    """A setting's own name, where another name of it was said."""
    return str(schema.get("synonyms", {}).get(name, name))


def is_whole(name: str, schema: Schema) -> bool | None:
    """Whether a setting takes whole numbers alone; None for one that the schema does not know."""
    own = schema.get("properties", {}).get(own_name(name, schema))
    if own is None:
        return None
    judge = _Judge(schema)
    kinds = {part.get("type") for part in judge.branches(judge.bare(own))}
    return "integer" in kinds and "number" not in kinds


class _Judge:
    """Compares values with parts of one schema, which may point at its definitions."""

    def __init__(self, schema: Schema) -> None:
        self._definitions = schema.get("$defs", {})

    def value(self, schema: Schema, value: Any, path: Loc) -> Iterator[Problem]:
        """What is wrong with a value."""
        schema = self.bare(schema)
        if not self.takes(schema, value):
            inner = [part for part in self.branches(schema) if _is_of_kind(part, value)]
            if len(inner) == 1 and isinstance(value, Mapping):
                yield from self.mapping(inner[0], value, path)
            elif len(inner) == 1 and isinstance(value, list) and "items" in inner[0] and self.fits_length(inner, value):
                for index, item in enumerate(value):
                    yield from self.value(inner[0]["items"], item, (*path, index))
            else:
                yield path, f"found {value!r}, wanted {self.described(schema)}."

    def mapping(
        self, schema: Schema, value: Mapping[str, Any], path: Loc, also: frozenset[str] = frozenset()
    ) -> Iterator[Problem]:
        """What is wrong with a mapping: its names, then its values."""
        properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        synonyms = schema.get("synonyms", {})
        for name, item in value.items():
            own = synonyms.get(name, name)
            if own in properties:
                yield from self.value(properties[own], item, (*path, name))
            elif isinstance(others, Mapping):
                yield from self.value(others, item, (*path, name))
            elif others is False and name not in also:
                yield (*path, name), f"no known setting.{_hint(name, (*properties, *synonyms))}"

    def bare(self, schema: Schema) -> Schema:
        """The schema that a reference points at."""
        while "$ref" in schema:
            schema = self._definitions[str(schema["$ref"]).rpartition("/")[2]]
        return schema

    def branches(self, schema: Schema) -> list[Schema]:
        """The alternatives of a schema, itself when there are none."""
        return [self.bare(part) for part in schema.get("anyOf", schema.get("oneOf", [schema]))]

    def takes(self, schema: Schema, value: Any) -> bool:
        """Whether a component might take the value."""
        return any(self._takes(self.bare(part), value) for part in self.branches(self.bare(schema)))

    def _takes(self, schema: Schema, value: Any) -> bool:
        if "enum" in schema or "const" in schema:
            return value in schema.get("enum", [schema.get("const")])
        kind = schema.get("type")
        if isinstance(value, str) and kind not in ("string", None):
            return self._takes_text(schema, kind, value)
        return _is_of_kind(schema, value) and self._fits(schema, kind, value)

    def _takes_text(self, schema: Schema, kind: str, text: str) -> bool:
        """Whether a text, as a hyperparameter is one, means something that fits."""
        if kind == "boolean":
            return text.lower() in BOOLEANS
        try:
            meant = json.loads(text)
        except ValueError:
            meant = [item.strip() for item in text.split(",")] if kind == "array" else None
        return meant is not None and not isinstance(meant, str) and self._takes(schema, meant)

    def _fits(self, schema: Schema, kind: str | None, value: Any) -> bool:
        if kind == "array":
            items = schema.get("items", {})
            return self.fits_length([schema], value) and all(self.takes(items, item) for item in value)
        if kind == "object":
            return not list(self.mapping(schema, value, ()))
        if kind == "string":
            long_enough = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
            return long_enough and re.search(schema.get("pattern", ""), value) is not None
        return all(holds(value, schema[name]) for name, (holds, _) in BOUNDS.items() if name in schema)

    def fits_length(self, schemas: Sequence[Schema], value: Sequence[Any]) -> bool:
        """Whether a list has as many items as one of the schemas wants."""
        return any(one.get("minItems", 0) <= len(value) <= one.get("maxItems", len(value)) for one in schemas)

    def described(self, schema: Schema) -> str:
        """What a schema wants, in words."""
        parts = [self._described(part) for part in self.branches(self.bare(schema)) if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))

    def _described(self, schema: Schema) -> str:
        if "enum" in schema:
            listed = [repr(value) for value in schema["enum"]]
            return " or ".join(listed) if len(listed) < 3 else f"one of {', '.join(listed)}"
        if "const" in schema:
            return repr(schema["const"])
        kind = schema.get("type")
        if kind == "array":
            least = schema.get("minItems", 0)
            inner = self.described(schema.get("items", {})).removeprefix("a ").removeprefix("one of ")
            return f"a list of {f'at least {least} of ' if least else ''}{inner}"
        bounds = [f"{word} {schema[name]:g}" for name, (_, word) in BOUNDS.items() if name in schema]
        if kind == "string" and schema.get("minLength") == schema.get("maxLength") == 1:
            return "one character"
        words = {"integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false"}
        return " ".join(filter(None, (words.get(str(kind), "a mapping"), " and ".join(bounds))))


BOUNDS: Final[Mapping[str, tuple[Callable[[float, float], bool], str]]] = {
    "minimum": (lambda value, bound: value >= bound, "of at least"),
    "exclusiveMinimum": (lambda value, bound: value > bound, "above"),
    "maximum": (lambda value, bound: value <= bound, "at most"),
    "exclusiveMaximum": (lambda value, bound: value < bound, "below"),
}


def _is_of_kind(schema: Schema, value: Any) -> bool:
    """Whether a value has the type that a schema wants, whatever its bounds."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "null": value is None,
        "boolean": isinstance(value, bool) or value in (0, 1),
        "integer": number and float(value).is_integer(),
        "number": number,
        "string": isinstance(value, str),
        "array": isinstance(value, list),
        "object": isinstance(value, Mapping),
        None: True,
    }[schema.get("type")]


def _hint(name: str, known: Sequence[str]) -> str:
    return did_you_mean(name, known) or f" Known: {names(sorted(known), KNOWN)}."
