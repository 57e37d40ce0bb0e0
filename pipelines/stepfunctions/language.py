"""Words of the Amazon States Language with JSONata: expressions, and the states that all our machines are made of.

A string that starts with `{%` and ends with `%}` is an expression to the service. Ours are of the type `Expression`, so
that a setting which merely looks like one can be told from them and stays the text that its owner wrote.

Source: "Transforming data with JSONata in Step Functions" in the Step Functions Developer Guide, and the Amazon States
Language specification (states-language.net).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pipelines.graph import Request
from pipelines.limits import check_state_machine

State = dict[str, Any]
States = dict[str, State]


SUFFIX: Final = ".asl.json"
"""How the file of a definition ends."""
NOT_FOUND: Final = "Ssm.ParameterNotFoundException"
PATIENT: Final[list[State]] = [
    {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 2, "MaxAttempts": 4, "BackoffRate": 2, "JitterStrategy": "FULL"}
]
"""For short calls: throttling passes, and asking again does no harm."""


class Expression(str):
    """A JSONata expression between its marks."""

    __slots__ = ()

    @property
    def body(self) -> str:
        """The expression without the marks."""
        return self.removeprefix("{% ").removesuffix(" %}")


def expression(body: str) -> Expression:
    """JSONata as the language wants it."""
    return Expression(f"{{% {body} %}}")


def quoted(value: Any) -> str:
    """A value as JSONata text: JSON is a part of JSONata."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, sort_keys=True)


def joined(*pieces: str) -> Expression:
    """Text made of constants and of expressions, one after the other."""
    bodies = [piece.body if isinstance(piece, Expression) else quoted(piece) for piece in pieces if piece != ""]
    return expression(" & ".join(bodies))


def variable(name: str) -> Expression:
    """The value of a variable."""
    return expression(f"${name}")


def made(value: Any) -> Any:
    """A value whose constants stay constants, also where they look like expressions. Made twice, it is the same."""
    if isinstance(value, Expression):
        return value
    if isinstance(value, str):
        # An empty text is fine with the service, and not with the checker of the language.
        special = not value or (value.startswith("{%") and value.endswith("%}"))
        return expression(quoted(value)) if special else value
    if isinstance(value, Mapping):
        return {key: made(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [made(item) for item in value]
    return value


def filled(template: str, places: Mapping[str, str]) -> Expression:
    """A template such as `s3://bucket/{period}.csv` with each `{name}` replaced by an expression's value."""
    body = quoted(template)
    for name, value in places.items():
        if f"{{{name}}}" in template:
            body = f"$replace({body}, {quoted(f'{{{name}}}')}, {value})"
    return expression(body)


def task(resource: str, arguments: Request, **fields: Any) -> State:
    """A task state. `resource` is a service integration such as `aws-sdk:ssm:getParameter`."""
    return {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Arguments": made(arguments), **made(fields)}


def get_parameter(name: str, **fields: Any) -> State:
    """Read a parameter; one that does not exist is an answer, which asking again does not change."""
    retry = [{"ErrorEquals": [NOT_FOUND], "MaxAttempts": 0}, *PATIENT]
    return task("aws-sdk:ssm:getParameter", {"Name": name}, Retry=retry, **fields)


def put_parameter(name: str, value: str, **fields: Any) -> State:
    """Write a parameter of type String."""
    arguments = {"Name": name, "Value": value, "Type": "String", "Overwrite": True}
    return task("aws-sdk:ssm:putParameter", arguments, Retry=PATIENT, **fields)


def bucket_and_key(uri: Expression, key: str = "Key") -> Request:
    """The arguments that name an object, or a prefix, of S3.

    Args:
        uri: of the object.
        key: what the operation calls the second one.
    """
    path = f"$substringAfter({uri.body}, 's3://')"
    return {
        "Bucket": expression(f"$substringBefore({path}, '/')"),
        key: expression(f"$substringAfter({path}, '/')"),
    }


def get_object(uri: Expression, **fields: Any) -> State:
    """Read a small object: what it holds is `$states.result.Body`."""
    retry = [{"ErrorEquals": ["S3.NoSuchKeyException"], "MaxAttempts": 0}, *PATIENT]
    return task("aws-sdk:s3:getObject", bucket_and_key(uri), Retry=retry, **fields)


def choice(condition: str, then: str, otherwise: str) -> State:
    """Go on with one state or the other."""
    return {"Type": "Choice", "Choices": [{"Condition": expression(condition), "Next": then}], "Default": otherwise}


def failure(error: str, cause: str) -> State:
    """The end of an execution that went wrong."""
    return {"Type": "Fail", "Error": made(error), "Cause": made(cause)}


def success(output: Mapping[str, Any]) -> State:
    """The end of an execution that went well."""
    return {"Type": "Succeed", "Output": made(output)}


def machine(comment: str, start: str, states: States) -> Request:
    """A definition.

    Raises:
        SettingsError: it is larger than the service allows.
    """
    definition = {"Comment": comment, "QueryLanguage": "JSONata", "StartAt": start, "States": states}
    check_state_machine(as_bytes(definition).decode(), comment)
    return definition


def as_bytes(definition: Request) -> bytes:
    """A definition as a file."""
    return (json.dumps(definition, indent=2, ensure_ascii=False) + "\n").encode()
