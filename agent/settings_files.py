"""Reads the configuration's files: a main file, and ``customers.d/*.yaml`` beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from probes.contract.config.loader import parse_config
from probes.contract.config.models import Config
from probes.contract.config.source import Role, Source
from probes.contract.errors import ConfigError, Problem

CUSTOMERS = "customers.d"
MAX_BYTES = 64 * 1024 * 1024
"""A larger file is no configuration but a mistake."""


@dataclass(frozen=True, slots=True)
class FileSet:
    """A main file and the customers' files that go with it, all as the user wrote them."""

    main: Path
    customers: tuple[Path, ...] = ()


def customer_files(main: Path) -> list[Path]:
    """The files in ``customers.d`` beside ``main``, by name; hidden ones are left out.

    Raises:
        ConfigError: for ``*.yml`` and ``*.json``, which would otherwise be passed over in silence.
    """
    directory = main.parent / CUSTOMERS
    if not directory.is_dir():
        return []
    entries = sorted(entry for entry in directory.iterdir() if not entry.name.startswith("."))
    problems = [
        Problem(str(entry), 0, "", f"a {entry.suffix} file in {CUSTOMERS}", "a name in .yaml")
        for entry in entries
        if entry.suffix in (".yml", ".json")
    ]
    if problems:
        raise ConfigError(problems)
    return [entry for entry in entries if entry.suffix == ".yaml"]


def file_set(main: Path) -> FileSet:
    """``main`` and the customers' files beside it.

    Raises:
        ConfigError: when ``customers.d`` holds files whose names do not count.
    """
    return FileSet(main, tuple(customer_files(main)))


def file_sets(files: Sequence[Path]) -> list[FileSet]:
    """One set for each main file in ``files``; files in a ``customers.d`` join their main file.

    A customer's file whose directory lies beside no main file of ``files`` joins the only one.

    Raises:
        ValueError: when there is no main file, or it is open which one a customer's file is for.
        ConfigError: when a ``customers.d`` holds files whose names do not count.
    """
    mains = [file for file in files if file.absolute().parent.name != CUSTOMERS]
    customers = [file for file in files if file not in mains]
    if not mains:
        raise ValueError(f"files of {CUSTOMERS} are checked together with their main file: name it")
    sets = []
    for main in dict.fromkeys(mains):
        own = customer_files(main)
        known = {file.resolve() for file in own}
        others = [file for file in customers if file.resolve() not in known]
        if others and len(mains) == 1:
            own += others
        sets.append(FileSet(main, tuple(own)))
    read = {file.resolve() for entry in sets for file in entry.customers}
    for file in customers:
        if file.resolve() not in read:
            raise ValueError(f"{file}: which of the main files does it belong to?")
    return sets


def read_sources(files: FileSet) -> list[Source]:
    """The texts of a set's files.

    Raises:
        ConfigError: with one problem for each file that cannot be read or is not UTF-8.
    """
    sources: list[Source] = []
    problems: list[Problem] = []
    roles: list[tuple[Path, Role]] = [(files.main, "main")]
    roles += [(file, "customer") for file in files.customers]
    for file, role in roles:
        try:
            sources.append(Source(str(file), _text(file), role))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return sources


def load_config(main: Path) -> Config:
    """The configuration in ``main`` and the ``customers.d`` beside it.

    Raises:
        ConfigError: with every problem found.
    """
    return parse_config(read_sources(file_set(main)))


def _text(file: Path) -> str:
    name = str(file)
    try:
        if file.is_dir():
            raise ConfigError([Problem(name, 0, "", "a directory", "a file")])
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError([Problem(name, 0, "", reason, "a readable file")]) from None
    if len(data) > MAX_BYTES:
        raise ConfigError([Problem(name, 0, "", "a huge file", f"at most {MAX_BYTES} bytes")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"the byte 0x{data[error.start]:02x}, which is no UTF-8"
        raise ConfigError([Problem(name, line, "", found, "UTF-8 text")]) from None
