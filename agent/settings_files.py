"""Reads the configuration's files: a main file, and ``customers.d/*.yaml`` beside it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from probes.contract.config.loader import Checked, check_sources
from probes.contract.config.models import Config
from probes.contract.config.source import CUSTOMERS, Role, Source, text_of
from probes.contract.errors import ConfigError, Problem

MAX_BYTES = 64 * 1024 * 1024
"""A larger file is no configuration but a mistake."""


@dataclass(frozen=True, slots=True)
class FileSet:
    """A main file and the customers' files that go with it, all as the user wrote them.

    ``problems`` are files whose names do not count, ``unread`` what could not be looked into, and
    ``warnings`` what is passed over and may not be meant to be.
    """

    main: Path
    customers: tuple[Path, ...] = ()
    problems: tuple[Problem, ...] = ()
    unread: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def file_set(main: Path) -> FileSet:
    """``main`` and the files in ``customers.d`` beside it, by name; hidden ones are left out.

    Files in ``.yml`` and ``.json`` are a problem, since they would be passed over in silence; they
    are read all the same, so that a better name reveals nothing new.
    """
    directory = main.parent / CUSTOMERS
    try:
        if not directory.is_dir():
            there = directory.exists() or directory.is_symlink()
            found = Problem(str(directory), 0, "", "no directory", "a directory, or nothing")
            return FileSet(main, unread=(found,) if there else ())
        entries = sorted(entry for entry in directory.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        found = Problem(str(directory), 0, "", reason, "a readable directory, or nothing")
        return FileSet(main, unread=(found,))
    customers, problems, warnings = [], [], []
    for entry in entries:
        if entry.suffix == ".yaml":
            customers.append(entry)
        elif entry.suffix.lower() in (".yml", ".json", ".yaml"):
            customers.append(entry)
            what = f"a {entry.suffix} file in {CUSTOMERS}"
            problems.append(Problem(str(entry), 0, "", what, "a name in .yaml"))
        elif ".yaml" in entry.name or ".yml" in entry.name or entry.is_dir():
            kind = "a directory" if entry.is_dir() else "a file"
            what = f"{kind} in {CUSTOMERS} that is not read"
            allowed = "without a warning a name in .yaml, or one that begins with a dot"
            warnings.append(Problem(str(entry), 0, "", what, allowed))
    return FileSet(main, tuple(customers), tuple(problems), warnings=tuple(warnings))


def file_sets(files: Sequence[Path]) -> list[FileSet]:
    """One set for each main file in ``files``; files in a ``customers.d`` join their main file.

    A customer's file whose directory lies beside no main file of ``files`` joins the only one.

    Raises:
        ValueError: when there is no main file, or it is open which one a customer's file is for.
    """
    mains = [file for file in files if file.absolute().parent.name != CUSTOMERS]
    customers = [file for file in files if file not in mains]
    if not mains:
        raise ValueError(
            f"found only files of {CUSTOMERS}, allowed are they together with their main file: "
            "name it"
        )
    sets = []
    for main in dict.fromkeys(mains):
        own = file_set(main)
        known = {file.resolve() for file in own.customers}
        others = [file for file in customers if file.resolve() not in known]
        if others and len(mains) == 1:
            own = replace(own, customers=(*own.customers, *others))
        sets.append(own)
    read = {file.resolve() for entry in sets for file in entry.customers}
    for file in customers:
        if file.resolve() not in read:
            raise ValueError(
                f"found {file}, allowed is a customer's file beside a main file: which of the main "
                "files does it belong to?"
            )
    return sets


def sources(files: FileSet) -> list[Source]:
    """The texts of a set's files; those that cannot be read, or are not UTF-8, say why."""
    roles: list[tuple[Path, Role]] = [(files.main, "main")]
    roles += [(file, "customer") for file in files.customers]
    result = [Source(problem.file, "", "customer", problem) for problem in files.unread]
    for file, role in roles:
        try:
            result.append(Source(str(file), _text(file, role), role))
        except ConfigError as error:
            [problem] = error.problems
            result.append(Source(str(file), "", role, problem))
    return result


def read_sources(files: FileSet) -> list[Source]:
    """The texts of a set's files, all of which must be readable.

    Raises:
        ConfigError: with one problem for each file that cannot be read or is not UTF-8.
    """
    result = sources(files)
    problems = [source.unreadable for source in result if source.unreadable is not None]
    if problems:
        raise ConfigError(problems)
    return result


def check_files(files: FileSet) -> Checked:
    """What there is to say of a set's files, of their names and of what they hold."""
    checked = check_sources(sources(files))
    problems = sorted([*files.problems, *checked.problems])
    config = None if problems else checked.config
    return Checked(config, problems, sorted([*files.warnings, *checked.warnings]))


def load_config(main: Path) -> Config:
    """The configuration in ``main`` and the ``customers.d`` beside it.

    Raises:
        ConfigError: with every problem found.
    """
    checked = check_files(file_set(main))
    if checked.config is None:
        raise ConfigError(checked.problems)
    return checked.config


def _text(file: Path, role: Role) -> str:
    name = str(file)
    try:
        if file.is_dir():
            raise ConfigError([Problem(name, 0, "", "a directory", "a file")])
        # The main file may come through a pipe; one in customers.d would be waited for for ever.
        if role == "customer" and file.exists() and not file.is_file():
            raise ConfigError([Problem(name, 0, "", "no regular file", "a file")])
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError([Problem(name, 0, "", reason, "a readable file")]) from None
    return text_of(name, data, MAX_BYTES)
