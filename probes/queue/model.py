"""What the parts of reading a queue hand each other."""

from dataclasses import dataclass
from shutil import which
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Form = Literal["postfix", "exim"]

SEARCH_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
"""Where programs are looked for, and what their PATH is: a service's own may lack sbin."""

MAX_TIME_S = 1 << 33
MAX_SIZE = 1 << 37

_KNOWN: tuple[tuple[str, Form, tuple[str, ...]], ...] = (
    ("postqueue", "postfix", ("-j",)),
    ("exim4", "exim", ("-bp",)),
    ("exim", "exim", ("-bp",)),
)


@dataclass(frozen=True, slots=True)
class QueueCommand:
    """A program that lists a queue, and the form of what it prints.

    ``postfix`` is what ``postqueue -j`` prints, ``exim`` what ``exim -bp`` prints. ``argv``, a
    program and its arguments, is run as it is, by no shell.
    """

    form: Form
    argv: tuple[str, ...]


def default_command() -> QueueCommand | None:
    """What lists the queue on this host; ``None`` where there is neither Postfix nor Exim."""
    for program, form, arguments in _KNOWN:
        if found := which(program, path=SEARCH_PATH):
            return QueueCommand(form, (found, *arguments))
    return None


class Recipient(msgspec.Struct):
    """A recipient that still waits, and why: the mail server's words, none before a first try."""

    address: str
    text: str | None = msgspec.field(default=None, name="delay_reason")


class Mail(msgspec.Struct):
    """A mail that waits, in the names of ``postqueue -j`` (postqueue(1)).

    ``arrived_s`` is seconds since 1970, ``size`` is bytes.
    """

    queue: str = msgspec.field(name="queue_name")
    queue_id: str
    arrived_s: Annotated[int, Meta(ge=0, le=MAX_TIME_S)] = msgspec.field(name="arrival_time")
    size: Annotated[int, Meta(ge=0, le=MAX_SIZE)] = msgspec.field(name="message_size")
    sender: str
    recipients: list[Recipient]
