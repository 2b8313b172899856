"""YAML text to a tree of nodes that know their lines, without recursion that input can deepen.

PyYAML's C composer recurses on the machine's stack, so that a deeply nested text ends the process,
and it neither sees duplicate keys nor bounds aliases. Its event stream does none of that harm, and
the tree is built from it here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_DEPTH = 64
"""Levels of nesting; the deepest field of the configuration lies at level 7."""

MAX_ALIASED = 100_000
"""Nodes that aliases may add, counted as if each alias had been written out."""

MAX_NODES = 2_000_000
"""Nodes that are written; a fleet of 10,000 customers has a quarter of that."""


@dataclass(slots=True, eq=False)
class Node:
    """One YAML node. ``line`` is 1-based; ``size`` counts nodes with aliases written out."""

    line: int
    tag: str | None
    size: int = 1


@dataclass(slots=True, eq=False)
class Scalar(Node):
    """A single value; ``plain`` when neither quoted nor a block of text."""

    text: str = ""
    plain: bool = False


@dataclass(slots=True, eq=False)
class Sequence(Node):
    """A list."""

    items: list[Node] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Mapping(Node):
    """Keys and values, in the order of the text, duplicates included."""

    pairs: list[tuple[Node, Node]] = field(default_factory=list)
    _index: dict[str, tuple[Node, Node]] | None = None

    def find(self, key: int | str) -> tuple[Node, Node] | None:
        """The key's node and its value's; the last one of duplicates, whose value counts."""
        if self._index is None:
            # Once for all keys: every problem of a mapping asks for its own.
            self._index = {pair[0].text: pair for pair in self.pairs if isinstance(pair[0], Scalar)}
        return self._index.get(key) if isinstance(key, str) else None


class TextError(Exception):
    """The text is not one acceptable YAML document."""

    def __init__(self, line: int, found: str, allowed: str) -> None:
        super().__init__(found)
        self.line = line
        self.found = found
        self.allowed = allowed


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def compose(text: str) -> Node | None:
    """The tree of the one document in ``text``; ``None`` for an empty text.

    Raises:
        TextError: not well-formed, more than one document, nested too deeply, more than
            :data:`MAX_NODES` nodes, aliases that grow beyond :data:`MAX_ALIASED` nodes, an unknown
            alias, an alias within its own anchor.
    """
    try:
        return _Composer(_events(text)).document()
    except yaml.MarkedYAMLError as error:
        raise _malformed(error, text) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = ord(text[error.position]) if error.position < len(text) else 0
        found = f"the character U+{code:04X}, which YAML forbids"
        raise TextError(line, found, "printable text") from None
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise TextError(line, "half a surrogate pair", "printable text") from None


def _malformed(error: yaml.MarkedYAMLError, text: str) -> TextError:
    """The parser's complaint; in plain words, where it is about tabs or a missing quote."""
    mark = error.problem_mark
    if mark is None:
        return TextError(0, f"bad YAML ({error.problem or error.context})", "well-formed YAML")
    begin = error.context_mark.line if error.context_mark else mark.line
    context = error.context or ""
    what = error.problem or context
    if "quoted" in context and "end of stream" in what:
        # The parser notices at the very end of the file; the quote is what must be mended.
        return TextError(begin + 1, "bad YAML (a quoted text that never ends)", "a closing quote")
    # The parser counts CR LF, and other line breaks, as splitlines() does.
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return TextError(mark.line + 1, "bad YAML (a tab in the indentation)", "spaces")
    if context and begin != mark.line:
        what = f"{what} {context} that begins in line {begin + 1}"
    return TextError(mark.line + 1, f"bad YAML ({what})", "well-formed YAML")


def _events(text: str) -> Iterator[yaml.Event]:
    loader = _LOADER(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


class _Composer:
    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events
        self._anchors: dict[str, Node | None] = {}  # None: still open
        self._aliased = 0
        self._written = 0

    def document(self) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise TextError(_line(event), "a second document", "one document in a file")
                root = self._node(next(self._events), 0)
        return root

    def _node(self, event: yaml.Event, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise TextError(_line(event), "deep nesting", f"at most {MAX_DEPTH} levels")
        self._written += 1
        if self._written > MAX_NODES:
            raise TextError(_line(event), "too much", f"at most {MAX_NODES} values in a file")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        anchor: str | None = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = None
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = Scalar(_line(event), event.tag, text=event.value, plain=event.implicit[0])
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, depth)
        elif isinstance(event, yaml.MappingStartEvent):
            node = self._mapping(event, depth)
        else:  # the parser's grammar lets nothing else begin a node
            raise TextError(_line(event), "bad YAML", "well-formed YAML")
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _sequence(self, start: yaml.SequenceStartEvent, depth: int) -> Sequence:
        node = Sequence(_line(start), start.tag)
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            item = self._node(event, depth + 1)
            node.items.append(item)
            node.size += item.size
        return node

    def _mapping(self, start: yaml.MappingStartEvent, depth: int) -> Mapping:
        node = Mapping(_line(start), start.tag)
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            value = self._node(next(self._events), depth + 1)
            node.pairs.append((key, value))
            node.size += key.size + value.size
        return node

    def _alias(self, event: yaml.AliasEvent) -> Node:
        line = _line(event)
        if event.anchor is None or event.anchor not in self._anchors:
            raise TextError(line, f"alias *{event.anchor}", "the name of an anchor above it")
        node = self._anchors[event.anchor]
        if node is None:
            raise TextError(line, f"alias *{event.anchor} inside its own anchor", "a value")
        self._aliased += node.size
        if self._aliased > MAX_ALIASED:
            raise TextError(line, "aliases that multiply", f"at most {MAX_ALIASED} aliased nodes")
        return node


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0
