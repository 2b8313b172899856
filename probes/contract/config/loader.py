"""Texts to a configuration, or to the list of everything that is wrong with them."""

import hashlib
from collections.abc import Iterator, Sequence

from probes.contract.config.budgets import budgets
from probes.contract.config.document import read
from probes.contract.config.duplicates import duplicates
from probes.contract.config.models import Config
from probes.contract.config.parts import Draft, take_apart
from probes.contract.config.references import references, secrets, times
from probes.contract.config.source import Source
from probes.contract.errors import ConfigError, Problem


def parse_config(sources: Sequence[Source]) -> Config:
    """The configuration that one main source and any number of customer sources make up.

    Raises:
        ConfigError: with every problem found, in all sources.
    """
    documents = [read(source) for source in sources]
    problems = [problem for document in documents for problem in document.problems]
    mains = [document for document in documents if document.source.role == "main"]
    if len(mains) != 1:
        name = mains[1].source.name if mains else "config"
        found = f"{len(mains)} main files"
        raise ConfigError([*problems, Problem(name, 0, "", found, "exactly one")])
    customers = [document for document in documents if document.source.role == "customer"]
    if not mains[0].readable:
        # Without relays and agents every customer would seem to refer to nothing.
        raise ConfigError(problems)
    draft = take_apart(mains[0], customers)
    all_readable = all(document.readable for document in documents)
    # YAML's own complaint about a value says more than the type error that follows from it.
    told = {(problem.file, problem.path) for problem in problems}
    problems.extend(
        problem
        for problem in _check(draft, all_readable=all_readable)
        if (problem.file, problem.path) not in told
    )
    if problems:
        raise ConfigError(problems)
    return draft.config()


def _check(draft: Draft, *, all_readable: bool) -> Iterator[Problem]:
    yield from draft.problems
    yield from duplicates(draft)
    yield from references(draft, all_readable=all_readable)
    yield from secrets(draft)
    yield from times(draft)
    yield from budgets(draft)


def config_revision(config: Config) -> str:
    """Twelve hexadecimal digits that change whenever the configuration's meaning does."""
    return hashlib.blake2b(config.model_dump_json().encode(), digest_size=6).hexdigest()
