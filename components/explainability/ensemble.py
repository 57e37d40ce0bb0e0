"""A booster's trees as woodelf reads them, and attributions of many rows at once.

woodelf computes the same path-dependent Shapley values as XGBoost: for each leaf a table of attributions by the pattern
of conditions that a row meets on the way, and then one look-up a row, in numpy. Its own reader of XGBoost models moves
each threshold to the single-precision number below it and still compares with "<", so a value equal to that number goes
the wrong way; and it reads one class only. Here the trees come from the booster's JSON, thresholds as they are.

Source: Nadel and Wettenstein, "From Decision Trees to Boolean Logic: A Fast and Unified SHAP Algorithm" (WOODELF),
arXiv 2511.09376.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xgboost

Array = NDArray[np.floating[Any]]
Tree = Mapping[str, Any]

DEEPEST: Final = 10
"""A leaf's table has two to the power of its depth rows: deeper trees are cheaper by XGBoost's own way."""
REMEMBERED_BYTES: Final = 128 * 2**20
"""Leaf tables kept from one batch to the next: 500 trees of depth 6 take about 50 MiB."""


def obstacle(booster: xgboost.Booster) -> str:
    """Why this model's trees cannot be explained by tables, or an empty text when they can."""
    learner = _learner(booster)
    kind = learner["gradient_booster"]["name"]
    if kind != "gbtree":
        return f"its booster is {kind!r}, wanted 'gbtree'"
    for tree in learner["gradient_booster"]["model"]["trees"]:
        if tree["categories_nodes"]:
            return "it splits on categories"
        if int(tree["tree_param"]["size_leaf_vector"]) > 1:
            return "its leaves hold several outputs"
        nodes = reachable(tree)
        if any(tree["sum_hessian"][node] <= 0 for node in nodes):
            return "a node of it was reached by no training row"
        if depth(tree) > DEEPEST:
            return f"its trees are deeper than {DEEPEST}"
    return ""


def reachable(tree: Tree) -> list[int]:
    """Nodes that can be reached from the root, parents first; pruning leaves others behind."""
    found, index = [0], 0
    while index < len(found):
        node = found[index]
        if tree["left_children"][node] >= 0:
            found += [tree["left_children"][node], tree["right_children"][node]]
        index += 1
    return found


def depth(tree: Tree) -> int:
    """Edges on the longest way from the root to a leaf."""
    levels = {0: 0}
    for node in reachable(tree):
        for child in (tree["left_children"][node], tree["right_children"][node]):
            if child >= 0:
                levels[child] = levels[node] + 1
    return max(levels.values())


@dataclass(frozen=True)
class Tables:
    """The explainers of a booster's outputs; their leaf tables are made at first use and kept."""

    outputs: Sequence[Callable[[Any], Array] | None]
    """One function a output, from a pandas table to attributions; None where no tree splits."""

    @classmethod
    def of(cls, booster: xgboost.Booster) -> Tables:
        """The tables of a booster that has no `obstacle`."""
        learner = _learner(booster)
        model = learner["gradient_booster"]["model"]
        outputs = max(1, int(learner["learner_model_param"]["num_class"]), int(_targets(learner)))
        members: list[list[Tree]] = [[] for _ in range(outputs)]
        for tree, output in zip(model["trees"], model["tree_info"], strict=True):
            if tree["left_children"][0] >= 0:
                members[output].append(tree)
        return cls([_explainer(trees) if trees else None for trees in members])

    def attributions(self, matrix: Array) -> Array:
        """Attributions of rows.

        Args:
            matrix: single precision, NaN where missing, shape (rows, features).

        Returns:
            Shape (rows, outputs, features), single precision.
        """
        import pandas as pd

        # Column by column: each split compares one column, which then lies in one piece.
        table = pd.DataFrame(np.asfortranarray(matrix), copy=False)
        values = np.zeros((matrix.shape[0], len(self.outputs), matrix.shape[1]), dtype=np.float32)
        for output, explain in enumerate(self.outputs):
            if explain is not None:
                values[:, output] = explain(table)
        return values


def _learner(booster: xgboost.Booster) -> Mapping[str, Any]:
    learner: Mapping[str, Any] = json.loads(bytes(booster.save_raw("json")))["learner"]
    return learner


def _targets(learner: Mapping[str, Any]) -> str:
    return str(learner["learner_model_param"].get("num_target", "1"))


def _explainer(trees: Sequence[Tree]) -> Callable[[Any], Array]:
    from woodelf import WoodelfExplainer
    from woodelf.core.cube_metric import ShapleyValues
    from woodelf.core.path_to_s_vectors.woodelf_p2s import HighDepthWoodelfPathToSVectors
    from woodelf.core.trees.decision_trees_ensemble import DecisionTreesEnsemble

    read = DecisionTreesEnsemble([_root(tree) for tree in trees])
    explainer = WoodelfExplainer(read, feature_perturbation="tree_path_dependent")
    calculator = HighDepthWoodelfPathToSVectors(metric=ShapleyValues(), max_depth=read.max_depth)
    calculator.get_path_dependent_s_matrix = _remembering(calculator.get_path_dependent_s_matrix)

    def explain(table: Any) -> Array:
        values: Array = explainer.shap_values(table, path_to_matrices_calculator=calculator, verbose=False)
        return values

    return explain


def _root(tree: Tree) -> Any:
    """The tree as woodelf's nodes; a feature is called by its position."""
    from woodelf.core.trees.decision_trees_ensemble import DecisionTreeNode

    nodes = {
        node: DecisionTreeNode(
            feature_name=tree["split_indices"][node],
            value=tree["split_conditions"][node],  # a leaf's value, at a leaf
            left=None,
            right=None,
            nan_go_left=bool(tree["default_left"][node]),
            index=node,
            cover=tree["sum_hessian"][node],
        )
        for node in reachable(tree)
    }
    for index, node in nodes.items():
        if tree["left_children"][index] >= 0:
            node.left, node.right = nodes[tree["left_children"][index]], nodes[tree["right_children"][index]]
            node.left.parent = node.right.parent = node
    nodes[0].depth = depth(tree)
    return nodes[0]


Leaf = Callable[..., dict[Any, Array]]


def _remembering(calculate: Leaf) -> Leaf:
    """The function that makes a leaf's table, keeping up to `REMEMBERED_BYTES` of them: they hold for all batches."""
    known: dict[tuple[object, ...], dict[Any, Array]] = {}
    held = 0

    def remembered(
        features: list[int], patterns: Array, covers: Array, leaf: float, neighbour: float | None = None
    ) -> dict[Any, Array]:
        nonlocal held
        key = (tuple(features), covers.tobytes(), leaf, neighbour)
        if key in known:
            return known[key]
        # Copied, because the columns of one matrix are strided, and look-ups want them in one piece.
        made = calculate(features, patterns, covers, leaf, neighbour)
        table = {name: np.ascontiguousarray(column) for name, column in made.items()}
        if held < REMEMBERED_BYTES:
            held += sum(column.nbytes for column in table.values())
            known[key] = table
        return table

    return remembered
