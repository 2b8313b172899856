"""What can be understood of faulty data: so that mending one fault never reveals another.

Data that does not validate is mended and validated again: an unknown key is dropped, or taken for
the key that it is probably meant to be; a faulty value gives way to its default, or to a stand-in
where there is none. What was mended is known by its place, and no check judges it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from probes.contract.config.document import Loc
from probes.contract.config.messages import close_to, explain, fields_at

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)

_IMAP = {"host": "stand-in.invalid", "user": "stand-in", "secret": "stand-in/stand-in"}
_SENDER = {"address": "stand-in@stand-in.invalid", "helo": "stand-in.invalid"}
STAND_INS: Mapping[str, object] = {
    **_IMAP,
    **_SENDER,
    "name": "stand-in",
    "imap": _IMAP,
    "sender": _SENDER,
    "version": 1,
    "egress": "::",
    "received_as": "stand-in.invalid",
    "sources": "::",
    "hosts": "stand-in.invalid",
    "controls": 1,
    "probe": "egress",
}
"""By key: what stands for a required value, or for an item of a list, that is faulty or missing."""

_ROUNDS = 8
"""A key taken for another can hold faults of its own, a level deeper each time."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault at ``loc``, relative to the data; ``at_key`` when the key itself is to blame."""

    loc: Loc
    found: str
    allowed: str
    at_key: bool


@dataclass(frozen=True, slots=True)
class Salvaged(Generic[M]):
    """``value`` is ``None`` when something is required for which there is no stand-in.

    ``faulty`` are the places that were mended; ``()`` means the whole. ``data`` is what was
    validated in the end.
    """

    value: M | None
    data: object
    findings: list[Finding] = field(default_factory=list)
    faulty: frozenset[Loc] = frozenset()


def salvage(
    raw: object, model: type[M], stand_ins: Mapping[str, object], elsewhere: Sequence[str] = ()
) -> Salvaged[M]:
    """``raw`` as a ``model``, with all faults, and mended where it must be.

    ``elsewhere`` are keys that are validated on their own: no other key is taken for one of them.
    """
    mending = _Mending(raw, model, stand_ins, elsewhere)
    for _ in range(_ROUNDS):
        try:
            value = model.model_validate(mending.data)
        except ValidationError as error:
            if not mending.mend(error):
                break
        else:
            return Salvaged(value, mending.data, mending.findings, frozenset(mending.faulty))
    return Salvaged(None, mending.data, mending.findings, frozenset(mending.faulty))


class _Mending:
    def __init__(
        self,
        raw: object,
        model: type[BaseModel],
        stand_ins: Mapping[str, object],
        elsewhere: Sequence[str],
    ) -> None:
        self._elsewhere = elsewhere
        self.data = raw
        self.findings: list[Finding] = []
        self.faulty: set[Loc] = set()
        self._model = model
        self._stand_ins = stand_ins
        self._told: set[tuple[Loc, str]] = set()
        self._copied = False
        self._written_as: dict[Loc, str] = {}

    def mend(self, error: ValidationError) -> bool:
        """Note the faults and mend them; whether anything could be mended."""
        if not self._copied:
            # Aliases share their data; what is mended here may be meant as it is there.
            self.data = _copy(self.data)
            self._copied = True
        before = len(self.findings)
        details = error.errors(include_url=False)
        # A key that is meant by another one is not missing.
        for detail in sorted(details, key=lambda detail: detail["type"] != "extra_forbidden"):
            self._note(detail)
            self._mend(detail)
        return len(self.findings) > before

    def _note(self, detail: "ErrorDetails") -> None:
        if detail["type"] == "missing" and not self._is_news(detail["loc"]):
            return
        loc, found, allowed = explain(detail, self._model)
        at_key = detail["type"] == "extra_forbidden" or "[key]" in detail["loc"]
        finding = Finding(self._as_written(loc), found, allowed, at_key)
        if (finding.loc, found) not in self._told:
            self._told.add((finding.loc, found))
            self.findings.append(finding)

    def _is_news(self, missing: Loc) -> bool:
        """Whether the key was missing from the start, and no other key is meant to be it."""
        parent = _at(self.data, missing[:-1])
        meant = isinstance(parent, dict) and missing[-1] in parent
        return not meant and missing not in self.faulty

    def _as_written(self, loc: Loc) -> Loc:
        steps = [self._written_as.get(loc[: end + 1], step) for end, step in enumerate(loc)]
        return tuple(steps)

    def _mend(self, detail: "ErrorDetails") -> None:
        loc: Loc = tuple(step for step in detail["loc"] if step != "[key]")
        if not loc:
            self.faulty.add(loc)
            keys = self._model.model_fields.keys() & self._stand_ins.keys() - set(_LISTS)
            self.data = {key: _copy(self._stand_ins[key]) for key in keys}
            return
        parent = _at(self.data, loc[:-1])
        if detail["type"] == "extra_forbidden":
            self._unknown_key(parent, loc)
        elif detail["type"] == "missing":
            self._missing(parent, loc)
        else:
            self._faulty_value(parent, loc)

    def _unknown_key(self, parent: Any, loc: Loc) -> None:
        if not isinstance(parent, dict):
            return
        value = parent.pop(loc[-1], None)
        meant = close_to(str(loc[-1]), fields_at(self._model, loc[:-1]))
        if meant is not None and meant not in parent and meant not in self._elsewhere:
            parent[meant] = value
            self._written_as[(*loc[:-1], meant)] = str(loc[-1])

    def _missing(self, parent: Any, loc: Loc) -> None:
        key = str(loc[-1])
        if isinstance(parent, dict) and key not in parent:
            self.faulty.add(loc)
            if key in self._stand_ins:
                parent[key] = _copy(self._stand_ins[key])

    def _faulty_value(self, parent: Any, loc: Loc) -> None:
        self.faulty.add(loc)
        step = loc[-1]
        # An item of a list is replaced, never removed: the others keep their indices.
        key = next((step for step in reversed(loc) if isinstance(step, str)), "")
        is_item = isinstance(parent, list) and key in self._stand_ins
        if is_item or (isinstance(parent, dict) and self._is_required(loc)):
            parent[step] = _copy(self._stand_ins[key])
        elif isinstance(parent, dict):
            parent.pop(step, None)
        elif isinstance(self.data, dict):
            self.faulty.add(loc[:1])
            self.data.pop(loc[0], None)

    def _is_required(self, loc: Loc) -> bool:
        # A label may have any name, and a list's stand-in is for its items.
        return loc[-1] in self._stand_ins and loc[-1] not in _LISTS and "labels" not in loc


_LISTS = ("egress", "received_as", "sources", "hosts", "controls")


def _at(data: object, loc: Loc) -> object:
    for step in loc:
        if isinstance(data, dict):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            return None
    return data


def _copy(data: object) -> Any:
    if isinstance(data, dict):
        return {key: _copy(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_copy(item) for item in data]
    return data
