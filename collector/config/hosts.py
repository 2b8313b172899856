"""Which hosts a customer may name when it changes its own configuration."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import ip_address

from probes.contract.config.models import Customer


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """What a customer's own token may point agents at.

    ``allow`` are patterns of names and addresses, such as ``*.example.net``. What no pattern names
    by more than ``*`` must be public: a name with a dot in it, or a global address. Where a name
    leads is judged by each agent, under its own policy, when it connects.
    """

    allow: tuple[str, ...] = ("*",)

    def refuses(self, host: str) -> str | None:
        """Why a customer may not name ``host``; ``None`` when it may."""
        name = host.lower().rstrip(".")
        if any(pattern != "*" and fnmatchcase(name, pattern.lower()) for pattern in self.allow):
            return None
        if "*" not in self.allow:
            return f"found {host}, allowed is {', '.join(self.allow) or 'no host'}"
        if not _is_public(name):
            return f"found {host}, allowed is a public host name or address"
        return None


def _is_public(name: str) -> bool:
    try:
        return ip_address(name).is_global
    except ValueError:
        pass
    # What the C library would also read as an address, such as 127.1 or 0x7f000001, is no name.
    last = name.rpartition(".")[2]
    if last[:1].isdigit():
        return False
    return "." in name and last not in ("local", "localhost", "internal", "arpa", "localdomain")


def refused_hosts(customer: Customer, policy: HostPolicy) -> Iterator[str]:
    """One line for each host of ``customer`` that the policy refuses."""
    for index, mailbox in enumerate(customer.mailboxes):
        why = policy.refuses(mailbox.imap.host)
        if why is not None:
            yield f"mailboxes[{index}].imap.host: {why}"
