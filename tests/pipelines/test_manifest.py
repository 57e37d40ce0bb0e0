"""What a manifest may say, and how it is told that it says something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.manifest import Manifest, dotted, for_environment, read_manifest
from shared.errors import SettingsError

SMALL = """\
apiVersion: quartet/v1
name: churn
data:
  train: {uri: train.csv}
components: {}
"""

COMPLETE = """\
apiVersion: quartet/v1
name: churn
engine: sagemaker-pipelines
region: eu-west-1
storage: s3://acme-ml/churn
role: arn:aws:iam::123456789012:role/churn-jobs
images:
  processing: {uri: acme/processing, digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000"}
  algorithm: {uri: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/quartet/algorithm, variant: xgboost-cpu}
defaults: {instance: ml.m5.xlarge, count: 1, volume_gb: 30, max_runtime: 2h, retries: 2, network_isolation: true,
           spot: false, kms_key: null, tags: {team: risk}}
data:
  train: {uri: s3://acme-raw/churn/train/, format: csv, schema: schema.json}
  score: {uri: "s3://acme-raw/churn/new/{period}/", format: csv}
components:
  processing: {settings: {target: churned, id: customer_id, split: {validation: 0.2, seed: 7}, impute: median}}
  algorithm: {settings: {objective: binary:logistic, max_depth: 6, eta: 0.1, num_round: 300, early_stopping: 20},
              train: {instance: ml.m5.4xlarge, spot: true, max_wait: 4h, checkpoint: true},
              serve: {instance: ml.m5.xlarge, strategy: MultiRecord, max_payload_mb: 6, concurrency: 4}}
  monitoring: {settings: {tests: {numeric: ks, categorical: chi2}, alpha: 0.01, correction: holm, min_share: 0.3}}
  explainability: {settings: {method: auto, background: 200, rows: 2000}, serve: {instance: ml.m5.2xlarge}}
pipelines:
  training: {steps: [processing, algorithm, monitoring, explainability], cache: 30d,
             gates: [{step: algorithm, metric: "validation:auc", min: 0.78}], release: {approve: manual}}
  inference: {steps: [processing, algorithm, monitoring, explainability], release: current,
              output: "s3://acme-out/churn/{run}/"}
schedule: {inference: "cron(0 4 * * ? *)", training: null, timezone: UTC}
drift: {when: {detected: true, runs: 2}, then: retrain, with: {data.train: "s3://acme-raw/churn/latest/"},
        cooldown: 24h, max_per_month: 4, notify: "arn:aws:sns:eu-west-1:123456789012:churn"}
alarms: {inference_failed: "arn:aws:sns:eu-west-1:123456789012:oncall"}
environments: {dev: {defaults: {instance: ml.t3.medium}}, prod: {role: "arn:aws:iam::1:role/x", gates_required: true}}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "use-case.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str) -> list[str]:
    """What is said of a manifest, without the file's folder."""
    with pytest.raises(SettingsError) as caught:
        read_manifest(write(folder, text))
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_four_keys_are_enough(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, SMALL)).manifest

    assert manifest.engine == "local"
    assert manifest.pipelines.training.steps == ("processing", "algorithm", "monitoring", "explainability")
    assert manifest.pipelines.training.release.approve == "manual"


def test_the_complete_form_is_read_with_what_only_cloud_engines_use(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, COMPLETE)).manifest

    assert manifest.defaults.max_runtime == 7200
    assert manifest.components.algorithm.train.max_wait == 14400
    assert manifest.components.algorithm.settings["eta"] == 0.1
    assert manifest.drift is not None
    assert manifest.drift.with_ is not None
    assert manifest.drift.with_.uri == "s3://acme-raw/churn/latest/"
    assert manifest.environments["prod"].gates_required


def test_settings_are_plain_values_of_the_types_that_yaml_gives(tmp_path: Path) -> None:
    text = SMALL.replace("{}", "{algorithm: {settings: {a: 1, b: 0.5, c: yes, d: true, e: [x, 2], f: null}}}")
    settings = read_manifest(write(tmp_path, text)).manifest.components.algorithm.settings

    assert settings == {"a": 1, "b": 0.5, "c": "yes", "d": True, "e": ["x", 2], "f": None}
    assert {type(value) for value in settings.values()} == {int, float, str, bool, list, type(None)}


def test_the_line_of_a_setting_is_known(tmp_path: Path) -> None:
    text = SMALL.replace("{}", "\n  algorithm:\n    settings:\n      max_depth: 6\n      eta: 0.1")
    document = read_manifest(write(tmp_path, text)).document

    assert document.line(("components", "algorithm", "settings", "eta")) == 9
    assert document.line(("components", "algorithm", "settings", "absent")) == 7


def test_periods_may_look_like_numbers_and_dates(tmp_path: Path) -> None:
    text = SMALL.replace("train.csv}", "train.csv}\n  periods: [2013, 2013-05, 2013-05-01]")

    assert read_manifest(write(tmp_path, text)).manifest.data.periods == ("2013", "2013-05", "2013-05-01")


@pytest.mark.parametrize(
    ("written", "read"),
    [("01", "1"), ("1_0", "10"), ("0x10", "16"), ("2026-01-01T00:00:00Z", "2026-01-01"), ("&one 02", "2")],
)
def test_a_period_that_yaml_takes_for_something_else_wants_quotes(tmp_path: Path, written: str, read: str) -> None:
    text = SMALL.replace("train.csv}", f"train.csv}}\n  periods: [1999, {written}, 1998-05]")
    own = written.removeprefix("&one ")

    assert problems(tmp_path, text) == [
        f"use-case.yaml:5: data.periods[1]: found {own}, which YAML takes for {read}, wanted it in quotes: '{own}'."
    ]
    quoted = text.replace(written, f"'{own.replace(':', '')}'")
    assert read_manifest(write(tmp_path, quoted)).manifest.data.periods[1] == own.replace(":", "")


def test_a_period_with_an_anchor_is_the_number_that_stands_there(tmp_path: Path) -> None:
    text = SMALL.replace("train.csv}", "train.csv}\n  periods: [&first 2013, 2014]")

    assert read_manifest(write(tmp_path, text)).manifest.data.periods == ("2013", "2014")


def test_of_very_many_problems_a_hundred_are_told(tmp_path: Path) -> None:
    said = problems(tmp_path, SMALL + "".join(f"wrong{number}: 1\n" for number in range(2100)))

    assert (len(said), said[-1]) == (101, "and 2,000 more.")


def test_every_problem_is_told_with_its_line(tmp_path: Path) -> None:
    text = (
        SMALL.replace("name: churn", "name: Churn!").replace("uri: train.csv", "url: train.csv")
        + "drfit: {}\ndefaults:\n  count: 0\n  max_runtime: soon\n"
    )

    assert problems(tmp_path, text) == [
        "use-case.yaml:2: name: found 'Churn!', wanted text that matches '^[a-z][a-z0-9-]{0,23}$'.",
        "use-case.yaml:4: data.train.uri: nothing found, but this key is required.",
        "use-case.yaml:4: data.train.url: no known key. Did you mean 'uri'?",
        "use-case.yaml:6: drfit: no known key. Did you mean 'drift'?",
        "use-case.yaml:8: defaults.count: found 0, wanted greater than or equal to 1.",
        "use-case.yaml:9: defaults.max_runtime: found 'soon', wanted a duration such as 90s, 15m, 2h or 30d.",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("quartet/v1", "quartet/v2", "1: apiVersion: found 'quartet/v2', wanted 'quartet/v1'."),
        ("apiVersion: quartet/v1\n", "", "1: apiVersion: nothing found, but this key is required."),
        ("name: churn", "name: 5", "2: name: found 5, wanted a valid string."),
        ("train.csv", "'{date}.csv'", "found '{date}.csv', wanted a uri whose placeholders are among 'period'"),
        ("train.csv", "'{period}.csv'", "4: data.train: found {'uri': '{period}.csv'}, wanted a uri with {period} and"),
        ("components: {}", "components: {xgb: {}}", "5: components.xgb: no known key. Known keys: processing, "),
        (
            "components: {}",
            "components: {}\npipelines: {training: {gates: [{metric: auc, min: 0.9, max: 0.1}]}}",
            "wanted a gate whose min is at most its max.",
        ),
        (
            "components: {}",
            "components: {}\npipelines: {training: {gates: [{metric: auc}]}}",
            "6: pipelines.training.gates[0]: found {'metric': 'auc'}, wanted a gate with min, max or both.",
        ),
        (
            "components: {}",
            "components: {}\npipelines: {training: {steps: [processing, algorithm]}}",
            "wanted inference steps that training has too; 'monitoring', 'explainability' is switched off in training.",
        ),
        (
            "components: {}",
            "components: {}\npipelines: {training: {gates: [{metric: auc, min: true}]}}",
            "6: pipelines.training.gates[0].min: found True, wanted a number.",
        ),
        ("components: {}", "components: {}\ndrift: {then: retrain}", "wanted then: retrain goes together with `with`"),
        (
            "components: {}",
            "components: {algorithm: {serve: {max_payload_mb: 50, concurrency: 4}}}",
            "wanted max_payload_mb times concurrency is at most 100.",
        ),
        (
            "components: {}",
            "components: {}\nimages: {algorithm: {uri: x, digest: latest}}",
            "6: images.algorithm.digest: found 'latest', wanted text that matches",
        ),
        (
            "components: {}",
            "components: {}\nimages: {algoritm: {uri: x}}",
            "6: images.algoritm: found 'algoritm', wanted 'processing', 'algorithm', 'monitoring' or 'explainability'.",
        ),
    ],
)
def test_a_problem_says_what_was_found_and_what_was_wanted(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in SMALL

    assert said in problems(tmp_path, SMALL.replace(old, new))[0]


SNS = "arn:aws:sns:eu-west-1:123456789012:oncall"
KMS = "arn:aws:kms:eu-west-1:123456789012:key/0a1b2c3d-0000-1111-2222-333344445555"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("environments: {pre-prod: {}}", "environments.pre-prod: found 'pre-prod', wanted text that matches"),
        ("environments: {Prod: {}}", "environments.Prod: found 'Prod', wanted text that matches"),
        ("environments: {prod: {region: Ireland}}", "environments.prod.region: found 'Ireland', wanted text that"),
        ("region: eu-west", "region: found 'eu-west', wanted text that matches"),
        ("schedule: {timezone: Europe/Berne}", "schedule.timezone: found 'Europe/Berne', wanted the name of a time"),
        ("schedule: {timezone: ../etc}", "schedule.timezone: found '../etc', wanted the name of a time zone"),
        ("schedule: {inference: cron(0 4 * * ?)}", "wanted six fields: cron(<minute> <hour> <day of month> <month>"),
        ("schedule: {inference: cron(0 4 * * * *)}", "wanted ? as either day of month or day of week"),
        ("schedule: {inference: cron(0 4 ? * ? *)}", "wanted ? as either day of month or day of week"),
        ("schedule: {inference: cron(99 4 * * ? *)}", "wanted minutes from 0 to 59, and '99' is none"),
        (f"schedule: {{inference: cron(0/{'9' * 5000} 4 * * ? *)}}", "wanted minutes from 0 to 59, and '0/999"),
        (f"defaults: {{tags: {{{', '.join(f'k{n}: v' for n in range(48))}}}}}", "wanted at most 47 tags, since AWS"),
        ("schedule: {inference: cron(0 24 * * ? *)}", "wanted hours from 0 to 23, and '24' is none"),
        ("schedule: {inference: 'cron(0 4,30 * * ? *)'}", "wanted hours from 0 to 23, and '30' is none"),
        ("schedule: {inference: cron(0-60 4 * * ? *)}", "wanted minutes from 0 to 59, and '0-60' is none"),
        ("schedule: {inference: cron(0/90 4 * * ? *)}", "wanted minutes from 0 to 59, and '0/90' is none"),
        ("schedule: {inference: cron(0/0 4 * * ? *)}", "wanted minutes from 0 to 59, and '0/0' is none"),
        ("schedule: {inference: cron(0 L * * ? *)}", "wanted hours from 0 to 23, and 'L' is none"),
        ("schedule: {inference: cron(? 4 * * ? *)}", "wanted minutes from 0 to 59, and '?' is none"),
        ("schedule: {inference: 'cron(0 4 1,? * ? *)'}", "wanted days of the month from 1 to 31, and '?' is none"),
        ("schedule: {inference: cron(0 4 32 * ? *)}", "wanted days of the month from 1 to 31, and '32' is none"),
        ("schedule: {inference: cron(0 4 32W * ? *)}", "wanted days of the month from 1 to 31, and '32W' is none"),
        ("schedule: {inference: cron(0 4 1 13 ? *)}", "wanted months from 1 to 12 or JAN to DEC, and '13' is none"),
        ("schedule: {inference: cron(0 4 1 FRI ? *)}", "wanted months from 1 to 12 or JAN to DEC, and 'FRI' is none"),
        ("schedule: {inference: cron(0 4 ? * 0 *)}", "wanted days of the week from 1 to 7 or SUN to SAT, and '0' is"),
        ("schedule: {inference: cron(0 4 ? * 15W *)}", "wanted days of the week from 1 to 7 or SUN to SAT, and '15W'"),
        (
            "schedule: {inference: 'cron(0 4 ? * 6#6 *)'}",
            "wanted days of the week from 1 to 7 or SUN to SAT, and '6#",
        ),
        ("schedule: {inference: 'cron(0 4 ? * 3#1,6#3 *)'}", "wanted one day of the week where # counts it"),
        ("schedule: {inference: cron(0 4 1 * ? 2200)}", "wanted years from 1970 to 2199, and '2200' is none"),
        ("schedule: {training: rate(soon)}", "schedule.training: found 'rate(soon)', wanted rate(<number> minutes"),
        ("schedule: {training: rate(0 days)}", "wanted rate(<number> minutes|hours|days)"),
        ("schedule: {training: at(2027-02-30T04:00:00)}", "wanted at(<year>-<month>-<day>T<hour>:<minute>:<second>)"),
        ("schedule: {training: daily}", "found 'daily', wanted cron(…), rate(…) or at(…)"),
        (f"alarms: {{trainig_failed: '{SNS}'}}", "'loop_failed'. Did you mean 'training_failed'?"),
        (
            "alarms: {loop_failed: me@example.com}",
            "alarms.loop_failed: found 'me@example.com', wanted the ARN of an SNS",
        ),
        ("drift: {notify: me@example.com}", "drift.notify: found 'me@example.com', wanted the ARN of an SNS topic"),
        ("defaults: {tags: {'aws:team': x}}", "wanted a tag of 1 to 128 characters that does not begin with aws:"),
        ("defaults: {kms_key: alias/mine}", "defaults.kms_key: found 'alias/mine', wanted the ARN of a KMS key"),
        ("storage: 's3://bucket/a b'", "storage: found 's3://bucket/a b', wanted s3://bucket/prefix without spaces"),
        ("storage: 's3://bucket/*'", "storage: found 's3://bucket/*', wanted s3://bucket/prefix without"),
        ("environments: {dev: {storage: 's3://bucket/a?'}}", "environments.dev.storage: found 's3://bucket/a?'"),
    ],
)
def test_a_value_that_aws_would_refuse_is_refused_with_its_line(tmp_path: Path, more: str, said: str) -> None:
    (found,) = problems(tmp_path, f"{SMALL}{more}\n")

    assert found.startswith("use-case.yaml:6: ")
    assert said in found


@pytest.mark.parametrize("name", ["aws-churn", "awsome", "ssm", "ssm-x"])
def test_a_name_that_parameter_store_reserves_is_refused(tmp_path: Path, name: str) -> None:
    (found,) = problems(tmp_path, SMALL.replace("name: churn", f"name: {name}"))

    assert found.startswith(f"use-case.yaml:2: name: found '{name}', wanted a name that does not begin with aws or ssm")


@pytest.mark.parametrize(
    "more",
    [
        "environments: {prod2: {region: us-gov-west-1, storage: 's3://bucket/prefix'}}",
        "schedule: {inference: 'cron(0/15 8-17 ? * MON-FRI *)', timezone: Europe/Berlin}",
        "schedule: {inference: 'cron(0 4 L * ? 2027)', training: 'rate(1 day)'}",
        "schedule: {inference: 'cron(5,35 14 ? * 6L 2002-2005)', training: 'cron(0 9 ? * 3#2 *)'}",
        "schedule: {inference: 'cron(0 10 LW jan-mar ? *)', training: 'cron(0/15 8-17 3W 1,JUL ? 2027-2031)'}",
        "schedule: {inference: 'cron(*/10 22-2 ? * FRI-MON *)', training: 'cron(0 9 ? * fri#2 *)'}",
        "schedule: {training: 'at(2027-02-28T04:00:00)'}",
        f"alarms: {{training_failed: '{SNS}', inference_failed: '{SNS}', loop_failed: '{SNS}'}}",
        f"defaults: {{kms_key: '{KMS}', tags: {{awsome: x}}}}",
        "storage: runs of mine/My data",
    ],
)
def test_values_that_aws_takes_are_taken(tmp_path: Path, more: str) -> None:
    assert read_manifest(write(tmp_path, f"{SMALL}{more}\n")).manifest.name == "churn"


def test_aliases_that_stand_for_billions_of_values_are_refused(tmp_path: Path) -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    text = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]", *levels])

    assert problems(tmp_path, text) == [
        "use-case.yaml:1: the manifest has more than 100,000 keys and values, aliases (*name) written out. "
        "Use fewer aliases, or shorter lists."
    ]


def test_a_manifest_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    found = problems(tmp_path, "a: " + "[" * 20_000 + "]" * 20_000)

    assert found == ["use-case.yaml:1: the manifest is nested too deeply. Write it flatter."]


def test_a_few_aliases_are_fine(tmp_path: Path) -> None:
    text = SMALL.replace("components: {}", "components: {algorithm: {settings: {a: &a [1, 2], b: *a}}}")

    assert read_manifest(write(tmp_path, text)).manifest.components.algorithm.settings == {"a": [1, 2], "b": [1, 2]}


def test_a_key_that_is_there_twice_is_told_with_its_line(tmp_path: Path) -> None:
    assert problems(tmp_path, SMALL + "name: other\n") == [
        'use-case.yaml:6: no YAML: found duplicate key "name" with value "other" (original value: "churn").'
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "use-case.yaml:1: no YAML: "),
        ("", "use-case.yaml:1: found an empty file, wanted a mapping"),
        ("- 1\n", "use-case.yaml:1: found a list, wanted a mapping"),
        ("quartet\n", "use-case.yaml:1: found the str 'quartet', wanted a mapping"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in problems(tmp_path, text)[0]


def test_a_character_that_yaml_does_not_know_is_told_with_its_line(tmp_path: Path) -> None:
    (said,) = problems(tmp_path, "name: x\nengine: \x07\n")

    assert said.startswith("use-case.yaml:2: no YAML: unacceptable character #x0007")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "use-case.yaml").write_bytes(b"name: \xff\n")

    with pytest.raises(SettingsError, match=r"no UTF-8 text \(invalid start byte at byte 6\)"):
        read_manifest(tmp_path / "use-case.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.yaml does not exist"):
        read_manifest(tmp_path / "absent.yaml")


def test_a_manifest_cannot_be_changed(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, SMALL)).manifest

    with pytest.raises(ValueError, match="frozen"):
        manifest.name = "other"  # type: ignore[misc]


def test_a_path_is_written_as_one_would_say_it() -> None:
    assert dotted(("data", "train", 0, "uri")) == "data.train[0].uri"
    assert dotted(()) == "manifest"


def test_the_flights_manifest_is_fine() -> None:
    path = Path(__file__).parents[2] / "pipelines/flights/use-case.yaml"

    assert isinstance(read_manifest(path).manifest, Manifest)


LOCKED = {
    "processing/cpu/amd64": f"registry/quartet/processing@sha256:{'1' * 64}",
    "algorithm/xgboost-cpu/amd64": f"registry/quartet/algorithm@sha256:{'2' * 64}",
    "algorithm/torch-cuda/amd64": f"registry/quartet/algorithm@sha256:{'3' * 64}",
}


def test_images_come_from_the_lock_file_beside_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "images.lock.json").write_text(json.dumps(LOCKED))
    images = read_manifest(write(tmp_path, SMALL)).manifest.images

    assert {name: image.reference for name, image in images.items()} == {
        "processing": LOCKED["processing/cpu/amd64"],
        "algorithm": LOCKED["algorithm/xgboost-cpu/amd64"],
    }


def test_the_variant_follows_framework_and_device(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps(LOCKED))
    settings = "components: {algorithm: {settings: {framework: torch}, train: {settings: {device: cuda}}}}"
    text = SMALL.replace("components: {}", settings) + "images_lock: other.json\n"

    image = read_manifest(write(tmp_path, text)).manifest.images["algorithm"]
    assert (image.variant, image.reference) == ("torch-cuda", LOCKED["algorithm/torch-cuda/amd64"])


def test_an_image_that_the_manifest_names_is_not_the_locks(tmp_path: Path) -> None:
    (tmp_path / "images.lock.json").write_text(json.dumps(LOCKED))
    text = SMALL + "images: {processing: {uri: mine}}\n"

    assert read_manifest(write(tmp_path, text)).manifest.images["processing"].reference == "mine"


@pytest.mark.parametrize("content", ["[]", "{", '{"processing": "x"}', '{"processing/cpu/amd64": "repository:tag"}'])
def test_a_lock_file_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "images.lock.json").write_text(content)

    with pytest.raises(SettingsError, match=r"images_lock .*images\.lock\.json is n"):
        read_manifest(write(tmp_path, SMALL))


def test_a_lock_file_that_the_manifest_names_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"lock\.json does not exist\. Push the images"):
        read_manifest(write(tmp_path, SMALL + "images_lock: lock.json\n"))


def test_an_environment_says_what_differs_and_the_rest_stays(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, COMPLETE)).manifest
    dev, prod = for_environment(manifest, "dev"), for_environment(manifest, "prod")

    assert (dev.defaults.instance, dev.defaults.volume_gb, dev.defaults.tags) == ("ml.t3.medium", 30, {"team": "risk"})
    assert (dev.role, prod.role) == (manifest.role, "arn:aws:iam::1:role/x")
    assert prod.defaults == manifest.defaults
    assert for_environment(manifest, None) is manifest


def test_an_environment_that_there_is_not_names_the_nearest(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, COMPLETE)).manifest

    with pytest.raises(SettingsError, match=r"no environment 'prd'\. Did you mean 'prod'"):
        for_environment(manifest, "prd")


def test_an_environment_that_requires_gates_refuses_a_manifest_without(tmp_path: Path) -> None:
    text = SMALL + "environments: {prod: {gates_required: true}}\n"

    with pytest.raises(SettingsError, match=r"environment 'prod' requires gates\. Add pipelines\.training\.gates"):
        for_environment(read_manifest(write(tmp_path, text)).manifest, "prod")
