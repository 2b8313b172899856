"""Texts to a configuration, or to the list of everything that is wrong with them."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from probes.contract.config.budgets import budgets, warnings
from probes.contract.config.document import Document, read
from probes.contract.config.duplicates import duplicates
from probes.contract.config.messages import NUMBERS
from probes.contract.config.models import Config
from probes.contract.config.outward import outward, outward_warnings
from probes.contract.config.parts import Draft, take_apart
from probes.contract.config.references import references, secrets, times
from probes.contract.config.source import Source
from probes.contract.errors import ConfigError, Problem


class Checked(NamedTuple):
    """What a check comes to: a configuration if there are no problems, and everything to say."""

    config: Config | None
    problems: list[Problem]
    warnings: list[Problem]


def check_documents(files: Sequence[tuple[str, str]]) -> Checked:
    """Check (name, text) pairs: first the main file's, then one for each customer's file.

    Names are for the messages only. The texts may be anything; ``config`` is ``None`` if and only
    if there are problems. Both lists are sorted by file and line.
    """
    sources = [
        Source(name, text, "customer" if index else "main")
        for index, (name, text) in enumerate(files)
    ]
    return check_sources(sources)


def check_sources(
    sources: Sequence[Source], as_document: Callable[[Source], Document] = read
) -> Checked:
    """Check one main source and any number of customer sources; see :func:`check_documents`.

    ``as_document`` reads a source as :func:`read` does; it may know it from the last time, since
    nobody changes what it gave.
    """
    documents = [as_document(source) for source in sources]
    problems = [problem for document in documents for problem in document.problems]
    mains = [document for document in documents if document.source.role == "main"]
    if len(mains) != 1:
        name = mains[1].source.name if mains else "config"
        found = Problem(name, 0, "", f"{len(mains)} main files", "exactly one")
        return Checked(None, sorted([*problems, found]), [])
    customers = [document for document in documents if document.source.role == "customer"]
    draft = take_apart(mains[0], customers)
    all_readable = all(document.readable for document in documents)
    # YAML's own complaint about a number says more than that it is none.
    told = {(document.source.name, path) for document in documents for path in document.misread}
    problems.extend(
        problem
        for problem in _check(draft, all_readable=all_readable)
        if problem.allowed not in NUMBERS or (problem.file, problem.path) not in told
    )
    config = None if problems else draft.config()
    return Checked(config, sorted(problems), sorted([*warnings(draft), *outward_warnings(draft)]))


def parse_config(sources: Sequence[Source]) -> Config:
    """The configuration that one main source and any number of customer sources make up.

    Raises:
        ConfigError: with every problem found, in all sources.
    """
    checked = check_sources(sources)
    if checked.config is None:
        raise ConfigError(checked.problems)
    return checked.config


def _check(draft: Draft, *, all_readable: bool) -> Iterator[Problem]:
    yield from draft.problems
    yield from duplicates(draft)
    yield from references(draft, all_readable=all_readable)
    yield from secrets(draft)
    yield from times(draft)
    yield from outward(draft)
    yield from budgets(draft)


def config_revision(config: Config) -> str:
    """Twelve hexadecimal digits that change whenever the configuration's meaning does."""
    return hashlib.blake2b(config.model_dump_json().encode(), digest_size=6).hexdigest()
