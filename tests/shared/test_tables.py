"""Tables: formats, names, types, order, and what is said about files that cannot be used."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import DataError
from shared.schema import Column, Schema
from shared.tables import (
    HEADERLESS,
    Csv,
    batches,
    column_names,
    conformed,
    files_in,
    inferred_schema,
    raw_batches,
    read,
    write_csv,
    write_parquet,
)

SCHEMA = Schema((Column("id", "text"), Column("n", "integer"), Column("x", "number")), ids=("id",))
FRAME = pl.DataFrame({"id": ["a", "b", "c"], "n": [1, 2, None], "x": [0.5, None, -1.0]})


def stored(folder: Path, name: str, content: bytes | str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.jsonl", "t.jsonl.gz"])
def test_every_format_gives_the_same_table(tmp_path: Path, name: str) -> None:
    if "csv" in name:
        content = FRAME.write_csv().encode()
    elif "jsonl" in name:
        content = FRAME.write_ndjson().encode()
    else:
        FRAME.write_parquet(tmp_path / "x")
        content = (tmp_path / "x").read_bytes()
    stored(tmp_path / "data", name, gzip.compress(content) if name.endswith(".gz") else content)

    files = files_in(tmp_path / "data", "input 'data'")

    assert read(files, SCHEMA).equals(FRAME)


def test_rows_keep_their_order_across_files_and_batches(tmp_path: Path) -> None:
    for part in range(3):
        rows = range(part * 1000, part * 1000 + 1000)
        stored(tmp_path, f"part-{part}.csv", "n\n" + "".join(f"{i}\n" for i in rows))
    schema = Schema((Column("n", "integer"),))

    found = [batch for batch in batches(files_in(tmp_path, "data"), schema, rows=300)]

    assert max(batch.height for batch in found) <= 1000
    assert pl.concat(found)["n"].to_list() == list(range(3000))


def test_columns_are_found_by_name_whatever_their_order(tmp_path: Path) -> None:
    path = stored(tmp_path, "t.csv", "x,extra,n,id\n0.5,?,1,a\n")

    assert read([path], SCHEMA).row(0) == ("a", 1, 0.5)


def test_headerless_columns_are_found_by_position(tmp_path: Path) -> None:
    path = stored(tmp_path, "part.csv.out", "a,1,0.5\nb,2,\n")

    assert read([path], SCHEMA, HEADERLESS).rows() == [("a", 1, 0.5), ("b", 2, None)]


def test_a_missing_cell_of_the_only_column_is_no_blank_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    table = pl.DataFrame({"x": [1.0, None, 3.0]})

    assert write_csv(path, [table], header=False) == 3
    assert path.read_text() == '1.0\n""\n3.0\n'
    assert read([path], Schema((Column("x", "number"),)), HEADERLESS).equals(table)


def test_missing_columns_are_named_with_the_nearest_name(tmp_path: Path) -> None:
    path = stored(tmp_path, "t.csv", "id,nn,x\na,1,2\n")

    with pytest.raises(DataError, match=r"t.csv lacks column 'n'; it has 'id', 'nn', 'x'\. Did you mean 'nn'"):
        read([path], SCHEMA)


def test_a_header_where_none_was_said_is_told(tmp_path: Path) -> None:
    path = stored(tmp_path, "t.csv", "id,n,x\na,1,2\n")

    with pytest.raises(DataError, match="has a header line where none was said"):
        read([path], SCHEMA, HEADERLESS)


def test_no_header_where_one_was_said_is_told(tmp_path: Path) -> None:
    path = stored(tmp_path, "t.csv", "a,1,2\nb,2,3\n")

    with pytest.raises(DataError, match="If its first line is data, say that there is no header"):
        read([path], SCHEMA)


def test_another_number_of_columns_is_told(tmp_path: Path) -> None:
    path = stored(tmp_path, "t.csv", "a,1\n")

    with pytest.raises(DataError, match="has 2 columns, wanted 3"):
        read([path], SCHEMA, HEADERLESS)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n\xff\xfe\x00\x01", b"id,n,x\na,1,2,3,4\n"])
def test_a_file_that_is_no_csv_is_told_by_name(tmp_path: Path, content: bytes) -> None:
    path = stored(tmp_path, "t.csv", content)

    with pytest.raises(DataError, match=r"^t\.csv "):
        read([path], SCHEMA)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("t.csv", "id,n,x\na,1,2\nb,1\n", 3),
        ("t.csv", "id,n,x\na,1,2\nb,1", 3),
        ("t.csv", 'id,n,x\n"a,b",1,2\n\nb,1\n', 4),
        ("t.csv.gz", "id,n,x\na,1,2\nb,1\n", 3),
    ],
)
def test_a_line_that_is_too_short_is_told_by_its_number(tmp_path: Path, name: str, content: str, line: int) -> None:
    path = stored(tmp_path, name, gzip.compress(content.encode()) if name.endswith(".gz") else content)

    with pytest.raises(DataError, match=rf"line {line} has 2 cells, wanted 3"):
        read([path], SCHEMA)


@pytest.mark.parametrize("content", ["id,n,x\r\na,1,2\r\n", 'id,n,x\n"a\nb",1,2\n', "id,n,x\na,1,2"])
def test_lines_of_equal_width_are_read_however_they_end(tmp_path: Path, content: str) -> None:
    assert read([stored(tmp_path, "t.csv", content)], SCHEMA).height == 1


def test_a_file_that_is_no_parquet_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.parquet cannot be read as Parquet"):
        read([stored(tmp_path, "t.parquet", "a,b\n")], SCHEMA)


def test_a_column_named_twice_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="names column 'n' twice"):
        column_names(stored(tmp_path, "t.csv", "n,n\n1,2\n"))


@pytest.mark.parametrize("mark", [";", "\t", "|"])
@pytest.mark.parametrize("rows", ["a;1;2\n", "a;1,5;2\n", ""], ids=["plain", "with decimal commas", "none"])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_another_separator_than_the_comma_is_told_with_both_ways_out(
    tmp_path: Path, mark: str, rows: str, name: str
) -> None:
    content = f"id;n;x\n{rows}".replace(";", mark).encode()
    path = stored(tmp_path, name, gzip.compress(content) if name.endswith(".gz") else content)

    for reads in (column_names, lambda path: inferred_schema([path]), lambda path: read([path], SCHEMA)):
        with pytest.raises(DataError) as refusal:
            reads(path)
        assert str(refusal.value) == (
            f"{name} has one column, {f'id{mark}n{mark}x'!r}, wanted columns with commas between them. Write it with "
            f"commas, or set `separator` to {mark!r} where the component has that setting (processing, monitoring)."
        )


def test_of_a_long_header_the_beginning_is_shown(tmp_path: Path) -> None:
    path = stored(tmp_path, "t.csv", ";".join(f"c{number}" for number in range(8_000)) + "\n")

    with pytest.raises(DataError, match=r"has one column, 'c0;c1;c2;[c0-9;]*…', wanted") as refusal:
        column_names(path)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("content", "csv", "found"),
    [
        ("id;n;x\na;1;2\n", Csv(separator=";"), ("id", "n", "x")),
        ("id;n|m\na;1\n", Csv(separator=";"), ("id", "n|m")),
        ("id|n\na\n", Csv(separator=";"), ("id|n",)),
        ("a;1;2\nb;3;4\n", HEADERLESS, ("column_1",)),
        ("n;m,id\na,1\n", Csv(), ("n;m", "id")),
        ("id\na;b\n", Csv(), ("id",)),
        ('"n,m",id\na,1\n', Csv(), ("n,m", "id")),
        ('"n,m"\na\n', Csv(), ("n,m",)),
    ],
)
def test_only_a_lone_column_between_commas_is_taken_for_several(
    tmp_path: Path, content: str, csv: Csv, found: tuple[str, ...]
) -> None:
    assert column_names(stored(tmp_path, "t.csv", content), csv) == found


def test_columns_of_other_formats_are_called_as_they_like(tmp_path: Path) -> None:
    assert column_names(stored(tmp_path, "t.jsonl", '{"id;n": 1}\n')) == ("id;n",)


def test_a_value_of_the_wrong_type_is_named_with_row_and_column(tmp_path: Path) -> None:
    path = stored(tmp_path, "t.csv", "id,n,x\na,1,2\nb,two,3\n")

    with pytest.raises(DataError, match=r"t\.csv, row 2: column 'n' is 'two', wanted an integer\."):
        read([path], SCHEMA)


def test_the_row_of_a_wrong_value_counts_over_batches(tmp_path: Path) -> None:
    path = stored(tmp_path, "t.csv", "n\n" + "1\n" * 500 + "?\n")

    with pytest.raises(DataError, match="row 501"):
        list(batches([path], Schema((Column("n", "integer"),)), rows=100))


def test_an_infinite_number_does_not_fit_and_nan_is_missing() -> None:
    table, reasons = conformed(pl.DataFrame({"x": ["inf", "NaN", "-Infinity", "1"]}), Schema((Column("x", "number"),)))

    assert reasons.is_null().to_list() == [False, True, False, True]
    assert table["x"].to_list()[1] is None


def test_nan_in_a_float_column_is_missing_and_not_wrong() -> None:
    table, reasons = conformed(pl.DataFrame({"x": [float("nan"), 1.0]}), Schema((Column("x", "number"),)))

    assert table["x"].to_list() == [None, 1.0]
    assert reasons.null_count() == 2


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3.0", "integer", 3),
        ("9007199254740993", "integer", 9007199254740993),
        ("3.5", "integer", None),
        ("TRUE", "boolean", True),
        ("0", "boolean", False),
        ("2013-05-01", "date", "2013-05-01"),
        ("01/05/2013", "date", None),
        ("2013-05-01T10:00:00Z", "datetime", "2013-05-01 10:00:00.000000"),
        ("2013-05-01 10:00:00", "datetime", "2013-05-01 10:00:00.000000"),
        (" 7 ", "number", 7.0),
    ],
)
def test_text_becomes_what_the_schema_says(text: str, kind: str, value: object) -> None:
    table, _ = conformed(pl.DataFrame({"c": [text]}), Schema((Column("c", kind),)))  # type: ignore[arg-type]

    found = table["c"][0]
    assert (str(table["c"].cast(pl.String)[0]) if isinstance(value, str) else found) == value


@pytest.mark.parametrize("kind", ["number", "integer", "boolean"])
def test_a_date_is_no_number(kind: str) -> None:
    dates = pl.DataFrame({"c": ["2013-01-01", None]}, schema={"c": pl.String}).select(pl.col("c").str.to_date())

    table, reasons = conformed(dates, Schema((Column("c", kind),)))  # type: ignore[arg-type]

    assert table["c"].to_list() == [None, None]
    assert reasons.is_not_null().to_list() == [True, False]


def test_missing_cells_are_missing_for_every_type(tmp_path: Path) -> None:
    path = stored(tmp_path, "t.csv", "id,n,x\n,NA,NaN\n")

    assert read([path], SCHEMA).row(0) == (None, None, None)


def test_types_are_inferred_from_the_values(tmp_path: Path) -> None:
    path = stored(tmp_path, "t.csv", "d,n,x,s,b\n2013-01-01,1,1.5,a,true\n2013-01-02,2,NA,b,false\n")

    found = inferred_schema([path], ids=["s"], target="b")

    assert [column.type for column in found.columns] == ["date", "integer", "number", "text", "boolean"]
    assert found.features == ("d", "n", "x")


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1"] * 70_000 + ["1.5"], "number"),
        (["5"] * 70_000 + ["true"], "text"),
        (["1", "true"], "boolean"),
        (["2013-01-01"] * 70_000 + ["2013-01-01 10:00:00"], "datetime"),
        (["NA"] * 70_000 + ["7"], "integer"),
        (["NA", ""], "text"),
        (["1.0", "2"], "number"),
    ],
)
def test_a_type_widens_when_later_cells_want_it(tmp_path: Path, cells: list[str], kind: str) -> None:
    path = stored(tmp_path, "t.csv", "other,c\n" + "".join(f"x,{cell}\n" for cell in cells))

    assert inferred_schema([path]).column("c").type == kind


def test_a_target_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lacks column 'late'"):
        inferred_schema([stored(tmp_path, "t.csv", "lat\n1\n")], target="late")


def test_a_header_without_rows_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a header and no rows"):
        inferred_schema([stored(tmp_path, "t.csv", "a,b\n")])


@pytest.mark.parametrize(
    ("names", "said"),
    [([], "is empty"), (["a.xlsx"], "'a.xlsx'"), (["a.csv", "b.parquet"], "mixes formats"), (["_SUCCESS"], "is empty")],
)
def test_a_folder_without_usable_files_is_told(tmp_path: Path, names: list[str], said: str) -> None:
    for name in names:
        stored(tmp_path, name, "x")

    with pytest.raises(DataError, match=said):
        files_in(tmp_path, "channel 'train'")


def test_markers_and_hidden_files_are_no_data(tmp_path: Path) -> None:
    stored(tmp_path / ".staging-1", "a.csv", "x")
    stored(tmp_path, "_SUCCESS", "")
    stored(tmp_path / "day=1", "a.csv", "x")

    assert [path.name for path in files_in(tmp_path, "data")] == ["a.csv"]


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\r")),
            st.integers(-(2**62), 2**62),
            st.floats(allow_nan=False, allow_infinity=False),
        )
    )
)
def test_what_is_written_as_csv_or_parquet_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, float]]
) -> None:
    """Quotes, commas, line breaks and leading spaces survive; text that means missing is missing."""
    folder = tmp_path_factory.mktemp("round")
    schema = Schema((Column("s", "text"), Column("n", "integer"), Column("x", "number")))
    table = pl.DataFrame(rows, schema=schema.dtypes(), orient="row")
    expected = table.with_columns(pl.when(~pl.col("s").is_in(Csv().missing)).then("s"))

    assert write_parquet(folder / "t.parquet", [table], schema.dtypes()) == len(rows)
    assert read([folder / "t.parquet"], schema).equals(table)
    if rows:
        assert write_csv(folder / "t.csv", [table.slice(0, 1), table.slice(1)], header=True) == len(rows)
        assert read([folder / "t.csv"], schema).equals(expected)


def test_the_same_table_gives_the_same_parquet_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_parquet(tmp_path / name, [FRAME, FRAME], SCHEMA.dtypes())

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_failing_source_leaves_no_file(tmp_path: Path) -> None:
    def source() -> object:
        yield FRAME
        raise DataError("row 4 is bad.")

    with pytest.raises(DataError, match="row 4"):
        write_csv(tmp_path / "t.csv", source(), header=True)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="row 4"):
        write_parquet(tmp_path / "t.parquet", source(), SCHEMA.dtypes())  # type: ignore[arg-type]

    assert list(tmp_path.iterdir()) == []


def test_raw_batches_keep_cells_as_text(tmp_path: Path) -> None:
    path = stored(tmp_path, "t.csv", "n,id\n007,a\n")

    assert next(raw_batches([path], ["id", "n"])).row(0) == ("a", "007")


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize("first", ["x^2", "x\x01"])
def test_text_that_begins_as_zlib_does_is_read_as_text(tmp_path: Path, name: str, first: str) -> None:
    """Left to Polars, `x^2` is an error, or a table without rows."""
    content = f"{first},y\n1,2\n3,4\n".encode()
    path = stored(tmp_path, name, gzip.compress(content) if name.endswith(".gz") else content)

    (table,) = raw_batches([path], (first, "y"))
    (bare,) = raw_batches([path], ("a", "b"), HEADERLESS)

    assert column_names(path) == (first, "y")
    assert table.rows() == [("1", "2"), ("3", "4")]
    assert bare.rows() == [(first, "y"), ("1", "2"), ("3", "4")]


def test_a_single_column_that_begins_as_zlib_does_keeps_its_rows(tmp_path: Path) -> None:
    path = stored(tmp_path, "t.csv", "x^2\n1\n")

    assert read([path], inferred_schema([path])).to_dict(as_series=False) == {"x^2": [1]}


@pytest.mark.parametrize("cell", ["0.25", "t", " 7 ", "Infinity"])
def test_reading_asks_the_whole_table_equally_often_however_many_columns_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str
) -> None:
    """Its schema costs time for each column, so that asking once a column makes a wide table take minutes."""
    asked: list[str] = []
    known = vars(pl.DataFrame)["schema"].fget

    def counted(table: pl.DataFrame) -> Any:
        asked.append("schema")
        return known(table)

    monkeypatch.setattr(pl.DataFrame, "schema", property(counted))

    def questions(columns: int) -> int:
        named = [f"c{number}" for number in range(columns)]
        path = stored(tmp_path, f"{columns}.csv", f"{','.join(named)}\n{','.join([cell] * columns)}\n")
        schema = Schema(tuple(Column(name, "number") for name in named))
        batch = next(raw_batches([path], named))
        asked.clear()
        conformed(batch, schema)
        return len(asked)

    assert questions(40) == questions(2)


def test_finding_types_never_makes_expressions_over_the_whole_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One column at a time: what is asked of a table takes longer the more columns it has."""
    widths: list[int] = []
    for method in ("select", "head"):
        known = getattr(pl.DataFrame, method)

        def counted(table: pl.DataFrame, *arguments: object, known: Any = known, **named: object) -> Any:
            widths.append(table.width)
            return known(table, *arguments, **named)

        monkeypatch.setattr(pl.DataFrame, method, counted)
    path = stored(tmp_path, "a.csv", "a,b,c,d,e\n1,0.5,t,true,2026-01-01\n")

    kinds = [column.type for column in inferred_schema([path]).columns]

    assert kinds == ["integer", "number", "text", "boolean", "date"]
    assert set(widths) == {1}
