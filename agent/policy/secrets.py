"""Secrets by name: read late, given only for the endpoint that the policy binds them to."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.policy.models import PolicyFile, SecretRule, SigningKey, endpoint
from probes.contract.errors import SecretError
from probes.contract.secret import Secret
from probes.contract.token import Key, KeyRing

MAX_BYTES = 65536
"""A longer text is no password, token or key."""


def variable(name: str) -> str:
    """The secret's environment variable: ``acme/imap`` is ``MAILCANARY_SECRET_ACME__IMAP``."""
    text = name.replace("/", "__").replace("-", "_").replace(".", "_")
    return f"MAILCANARY_SECRET_{text.upper()}"


def credential(name: str) -> str:
    """The secret's systemd credential, whose name takes no slash: ``acme__imap``."""
    return name.replace("/", "__")


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
        where = endpoint(host, port)
        rules = self._rules.get(name, [])
        for rule in rules:
            if where in rule.to:
                return Grant(self._read(name), rule.unverified)
        allowed = ", ".join(to for rule in rules for to in rule.to) or "nowhere"
        raise SecretError(
            f"secret {name}: found {where} asking for it, the agent's policy allows {allowed}"
        )

    def key_ring(self) -> KeyRing:
        """The signing keys.

        Raises:
            SecretError: the policy names none, or a key's secret cannot be read or is too short.
        """
        keys = self._policy.keys
        if keys is None:
            raise SecretError(
                "the agent's policy: keys: found none, allowed for an agent that sends canaries is "
                "keys.current with an id and a secret"
            )
        return KeyRing(self._key(keys.current), tuple(self._key(key) for key in keys.previous))

    def _key(self, key: SigningKey) -> Key:
        secret = self._read(key.secret)
        try:
            return Key(key.id, secret)
        except ValueError as error:
            raise SecretError(f"secret {key.secret}: {error}") from None

    def _read(self, name: str) -> Secret:
        looked = []
        for place, data in self._places(name):
            looked.append(place)
            if data is not None:
                return Secret(_text(data, place), name)
        places = ", ".join(looked) or "no source: the policy's 'sources' names none"
        raise SecretError(f"secret {name}: found none, looked in {places}")

    def _places(self, name: str) -> Iterator[tuple[str, bytes | None]]:
        """Each place to look in, and what is there."""
        sources = self._policy.sources
        if sources.directory is not None:
            file = Path(sources.directory) / name
            yield str(file), _content(file)
        credentials = self._environment.get("CREDENTIALS_DIRECTORY")
        if sources.credentials and credentials:
            file = Path(credentials) / credential(name)
            yield str(file), _content(file)
        if sources.environment:
            value = self._environment.get(variable(name))
            # Bytes that are no UTF-8 come as surrogates.
            data = None if value is None else os.fsencode(value)
            yield f"${variable(name)}", data


def _open(path: str, flags: int) -> int:
    # Without O_NONBLOCK a FIFO's writer would be waited for.
    return os.open(path, flags | os.O_NONBLOCK)


def _content(path: Path) -> bytes | None:
    """What is in a secret's file; ``None`` when there is no such file.

    Raises:
        SecretError: unreadable, not a regular file, or open to other users.
    """
    try:
        file = open(path, "rb", opener=_open)  # noqa: SIM115 - Path.open takes no opener
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        raise SecretError(f"{path}: found a directory, allowed is a file") from None
    except OSError as error:
        reason = (error.strerror or "an error").lower()
        raise SecretError(f"{path}: found {reason}, allowed is a readable file") from None
    with file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise SecretError(f"{path}: found no regular file, allowed is a file")
        if mode & stat.S_IRWXO:
            raise SecretError(
                f"{path}: found mode {stat.S_IMODE(mode):04o}, allowed is one that other users "
                "cannot read (chmod o= does it)"
            )
        return file.read(MAX_BYTES + 1)


def _text(data: bytes, place: str) -> str:
    """The secret in ``data``, its last line end cut off.

    Raises:
        SecretError: when it is no single line of text; the message holds nothing of it.
    """
    if len(data) > MAX_BYTES:
        raise SecretError(f"{place}: found more than {MAX_BYTES} bytes, allowed is one secret")
    text: str | None = None
    with suppress(UnicodeDecodeError):
        text = data.decode()
    # Not raised from the decoder's error, which holds all of the data.
    if text is None:
        raise SecretError(f"{place}: found bytes that are no UTF-8, allowed is text")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or "\n" in text or "\r" in text or "\0" in text:
        raise SecretError(f"{place}: found no single line of text, allowed is one line")
    return text
