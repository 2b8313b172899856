"""Faults to put into a sound configuration, each at a place of its own, and what may mask what."""

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from probes.contract.config.document import Loc, write_path
from probes.contract.config.loader import Checked, check_documents
from probes.contract.config.messages import SELECTIONS
from probes.contract.errors import Problem

FLEET = Path(__file__).parents[4] / "examples" / "fleet"
FILES = ("mailcanary.yaml", "customers.d/acme.yaml", "customers.d/globex.yaml")

Documents = dict[str, Any]
"""What each file holds, as dicts and lists."""


def sound() -> Documents:
    """The example fleet, with a limit or reference of every kind written out."""
    texts = {name: (FLEET / name).read_text(encoding="utf-8") for name in FILES}
    # Through JSON-like copies: aliases of the file must not share what is mutated.
    documents = {name: _unshared(yaml.safe_load(text)) for name, text in texts.items()}
    for relay in documents[FILES[0]]["relays"]:
        relay["max_per_minute"] = 7
        relay["capacity"] = 200
    documents[FILES[1]]["canaries"][1].update({"relays": ["relay-d1", "relay-d2"]})
    documents[FILES[2]]["canaries"][1].update({"agents": "fra", "loss_after": "1h"})
    return documents


def _unshared(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _unshared(value) for key, value in data.items()}
    return [_unshared(item) for item in data] if isinstance(data, list) else data


@dataclass(frozen=True, slots=True)
class Mutation:
    """``how`` at ``loc`` of ``file``: delete, replace, retype, rename, add or duplicate."""

    file: str
    loc: Loc
    how: str
    value: Any = None

    def apply(self, documents: Documents) -> None:
        """Mutate ``documents`` in place; a place that does not take the mutation stays."""
        holder: Any = documents[self.file]
        for step in self.loc[:-1]:
            holder = holder[step]
        last: Any = self.loc[-1]
        node = holder[last]
        if self.how == "delete" and (isinstance(holder, dict) or last == len(holder) - 1):
            del holder[last]
        elif self.how == "replace":
            holder[last] = copy.deepcopy(self.value)
        elif self.how == "retype":
            holder[last] = node[0] if isinstance(node, list) and node else [node]
        elif self.renames:
            items = [(self.renamed[-1] if key == last else key, holder[key]) for key in holder]
            holder.clear()
            holder.update(items)
        elif self.how == "add" and isinstance(node, dict) and not of_labels((*self.loc, "")):
            node["qqq"] = self.value
        elif self.how == "duplicate" and isinstance(node, list) and node:
            node.append(copy.deepcopy(node[-1]))

    @property
    def renames(self) -> bool:
        """Whether it makes an unknown key of a known one."""
        return self.how == "rename" and isinstance(self.loc[-1], str) and not of_labels(self.loc)

    @property
    def renamed(self) -> Loc:
        """The place after a slip of the fingers in its key."""
        last = self.loc[-1]
        return (*self.loc[:-1], f"{last[:-1]}{last[-1]}{last[-1]}") if isinstance(last, str) else ()


def of_labels(loc: Loc) -> bool:
    """Whether the key at ``loc`` is a label's, whose name may be any; in a selection as well."""
    return loc[-2:-1] in [(key,) for key in ("labels", *SELECTIONS)]


def places(data: Any, loc: Loc = ()) -> Iterator[Loc]:
    """Every place in ``data`` but its root."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for step, value in items:
        yield (*loc, step)
        if isinstance(value, dict | list):
            yield from places(value, (*loc, step))


def check(mutations: Sequence[Mutation]) -> Checked:
    """What check says of the sound configuration after ``mutations``."""
    documents = sound()
    for mutation in mutations:
        mutation.apply(documents)
    return check_documents(
        [(name, yaml.safe_dump(data, sort_keys=False)) for name, data in documents.items()]
    )


def apart(one: Mutation, other: Mutation) -> bool:
    """Whether neither place holds the other."""
    shorter = min(len(one.loc), len(other.loc))
    return one.file != other.file or one.loc[:shorter] != other.loc[:shorter]


_LISTS = {"relays", "agents", "customers", "mailboxes", "canaries", "destinations", "checks"}
_RULES = {"canaries", "checks"}
_SELECTION = {"name", "labels", "sender", "defaults", "probe"} | _LISTS
# What each check reads, by a word of its message: only a fault there may mask what it says.
_READS = [
    (r"a second time|the inbox|selects everything", {
        "name", "address", "egress", "host", "port", "source_address", "folders", "inbox", "junk",
        "domain", "hosts", "controls", "sources",
    } | _LISTS),
    (r"the unknown (relay|agent|mailbox|destination)",
     {"on_relay", "bounces", "name", "sender", "probe"} | _LISTS),
    (r"the port that mail", {"port", "controls"} | _LISTS),
    (r"neither domain|beside a domain|the address", {"domain", "hosts"} | _LISTS),
    (r"sources of an agent", {"sources", "on_relay"} | _LISTS),
    (r"destinations of a|looks (?:at|out from) as well", {"probe"} | _SELECTION),
    (r"^timeout", {"interval", "timeout", "checks"}),
    (r"which no |but there is no|a sender", _SELECTION),
    (r"the secret|a secret", {"secret", "auth", "imap", "name"} | _LISTS),
    (r"^deadline|^loss_after", {"deadline", "loss_after", "remember", "defaults"} | _LISTS),
    (r"planned|selects as well|can carry",
     {"interval", "per", "quota", "paths", "per_minute", "capacity", "max_per_minute"}
     | _SELECTION),
]  # fmt: skip


def may_mask(mutation: Mutation, problem: Problem) -> bool:
    """Whether ``problem`` may go when ``mutation`` is made as well.

    It may where the mutation takes away the place that the problem is about, or what the check
    that found it has to read. What is wrong with a value in itself depends on nothing else.
    """
    if problem.file == mutation.file and _holds(write_path(mutation.loc), problem.path):
        return True
    for words, keys in _READS:
        if re.search(words, problem.found):
            steps = [step for step in mutation.loc if isinstance(step, str)]
            # Within a rule, what a selector holds is read with it, whatever the label's name.
            within = [step for step in steps if step in _RULES]
            read = (steps[steps.index(within[0]) + 1 :] if within else []) or steps[-1:]
            return mutation.how != "add" and ("labels" in steps or not keys.isdisjoint(read))
    return False


def _holds(place: str, path: str) -> bool:
    return path == place or path.startswith((f"{place}.", f"{place}["))


def identity(problem: Problem, mutations: Sequence[Mutation] = ()) -> tuple[str, str, str]:
    """What stays the same of a problem when others join it; its path after all renamings."""
    path = problem.path
    for one in mutations:
        place = write_path(one.loc)
        if one.renames and one.file == problem.file and _holds(place, path):
            path = write_path(one.renamed) + path[len(place) :]
    return problem.file, path, re.sub(r"[0-9]+[a-z]*", "#", problem.allowed)
