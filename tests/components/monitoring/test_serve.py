"""Serve, run whole: verdict, violations, predictions and model quality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shared.report import read_report
from tests.components.monitoring.places import Place, Places, model_of, rows

PRODUCTION = rows(2000, seed=1).drop("y")


def test_data_like_the_training_data_have_not_drifted(places: Places, trained: Place) -> None:
    place = places.served(trained, PRODUCTION)

    assert place.message.startswith("Completed: Job completed successfully with no violations.")
    assert place.read("constraint_violations.json") == {"violations": []}
    found = place.read("drift.json")
    assert found["detected"] is False
    assert (found["columns"], found["tested"], found["rows"], found["baseline_rows"]) == ([], 5, 2000, 4000)
    assert (found["days"], found["block_days"]) == (60, 7)


def test_a_column_that_moved_has_drifted_and_the_job_ends_well(places: Places, trained: Place) -> None:
    place = places.served(trained, rows(2000, seed=2, shift=0.5).drop("y"))

    assert place.message.startswith("CompletedWithViolations: Drift in 1 of 5 columns (amount)")
    found = place.read("drift.json")
    assert found["detected"] is True
    assert (found["columns"], found["number"], found["violations"]) == (["amount"], 1, 1)
    assert found["score"] > found["threshold"]
    assert place.violations() == {("amount", "baseline_drift_check")}


def test_the_outputs_are_those_that_the_readme_lists(places: Places, trained: Place) -> None:
    place = places.served(trained, PRODUCTION)

    assert place.written() == [
        *("report/constraint_violations.json", "report/constraints.json", "report/drift.json"),
        *("report/report.html", "report/report.json", "report/statistics.json"),
    ]
    report = read_report(place.output("report"))
    assert (report.rows, report.verdict, report.state) == (2000, "No drift in 5 columns", "good")


def test_a_change_that_does_not_matter_is_a_warning(places: Places, trained: Place) -> None:
    place = places.served(trained, rows(40_000, seed=3, shift=0.09).drop("y"), minimum_effect=0.3)

    assert place.read("drift.json")["warned"] == ["amount"]
    assert place.read("drift.json")["detected"] is False


def test_few_rows_are_checked_for_quality_alone(places: Places, trained: Place) -> None:
    place = places.served(trained, rows(20, seed=4, shift=9).drop("y").drop("wait"))

    found = place.read("drift.json")
    assert (found["detected"], found["tested"]) == (False, 0)
    assert found["reason"] == "20 rows are too few to test for drift, wanted at least 100"
    assert place.violations() == {("wait", "missing_column_check")}


def test_missing_and_further_columns_are_violations(places: Places, trained: Place) -> None:
    place = places.served(trained, PRODUCTION.drop("city", "day").with_columns(colour=pl.lit("red")))

    assert place.violations() == {
        ("city", "missing_column_check"),
        ("day", "missing_column_check"),
        ("colour", "extra_column_check"),
    }
    assert place.read("drift.json")["tested"] == 4
    report = read_report(place.output("report"))
    assert (report.verdict, report.state) == ("No drift in 4 columns, 3 quality violations", "attention")


def test_one_violation_is_told_in_the_singular_and_without_those_of_drift(places: Places, trained: Place) -> None:
    quality = places.served(trained, PRODUCTION.drop("city"))
    both = places.served(trained, rows(2000, seed=2, shift=0.5).drop("y", "city"))

    assert read_report(quality.output("report")).verdict == "No drift in 4 columns, 1 quality violation"
    assert read_report(both.output("report")).verdict == "Drift in 1 of 4 columns, 1 quality violation"


def test_the_target_and_dropped_columns_may_be_there(places: Places, table: pl.DataFrame) -> None:
    trained = places.trained(table, drop=["note"])
    place = places.served(trained, rows(500, seed=5))

    assert place.violations() == set()


def test_a_new_level_is_a_violation(places: Places, trained: Place) -> None:
    city = pl.when(pl.int_range(pl.len()) % 20 == 0).then(pl.lit("Troms\u00f8")).otherwise("city").alias("city")
    place = places.served(trained, PRODUCTION.with_columns(city))

    assert ("city", "categorical_values_check") in place.violations()
    text = (place.output("report") / "constraint_violations.json").read_text()
    assert "100 of 2000 values are none that training had ('Troms\u00f8'): 5.00%" in text


def test_a_rare_new_level_is_tolerated(places: Places, trained: Place) -> None:
    city = pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("Alta")).otherwise("city").alias("city")

    assert places.served(trained, PRODUCTION.with_columns(city)).violations() == set()
    assert places.served(trained, PRODUCTION.with_columns(city), level_tolerance=0).violations() == {
        ("city", "categorical_values_check")
    }


def test_values_of_another_type_are_violations(places: Places, trained: Place) -> None:
    wait = (
        pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("soon")).otherwise(pl.col("wait").cast(pl.String)).alias("wait")
    )
    place = places.served(trained, PRODUCTION.with_columns(wait))

    assert place.violations() == {("wait", "data_type_check")}
    assert places.served(trained, PRODUCTION.with_columns(wait), type_tolerance=0.01).violations() == set()


def test_infinity_is_no_number(places: Places, trained: Place) -> None:
    place = places.served(trained, PRODUCTION.with_columns(amount=pl.lit(float("inf"))))

    assert ("amount", "data_type_check") in place.violations()


@pytest.mark.parametrize("great", [1e308, -1e200])
def test_a_number_too_great_to_be_squared_is_no_number(places: Places, trained: Place, great: float) -> None:
    """As infinity is none; the others are judged as ever."""
    amount = pl.when(pl.int_range(pl.len()) < 3).then(great).otherwise("amount").alias("amount")
    place = places.served(trained, PRODUCTION.with_columns(amount))

    assert place.violations() == {("amount", "data_type_check")}
    statistics = {item["name"]: item for item in place.read("statistics.json")["features"]}
    assert statistics["amount"]["numerical_statistics"]["mean"] == pytest.approx(PRODUCTION["amount"][3:].mean())


def test_missing_values_are_a_violation_and_drift(places: Places, trained: Place) -> None:
    amount = pl.when(pl.int_range(pl.len()) % 4 > 0).then("amount").alias("amount")
    place = places.served(trained, PRODUCTION.with_columns(amount))

    assert place.violations() == {("amount", "completeness_check"), ("amount", "baseline_drift_check")}


def test_an_all_missing_column_is_a_violation_and_no_crash(places: Places, trained: Place) -> None:
    place = places.served(trained, PRODUCTION.with_columns(amount=pl.lit(None), city=pl.lit(None)))

    assert {("amount", "completeness_check"), ("city", "completeness_check")} <= place.violations()


def test_negative_numbers_where_there_were_none_are_a_violation(places: Places, trained: Place) -> None:
    place = places.served(
        trained, PRODUCTION.with_columns(wait=pl.when(pl.col("wait") == 7).then(-1).otherwise("wait"))
    )

    assert place.violations() == {("wait", "non_negative_check")}


def test_a_table_without_header_is_read_by_position(places: Places, table: pl.DataFrame) -> None:
    trained = places()
    trained.put("data", table.write_csv(include_header=False))
    trained.run("train", header=False, target="column_8", ids=["column_1"], time="column_2")
    with_target = places.served(trained, table.write_csv(include_header=False))
    without = places.served(trained, PRODUCTION.write_csv(include_header=False))

    assert with_target.read("drift.json")["tested"] == without.read("drift.json")["tested"] == 5
    assert with_target.violations() == without.violations() == set()


def test_several_files_are_one_table(places: Places, trained: Place) -> None:
    whole = places.served(trained, PRODUCTION)
    parts = places()
    parts.put("data", PRODUCTION.head(700), "a.csv")
    parts.put("data", PRODUCTION.slice(700), "b.csv")
    parts.mount("baseline", trained)
    parts.run("serve")

    assert parts.read("drift.json") == whole.read("drift.json")


def test_thresholds_can_be_set_for_each_serve(places: Places, trained: Place) -> None:
    place = places.served(trained, rows(2000, seed=2, shift=0.5).drop("y"), minimum_effect=1.0, ids=["id"])

    assert place.read("drift.json")["detected"] is False


def scored(table: pl.DataFrame, power: float = 1.0) -> pl.DataFrame:
    """Ids and scores: spread evenly from 0 to 1, or towards 1; higher where the amount is."""
    ranks = (table["amount"].rank() - 0.5) / table.height
    return pl.DataFrame({"id": table["id"], "score": ranks ** (1 / power)})


def test_predictions_like_those_of_validation_have_not_drifted(
    places: Places, table: pl.DataFrame, model: Path
) -> None:
    trained = places.trained(table, model=model)
    same = places.served(trained, PRODUCTION, scores=scored(PRODUCTION))
    moved = places.served(trained, PRODUCTION, scores=scored(PRODUCTION, power=3))

    assert same.read("drift.json")["prediction_drift"] is False
    assert moved.read("drift.json")["prediction_drift"] is True
    assert moved.read("drift.json")["columns"] == []
    assert moved.read("drift.json")["detected"] is True


def test_rows_that_were_rejected_have_no_score(places: Places, table: pl.DataFrame, model: Path) -> None:
    place = places.served(places.trained(table, model=model), PRODUCTION, scores=scored(PRODUCTION).head(1990))

    assert place.read("drift.json")["rows"] == 2000
    assert "10 rows have no score" in (place.output("report") / "report.json").read_text()


def test_scores_without_ids_are_enough_for_prediction_drift(places: Places, table: pl.DataFrame, model: Path) -> None:
    place = places.served(places.trained(table, model=model), PRODUCTION, scores=scored(PRODUCTION).select("score"))

    assert place.read("drift.json")["prediction_drift"] is False


def test_labels_give_the_models_quality(places: Places, table: pl.DataFrame, model: Path) -> None:
    production = rows(2000, seed=1)
    labels = production.select("id", "y").head(1500).reverse()
    place = places.served(
        places.trained(table, model=model), production.drop("y"), scores=scored(production), labels=labels
    )

    found = place.read("model_quality.json")
    metrics = found["binary_classification_metrics"]
    assert (found["labelled"], found["unlabelled"], found["unmatched"]) == (1500, 500, 0)
    assert found["base_rate"] == pytest.approx(production["y"].head(1500).mean())
    assert found["decision_threshold"] == 0.4
    cells = metrics["confusion_matrix"]
    assert sum(cells[row][column] for row in "01" for column in "01") == 1500
    # Outcomes are drawn with the amount's log-odds: the AUC of that is about 0.74.
    assert metrics["auc"]["value"] == pytest.approx(0.74, abs=0.04)


def test_true_and_false_are_labels(places: Places, trained: Place) -> None:
    labels = rows(2000, seed=1).select("id", pl.col("y").cast(pl.Boolean))
    place = places.served(trained, PRODUCTION, scores=scored(PRODUCTION), labels=labels)

    assert "binary_classification_metrics" in place.read("model_quality.json")


def test_numbers_are_labels_of_a_regression(places: Places, trained: Place) -> None:
    labels = PRODUCTION.select("id", y=pl.col("amount") * 2)
    scores = PRODUCTION.select("id", score=pl.col("amount") * 2 + 0.5)
    place = places.served(trained, PRODUCTION, scores=scores, labels=labels)

    metrics = place.read("model_quality.json")["regression_metrics"]
    assert metrics["rmse"]["value"] == pytest.approx(0.5)
    assert metrics["mae"]["value"] == pytest.approx(0.5)


@pytest.mark.parametrize("unknown", ["", "NaN", "NAN"])
def test_an_outcome_that_is_no_number_yet_is_unlabelled(places: Places, trained: Place, unknown: str) -> None:
    labels = "id,y\n" + "".join(f"r1-{number},{number % 2}\n" for number in range(50)) + f"r1-50,{unknown}\n"
    place = places.served(trained, PRODUCTION, scores=scored(PRODUCTION), labels=labels)

    found = place.read("model_quality.json")
    assert (found["labelled"], found["unlabelled"]) == (50, 1950)


@pytest.mark.parametrize("classes", [["low", "mid", "high"], ["0", "1", "2"], ["0", "1"]])
def test_a_model_of_many_classes_is_judged_by_drift_alone(
    places: Places, table: pl.DataFrame, tmp_path: Path, classes: list[str]
) -> None:
    trained = places.trained(table, model=model_of("multiclass", ["predicted_label", "score"], tmp_path / "model"))
    scores = scored(PRODUCTION).select("id", pl.lit(classes[0]).alias("predicted_label"), "score")
    labels = PRODUCTION.select("id", y=pl.Series([classes[number % len(classes)] for number in range(2000)]))
    place = places.served(trained, PRODUCTION, scores=scores, labels=labels)

    assert place.message.startswith("Completed: ")
    assert place.read("drift.json")["prediction_drift"] is False
    assert "report/model_quality.json" not in place.written()
    sentence = "The quality of a model of more than two classes is not measured yet."
    assert sentence in (place.output("report") / "report.json").read_text()


def test_many_classes_are_warned_of_once(
    places: Places, table: pl.DataFrame, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trained = places.trained(table, model=model_of("multiclass", ["score"], tmp_path / "model"))
    places.served(trained, PRODUCTION, scores=scored(PRODUCTION), labels="id,y\nr1-0,low\n")

    streams = capfd.readouterr()
    assert (streams.out + streams.err).count("more than two classes is not measured yet") == 1


def test_numbers_of_a_regression_may_all_be_0_or_1(places: Places, table: pl.DataFrame, tmp_path: Path) -> None:
    trained = places.trained(table, model=model_of("regression", ["score"], tmp_path / "model"))
    labels = rows(2000, seed=1).select("id", "y")
    place = places.served(trained, PRODUCTION, scores=scored(PRODUCTION), labels=labels)

    assert "regression_metrics" in place.read("model_quality.json")


def test_what_is_set_of_the_labels_stands_before_the_models_task(
    places: Places, table: pl.DataFrame, model: Path
) -> None:
    labels = PRODUCTION.select("id", y=pl.col("amount"))
    trained = places.trained(table, model=model)
    place = places.served(trained, PRODUCTION, scores=scored(PRODUCTION), labels=labels, problem="regression")

    assert "regression_metrics" in place.read("model_quality.json")


def test_a_header_alone_means_that_no_outcome_is_known_yet(places: Places, trained: Place) -> None:
    place = places.served(trained, PRODUCTION, scores=scored(PRODUCTION), labels="id,y\n")

    assert (place.output("report") / "drift.json").exists()
    assert not (place.output("report") / "model_quality.json").exists()


def test_labels_of_rows_without_a_score_are_counted(places: Places, trained: Place) -> None:
    labels = rows(2000, seed=1).select("id", "y")
    place = places.served(trained, PRODUCTION, scores=scored(PRODUCTION).head(1800), labels=labels)

    found = place.read("model_quality.json")
    assert (found["labelled"], found["unlabelled"], found["unmatched"]) == (1800, 0, 200)


def test_ids_that_look_like_numbers_are_joined_as_they_are_written(places: Places) -> None:
    table = rows(300).with_columns(id=pl.int_range(300).cast(pl.String).str.zfill(5))
    place = places.served(places.trained(table), table.drop("y"), scores=scored(table), labels=table.select("id", "y"))

    assert place.read("model_quality.json")["labelled"] == 300


def test_the_verdict_does_not_depend_on_the_order_of_rows(places: Places, trained: Place) -> None:
    shuffled = PRODUCTION[np.random.default_rng(9).permutation(2000).tolist()]

    assert places.served(trained, shuffled).read("drift.json") == places.served(trained, PRODUCTION).read("drift.json")
