"""The estate does what scenarios rely on: real mail, real faults, and nothing left behind."""

import imaplib
import smtplib
import socket
import ssl
import sys
from email.message import EmailMessage, Message
from email.parser import BytesParser
from pathlib import Path

import pytest

from tests.servers.dovecot import Mailbox
from tests.servers.estate import RelaySpec, ServerEstate, default_relays
from tests.servers.namespaces import RUN_DIRECTORY, Endpoint
from tests.servers.postfix import Postfix
from tests.servers.process import CommandError, run, wait_until
from tests.servers.proxy import Direction

pytestmark = pytest.mark.servers


def mail(estate: ServerEstate, recipient: str, subject: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = estate.sender("test")
    message["To"] = recipient
    message["Subject"] = subject
    message.set_content("A test of the servers themselves.")
    return message


def send(estate: ServerEstate, relay: Endpoint, recipient: str, subject: str) -> None:
    """One mail over a connection of its own; raises smtplib's exceptions."""
    with smtplib.SMTP(*relay, timeout=20) as client:
        client.send_message(mail(estate, recipient, subject))


def read(estate: ServerEstate, mailbox: Mailbox) -> list[Message]:
    """The inbox, over IMAP, in the order of UIDs."""
    with imaplib.IMAP4(*estate.dovecot.imap, timeout=20) as client:
        client.login(mailbox.user, mailbox.password)
        _, (count,) = client.select("INBOX", readonly=True)
        if count == b"0":
            return []
        _, parts = client.fetch("1:*", "(UID RFC822)")
    return [BytesParser().parsebytes(part[1]) for part in parts if isinstance(part, tuple)]


def subjects(estate: ServerEstate, mailbox: Mailbox) -> list[str]:
    return [message["Subject"] for message in read(estate, mailbox)]


def wait_for_mails(mailbox: Mailbox, count: int) -> None:
    wait_until(lambda: len(mailbox.files()) >= count, f"{count} mails in {mailbox.name}")


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


def verification_error(context: ssl.SSLContext, endpoint: Endpoint) -> str | None:
    """What a TLS client finds wrong with the certificate there; None when it is good."""
    with socket.create_connection(endpoint, timeout=20) as connection:
        try:
            with context.wrap_socket(connection, server_hostname=endpoint.host):
                return None
        except ssl.SSLCertVerificationError as error:
            return error.verify_message


def test_imap_certificates_are_good_or_expired(server_estate: ServerEstate) -> None:
    context = ssl.create_default_context(cafile=server_estate.ca_file)
    acme = server_estate.mailboxes["acme"]
    with imaplib.IMAP4_SSL(*server_estate.dovecot.imaps, ssl_context=context) as client:
        client.login(acme.user, acme.password)
    expired = verification_error(context, server_estate.dovecot.imaps_expired)
    assert expired == "certificate has expired"


def test_relay_certificates_are_good_expired_or_absent(server_estate: ServerEstate) -> None:
    context = ssl.create_default_context(cafile=server_estate.ca_file)
    absent, good, expired = server_estate.relays[:3]
    with smtplib.SMTP(*good.endpoint, timeout=20) as client:
        client.starttls(context=context)
        client.send_message(mail(server_estate, "canary@acme.example", "over TLS"))
    with (
        smtplib.SMTP(*expired.endpoint, timeout=20) as client,
        pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"),
    ):
        client.starttls(context=context)
    assert verification_error(context, good.submissions) is None
    assert verification_error(context, expired.submissions) == "certificate has expired"
    with smtplib.SMTP(*absent.endpoint, timeout=20) as client:
        client.ehlo()
        assert not client.has_extn("starttls")


def test_wrong_passwords_do_not_lock_the_right_one_out(server_estate: ServerEstate) -> None:
    acme = server_estate.mailboxes["acme"]
    with imaplib.IMAP4(*server_estate.dovecot.imap, timeout=20) as client:
        for _ in range(3):
            with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
                client.login(acme.user, "not the password")
        client.login(acme.user, acme.password)


def test_a_relay_can_require_a_login(server_estate: ServerEstate) -> None:
    acme, relay = server_estate.mailboxes["acme"], server_estate.relays[0]
    server_estate.require_login(relay)
    with smtplib.SMTP(*relay.endpoint, timeout=20) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.send_message(mail(server_estate, acme.address, "anonymous"))
        with pytest.raises(smtplib.SMTPAuthenticationError, match="535"):
            client.login(acme.user, "not the password")
        client.login(acme.user, acme.password)
        client.send_message(mail(server_estate, acme.address, "known"))
    wait_for_mails(acme, 1)


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
