"""Bodies of requests and answers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import polars as pl
import pytest

from shared.payload import RefusedRequest, accepted_type, body_of, check_encoding, media_type, table_of
from shared.schema import Column, Schema

SCHEMA = Schema(
    (Column("id", "text"), Column("x", "number"), Column("n", "integer"), Column("late", "integer")), ("id",), "late"
)
ROWS = [("a", 0.5, 1), ("b", None, 2)]


def parquet(table: pl.DataFrame) -> bytes:
    stream = io.BytesIO()
    table.write_parquet(stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/csv", b"a,0.5,1\nb,,2\n"),
        ("text/csv; charset=utf-8", b"a,0.5,1\r\nb,,2"),
        ("TEXT/CSV;header=absent", b"a,0.5,1\nb,,2\n\n"),
        ("text/csv; header=present", b"n,id,x\n1,a,0.5\n2,b,\n"),
        ("application/json", b'{"instances": [{"id": "a", "x": 0.5, "n": 1}, {"id": "b", "x": null, "n": 2}]}'),
        ("application/json", b'[["a", 0.5, 1], ["b", null, 2]]'),
        ("application/json", b'[{"n": 1, "x": 0.5, "id": "a"}, {"n": 2.0, "x": null, "id": "b"}]'),
        ("application/json", b'{"instances": [{"features": ["a", 0.5, 1]}, {"features": ["b", null, 2]}]}'),
        ("application/jsonlines", b'{"id": "a", "x": 0.5, "n": 1}\n{"id": "b", "n": 2, "x": null}\n'),
        ("application/x-parquet", parquet(pl.DataFrame(ROWS, schema=["id", "x", "n"], orient="row"))),
    ],
)
def test_every_form_of_the_same_rows_is_the_same_table(kind: str, body: bytes) -> None:
    table = table_of(body, media_type(kind), SCHEMA)

    assert table.select("id", "x", "n").rows() == ROWS


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0c", "\x1e"], ids=ascii)
def test_only_a_newline_ends_a_json_line(character: str) -> None:
    """Some of what Python takes for the end of a line is text in JSON, and the rest is no JSON in a string."""
    body = f'{{"id": "a{character}b", "x": 1, "n": 1}}\n{{"id": "c", "x": 1, "n": 1}}\r\n'.encode()
    if character < " ":
        with pytest.raises(RefusedRequest, match="Invalid control character"):
            table_of(body, media_type("application/jsonlines"), SCHEMA)
    else:
        rows = table_of(body, media_type("application/jsonlines"), SCHEMA)
        assert rows["id"].to_list() == [f"a{character}b", "c"]


@pytest.mark.parametrize("body", [b"[]", b'{"instances": []}'])
def test_a_list_of_no_rows_is_a_table_without_rows(body: bytes) -> None:
    assert table_of(body, media_type("application/json"), SCHEMA).height == 0


def test_ids_may_be_left_out() -> None:
    assert table_of(b"0.5,1\n", media_type(None), SCHEMA).columns == ["x", "n"]


@pytest.mark.parametrize("body", [b"0.5,1", b"0.5,1\n", b"0.5,1\r\n", b"0.5,1\n\n"])
def test_one_record_is_one_row_however_its_line_ends(body: bytes) -> None:
    assert table_of(body, media_type("text/csv"), SCHEMA).height == 1


@pytest.mark.parametrize(
    "cell", ["", "-0", "-0.0", "1e5", "2.5E-07", "0.30000000000000004", "9007199254740993", "NA", "3.0000000000000001"]
)
def test_a_cell_is_the_same_number_however_many_rows_are_sent_with_it(cell: str) -> None:
    """A few rows are read by Python, many by Polars."""
    row = f"{cell},7\n".encode()
    alone, among = table_of(row, media_type(None), SCHEMA), table_of(row * 5000, media_type(None), SCHEMA)

    assert alone.dtypes == among.dtypes
    assert repr(alone.rows() * 5000) == repr(among.rows())  # which tells 0.0 and -0.0 apart


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("text/csv", b"1,2,3,4,5\n", "line 1 has 5 values, wanted 2 or 3: 'id', 'x', 'n'"),
        ("text/csv", b"x,n\n1,2\n", "header line where none was said"),
        ("text/csv", b"0.5,one\n", "row 1: column 'n' is 'one', wanted an integer"),
        ("text/csv", b"0.5,1\n0.5\n0.5,1,2\n", "cannot be read"),
        ("text/csv; header=present", b"x,m\n1,2\n", "the rows lack 'n'; they have 'x', 'm'"),
        ("application/json", b'{"x": 1}', "row 1 lacks 'n'; it has 'x'."),
        ("application/json", b"{}", "row 1 lacks 'x', 'n'; it has nothing."),
        ("application/json", b'[{"x": 1, "n": 1}, {}]', "row 2 lacks 'x', 'n'; it has nothing."),
        (
            "application/jsonlines",
            b'{"id": "a", "x": 1, "n": 1}\n{"x": 1, "n": 1}',
            "row 2 lacks 'id'; it has 'x', 'n'.",
        ),
        ("application/json", rb'[["\ud800", 1, 2]]', "cannot be read as application/json"),
        ("application/json", rb'{"id": "\udfff", "x": 1, "n": 1}', "cannot be read as application/json"),
        ("application/json", b"{", "is no application/json"),
        ("application/json", b'"text"', "wanted an object"),
        ("application/json", b"[[1]]", "row 1 has 1 values"),
        ("application/json", b'[{"x": [1], "n": 1}]', "column 'x' is '[1]'"),
        ("application/jsonlines", b"\xff", "is no application/jsonlines"),
        ("application/jsonlines", b'{"x": 1, "n": 1, "id": "a"}\n{x\n', "line 2 of the body is no"),
        ("application/json", b"[" * 100_000, "is no application/json"),
        ("application/jsonlines", b'{"x": ' + b"1" * 6000 + b"}", "a number has thousands of digits"),
        ("text/csv", b"a,1,2\nb,1\n", "line 2 has 2 values, wanted 3"),
        ("text/csv", b"a,1,2\n1,2\nb,1,2\n", "line 2 has 2 values, wanted 3"),
        ("text/csv", b'"a,b",1,2\n"c",1\n', "line 2 has 2 values, wanted 3"),
        ("text/csv; header=present", b"id,x,n\na,1,2\nb,1\n", "line 3 has 2 values, wanted 3"),
        ("application/x-parquet", b"PAR", "cannot be read"),
    ],
)
def test_a_body_that_does_not_fit_is_told_in_one_sentence(kind: str, body: bytes, said: str) -> None:
    with pytest.raises(RefusedRequest) as caught:
        table_of(body, media_type(kind), SCHEMA)

    assert said in str(caught.value)
    assert caught.value.status == 400


def test_an_unknown_content_type_is_415() -> None:
    with pytest.raises(RefusedRequest, match="'text/libsvm' is not read") as caught:
        media_type("text/libsvm")
    assert caught.value.status == 415


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, "text/csv"),
        ("*/*", "text/csv"),
        ("application/json", "application/json"),
        ("text/html, application/json;q=0.9", "application/json"),
        ("application/*", "application/json"),
        ("application/x-ndjson", "application/jsonlines"),
        ("application/json;q=0, text/csv", "text/csv"),
        ("text/csv; q=0.000, */*", "application/json"),
        ("application/json;q=0.0,application/*", "application/jsonlines"),
        ("application/json;q=0.01, text/html", "application/json"),
    ],
)
def test_the_answer_has_a_type_that_was_asked_for(accept: str | None, wanted: str) -> None:
    assert accepted_type(accept, "text/csv") == wanted


@pytest.mark.parametrize("accept", ["image/png", "text/csv;q=0", "*/*;q=0", "text"])
def test_an_answer_in_no_known_type_is_406(accept: str) -> None:
    with pytest.raises(RefusedRequest) as caught:
        accepted_type(accept, "text/csv")
    assert caught.value.status == 406


@pytest.mark.parametrize("judge", [media_type, check_encoding, lambda text: accepted_type(text, "text/csv")])
def test_a_sentence_repeats_the_beginning_of_a_long_header_alone(judge: Callable[[str], object]) -> None:
    with pytest.raises(RefusedRequest, match="xxx…' ") as caught:
        judge("x" * 7000)
    assert len(str(caught.value)) < 300


def test_a_sentence_repeats_the_beginning_of_a_long_row_alone() -> None:
    with pytest.raises(RefusedRequest, match="row 1 is 'xxx") as caught:
        table_of(b'"' + b"x" * 7000 + b'"', media_type("application/json"), SCHEMA)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_a_csv_answer_has_one_line_a_row_and_ends_with_a_newline(rows: int) -> None:
    body = body_of(pl.DataFrame({"score": [0.5] * rows}), "text/csv")

    assert body == b"0.5\n" * rows


@pytest.mark.parametrize("value", [0.1, 1e-7, 1e16, 123456.0, -0.0, float("nan"), float("inf"), None])
@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float64])
def test_a_csv_answer_writes_a_number_alike_however_many_rows_it_has(value: float | None, dtype: pl.DataType) -> None:
    few, many = (
        pl.DataFrame({"score": [value] * rows, "n": 7}, schema_overrides={"score": dtype}) for rows in (1, 100)
    )

    assert body_of(few, "text/csv") * 100 == body_of(many, "text/csv")


@pytest.mark.parametrize("rows", [1, 100])
def test_rows_of_one_value_come_back_as_many_as_went_though_one_is_missing(rows: int) -> None:
    """A blank line would be one fewer to whoever reads it, and each later score another row's."""
    table = pl.DataFrame({"x": [1.0, None, 3.0] * rows})
    body = body_of(table, "text/csv")

    assert body == b'1.0\n""\n3.0\n' * rows
    assert table_of(body, media_type("text/csv"), Schema((Column("x", "number"),))).equals(table)


@pytest.mark.parametrize("body", [b"1\n\n3\n", b"1\r\n\r\n3\r\n", b"1\n\n\n3"])
def test_a_blank_line_among_rows_of_one_value_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedRequest, match="line 2 is empty, wanted one value a line"):
        table_of(body, media_type("text/csv"), Schema((Column("x", "number"),)))


def test_blank_lines_around_rows_of_one_value_are_passed_over() -> None:
    table = table_of(b"\n1\n3\n\n\n", media_type("text/csv"), Schema((Column("x", "number"),)))

    assert table["x"].to_list() == [1, 3]


def test_a_json_answer_is_strict_json() -> None:
    assert json.loads(body_of(pl.DataFrame({"score": [0.5]}), "application/json")) == {"predictions": [{"score": 0.5}]}
