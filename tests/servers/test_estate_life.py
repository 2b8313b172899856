"""An estate's beginning and end: what a test changes is gone after it, and nothing stays behind."""

import socket
import sys
from pathlib import Path

import pytest

from tests.servers.estate import RelaySpec, ServerEstate, default_relays
from tests.servers.mails import send, subjects, wait_for_mails
from tests.servers.namespaces import RUN_DIRECTORY
from tests.servers.process import CommandError, run, wait_until

pytestmark = pytest.mark.servers


def test_settings_change_until_reset(server_estate: ServerEstate) -> None:
    relay = server_estate.relays[0]
    relay.configure(smtpd_banner="$myhostname another banner")

    def banner() -> bytes:
        with socket.create_connection(relay.endpoint, timeout=20) as connection:
            return connection.recv(200)

    wait_until(lambda: b"another banner" in banner(), "the new setting")
    server_estate.reset()
    wait_until(lambda: b"another banner" not in banner(), "the old setting")


def test_reset_leaves_no_fault_and_no_mail(server_estate: ServerEstate) -> None:
    acme = server_estate.mailboxes["acme"]
    held, stopped, sending = server_estate.relays[:3]
    held.filter_outbound()
    send(server_estate, held.endpoint, acme.address, "held")
    send(server_estate, sending.endpoint, acme.address, "arrived")
    wait_for_mails(acme, 1)
    stopped.stop()
    server_estate.dovecot.stop()
    server_estate.destination.filter_inbound()
    server_estate.reset()
    assert subjects(server_estate, acme) == []
    for relay in server_estate.relays:
        send(server_estate, relay.endpoint, acme.address, relay.name)
    wait_for_mails(acme, len(server_estate.relays))
    assert "held" not in subjects(server_estate, acme)


def own_traces(prefix: str) -> list[str]:
    names = [line.split()[0] for line in run(["ip", "netns", "list"]).splitlines() if line]
    return [name for name in names if name.startswith(prefix)]


def test_two_estates_live_side_by_side_and_leave_nothing(server_estate: ServerEstate) -> None:
    with ServerEstate(specs=[RelaySpec("relay-1")], customers=["other"], site_count=0) as second:
        prefix, directory = second.namespace_prefix, second.directory
        assert second.relays[0].address != server_estate.relays[0].address
        other = second.mailboxes["other"]
        send(second, second.relays[0].endpoint, other.address, "second")
        wait_for_mails(other, 1)
        assert own_traces(prefix)
        process = second.relays[0].namespace.popen(["sleep", "1000"])
    assert process.wait(timeout=10) != 0
    assert own_traces(prefix) == []
    assert not directory.exists()


def test_a_failed_start_shows_the_log_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = sorted(path.name for path in RUN_DIRECTORY.glob("slot-*") if path.is_dir())
    monkeypatch.setitem(sys.modules["tests.servers.postfix"].QUICK, "mail_owner", "no-such-user")
    estate = ServerEstate(specs=[RelaySpec("relay-1")], site_count=0)
    with pytest.raises(CommandError, match="no-such-user"):
        estate.start()
    after = sorted(path.name for path in RUN_DIRECTORY.glob("slot-*") if path.is_dir())
    assert after == before


def test_the_default_has_at_least_five_relays() -> None:
    assert len(default_relays(12)) == 12
    with pytest.raises(ValueError, match="between 5 and"):
        default_relays(4)


def test_maildir_is_where_inotify_can_watch(server_estate: ServerEstate) -> None:
    for mailbox in (*server_estate.mailboxes.values(), server_estate.bounces):
        assert isinstance(mailbox.new, Path)
        assert mailbox.new.is_dir()
