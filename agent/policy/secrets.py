"""Secrets by name: read late, given only for the endpoint that the policy binds them to."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.policy.models import Keys, PolicyFile, SecretRule, SigningKey
from probes.contract.errors import SecretError
from probes.contract.secret import Secret
from probes.contract.token import Key, KeyRing

_MAX_BYTES = 65536


def endpoint(host: str, port: int) -> str:
    """The endpoint as the policy writes it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def variable(name: str) -> str:
    """The secret's environment variable: ``acme/imap`` is ``MAILCANARY_SECRET_ACME__IMAP``."""
    text = name.replace("/", "__").replace("-", "_").replace(".", "_")
    return f"MAILCANARY_SECRET_{text.upper()}"


@dataclass(frozen=True, slots=True)
class Grant:
    """A secret that may be sent, and whether it may be sent without verified TLS."""

    secret: Secret
    unverified: bool


class Secrets:
    """The agent's secrets under its policy.

    Values are read at each use, so that a changed password needs no restart; nothing keeps them.
    """

    def __init__(self, policy: PolicyFile, environment: Mapping[str, str]) -> None:
        self._policy = policy
        self._environment = environment
        self._rules: dict[str, list[SecretRule]] = {}
        for rule in policy.secrets:
            self._rules.setdefault(rule.secret, []).append(rule)

    def grant(self, name: str, host: str, port: int) -> Grant:
        """The secret for that endpoint.

        Raises:
            SecretError: the policy does not allow it there, or it cannot be read.
        """
        where = endpoint(host, port).lower()
        rules = self._rules.get(name, [])
        for rule in rules:
            if where in (to.lower() for to in rule.to):
                return Grant(self._read(name), rule.unverified)
        allowed = ", ".join(to for rule in rules for to in rule.to) or "nowhere"
        raise SecretError(
            f"secret {name}: found {where} asking for it, the agent's policy allows {allowed}"
        )

    def key_ring(self) -> KeyRing:
        """The signing keys.

        Raises:
            SecretError: a key's secret cannot be read or is too short.
        """
        keys: Keys = self._policy.keys
        return KeyRing(self._key(keys.current), tuple(self._key(key) for key in keys.previous))

    def _key(self, key: SigningKey) -> Key:
        try:
            return Key(key.id, self._read(key.secret))
        except ValueError as error:
            raise SecretError(str(error)) from None

    def _read(self, name: str) -> Secret:
        sources = self._policy.sources
        looked = []
        if sources.directory is not None:
            file = Path(sources.directory) / name
            looked.append(str(file))
            if (value := _file(file)) is not None:
                return Secret(value, name)
        credentials = self._environment.get("CREDENTIALS_DIRECTORY")
        if sources.credentials and credentials:
            # systemd takes no slash in a credential's name.
            file = Path(credentials) / name.replace("/", "__")
            looked.append(str(file))
            if (value := _file(file)) is not None:
                return Secret(value, name)
        if sources.environment:
            looked.append(f"${variable(name)}")
            if (value := self._environment.get(variable(name))) is not None:
                return Secret(value, name)
        places = ", ".join(looked) or "no source: the policy's 'sources' names none"
        raise SecretError(f"secret {name}: found none, looked in {places}")


def _file(path: Path) -> str | None:
    """The secret in a file, its last line end cut off; ``None`` when there is no such file."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SecretError(f"{path}: found {error.strerror}, allowed is a readable file") from None
    if mode & stat.S_IRWXO:
        raise SecretError(
            f"{path}: found mode {stat.S_IMODE(mode):04o}, allowed is one that other users cannot "
            "read (chmod o= does it)"
        )
    if len(data) > _MAX_BYTES:
        raise SecretError(f"{path}: found more than {_MAX_BYTES} bytes, allowed is one secret")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise SecretError(f"{path}: found bytes that are no UTF-8, allowed is text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or "\n" in text or "\r" in text or "\0" in text:
        raise SecretError(f"{path}: found no single line of text, allowed is one line")
    return text
