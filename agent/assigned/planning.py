"""Works out what an assignment gives to do; what it has of the one before is taken over.

An assignment comes whole with every change. The paths of a customer follow from the customer and
from what its rules choose from, so that only those of customers that changed are planned again: of
100,000 paths a few. What is taken over is the same object, by which others know it again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain, groupby
from typing import NamedTuple

import msgspec

from agent.assignment import Assignment, assign
from probes.contract.config.models import Config, Customer
from probes.contract.errors import MailcanaryError
from probes.contract.plan import PathPlan, plan
from probes.contract.wire import WIRE_VERSION, AssignmentDocument


class AssignedError(MailcanaryError):
    """An assignment that cannot be used; the one before stays."""


class _Planned(NamedTuple):
    """A customer, and the agent's paths to it."""

    customer: Customer
    paths: Sequence[PathPlan]


class Planner:
    """Plans one assignment after the other. From one thread at a time."""

    def __init__(self) -> None:
        self._agent = ""
        self._shell: Mapping[str, bytes] = {}
        self._planned: dict[bytes, _Planned] = {}

    def work(self, document: AssignmentDocument) -> Assignment:
        """What ``document`` gives its agent to do.

        Raises:
            AssignedError: it is of another version, or no configuration.
            AssignmentError: it has nothing for this agent to send.
        """
        version = document.version
        if version != WIRE_VERSION:
            raise AssignedError(
                f"assignment: version: found {version}, allowed is {WIRE_VERSION}; use the "
                "mailcanary version of the collector"
            )
        try:
            shell, texts = _taken_apart(document.config)
            config = Config.model_validate(
                {key: msgspec.json.decode(value) for key, value in shell.items()}
            )
            assignment = assign(config, document.agent, document.revision)
            planned = self._plan(config, shell, texts, document.agent)
        except (ValueError, msgspec.MsgspecError) as error:
            raise AssignedError(f"assignment: found {error}, allowed is a configuration") from None
        self._agent, self._shell, self._planned = document.agent, shell, planned
        return _with_paths(assignment, planned.values())

    def _plan(
        self, config: Config, shell: Mapping[str, bytes], texts: Sequence[bytes], agent: str
    ) -> dict[bytes, _Planned]:
        """The customers by their texts, in their order."""
        same = (agent, shell) == (self._agent, self._shell)
        known = self._planned if same else {}
        new = {
            text: Customer.model_validate(msgspec.json.decode(text))
            for text in texts
            if text not in known
        }
        changed = config.model_copy(update={"customers": tuple(new.values())})
        paths = {
            name: tuple(found)
            for name, found in groupby(plan(changed).for_agent(agent), _customer_of)
        }
        made = {
            text: _Planned(customer, paths.get(customer.name, ())) for text, customer in new.items()
        }
        return {text: known.get(text) or made[text] for text in texts}


def _customer_of(entry: PathPlan) -> str:
    return entry.path.customer


def _taken_apart(text: msgspec.Raw) -> tuple[dict[str, bytes], list[bytes]]:
    """All but the customers, and the text of each customer."""
    shell = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    customers = msgspec.json.decode(shell.pop("customers", b"[]"), type=list[msgspec.Raw])
    return {key: bytes(value) for key, value in shell.items()}, [bytes(one) for one in customers]


def _with_paths(assignment: Assignment, planned: Collection[_Planned]) -> Assignment:
    paths = tuple(chain.from_iterable(one.paths for one in planned))
    wanted = {entry.path.mailbox for entry in paths} | {assignment.bounces}
    mailboxes = {
        name: box
        for one in planned
        for box in one.customer.mailboxes
        if (name := f"{one.customer.name}/{box.name}") in wanted
    }
    return replace(assignment, paths=paths, mailboxes=mailboxes)
