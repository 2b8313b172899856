"""One source as plain data, with the line of every field and everything YAML leaves doubtful."""

import re
from dataclasses import dataclass, field

import yaml

from probes.contract.config.nodes import Mapping, Node, Scalar, Sequence, TextError, compose
from probes.contract.config.source import Source
from probes.contract.errors import Problem

Loc = tuple[int | str, ...]
"""Keys and indices from the document's root to a field."""

_TAG = "tag:yaml.org,2002:"
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|[-+]?\.[0-9_]+([eE][-+][0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MISREAD = {
    "bool": "a yes or no",
    "int": "another number",
    "float": "another number",
    "timestamp": "a date",
}
"""What YAML 1.1 makes of plain words that people, and YAML 1.2, mean as text."""


def write_path(loc: Loc) -> str:
    """``("customers", 0, "name")`` as ``customers[0].name``."""
    text = ""
    for step in loc:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{_one_line(step)}" if text else _one_line(step)
    return text


def _one_line(key: str) -> str:
    """``key``, whatever it holds, as part of a message of one line."""
    shown = key if key.isprintable() else repr(key)
    return shown if len(shown) <= _LONGEST_KEY else shown[: _LONGEST_KEY - 1] + "…"


_LONGEST_KEY = 128


@dataclass(slots=True)
class Document:
    """A source after YAML: ``data`` as dicts, lists and scalars, ``problems`` found on the way.

    ``misread`` are the paths of numbers that other programs may read as other numbers.
    """

    source: Source
    root: Node | None = None
    data: object = None
    problems: list[Problem] = field(default_factory=list)
    misread: set[str] = field(default_factory=set)
    readable: bool = True

    def problem(self, loc: Loc, found: str, allowed: str, *, at_key: bool = False) -> Problem:
        """A problem with the field at ``loc``, with its line or that of its nearest parent."""
        line = self.line(loc, at_key=at_key)
        return Problem(self.source.name, line, write_path(loc), found, allowed)

    def line(self, loc: Loc, *, at_key: bool = False) -> int:
        """The 1-based line of the value at ``loc`` (its key's with ``at_key``)."""
        node = self.root
        line = node.line if node is not None else 0
        for index, step in enumerate(loc):
            found = _child(node, step)
            if found is None:
                break
            key, node = found
            last = index == len(loc) - 1
            # A mapping or list below its key: the key is what the eye looks for.
            line = key.line if (at_key and last) or not isinstance(node, Scalar) else node.line
        return line


def read(source: Source) -> Document:
    """The document in ``source``; with YAML errors among its problems and ``readable`` false."""
    document = Document(source)
    if source.unreadable is not None:
        document.problems.append(source.unreadable)
        document.readable = False
        return document
    try:
        document.root = compose(source.text)
    except TextError as error:
        problem = Problem(source.name, error.line, "", error.found, error.allowed)
        document.problems.append(problem)
        document.readable = False
        return document
    if document.root is not None:
        document.data = _Converter(document).convert(document.root, ())
    return document


def _child(node: Node | None, step: int | str) -> tuple[Node, Node] | None:
    if isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
        return node.items[step], node.items[step]
    if isinstance(node, Mapping):
        own = node.find(step)
        if own is not None:
            return own
        for key, value in node.pairs:
            if _is_merge(key):
                for parent in _parents(value):
                    found = _child(parent, step)
                    if found is not None:
                        return found
    return None


def _is_merge(key: Node) -> bool:
    return isinstance(key, Scalar) and key.plain and key.text == "<<"


def _parents(value: Node) -> list[Node]:
    return value.items if isinstance(value, Sequence) else [value]


class _Converter:
    """Nodes to data. Each node is converted once, so that aliases share their data."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._done: dict[Node, object] = {}

    def convert(self, node: Node, loc: Loc) -> object:
        if node in self._done:
            return self._done[node]
        self._check_tag(node, loc)
        data: object
        if isinstance(node, Scalar):
            data = self._scalar(node, loc)
        elif isinstance(node, Sequence):
            data = [self.convert(item, (*loc, index)) for index, item in enumerate(node.items)]
        elif isinstance(node, Mapping):
            data = self._mapping(node, loc)
        else:
            data = None
        self._done[node] = data
        return data

    def _add(self, node: Node, loc: Loc, found: str, allowed: str) -> None:
        name = self._document.source.name
        self._document.problems.append(Problem(name, node.line, write_path(loc), found, allowed))

    def _check_tag(self, node: Node, loc: Loc) -> None:
        core = {Scalar: "str", Sequence: "seq", Mapping: "map"}[type(node)]
        if node.tag not in (None, "!", _TAG + core):
            tag = (node.tag or "").replace(_TAG, "!!")
            self._add(node, loc, f"the tag {_one_line(tag)}", "no tag")

    def _mapping(self, node: Mapping, loc: Loc) -> dict[str, object]:
        own: dict[str, object] = {}
        merged: dict[str, object] = {}
        lines: dict[str, int] = {}
        for key, value in node.pairs:
            if _is_merge(key):
                self._merge(value, loc, merged)
            elif not isinstance(key, Scalar):
                self._add(key, loc, "a list or mapping as a key", "text")
            else:
                text = self._key(key, loc)
                if text in lines:
                    first = f"(first in line {lines[text]})"
                    what = f"the key {text[:_LONGEST_KEY]!r} a second time {first}"
                    self._add(key, (*loc, text), what, "each key once")
                lines.setdefault(text, key.line)
                own[text] = self.convert(value, (*loc, text))
        return merged | own

    def _merge(self, value: Node, loc: Loc, merged: dict[str, object]) -> None:
        for parent in _parents(value):
            data = self.convert(parent, loc)
            if isinstance(data, dict):
                for key, item in data.items():
                    merged.setdefault(key, item)
            else:
                self._add(parent, (*loc, "<<"), "no mapping", "a mapping, or a list of them")

    def _key(self, key: Scalar, loc: Loc) -> str:
        if key.plain and _implicit_tag(key.text) == "bool" and not _is_true_or_false(key.text):
            self._misread(key, (*loc, key.text), "bool")
        return key.text

    def _misread(self, node: Scalar, loc: Loc, tag: str) -> None:
        what = f"{node.text}, which YAML 1.1 takes for {_MISREAD[tag]}"
        number = ", or a plain decimal number" if tag in ("int", "float") else ""
        if number:
            self._document.misread.add(write_path(loc))
        self._add(node, loc, what, f'"{node.text}" in quotes for text{number}')

    def _scalar(self, node: Scalar, loc: Loc) -> object:
        text = node.text
        if not node.plain:
            return text
        tag = _implicit_tag(text)
        if tag == "null":
            return None
        if tag == "bool" and _is_true_or_false(text):
            return text.lower() == "true"
        if tag == "int" and _DECIMAL.fullmatch(text):
            digits = text.replace("_", "")
            # Python refuses to make an int of thousands of digits; a float is out of range as well.
            return int(digits) if len(digits) <= 20 else float(digits)
        if tag == "float" and _FLOAT.fullmatch(text):
            return float(text.replace("_", ""))
        if tag == "float" and _INFINITE.fullmatch(text):
            return float(text.replace(".", ""))
        if tag in _MISREAD:
            self._misread(node, loc, tag)
        return text


def _is_true_or_false(text: str) -> bool:
    return text.lower() in ("true", "false")


def _implicit_tag(text: str) -> str:
    """The YAML 1.1 type of a plain scalar: ``str``, ``bool``, ``int``, …"""
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers
    for tag, pattern in resolvers.get(text[:1], ()):
        if pattern.match(text):
            return str(tag).removeprefix(_TAG)
    return "str"
