"""Who is let in to the estate's servers, and with which certificates they greet."""

import imaplib
import smtplib
import socket
import ssl

import pytest

from tests.servers.estate import ServerEstate
from tests.servers.mails import mail, wait_for_mails
from tests.servers.namespaces import Endpoint

pytestmark = pytest.mark.servers


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
