"""Names of the things that are measured, and of the path that one canary is about."""

import re

import msgspec

NAME_PATTERN = r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$"
"""Names of agents, relays, customers, mailboxes: what DNS and file names both take."""

LABEL_KEY_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
"""Label keys: Prometheus label names, lower case."""

_NAME = re.compile(NAME_PATTERN)


def is_name(text: str) -> bool:
    """Whether ``text`` may name an agent, relay, customer or mailbox."""
    return _NAME.fullmatch(text) is not None


class Path(msgspec.Struct, frozen=True, order=True):
    """What one canary is about: who sends it, through which relay, to which mailbox.

    ``mailbox`` is the full name, ``customer/mailbox``.
    """

    agent: str
    relay: str
    mailbox: str

    @property
    def customer(self) -> str:
        """The customer whose mailbox the path ends in."""
        return self.mailbox.partition("/")[0]

    def __str__(self) -> str:
        return f"{self.agent}|{self.relay}|{self.mailbox}"


def parse_path(text: str) -> Path:
    """The path that ``str(path)`` wrote.

    Raises:
        ValueError: when ``text`` is not ``agent|relay|customer/mailbox``.
    """
    parts = text.split("|")
    if len(parts) == 3:
        agent, relay, mailbox = parts
        customer, slash, box = mailbox.partition("/")
        if slash and all(is_name(part) for part in (agent, relay, customer, box)):
            return Path(agent, relay, mailbox)
    raise ValueError(f"path {text!r}: allowed is agent|relay|customer/mailbox")
