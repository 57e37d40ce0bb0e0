"""The report document: what goes in comes out of JSON unchanged."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import DataError
from shared.report import (
    Bars,
    Fact,
    Facts,
    Graph,
    Histograms,
    Lines,
    Node,
    Report,
    Section,
    Series,
    Swarm,
    Table,
    Text,
    read_report,
    write_report,
)
from shared.report.document import SERIES_POINTS, SWARM_POINTS, Record


class Array:
    """Stands for a numpy array or scalar, which this package never imports."""

    def __init__(self, value: object) -> None:
        self.value = value

    def tolist(self) -> object:
        return self.value


def test_every_kind_of_block_survives_json_unchanged(reports: tuple[Report, ...]) -> None:
    for report in reports:
        text = json.dumps(report.to_json(), allow_nan=False)

        assert Report.from_json(json.loads(text)) == report


def test_the_example_holds_every_kind_there_is(reports: tuple[Report, ...]) -> None:
    text = json.dumps([report.to_json() for report in reports])

    assert all(f'"kind": "{kind}"' in text for kind in Record.KINDS)


def test_a_report_written_to_a_folder_is_read_back_equal(reports: tuple[Report, ...], tmp_path: Path) -> None:
    write_report(reports[3], tmp_path / "report")

    assert read_report(tmp_path / "report") == reports[3]
    assert read_report(tmp_path / "report" / "report.json") == reports[3]
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["report.html", "report.json"]


def test_nan_and_infinity_become_null() -> None:
    bars = Bars("b", ("a", "b", "c"), (math.nan, math.inf, 1.5))

    assert bars.values == (None, None, 1.5)
    assert '"values": [null, null, 1.5]' in json.dumps(bars.to_json(), allow_nan=False)


def test_arrays_and_lists_become_tuples_of_plain_numbers() -> None:
    series = Series("s", Array([1, 2]), [0.5, math.nan])  # type: ignore[arg-type]

    assert series == Series("s", (1, 2), (0.5, None))
    assert Fact("rows", Array(7)).value == 7  # type: ignore[arg-type]


def test_a_value_that_is_no_text_or_number_is_refused() -> None:
    with pytest.raises(TypeError, match="text, numbers and sequences of them, not object"):
        Fact("f", object())  # type: ignore[arg-type]


def test_characters_that_xml_forbids_are_replaced() -> None:
    assert Text("a\x00b\ud800c\td").paragraph == "a\ufffdb\ufffdc\td"


def test_a_swarm_keeps_its_extremes_and_at_most_300_points() -> None:
    values = tuple(float(index * 7919 % 10_007) for index in range(10_007))

    swarm = Swarm("f", values, values)

    assert len(swarm.values) == SWARM_POINTS == 300
    assert (swarm.values[0], swarm.values[-1]) == (0.0, 10_006.0)
    assert swarm.colours == swarm.values


def test_a_swarm_is_thinned_by_rank_so_its_median_stays() -> None:
    swarm = Swarm("f", tuple(float(index) for index in range(100_001)))

    middle = sorted(value for value in swarm.values if value is not None)[len(swarm.values) // 2]
    assert middle == pytest.approx(50_000, rel=0.005)


def test_a_swarm_leaves_out_missing_attributions_with_their_colour() -> None:
    assert Swarm("f", (2.0, math.nan, 1.0), (0.2, 0.9, None)) == Swarm("f", (1.0, 2.0), (None, 0.2))


def test_a_long_line_is_thinned_and_keeps_both_ends() -> None:
    long = Series("s", tuple(range(30_000)), tuple(range(30_000)))

    assert len(long.x) == SERIES_POINTS
    assert (long.x[0], long.x[-1]) == (0, 29_999)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Bars("b", ("a",), (1, 2)), "values has 2 items, wanted 1"),
        (lambda: Series("s", (1,), ()), "y has 0 items, wanted 1"),
        (lambda: Lines("l", "x", "y", (Series("s", (1, 3), (0, 0)),), names=("a", "b")), "'l' has 2 names"),
        (lambda: Table(("a", "b"), ((1,),)), "row 0 has 1 cells, wanted 2"),
        (lambda: Table(("a", "b"), (), align="lx"), "align is 'lx'"),
        (lambda: Histograms("h", (0, 1), (1, 2), (1, 2)), "2 edges, wanted 3"),
        (lambda: Histograms("h", (0, 2, 1), (1, 2), (1, 2)), "not ascending"),
        (lambda: Histograms("h", (0, None, 1), (1, 2), (1, 2)), "one inside is missing"),
        (lambda: Histograms("h", (0, 1), (1,), (1,), state="fine"), "state is 'fine', wanted one of"),
        (lambda: Swarm("s", (1, 2), (0.5,)), "1 colours, wanted 2"),
        (lambda: Graph((Node("a", "a"),), (("a", "b"),)), "an edge names 'b'"),
        (lambda: Graph((Node("a", "a"), Node("a", "b")), ()), "the same id"),
    ],
)
def test_fields_that_do_not_fit_are_refused_with_what_was_found_and_wanted(make: object, said: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "is not a report"),
        ({"kind": "report", "format": 99}, "format 99, wanted 1"),
        ({"kind": "report", "format": 1, "title": "t"}, "can not be read"),
        ({"kind": "report", "format": 1, "sections": [{"kind": "pie"}]}, "kind 'pie', wanted one of"),
        ({"kind": "report", "format": 1, "sections": [{"kind": "text", "colour": "red"}]}, "can not be read"),
        ({"kind": "report", "format": 1, "sections": [{"kind": ["text"]}]}, "has kind"),
    ],
)
def test_json_that_is_no_report_is_refused_in_one_sentence(document: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Report.from_json(document)


def test_reading_names_the_file_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"kind": "model"}', encoding="utf-8")

    with pytest.raises(DataError, match=r"report\.json: this JSON is not a report"):
        read_report(tmp_path)


def test_a_report_is_frozen_and_replaceable() -> None:
    report = Report("t", "c", "train", 0, (Section("s", (Facts(()), Lines("l", "x", "y", ()))),))

    assert replace(report, verdict="fine").verdict == "fine"
    with pytest.raises(AttributeError):
        report.title = "u"  # type: ignore[misc]
