"""The settings of the algorithm, under the names that XGBoost's own documentation uses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from shared.errors import names
from shared.settings import Settings

Framework = Literal["xgboost", "torch"]
Task = Literal["binary", "multiclass", "regression"]
Output = Literal["score", "probability", "predicted_label", "probabilities", "raw_score"]
Objective = Literal[
    "binary:logistic",
    "multi:softprob",
    "reg:squarederror",
    "reg:absoluteerror",
    "reg:pseudohubererror",
    "reg:gamma",
    "reg:tweedie",
    "count:poisson",
]

NETWORK_OBJECTIVES: Final = ("binary:logistic", "multi:softprob", "reg:squarederror")
SYNONYMS: Final = {
    "alpha": "reg_alpha",
    "lambda": "reg_lambda",
    "learning_rate": "eta",
    "min_split_loss": "gamma",
    "num_boost_round": "num_round",
    "epochs": "num_round",
}
"""Other names for a setting that XGBoost, its scikit-learn face or network trainers use."""
TREES_ONLY: Final = (
    "max_depth", "subsample", "colsample_bytree", "min_child_weight", "reg_lambda", "reg_alpha", "gamma", "max_bin",
)  # fmt: skip
NETWORK_ONLY: Final = ("hidden", "dropout", "batch_size", "weight_decay")
DEFAULT_METRICS: Final[Mapping[Task, tuple[str, ...]]] = {
    "binary": ("auc", "logloss"),
    "multiclass": ("merror", "mlogloss"),
    "regression": ("mae", "rmse"),
}
DEFAULT_ETA: Final[Mapping[Framework, float]] = {"xgboost": 0.1, "torch": 0.001}
NETWORK_METRICS: Final[Mapping[Task, tuple[str, ...]]] = {
    "binary": ("auc", "aucpr", "logloss", "error"),
    "multiclass": ("merror", "mlogloss"),
    "regression": ("mae", "rmse"),
}
TREE_METRICS: Final[Mapping[Task, tuple[str, ...]]] = {
    "binary": NETWORK_METRICS["binary"],
    "multiclass": (*NETWORK_METRICS["multiclass"], "auc", "aucpr"),
    "regression": (
        *NETWORK_METRICS["regression"],
        "rmsle", "mape", "mphe", "poisson-nloglik", "gamma-nloglik", "gamma-deviance", "tweedie-nloglik",
    ),
}  # fmt: skip
PARAMETRISED: Final = re.compile(r"(error|tweedie-nloglik)@\d*\.?\d+")
"""Metrics that XGBoost lets carry a number: `error@0.3`."""
MAXIMISED: Final = ("auc", "aucpr")


class AlgorithmSettings(Settings):
    """Knobs of training. A round is one more tree per class, or one pass of the network over the training rows."""

    # The pipelines judge settings by the schema alone.
    model_config = ConfigDict(json_schema_extra={"synonyms": dict(SYNONYMS)})

    framework: Framework = Field("xgboost", description="what learns: xgboost (trees) or torch (a small network)")
    objective: Objective = Field("binary:logistic", description="what is minimised; it decides the task")
    num_class: int | None = Field(None, ge=2, le=10_000, description="classes of multi:softprob; counted when not set")
    target: str | None = Field(None, description="column to predict; the state knows it when there is a state channel")
    ids: tuple[str, ...] = Field((), description="columns that name a row; the state knows them")
    drop: tuple[str, ...] = Field((), description="columns that are not used; without a state channel only")

    num_round: int = Field(300, ge=1, le=100_000, description="most rounds (torch: epochs)")
    early_stopping_rounds: int = Field(20, ge=0, description="stop after so many rounds without gain; 0 keeps all")
    eta: float | None = Field(None, gt=0, le=1, description="learning rate; not set: 0.1 for xgboost, 0.001 for torch")
    eval_metric: tuple[str, ...] = Field(
        (), description="metrics of each round, the last one decides when to stop; by task when not set"
    )
    scale_pos_weight: float = Field(1.0, gt=0, description="weight of label 1 against label 0")
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        None, description='weight by label, such as {"0": 1, "1": 4}, or balanced, by how rare a label is'
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of everything random")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where to train; cuda falls back to cpu")
    nthread: int = Field(0, ge=0, le=1024, description="threads of training; 0 takes every processor")

    max_depth: int = Field(6, ge=1, le=30, description="xgboost: most splits from root to leaf")
    min_child_weight: float = Field(1.0, ge=0, description="xgboost: least sum of hessians in a leaf")
    gamma: float = Field(0.0, ge=0, description="xgboost: least loss reduction that a split must give")
    subsample: float = Field(1.0, gt=0, le=1, description="xgboost: share of the rows that each tree sees")
    colsample_bytree: float = Field(1.0, gt=0, le=1, description="xgboost: share of the features that each tree sees")
    reg_lambda: float = Field(1.0, ge=0, description="xgboost: L2 penalty on leaf weights (lambda)")
    reg_alpha: float = Field(0.0, ge=0, description="xgboost: L1 penalty on leaf weights (alpha)")
    max_bin: int = Field(256, ge=2, le=65_536, description="xgboost: most histogram bins of a feature")

    hidden: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = Field(
        (64, 32), description="torch: units of each layer"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="torch: share of units left out in training")
    batch_size: int = Field(512, ge=1, description="torch: rows of one step")
    weight_decay: float = Field(1e-4, ge=0, description="torch: decoupled L2 decay of the weights (AdamW)")

    threshold: float | Literal["best_f1"] = Field(
        0.5, description="probability from which the label is 1, or best_f1: chosen on the validation rows"
    )
    outputs: tuple[Output, ...] = Field(
        (), description="what serve answers; not set: score (multi:softprob: predicted_label, score)"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_name_each(cls, values: Any) -> Any:
        """Take a setting's other name for its own."""
        if not isinstance(values, dict):
            return values
        renamed = {}
        for name, value in values.items():
            own = SYNONYMS.get(name, name)
            if own != name and own in values:
                raise ValueError(f"{name!r} and {own!r} are two names of one setting; keep one")
            renamed[own] = value
        return renamed

    @field_validator("threshold")
    @classmethod
    def _threshold_is_a_probability(cls, value: float | str) -> float | str:
        if isinstance(value, float) and not 0 < value < 1:
            raise ValueError(f"is {value!r}, wanted a number between 0 and 1, or 'best_f1'")
        return value

    @model_validator(mode="after")
    def _settings_agree(self) -> AlgorithmSettings:
        """Refuse settings that contradict each other."""
        if self.framework == "torch" and self.objective not in NETWORK_OBJECTIVES:
            raise ValueError(
                f"objective {self.objective!r} is for xgboost; framework torch knows {names(NETWORK_OBJECTIVES)}"
            )
        if self.num_class is not None and self.task != "multiclass":
            raise ValueError(f"num_class belongs to objective 'multi:softprob', not to {self.objective!r}")
        if self.task != "binary" and self.scale_pos_weight != 1:
            raise ValueError("scale_pos_weight belongs to objective 'binary:logistic'; use class_weights")
        if self.task == "regression" and self.class_weights is not None:
            raise ValueError(f"class_weights need classes, and objective {self.objective!r} has none")
        if self.class_weights is not None and self.scale_pos_weight != 1:
            raise ValueError("class_weights and scale_pos_weight both weigh the classes; keep one")
        if self.task != "binary" and self.threshold == "best_f1":
            raise ValueError("threshold best_f1 belongs to objective 'binary:logistic'")
        self._metrics_are_known()
        if len(set(self.outputs)) < len(self.outputs):
            raise ValueError(f"outputs {names(self.outputs)} name one twice")
        if self.task == "regression" and (wrong := set(self.outputs) - {"score", "raw_score"}):
            raise ValueError(f"outputs {names(sorted(wrong))} need classes, and objective {self.objective!r} has none")
        return self

    def _metrics_are_known(self) -> None:
        known = (NETWORK_METRICS if self.framework == "torch" else TREE_METRICS)[self.task]
        for metric in self.eval_metric:
            base = metric.partition("@")[0]
            carries = self.framework == "xgboost" and PARAMETRISED.fullmatch(metric) is not None
            if base not in known or (base != metric and not carries):
                raise ValueError(
                    f"eval_metric {metric!r} is none of {names(known, 12)}, "
                    f"which {self.framework} knows for {self.objective!r}"
                )

    @property
    def task(self) -> Task:
        """What kind of answer the objective wants."""
        if self.objective == "binary:logistic":
            return "binary"
        return "multiclass" if self.objective == "multi:softprob" else "regression"

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of each round; the last one decides when training stops."""
        return self.eval_metric or DEFAULT_METRICS[self.task]

    @property
    def rate(self) -> float:
        """The learning rate."""
        return DEFAULT_ETA[self.framework] if self.eta is None else self.eta

    @property
    def without_effect(self) -> tuple[str, ...]:
        """Settings that somebody set and that the chosen framework does not have."""
        foreign = TREES_ONLY if self.framework == "torch" else NETWORK_ONLY
        return tuple(name for name in foreign if name in self.model_fields_set)
