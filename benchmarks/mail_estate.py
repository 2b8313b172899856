"""The real mail servers that some benchmarks need: one Postfix relay, a destination, Dovecot."""

import contextlib
from collections.abc import Iterator, Sequence

from benchmarks.figures import Unavailable
from benchmarks.job import Home
from tests.servers.estate import RelaySpec, ServerEstate
from tests.servers.requirements import machine_lacks


@contextlib.contextmanager
def mail_estate(customers: Sequence[str]) -> Iterator[ServerEstate]:
    """Running servers with a mailbox per customer.

    Raises:
        Unavailable: when this machine lacks what they need.
    """
    if lacks := machine_lacks():
        raise Unavailable("it needs " + ", ".join(lacks))
    with ServerEstate(specs=(RelaySpec("relay-1"),), customers=customers, site_count=0) as estate:
        yield estate


def home(estate: ServerEstate, customer: str) -> Home:
    """The relay, and the mailbox of that customer."""
    box = estate.mailboxes[customer]
    relay, imap = estate.relays[0].endpoint, estate.dovecot.imap
    return Home(
        relay=relay.host,
        relay_port=relay.port,
        imap=imap.host,
        imap_port=imap.port,
        address=box.address,
        user=box.user,
        password=box.password,
    )
