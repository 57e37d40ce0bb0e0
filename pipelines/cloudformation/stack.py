"""Deploys a rendered stack: what would change, the change, and its end.

Everything takes `connect`, which gives a boto3 client by the service's name. CloudFormation keeps the state, so that a
deployment which was cut off goes on where it stood when it is asked for again.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pipelines.aws.calls import CloudError, Connect, asking
from pipelines.aws.places import Rendered, Site
from pipelines.cloudformation.printer import TEMPLATE
from shared.errors import SettingsError, did_you_mean, names

CAPABILITIES: Final = ["CAPABILITY_NAMED_IAM"]
NO_CHANGE: Final = ("didn't contain changes", "No updates are to be performed")
"""What CloudFormation says of a change set that would change nothing; it has no code for it."""
POLL: Final = 5
"""Seconds between two questions for how a deployment goes on."""
TRIES: Final = 360
"""Questions until it is given up: half an hour."""
ABSENT: Final = frozenset({"REVIEW_IN_PROGRESS", "DELETE_COMPLETE"})
"""A stack in one of these states has no resources."""
BROKEN: Final = frozenset({"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"})
"""A stack in one of these states can only be removed."""


@dataclass(frozen=True)
class Change:
    """What a deployment would do to one resource."""

    action: str  # Add, Modify, Remove, …
    resource: str
    type: str
    replaced: bool = False

    def __str__(self) -> str:
        return f"{self.action:<6} {self.resource} ({self.type}){', replaced' if self.replaced else ''}"


def stack_name(site: Site) -> str:
    """What the stack is called."""
    return site.title


@dataclass(frozen=True)
class Stack:
    """One stack, in CloudFormation.

    Attributes:
        connect: gives clients.
        name: the stack's.
        role: the role that CloudFormation works under; None: that of the caller.
        poll: seconds between two questions.
        tags: what a stack that is made is tagged with, and by CloudFormation all that it makes. A stack that is there
            keeps its own: AWS Batch's compute environments would have to be made anew, under a name that is taken.
    """

    connect: Connect
    name: str
    role: str | None = None
    poll: float = POLL
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def client(self) -> Any:
        """CloudFormation's client."""
        return self.connect("cloudformation")

    def status(self) -> str | None:
        """Its state; None when there is no such stack."""
        from botocore.exceptions import ClientError

        with asking(f"stack {self.name}"):
            try:
                return str(self.client.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"])
            except ClientError as error:
                if "does not exist" in str(error):  # a ValidationError like many others
                    return None
                raise

    def check_owner(self, site: Site) -> None:
        """Make sure that the stack of this name, if there is one, is this use case's.

        Raises:
            SettingsError: it is another's, whose name and environment make the same name.
        """
        if self.status() in (None, *ABSENT):
            return
        with asking(f"stack {self.name}"):
            found = self.client.describe_stacks(StackName=self.name)["Stacks"][0].get("Description")
            if found is None:  # untold of a stack that a change set has made, by some that play CloudFormation
                body = self.client.get_template(StackName=self.name).get("TemplateBody") or {}
                body = json.loads(body) if isinstance(body, str) and body.startswith("{") else body
                found = body.get("Description") if isinstance(body, Mapping) else None
        if found != site.description:
            said = "nothing" if found is None else repr(found)
            raise SettingsError(
                f"stack {self.name} is another's: it says {said}, wanted {site.description!r}. "
                "Rename the use case or its environment."
            )

    def parameters(self) -> dict[str, str]:
        """The values that the stack's parameters have; none when there is no stack."""
        if self.status() in (None, *ABSENT):
            return {}
        with asking(f"stack {self.name}"):
            found = self.client.describe_stacks(StackName=self.name)["Stacks"][0].get("Parameters", [])
        return {item["ParameterKey"]: item["ParameterValue"] for item in found}

    def _its_tags(self, *, exists: bool) -> list[dict[str, str]]:
        """The tags of a change set, which are all that the stack has afterwards."""
        if not exists:
            return [{"Key": key, "Value": value} for key, value in sorted(self.tags.items())]
        with asking(f"stack {self.name}"):
            return list(self.client.describe_stacks(StackName=self.name)["Stacks"][0].get("Tags", []))

    def planned(self, rendered: Rendered, parameters: Mapping[str, str]) -> tuple[str, list[Change]]:
        """Make a change set: its name, and what it would do; no name when there is nothing to do.

        Parameters that are not given keep the values that the stack has.

        Raises:
            CloudError: CloudFormation refuses the template, or the stack is in a state that nothing can update.
        """
        found = self.status()
        if found in BROKEN:
            raise CloudError(f"stack {self.name} is in state {found}, which nothing can update. Destroy it first.")
        content = rendered.files[TEMPLATE]
        declared = json.loads(content).get("Parameters", {}) if content.startswith(b"{") else {}
        unknown = [name for name in parameters if name not in declared]
        if unknown:
            hint = did_you_mean(unknown[0], declared) or f" It has {names(declared)}."
            raise SettingsError(f"the template has no parameter {unknown[0]!r}.{hint}")
        kept = {name: value for name, value in self.parameters().items() if name in declared}
        parameters = {**kept, **parameters}
        said = [f"{name}={value}" for name, value in sorted(parameters.items())]
        exists = found is not None and found not in ABSENT
        tags = self._its_tags(exists=exists)
        name = "quartet-" + hashlib.sha256(content + "\n".join(said).encode()).hexdigest()[:16]
        request = {
            "StackName": self.name,
            "ChangeSetName": name,
            "ChangeSetType": "UPDATE" if exists else "CREATE",
            "TemplateBody": content.decode(),
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in sorted(parameters.items())],
            "Capabilities": CAPABILITIES,
            **({"Tags": tags} if tags else {}),
            **({"RoleARN": self.role} if self.role else {}),
        }
        self.discard(name)
        with asking(f"stack {self.name}"):
            self.client.create_change_set(**request)
        if not self._made(name):
            self.discard(name)
            return "", []
        return name, list(self._changes(name))

    def _made(self, name: str) -> bool:
        """Wait until a change set can be read; whether it would change anything."""
        from botocore.exceptions import WaiterError

        waiter = self.client.get_waiter("change_set_create_complete")
        try:
            waiter.wait(StackName=self.name, ChangeSetName=name, WaiterConfig=self._patience())
        except WaiterError as error:
            said = str(error.last_response.get("StatusReason", ""))
            if any(text in said for text in NO_CHANGE):
                return False
            raise CloudError(f"stack {self.name}: {said or error}") from None
        return True

    def _changes(self, name: str) -> Iterator[Change]:
        pages = self.client.get_paginator("describe_change_set").paginate(StackName=self.name, ChangeSetName=name)
        with asking(f"stack {self.name}"):
            for page in pages:
                for item in page.get("Changes", []):
                    change = item["ResourceChange"]
                    replaced = change.get("Replacement") in ("True", "Conditional")
                    yield Change(change["Action"], change["LogicalResourceId"], change["ResourceType"], replaced)

    def discard(self, name: str) -> None:
        """Forget a change set, if there is one."""
        if self.status() is None:
            return
        with asking(f"stack {self.name}"):
            pages = self.client.get_paginator("list_change_sets").paginate(StackName=self.name)
            known = {item["ChangeSetName"] for page in pages for item in page["Summaries"]}
            if name in known:
                self.client.delete_change_set(StackName=self.name, ChangeSetName=name)

    def forget(self) -> None:
        """Remove what a change set alone has made: a stack without resources, which is of no use to anybody."""
        from botocore.exceptions import ClientError

        if self.status() == "REVIEW_IN_PROGRESS":
            # Who may plan may perhaps not delete; the empty stack is a blemish and no fault.
            with contextlib.suppress(ClientError):
                self.client.delete_stack(StackName=self.name)

    def execute(self, change_set: str) -> None:
        """Carry a change set out and wait for its end.

        Raises:
            CloudError: it failed, and CloudFormation has undone it; the text names the resource and the reason.
        """
        with asking(f"stack {self.name}"):
            kind = "create" if self.status() in (None, *ABSENT) else "update"
            self.client.execute_change_set(StackName=self.name, ChangeSetName=change_set)
        self._await(f"stack_{kind}_complete")

    def destroy(self) -> bool:
        """Remove the stack; whether there was one. What it keeps (releases, models, images) stays.

        Raises:
            CloudError: a resource could not be removed.
        """
        if self.status() in (None, "DELETE_COMPLETE"):
            return False
        with asking(f"stack {self.name}"):
            self.client.delete_stack(StackName=self.name, **({"RoleARN": self.role} if self.role else {}))
        self._await("stack_delete_complete")
        return True

    def _await(self, waiter: str) -> None:
        from botocore.exceptions import WaiterError

        try:
            self.client.get_waiter(waiter).wait(StackName=self.name, WaiterConfig=self._patience())
        except WaiterError:
            raise CloudError(f"stack {self.name} was not changed: {self._reason()}") from None

    def _patience(self) -> dict[str, Any]:
        return {"Delay": self.poll, "MaxAttempts": TRIES}

    def _reason(self) -> str:
        """The first failure of the latest deployment, as CloudFormation tells it."""
        with asking(f"stack {self.name}"):
            events = self.client.describe_stack_events(StackName=self.name)["StackEvents"]
        newest = itertools.takewhile(lambda event: not self._begins(event), events)
        failed = [event for event in newest if event["ResourceStatus"].endswith("_FAILED")]
        if not failed:
            return "CloudFormation gives no reason; see the stack's events."
        first = failed[-1]  # what comes after it was cancelled because of it
        return f"{first['LogicalResourceId']}: {first.get('ResourceStatusReason', first['ResourceStatus'])}"

    def _begins(self, event: Mapping[str, Any]) -> bool:
        """Whether an event is the start of a deployment."""
        starts = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS")
        return event["LogicalResourceId"] == self.name and event["ResourceStatus"] in starts
