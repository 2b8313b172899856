"""Customers' files in ``customers.d``: found by the customer's name, read, replaced whole."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from probes.contract.config.source import CUSTOMERS, Source, text_of
from probes.contract.errors import ConfigError, Problem
from probes.contract.names import is_name

MAX_BYTES = 64 << 20
"""A larger file is a mistake; the same bound as that of ``mailcanary check``."""

_HEAD = "# Written by the collector's API, which keeps no comments.\n"


@dataclass(frozen=True, slots=True)
class CustomerFile:
    """One file as it is on the disk. ``etag`` is quoted (RFC 9110 section 8.8.3).

    ``unreadable`` says why it holds no text; ``text`` is then what could be made of its bytes.
    """

    path: Path
    text: str
    etag: str
    unreadable: Problem | None = None

    @classmethod
    def of(cls, path: Path, data: bytes) -> "CustomerFile":
        """The file of those bytes, whatever they are."""
        try:
            return cls(path, text_of(str(path), data, MAX_BYTES), etag_of(data))
        except ConfigError as error:
            text = data[:MAX_BYTES].decode(errors="replace")
            return cls(path, text, etag_of(data), error.problems[0])

    @property
    def source(self) -> Source:
        """The file as checks take it."""
        return Source(str(self.path), self.text, "customer", self.unreadable)


def etag_of(data: bytes) -> str:
    """The ETag of a file's bytes."""
    return f'"{hashlib.blake2b(data, digest_size=12).hexdigest()}"'


def to_yaml(document: dict[str, Any]) -> str:
    """The file of a customer, in the order in which the document has its keys."""
    return _HEAD + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


class CustomerFiles:
    """The directory of customers' files.

    Files may be looked for from several threads, and while one is written: each is replaced whole.
    Only one thing at a time may be written.
    """

    def __init__(self, main: Path) -> None:
        self.directory = main.parent / CUSTOMERS
        # A file is looked into again only when it changed: there may be thousands.
        self._names: dict[Path, tuple[tuple[int, int, int], str | None]] = {}

    def find(self, name: str) -> CustomerFile | None:
        """The file that holds the customer of that name; one called after it that is too broken
        to tell any name is taken for it, so that it can be replaced.

        Raises:
            OSError: it cannot be read.
        """
        if not is_name(name):
            return None
        place = self.place(name)
        # Nearly always; to look at a thousand files takes a while beside a check that is at work.
        if self._name(place) == name:
            return _read(place)
        nameless = False
        for path in self._files():
            found = self._name(path)
            if found == name:
                return _read(path)
            nameless = nameless or (found is None and path == place)
        return _read(place) if nameless else None

    def place(self, name: str) -> Path:
        """Where the file of a new customer goes."""
        return self.directory / f"{name}.yaml"

    def write(self, path: Path, text: str) -> CustomerFile:
        """Put ``text`` in the place of what is at ``path``: all of it or nothing, whatever happens.

        Raises:
            OSError: it cannot be written; what was there is there still.
        """
        data = text.encode()
        self.directory.mkdir(exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        try:
            with temporary.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            if path.exists():
                temporary.chmod(path.stat().st_mode & 0o777)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        self._sync()
        return CustomerFile(path, text, etag_of(data))

    def remove(self, path: Path) -> None:
        """Remove the file.

        Raises:
            OSError: it cannot be removed.
        """
        path.unlink()
        self._sync()

    def _sync(self) -> None:
        handle = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _files(self) -> list[Path]:
        try:
            entries = sorted(self.directory.iterdir())
        except FileNotFoundError:
            return []
        return [path for path in entries if path.suffix == ".yaml" and path.name[:1] != "."]

    def _name(self, path: Path) -> str | None:
        try:
            stat = path.stat()
            mark = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            known = self._names.get(path)
            if known is None or known[0] != mark:
                known = self._names[path] = (mark, _name_in(path.read_bytes()))
        except OSError:
            return None
        return known[1]


def _read(path: Path) -> CustomerFile | None:
    try:
        with path.open("rb") as stream:
            return CustomerFile.of(path, stream.read(MAX_BYTES + 1))
    except FileNotFoundError:  # it was removed since it was found
        return None


def _name_in(data: bytes) -> str | None:
    """The customer's name that a file gives, without a judgement of the rest.

    Only the top level is looked at, as events: an alias in a hostile text cannot grow.
    """
    depth, key = 0, True
    wanted = False
    try:
        for event in yaml.parse(data, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                depth += 1
                if depth == 2:
                    wanted, key = False, True
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                depth -= 1
            elif depth == 1 and isinstance(event, yaml.ScalarEvent):
                if not key and wanted:
                    return str(event.value)
                wanted = key and event.value == "name"
                key = not key
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    return None
