"""What people write to serve a model on SageMaker: Flask and pandas, after AWS's example of one's own container.

`MODEL=model.ubj gunicorn flask_server:app`
https://github.com/aws/amazon-sagemaker-examples/blob/main/advanced_functionality/scikit_bring_your_own/container/decision_trees/predictor.py
"""

from __future__ import annotations

import io
import os

import flask
import pandas
import xgboost

app = flask.Flask(__name__)
booster = xgboost.Booster({"nthread": 1}, model_file=os.environ["MODEL"])


@app.get("/ping")
def ping() -> flask.Response:
    """Healthy once the model is loaded."""
    return flask.Response(status=200)


@app.post("/invocations")
def invocations() -> flask.Response:
    """One score for each row of CSV."""
    rows = pandas.read_csv(io.StringIO(flask.request.data.decode()), header=None)
    scores = booster.predict(xgboost.DMatrix(rows, feature_names=booster.feature_names, nthread=1))
    answer = pandas.DataFrame({"score": scores}).to_csv(header=False, index=False)
    return flask.Response(answer, mimetype="text/csv")
