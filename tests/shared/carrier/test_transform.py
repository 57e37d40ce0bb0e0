"""Batch Transform inside one container."""

from __future__ import annotations

import pytest

from tests.shared.carrier.conftest import Batch, training, transform


@pytest.fixture
def model(batch: Batch) -> str:
    """A model whose mean is 2, as a training job leaves it."""
    batch.cloud.put(f"{batch.prefix}/data/one.csv", "id,x\na,1\nb,3\n")
    done = batch.run({"CreateTrainingJob": training(batch, {"data": f"{batch.prefix}/data"}, {})})
    assert done.code == 0, done.said
    return f"{batch.prefix}/out/algorithm/mean-1/output/model.tar.gz"


def serving(batch: Batch) -> Batch:
    """The same test's jobs, in a tree of their own."""
    return Batch(batch.cloud, batch.folder, {"SAGEMAKER_BASE_DIR": str(batch.folder / "serve")})


def test_each_object_gives_its_answers_in_order_whatever_the_requests(batch: Batch, model: str) -> None:
    """One record a request, or all of one object; blank lines are none, and a last line needs no end."""
    batch.cloud.put(f"{batch.prefix}/new/one.csv", "a,1\nb,2\n\nc,3")
    batch.cloud.put(f"{batch.prefix}/new/deep/two.csv", "d,4\n")
    wanted = {"one.csv.out": b"a,-1.0\nb,0.0\nc,1.0\n", "deep/two.csv.out": b"d,2.0\n"}
    for strategy in ("MultiRecord", "SingleRecord"):
        request = transform(batch, f"{batch.prefix}/new", model, BatchStrategy=strategy, MaxConcurrentTransforms=3)
        done = serving(batch).run(request)

        assert done.code == 0, done.said
        assert batch.objects("out/scores/") == wanted


def test_an_object_with_a_bad_record_has_no_answers_and_the_others_have(batch: Batch, model: str) -> None:
    batch.cloud.put(f"{batch.prefix}/new/bad.csv", "a,1\nb,many\n")
    batch.cloud.put(f"{batch.prefix}/new/good.csv", "c,3\n")
    request = transform(batch, f"{batch.prefix}/new", model) | {"Failure": f"{batch.prefix}/out/failure"}
    done = serving(batch).run(request)

    assert done.code == 3
    assert batch.objects("out/scores/") == {"good.csv.out": b"c,1.0\n"}
    assert batch.objects("out/failure")[""].startswith(b"bad.csv: bad HTTP status from the algorithm: 400")


def test_a_model_that_cannot_be_loaded_is_the_reason(batch: Batch, model: str) -> None:
    batch.cloud.put(f"{batch.prefix}/new/one.csv", "a,1\n")
    batch.cloud.put(model, b"no archive")
    done = serving(batch).run(transform(batch, f"{batch.prefix}/new", model))

    assert done.code == 3
    assert "cannot be unpacked" in done.said


def test_a_child_of_an_array_transforms_its_part(batch: Batch, model: str) -> None:
    for name in "abc":
        batch.cloud.put(f"{batch.prefix}/new/{name}.csv", f"{name},2\n")
    child = serving(batch)
    done = child.run(
        transform(batch, f"{batch.prefix}/new", model), AWS_BATCH_JOB_ARRAY_INDEX="1", AWS_BATCH_JOB_ARRAY_SIZE="2"
    )

    assert done.code == 0, done.said
    assert batch.objects("out/scores/") == {"b.csv.out": b"b,0.0\n"}
