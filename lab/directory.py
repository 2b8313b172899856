"""Which mailbox an address belongs to."""

from collections.abc import Iterable

from lab.mailboxes import Mailbox


class Directory:
    """Looks mailboxes up by address; the domain's case does not matter (RFC 5321 section 2.4)."""

    def __init__(self, mailboxes: Iterable[Mailbox] = ()) -> None:
        self._by_address = {_folded(mailbox.address): mailbox for mailbox in mailboxes}

    def find(self, address: str | None) -> Mailbox | None:
        """The mailbox that takes mail for ``address``."""
        return None if address is None else self._by_address.get(_folded(address))

    def name(self, address: str | None) -> str | None:
        """The name of that mailbox."""
        mailbox = self.find(address)
        return mailbox.name if mailbox else None


def _folded(address: str) -> str:
    local, at, domain = address.rpartition("@")
    return local + at + domain.lower()
