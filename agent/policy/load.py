"""Finds and reads the agent's policy file: every problem at once, with its line."""

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

from agent.policy.models import Keys, PolicyFile, SecretRule, SigningKey
from agent.policy.secrets import credential, variable
from agent.settings_files import FileSet, read_sources
from probes.contract.config.document import read
from probes.contract.config.parts import Part, Place, Taker, values
from probes.contract.config.source import Source
from probes.contract.errors import ConfigError, Problem

DEFAULT_NAME = "policy.yaml"


def find_policy(config: Path, policy: Path | None = None) -> PolicyFile:
    """The policy in ``policy``; without one, in ``policy.yaml`` beside the configuration.

    Raises:
        ConfigError: with every problem found.
    """
    if policy is not None:
        return read_policy(policy)
    beside = config.parent / DEFAULT_NAME
    if not beside.exists():
        found = "no policy file, without which the agent has no secrets and no key to sign with"
        allowed = (
            f"that file, or another with --policy; 'mailcanary init {config.parent}' writes one"
        )
        raise ConfigError([Problem(str(beside), 0, "", found, allowed)])
    return read_policy(beside)


def read_policy(path: Path) -> PolicyFile:
    """The policy in a file; relative paths in it are relative to it.

    Raises:
        ConfigError: with every problem found; also when others can write the file, since whoever
            can may send every secret anywhere.
    """
    [source] = read_sources(FileSet(path))
    mode = path.stat().st_mode
    if mode & stat.S_IWOTH:
        found = f"mode {stat.S_IMODE(mode):04o}, with which everybody can write it"
        raise ConfigError(
            [Problem(str(path), 0, "", found, "one without that (chmod o-w does it)")]
        )
    return _anchored(parse_policy(source.name, source.text), path.parent)


def _anchored(policy: PolicyFile, base: Path) -> PolicyFile:
    update: dict[str, object] = {}
    if policy.ca_file is not None:
        update["ca_file"] = str(base / policy.ca_file)
    if policy.sources.directory is not None:
        directory = str(base / policy.sources.directory)
        update["sources"] = policy.sources.model_copy(update={"directory": directory})
    return policy.model_copy(update=update)


def parse_policy(name: str, text: str) -> PolicyFile:
    """The policy in ``text``; ``name`` is how messages call it.

    Raises:
        ConfigError: with every problem found.
    """
    document = read(Source(name, text))
    problems = list(document.problems)
    if not document.readable:
        raise ConfigError(problems)
    own: list[Problem] = []
    place = Place(document, ())
    taker = Taker(own)
    shell, lists = taker.shell(place, document.data, PolicyFile, ("secrets",))
    rules = [taker.part(at, raw, SecretRule) for at, raw in lists["secrets"]]
    keys = _keys(place, document.data)
    own += [*_repeated_endpoints(rules), *_repeated_keys(keys), *_keys_sent(keys, rules)]
    if shell.value is not None:
        own += _confusable(shell.value, keys, rules)
    # YAML's own complaint about a value says more than the type error that follows from it.
    told = {problem.path for problem in problems}
    problems += [problem for problem in own if problem.path not in told]
    if problems or shell.value is None:
        raise ConfigError(problems)
    return shell.value.model_copy(update={"secrets": tuple(values(rules))})


def _keys(place: Place, data: object) -> list[tuple[Place, SigningKey]]:
    """The signing keys with their places; none when they are faulty, which is reported already."""
    if not isinstance(data, dict):
        return []
    try:
        keys = Keys.model_validate(data.get("keys"))
    except ValidationError:
        return []
    at = Place(place.document, ("keys", "current"))
    previous = [
        (Place(place.document, ("keys", "previous", index)), key)
        for index, key in enumerate(keys.previous)
    ]
    return [(at, keys.current), *previous]


def _repeated_endpoints(rules: list[Part[SecretRule]]) -> Iterator[Problem]:
    """Endpoints named twice for a secret: only one of two ``unverified`` could hold."""
    seen: dict[tuple[str, str], int] = {}
    for part in rules:
        if part.value is None:
            continue
        for index, to in enumerate(part.value.to):
            pair = (part.value.secret, to)
            if pair in seen:
                what = f"{to} a second time for secret {pair[0]} (first in line {seen[pair]})"
                yield part.place.problem("to", index, found=what, allowed="each endpoint once")
            line = part.place.document.line((*part.place.loc, "to", index))
            seen.setdefault(pair, line)


def _repeated_keys(keys: list[tuple[Place, SigningKey]]) -> Iterator[Problem]:
    lines: dict[str, int] = {}
    for place, key in keys:
        if key.id in lines:
            what = f"the key id {key.id!r} a second time (first in line {lines[key.id]})"
            yield place.problem("id", found=what, allowed="each id for one key")
        lines.setdefault(key.id, place.line)


def _keys_sent(
    keys: list[tuple[Place, SigningKey]], rules: list[Part[SecretRule]]
) -> Iterator[Problem]:
    """Signing keys that a rule lets go out as a password."""
    names = {key.secret for _, key in keys}
    for part in rules:
        if part.value is not None and part.value.secret in names:
            what = f"the secret {part.value.secret!r}, which holds a signing key"
            yield part.place.problem("secret", found=what, allowed="a secret that may be sent")


def _confusable(
    policy: PolicyFile, keys: list[tuple[Place, SigningKey]], rules: list[Part[SecretRule]]
) -> Iterator[Problem]:
    """Secrets that one variable, or one credential, would stand for: one would be sent for the
    other."""
    named = [(place, key.secret) for place, key in keys]
    named += [(part.place, part.value.secret) for part in rules if part.value is not None]
    sources = policy.sources
    kinds: list[tuple[bool, Callable[[str], str], str]] = [
        (sources.environment, variable, "environment variable"),
        (sources.credentials, credential, "systemd credential"),
    ]
    for used, form, kind in kinds:
        first: dict[str, str] = {}
        for place, name in named if used else ():
            other = first.setdefault(form(name), name)
            if other != name:
                what = f"{name!r}, whose {kind} is that of {other!r}"
                yield place.problem("secret", found=what, allowed="names that stay apart there")
