"""The queue probe at real Postfix: filtered, greylisted, stopped, and by those who may look.

The instance under test is put in the place of the host's own (a mount of the test's alone), since
a user other than root may not name another configuration directory.
"""

import asyncio
import re
import smtplib
import time
from functools import partial

import pytest

from probes.contract.checks import Finding, QueueSeen
from probes.contract.stages import Reason, Stage
from probes.queue import QueueCommand, QueueProbe, QueueTarget
from tests.servers.estate import ServerEstate
from tests.servers.mails import mail
from tests.servers.postfix import Postfix
from tests.servers.process import wait_until

pytestmark = pytest.mark.servers

POSTQUEUE = "/usr/sbin/postqueue"
NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup")


def listing(relay: Postfix, *prefix: str) -> QueueCommand:
    """The relay's queue as a program of its host sees it, started behind ``prefix``."""
    mount = f'mount --bind "{relay.directory / "etc"}" /etc/postfix && exec "$@"'
    words = ["unshare", "-m", "sh", "-c", mount, "sh", *prefix, POSTQUEUE, "-j"]
    return QueueCommand("postfix", tuple(relay.namespace.command(words)))


def look(estate: ServerEstate, relay: Postfix, *prefix: str) -> Finding:
    probe = QueueProbe(listing(relay, *prefix))
    target = QueueTarget(relay.name, frozenset({estate.sender("test")}))
    return asyncio.run(probe.probe(target, 20.0))


def queue_of(finding: Finding) -> QueueSeen:
    assert finding.queue is not None
    return finding.queue


def hand_over(estate: ServerEstate, relay: Postfix, recipient: str) -> str:
    """Send one mail from the canaries' sender; the queue id that the relay answered with."""
    with smtplib.SMTP(*relay.endpoint, timeout=20) as client:
        client.ehlo()
        client.mail(estate.sender("test"))
        client.rcpt(recipient)
        code, text = client.data(mail(estate, recipient, "held").as_bytes())
    assert code == 250
    (queue_id,) = re.findall(rb"queued as (\w+)", text)
    return str(queue_id.decode())


def wait_for_reason(relay: Postfix, words: str) -> None:
    wait_until(lambda: any(words in each.reasons for each in relay.queue()), words)


def hold(estate: ServerEstate, relay: Postfix) -> list[str]:
    """Two canaries that wait at a filtered relay."""
    relay.filter_outbound()
    acme = estate.mailboxes["acme"].address
    held = [hand_over(estate, relay, acme) for _ in range(2)]
    wait_until(
        lambda: [each.reasons for each in relay.queue() if "timed out" in each.reasons][1:] != [],
        "two deferred mails",
    )
    return held


def test_a_filtered_relay_tells_which_canaries_wait_and_why(server_estate: ServerEstate) -> None:
    relay = server_estate.relays[0]
    before = look(server_estate, relay)
    assert (before.ok, before.detail) == (True, None)
    assert {depth.count for depth in queue_of(before).queues.values()} == {0}

    began_ns = time.time_ns()
    held = hold(server_estate, relay)
    found = look(server_estate, relay)
    assert (found.ok, found.stage, found.reason) == (False, Stage.EGRESS_CONNECT, Reason.TIMEOUT)
    home = server_estate.destination.address
    said = f"connect to {home}[{home}]:25: Connection timed out"
    assert found.detail is not None
    assert found.detail.startswith("2 canaries wait in ")
    assert said in found.detail
    seen = queue_of(found)
    assert seen.complete
    assert {canary.queue_id for canary in seen.canaries} == set(held)
    for canary in seen.canaries:
        assert canary.recipient == server_estate.mailboxes["acme"].address
        assert canary.sender == server_estate.sender("test")
        assert (canary.stage, canary.reason) == (Stage.EGRESS_CONNECT, Reason.TIMEOUT)
        assert canary.text is not None
        assert said in canary.text
        assert -1 <= (canary.arrived_ns - began_ns) / 1e9 < 30
    assert sum(depth.count for depth in seen.queues.values()) == 2
    assert sum(depth.bytes for depth in seen.queues.values()) > 500
    assert {(group.domain, group.stage, group.reason) for group in seen.groups} == {
        ("acme.example", Stage.EGRESS_CONNECT, Reason.TIMEOUT)
    }
    assert sum(group.count for group in seen.groups) == 2

    relay.unfilter()
    relay.flush_queue()
    wait_until(partial(_empty, server_estate, relay), "an empty queue", timeout=30)
    assert look(server_estate, relay).ok


def _empty(estate: ServerEstate, relay: Postfix) -> bool:
    return {depth.count for depth in queue_of(look(estate, relay)).queues.values()} == {0}


def test_a_refused_connection_is_told_from_a_filtered_one(server_estate: ServerEstate) -> None:
    relay = server_estate.relays[0]
    server_estate.destination.stop()
    hand_over(server_estate, relay, server_estate.mailboxes["acme"].address)
    wait_for_reason(relay, "Connection refused")
    found = look(server_estate, relay)
    server_estate.destination.start()
    assert (found.ok, found.stage, found.reason) == (False, Stage.EGRESS_CONNECT, Reason.REFUSED)


def test_a_greylisted_canary_waits_and_is_no_fault(server_estate: ServerEstate) -> None:
    relay, acme = server_estate.relays[0], server_estate.mailboxes["acme"].address
    server_estate.destination.configure(
        smtpd_recipient_restrictions=(
            "check_recipient_access static:{450 4.2.0 Greylisted, see http://postgrey.example/}"
        )
    )
    held = hand_over(server_estate, relay, acme)
    wait_for_reason(relay, "Greylisted")
    found = look(server_estate, relay)
    assert (found.ok, found.stage, found.reason) == (True, None, None), found.detail
    (canary,) = queue_of(found).canaries
    assert (canary.queue_id, canary.stage, canary.reason) == (
        held,
        Stage.EGRESS_RCPT,
        Reason.GREYLISTED,
    )
    assert canary.text is not None
    assert canary.text.endswith("(in reply to RCPT TO command)")


def test_a_full_mailbox_is_a_fault_at_rcpt(server_estate: ServerEstate) -> None:
    relay, acme = server_estate.relays[0], server_estate.mailboxes["acme"]
    server_estate.defer_recipient(acme)
    hand_over(server_estate, relay, acme.address)
    wait_for_reason(relay, "Mailbox full")
    found = look(server_estate, relay)
    assert (found.ok, found.stage, found.reason) == (False, Stage.EGRESS_RCPT, Reason.REPLY_4XX)


def test_a_stopped_postfix_is_told_and_root_sees_its_queue(server_estate: ServerEstate) -> None:
    relay = server_estate.relays[0]
    held = hold(server_estate, relay)
    relay.stop()
    as_root = look(server_estate, relay)
    assert (as_root.ok, as_root.stage, as_root.reason) == (False, Stage.QUEUE, Reason.REFUSED)
    assert (as_root.detail or "").startswith("Postfix is not running: postqueue: warning: ")
    assert {canary.queue_id for canary in queue_of(as_root).canaries} == set(held)
    as_other = look(server_estate, relay, *NOBODY, "--clear-groups")
    assert (as_other.ok, as_other.stage, as_other.reason) == (False, Stage.QUEUE, Reason.REFUSED)
    assert (as_other.detail or "").startswith("Postfix is not running: postqueue: fatal: ")
    assert as_other.queue is None
    relay.start()


@pytest.mark.parametrize(
    ("rights", "may"),
    [
        # By its setgid bit, which is Postfix' way.
        (("--clear-groups",), True),
        # As a service does with NoNewPrivileges: the bit counts for nothing.
        (("--clear-groups", "--no-new-privs"), False),
        (("--groups=postdrop", "--no-new-privs"), True),
        (("--groups=postdrop", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"), True),
    ],
)
def test_who_may_read_the_queue(
    server_estate: ServerEstate, rights: tuple[str, ...], may: bool
) -> None:
    relay = server_estate.relays[0]
    held = hold(server_estate, relay)
    found = look(server_estate, relay, *NOBODY, *rights)
    if may:
        assert {canary.queue_id for canary in queue_of(found).canaries} == set(held)
        return
    assert (found.ok, found.stage, found.reason) == (False, Stage.QUEUE, Reason.LOCAL)
    assert "Connect to the Postfix showq service: Permission denied" in (found.detail or "")
    assert "the group postdrop" in (found.detail or "")
    assert found.queue is None


def test_a_postfix_may_name_who_may_read_its_queue(server_estate: ServerEstate) -> None:
    relay = server_estate.relays[0]
    relay.configure(authorized_mailq_users="root")
    found = look(server_estate, relay, *NOBODY, "--groups=postdrop")
    assert (found.ok, found.stage, found.reason) == (False, Stage.QUEUE, Reason.LOCAL)
    assert "is not allowed to view the mail queue" in (found.detail or "")
    assert "authorized_mailq_users" in (found.detail or "")
