"""From configuration and policy to what the probes connect to."""

from ipaddress import ip_address

import pytest

from agent.policy.secrets import Secrets
from agent.policy.targets import imap_target, permits, smtp_target
from probes.contract.config.models import Imap, Relay, Timeouts
from probes.contract.errors import SecretError
from probes.contract.stages import Reason, Stage
from probes.imap import ImapFailure

from .conftest import MakePolicy, WriteSecret

RULES = """\
ca_file: /etc/ca.pem
secrets:
  - {secret: relay-a1, to: ["relay.example:25"]}
  - {secret: relay-a1, to: ["localhost:25"], unverified: true}
  - {secret: acme/imap, to: ["imap.acme.example:993", "imap.acme.example:143"]}
  - {secret: acme/imap, to: ["localhost:143"], unverified: true}
"""


def _relay(**fields: object) -> Relay:
    auth = {"user": "canary", "secret": "relay-a1"}
    values = {"name": "a1", "host": "relay.example", "tls": "starttls", "auth": auth}
    return Relay.model_validate(values | fields)


def _imap(**fields: object) -> Imap:
    values = {"host": "imap.acme.example", "user": "canary", "secret": "acme/imap"}
    return Imap.model_validate(values | fields)


def test_a_relay_with_verified_tls(policy: MakePolicy, secret: WriteSecret) -> None:
    secret("relay-a1", b"hunter2")
    rules = policy(RULES)
    target = smtp_target(_relay(), "sfo.example", Timeouts(), rules, Secrets(rules, {}))
    assert target.password is not None
    assert (target.user, target.password.reveal()) == ("canary", "hunter2")
    assert target.verify
    assert not target.allow_plaintext_auth
    assert target.ca_file == "/etc/ca.pem"


def test_a_relay_that_the_policy_trusts_without(policy: MakePolicy, secret: WriteSecret) -> None:
    secret("relay-a1", b"hunter2")
    rules = policy(RULES)
    relay = _relay(host="LOCALHOST")
    target = smtp_target(relay, "sfo.example", Timeouts(), rules, Secrets(rules, {}))
    assert not target.verify
    assert target.allow_plaintext_auth


def test_a_relay_without_login_needs_no_secret(policy: MakePolicy) -> None:
    rules = policy(RULES)
    relay = _relay(auth=None, host="elsewhere.example")
    target = smtp_target(relay, "sfo.example", Timeouts(), rules, Secrets(rules, {}))
    assert target.user is None
    assert target.verify


def test_a_relay_elsewhere_gets_no_password(policy: MakePolicy, secret: WriteSecret) -> None:
    secret("relay-a1", b"hunter2")
    rules = policy(RULES)
    with pytest.raises(SecretError, match=r"found relay\.example:26 asking"):
        smtp_target(_relay(port=26), "sfo.example", Timeouts(), rules, Secrets(rules, {}))


def test_a_mailbox(policy: MakePolicy, secret: WriteSecret) -> None:
    secret("acme/imap", b"hunter2")
    rules = policy(RULES)
    target = imap_target(_imap(), rules, Secrets(rules, {}))
    assert target.secret.reveal() == "hunter2"
    assert target.verify
    lax = imap_target(_imap(host="localhost", port=143, tls="none"), rules, Secrets(rules, {}))
    assert not lax.verify


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"port": 143, "tls": "none"}, Reason.POLICY),
        ({"host": "imap.evil.example"}, Reason.SECRET),
        ({"secret": "globex/imap"}, Reason.SECRET),
    ],
)
def test_a_mailbox_that_gets_no_password(
    policy: MakePolicy, secret: WriteSecret, fields: dict[str, object], reason: Reason
) -> None:
    secret("acme/imap", b"hunter2")
    rules = policy(RULES)
    with pytest.raises(ImapFailure) as caught:
        imap_target(_imap(**fields), rules, Secrets(rules, {}))
    assert (caught.value.stage, caught.value.reason) == (Stage.AUTH, reason)


def test_permits(policy: MakePolicy) -> None:
    permit = permits(policy("addresses: {allow: [10.1.0.0/16]}"))
    assert permit(ip_address("10.1.2.3"))
    assert not permit(ip_address("10.2.2.3"))
    assert not permit(ip_address("::ffff:127.0.0.1"))
