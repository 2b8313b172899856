"""A secret goes to the endpoints that the policy names, and to no other."""

import pytest

from agent.policy.secrets import Secrets
from probes.contract.errors import SecretError

from .conftest import MakeVault, WriteSecret

RULES = """\
secrets:
  - {secret: relay-a1, to: ["Relay-A1.Example.Net:25", "[2001:DB8:0::1]:25"]}
  - {secret: relay-a1, to: ["localhost:2525"], unverified: true}
  - {secret: acme/imap, to: ["imap.acme.example:993"]}
"""


@pytest.fixture
def secrets(vault: MakeVault, secret: WriteSecret) -> Secrets:
    secret("relay-a1", b"of-the-relay")
    secret("acme/imap", b"of-acme")
    return vault(RULES)


@pytest.mark.parametrize(
    ("name", "host", "port", "value"),
    [
        ("relay-a1", "relay-a1.example.net", 25, "of-the-relay"),
        ("relay-a1", "RELAY-a1.example.NET", 25, "of-the-relay"),
        ("relay-a1", "2001:db8::1", 25, "of-the-relay"),
        ("relay-a1", "2001:0DB8:0:0:0:0:0:1", 25, "of-the-relay"),
        ("acme/imap", "imap.acme.example", 993, "of-acme"),
    ],
)
def test_named_endpoints_get_it(
    secrets: Secrets, name: str, host: str, port: int, value: str
) -> None:
    grant = secrets.grant(name, host, port)
    assert grant.secret.reveal() == value
    assert not grant.unverified


def test_only_the_rule_that_says_so_lifts_verification(secrets: Secrets) -> None:
    assert secrets.grant("relay-a1", "localhost", 2525).unverified


@pytest.mark.parametrize(
    ("name", "host", "port"),
    [
        ("relay-a1", "relay-a1.example.net", 587),
        ("relay-a1", "relay-a2.example.net", 25),
        ("relay-a1", "relay-a1.example.net.evil.example", 25),
        ("relay-a1", "2001:db8::2", 25),
        ("relay-a1", "2001:db8::1", 26),
        ("relay-a1", "imap.acme.example", 993),
        ("acme/imap", "relay-a1.example.net", 25),
        ("acme/imap", "imap.globex.example", 993),
        ("globex/imap", "imap.acme.example", 993),
        ("key", "imap.acme.example", 993),
    ],
)
def test_every_other_endpoint_is_refused(secrets: Secrets, name: str, host: str, port: int) -> None:
    with pytest.raises(SecretError, match=r"asking for it, the agent's policy allows"):
        secrets.grant(name, host, port)


def test_the_refusal_says_what_is_allowed(secrets: Secrets) -> None:
    with pytest.raises(SecretError) as caught:
        secrets.grant("relay-a1", "2001:db8::2", 25)
    assert str(caught.value) == (
        "secret relay-a1: found [2001:db8::2]:25 asking for it, the agent's policy allows "
        "relay-a1.example.net:25, [2001:db8::1]:25, localhost:2525"
    )
    with pytest.raises(SecretError, match=r"the agent's policy allows nowhere$"):
        secrets.grant("unheard-of", "relay-a1.example.net", 25)


@pytest.mark.parametrize("name", ["../key", "acme/../key", "/etc/passwd", "acme/imap/../../key"])
def test_no_name_leads_out_of_the_directory(secrets: Secrets, vault: MakeVault, name: str) -> None:
    with pytest.raises(SecretError, match="nowhere"):
        secrets.grant(name, "imap.acme.example", 993)
    # And no policy can name such a secret.
    with pytest.raises(ValueError, match=r"secrets\[0\]\.secret"):
        vault(f'secrets: [{{secret: "{name}", to: ["imap.acme.example:993"]}}]')


def test_the_key_ring(vault: MakeVault, secret: WriteSecret) -> None:
    secret("key", b"0123456789abcdef")
    ring = vault().key_ring()
    assert ring.current.id == "k1"
    assert ring.current.secret.reveal() == "0123456789abcdef"
    secret("key", b"0123456789abcde")
    with pytest.raises(SecretError, match="at least 16 bytes"):
        vault().key_ring()


def test_a_changed_secret_needs_no_restart(secrets: Secrets, secret: WriteSecret) -> None:
    secrets.grant("acme/imap", "imap.acme.example", 993)
    secret("acme/imap", b"changed")
    assert secrets.grant("acme/imap", "imap.acme.example", 993).secret.reveal() == "changed"
