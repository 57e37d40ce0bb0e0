"""Raw rows prepared with scikit-learn on pandas: `FILE ENCODE SAMPLE`.

Standardised numbers with the median where one is missing (in this order, so that the filled cells do not narrow the
scale, as in processing), the most frequent level for missing text, `ordinal` or `onehot` levels. The result stays in
memory; the first rows are written for a comparison of their numbers.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

SAMPLE = 10_000


def main(file: str, encode: str, sample: str) -> None:
    """Read, fit, transform."""
    table = pd.read_csv(file)
    numbers = [name for name in table.columns if name.startswith("n")]
    text = [name for name in table.columns if name.startswith("t") and name != "target"]
    encoder = (
        OneHotEncoder(handle_unknown="ignore")
        if encode == "onehot"
        else OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    )
    transformer = ColumnTransformer(
        [
            ("numbers", make_pipeline(StandardScaler(), SimpleImputer(strategy="median")), numbers),
            ("text", make_pipeline(SimpleImputer(strategy="most_frequent"), encoder), text),
        ]
    )
    transformer.fit(table)
    made = transformer.transform(table)[:SAMPLE]
    np.save(sample, np.asarray(made.todense() if hasattr(made, "todense") else made, dtype=np.float64))


if __name__ == "__main__":
    main(*sys.argv[1:])
