"""The estate does what scenarios rely on: real mail, and real faults."""

import smtplib
import socket
import sys

import pytest

from tests.servers.estate import ServerEstate
from tests.servers.mails import read, send, subjects, wait_for_mails
from tests.servers.postfix import Postfix
from tests.servers.process import CommandError, wait_until
from tests.servers.proxy import Direction

pytestmark = pytest.mark.servers


def test_a_mail_comes_home_through_each_relay(server_estate: ServerEstate) -> None:
    acme = server_estate.mailboxes["acme"]
    for relay in server_estate.relays:
        send(server_estate, relay.endpoint, acme.address, relay.name)
    wait_for_mails(acme, len(server_estate.relays))
    messages = read(server_estate, acme)
    assert len(messages) == len(server_estate.relays) >= 5
    for message in messages:
        hop_at_destination, hop_at_relay = message.get_all("Received", [])[-2:]
        relay = next(relay for relay in server_estate.relays if relay.name == message["Subject"])
        assert f"by {relay.hostname}" in hop_at_relay
        assert f"[{relay.address}]" in hop_at_destination


def test_every_mailbox_has_its_own_mail(server_estate: ServerEstate) -> None:
    for mailbox in server_estate.mailboxes.values():
        send(server_estate, server_estate.relays[0].endpoint, mailbox.address, mailbox.name)
    for mailbox in server_estate.mailboxes.values():
        wait_for_mails(mailbox, 1)
        assert subjects(server_estate, mailbox) == [mailbox.name]


def test_a_filtered_relay_accepts_and_holds_until_released(server_estate: ServerEstate) -> None:
    acme = server_estate.mailboxes["acme"]
    filtered, healthy = server_estate.relays[:2]
    filtered.filter_outbound()
    send(server_estate, filtered.endpoint, acme.address, "held")

    def timed_out() -> bool:
        return any("Connection timed out" in mail.reasons for mail in filtered.queue())

    wait_until(timed_out, "a deferred mail")
    send(server_estate, healthy.endpoint, acme.address, "passes")
    wait_for_mails(acme, 1)
    assert subjects(server_estate, acme) == ["passes"]
    (held,) = filtered.queue()
    assert held.sender == server_estate.sender("test")
    assert held.reasons.startswith(f"connect to {server_estate.destination.address}")

    filtered.unfilter()
    filtered.flush_queue()
    wait_for_mails(acme, 2)
    assert subjects(server_estate, acme) == ["passes", "held"]


def test_a_relay_filtered_inbound_cannot_be_reached(server_estate: ServerEstate) -> None:
    relay = server_estate.relays[0]
    relay.filter_inbound()
    with pytest.raises(TimeoutError):
        socket.create_connection(relay.endpoint, timeout=0.5)
    relay.unfilter()
    with smtplib.SMTP(*relay.endpoint, timeout=20) as client:
        assert client.noop()[0] == 250


def test_a_filter_for_new_connections_leaves_open_ones_alive(server_estate: ServerEstate) -> None:
    relay = server_estate.relays[0]
    with smtplib.SMTP(*relay.endpoint, timeout=20) as client:
        relay.filter_inbound(new_only=True)
        assert client.noop()[0] == 250
        with pytest.raises(TimeoutError):
            socket.create_connection(relay.endpoint, timeout=0.5)


def test_a_stopped_relay_refuses_and_comes_back(server_estate: ServerEstate) -> None:
    relay = server_estate.relays[0]
    relay.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(relay.endpoint, timeout=5)
    relay.start()
    with smtplib.SMTP(*relay.endpoint, timeout=20) as client:
        assert client.noop()[0] == 250


def test_mail_outlives_a_stopped_dovecot(server_estate: ServerEstate) -> None:
    acme = server_estate.mailboxes["acme"]
    server_estate.dovecot.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server_estate.dovecot.imap, timeout=5)
    send(server_estate, server_estate.relays[0].endpoint, acme.address, "patient")
    wait_until(
        lambda: any(mail.reasons for mail in server_estate.destination.queue()), "a deferred mail"
    )
    server_estate.dovecot.start()
    server_estate.destination.flush_queue()
    wait_for_mails(acme, 1)
    assert subjects(server_estate, acme) == ["patient"]


def test_imap_alone_can_be_unreachable(server_estate: ServerEstate) -> None:
    acme = server_estate.mailboxes["acme"]
    server_estate.dovecot.filter_imap()
    with pytest.raises(TimeoutError):
        socket.create_connection(server_estate.dovecot.imaps, timeout=0.5)
    send(server_estate, server_estate.relays[0].endpoint, acme.address, "unread")
    wait_for_mails(acme, 1)
    server_estate.dovecot.unfilter()
    assert subjects(server_estate, acme) == ["unread"]


def test_a_relay_that_accepts_first_sends_a_dsn(server_estate: ServerEstate) -> None:
    unknown, relay = server_estate.unknown_recipient("acme"), server_estate.relays[0]
    send(server_estate, relay.endpoint, unknown, "to nobody")
    wait_for_mails(server_estate.bounces, 1)
    (bounce,) = read(server_estate, server_estate.bounces)
    assert bounce.get_content_type() == "multipart/report"
    assert bounce.get_param("report-type") == "delivery-status"
    status = next(part for part in bounce.walk() if part["Action"])
    assert status["Action"] == "failed"
    assert status["Status"] == "5.1.1"
    assert unknown in str(status["Final-Recipient"])
    assert server_estate.destination.address in str(status["Remote-MTA"])


def test_a_deferred_recipient_makes_the_relay_send_a_delay_dsn(server_estate: ServerEstate) -> None:
    acme, relay = server_estate.mailboxes["acme"], server_estate.relays[0]
    relay.configure(delay_warning_time="1s")
    server_estate.defer_recipient(acme)
    send(server_estate, relay.endpoint, acme.address, "deferred")
    wait_for_mails(server_estate.bounces, 1)
    (bounce,) = read(server_estate, server_estate.bounces)
    status = next(part for part in bounce.walk() if part["Action"])
    assert (status["Action"], status["Status"]) == ("delayed", "4.2.2")
    server_estate.destination.restore()
    relay.flush_queue()
    wait_for_mails(acme, 1)


def test_a_strict_relay_refuses_unknown_recipients(server_estate: ServerEstate) -> None:
    strict = server_estate.relays[4]
    unknown = server_estate.unknown_recipient("acme")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        send(server_estate, strict.endpoint, unknown, "to nobody")
    code, text = refused.value.recipients[unknown]
    assert code == 550
    assert text.startswith(b"5.1.1")


def test_relays_offer_dsn(server_estate: ServerEstate) -> None:
    for relay in server_estate.relays:
        with smtplib.SMTP(*relay.endpoint, timeout=20) as client:
            client.ehlo()
            assert client.has_extn("dsn")


SEND_FROM_SITE = """
import smtplib, socket, sys
host, sender, recipient = sys.argv[1:]
try:
    socket.create_connection((host, 25), timeout=0.5).close()
except TimeoutError:
    sys.exit("connect timed out")
with smtplib.SMTP(host, timeout=20) as client:
    client.sendmail(sender, [recipient], "Subject: from a site\\r\\n\\r\\n")
"""


def send_from_site(estate: ServerEstate, relay: Postfix) -> tuple[int, str]:
    acme = estate.mailboxes["acme"]
    site = estate.sites[0]
    command = [
        sys.executable,
        "-c",
        SEND_FROM_SITE,
        relay.address,
        estate.sender("x"),
        acme.address,
    ]
    with site.popen(command, stderr=-1, text=True) as process:
        _, errors = process.communicate(timeout=30)
    return process.returncode, errors


def test_a_filtered_site_reaches_no_relay(server_estate: ServerEstate) -> None:
    relay = server_estate.relays[0]
    server_estate.sites[0].filter_outbound()
    status, errors = send_from_site(server_estate, relay)
    assert (status, errors.strip()) == (1, "connect timed out")
    server_estate.sites[0].unfilter()
    assert send_from_site(server_estate, relay) == (0, "")
    wait_for_mails(server_estate.mailboxes["acme"], 1)


def test_a_site_resolves_names_of_its_own_until_reset(server_estate: ServerEstate) -> None:
    site = server_estate.sites[0]
    ask = ["getent", "ahosts", "relay.estate.example"]
    site.resolve({"relay.estate.example": ["192.0.2.1", "2001:db8::1"]})
    told = {line.split()[0] for line in site.run(ask).splitlines()}
    assert told == {"192.0.2.1", "2001:db8::1"}
    site.reset()
    with pytest.raises(CommandError, match="exit 2"):
        site.run(ask, timeout=30)


def test_a_proxy_slows_a_path_to_a_relay(server_estate: ServerEstate) -> None:
    acme = server_estate.mailboxes["acme"]
    proxy = server_estate.proxy(server_estate.relays[0].endpoint)
    proxy.slow(to_client=Direction(latency=0.05))
    send(server_estate, proxy.endpoint, acme.address, "slow")
    wait_for_mails(acme, 1)


def test_a_detour_between_relay_and_destination_stalls_and_ends(
    server_estate: ServerEstate,
) -> None:
    acme = server_estate.mailboxes["acme"]
    slow, direct = server_estate.relays[:2]
    detour = server_estate.detour(slow)
    detour.stall()
    send(server_estate, slow.endpoint, acme.address, "overtaken")
    send(server_estate, direct.endpoint, acme.address, "overtakes")
    wait_for_mails(acme, 1)
    detour.resume()
    wait_for_mails(acme, 2)
    assert subjects(server_estate, acme) == ["overtakes", "overtaken"]
