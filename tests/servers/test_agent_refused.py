"""Whatever refuses a canary or its reader has an outcome, or a state, of its own."""

import pytest

from probes.contract.outcome import Outcome
from probes.contract.stages import Reason, Stage
from tests.servers.agent_config import (
    Words,
    config_words,
    customer_words,
    mailbox_words,
    relay_words,
)
from tests.servers.agents import Crew, RunningAgent
from tests.servers.estate import ServerEstate
from tests.servers.journal import Canary

pytestmark = pytest.mark.servers

ACME, NOBODY, GLOBEX, INITECH = "acme/inbox", "acme/nobody", "globex/inbox", "initech/inbox"
GREYLIST = "check_client_access static:{450 4.7.1 Come back later}"


def refused_relays(estate: ServerEstate) -> list[Words]:
    """One without faults, one that knows another password, two views of one whose certificate has
    expired, one that puts off, and one that refuses unknown recipients."""
    plain, guarded, expired, greylisting, strict = estate.relays
    auth = {"user": estate.mailboxes["acme"].user, "secret": "relay-2"}
    return [
        relay_words(plain),
        relay_words(guarded, port=guarded.submissions.port, tls="implicit", auth=auth),
        relay_words(expired, name="lenient", tls="opportunistic"),
        # Two relays of a configuration differ in host, port or source address.
        relay_words(
            expired, name="demanding", tls="starttls", egress=[], source_address=estate.gateway
        ),
        relay_words(greylisting),
        relay_words(strict),
    ]


def refused_customers(estate: ServerEstate) -> list[Words]:
    """Acme with an address that nobody has; globex' password is wrong, initech's server expired."""
    globex = estate.mailboxes["globex"]
    acme = customer_words(estate, "acme", rule={"mailboxes": ["inbox"], "interval": "2s"})
    acme["mailboxes"].append(
        mailbox_words(
            globex,
            estate.dovecot.imaps,
            "acme/nobody",
            name="nobody",
            address=estate.unknown_recipient("acme"),
        )
    )
    rule = {"per": "path", "relays": ["relay-1", "relay-5"], "interval": "2s"}
    acme["canaries"].append({**rule, "mailboxes": ["nobody"]})
    rule = {"relays": ["relay-1"], "interval": "2s", "deadline": "2s", "loss_after": "4s"}
    return [
        acme,
        customer_words(estate, "globex", rule=rule),
        customer_words(estate, "initech", imap=estate.dovecot.imaps_expired, rule=rule),
    ]


def settled(agent: RunningAgent, relay: str, mailbox: str, outcome: Outcome) -> Canary:
    """The first canary there, of which all have that outcome or are still under way."""
    canaries = agent.journal.canaries(relay=relay, mailbox=mailbox)
    assert {canary.outcome for canary in canaries} <= {outcome, Outcome.PENDING}
    return next(canary for canary in canaries if canary.outcome is outcome)


def refusal(canary: Canary) -> tuple[Stage | None, Reason | None, int, str | None]:
    reply = canary.submission.reply
    assert reply is not None
    return canary.verdict.stage, canary.verdict.reason, reply.code, reply.enhanced


OUTCOMES = (
    ("relay-1", ACME, Outcome.DELIVERED),
    ("relay-2", ACME, Outcome.FAILED),
    ("relay-4", ACME, Outcome.DEFERRED),
    ("lenient", ACME, Outcome.DELIVERED),
    ("demanding", ACME, Outcome.FAILED),
    ("relay-5", ACME, Outcome.DELIVERED),
    ("relay-5", NOBODY, Outcome.REJECTED),
    ("relay-1", NOBODY, Outcome.BOUNCED),
)


def test_each_refusal_has_its_own_outcome(crew: Crew) -> None:
    """At AUTH, at RCPT, by a DSN, at TLS, at IMAP's TLS and login, all in one run."""
    estate = crew.estate
    estate.require_login(estate.relays[1])
    estate.relays[3].configure(smtpd_recipient_restrictions=GREYLIST)
    crew.workplace.secrets["relay-2"] = "not the password for relay 2"
    crew.workplace.secrets["acme/nobody"] = estate.mailboxes["globex"].password
    crew.workplace.secrets["globex/imap"] = "not the password of globex"
    config = config_words(estate, refused_relays(estate), refused_customers(estate))
    crew.workplace.write(config)
    agent = crew.start()
    journal = agent.journal
    for relay, mailbox, outcome in OUTCOMES:
        journal.wait_for_each([(relay, mailbox)], outcome)
    journal.wait_for(
        lambda: all(
            (health := journal.health(mailbox)) is not None and health.state == "down"
            for mailbox in (GLOBEX, INITECH)
        ),
        "heartbeats that say which mailboxes cannot be read",
    )

    locked_out = settled(agent, "relay-2", ACME, Outcome.FAILED)
    assert refusal(locked_out) == (Stage.AUTH, Reason.CREDENTIALS, 535, "5.7.8")
    deferred = settled(agent, "relay-4", ACME, Outcome.DEFERRED)
    assert refusal(deferred) == (Stage.RCPT, Reason.REPLY_4XX, 450, "4.7.1")
    rejected = settled(agent, "relay-5", NOBODY, Outcome.REJECTED)
    assert refusal(rejected) == (Stage.RCPT, Reason.REPLY_5XX, 550, "5.1.1")
    failed = settled(agent, "demanding", ACME, Outcome.FAILED)
    assert (failed.verdict.stage, failed.verdict.reason) == (Stage.TLS, Reason.CERTIFICATE)
    assert "expired" in (failed.submission.detail or "")
    lenient = settled(agent, "lenient", ACME, Outcome.DELIVERED)
    assert lenient.submission.tls is not None
    assert not lenient.submission.tls.verified
    assert "expired" in (lenient.submission.tls.problem or "")
    assert_bounced(estate, settled(agent, "relay-1", NOBODY, Outcome.BOUNCED))
    assert_not_read(agent, GLOBEX, "auth: credentials")
    assert_not_read(agent, INITECH, "tls: certificate")
    health = journal.health(ACME)
    assert health is not None
    assert (health.state, health.detail) == ("ok", None)
    assert agent.stop() == 0
    assert_read_once_it_can_be(crew, agent, config)


def assert_bounced(estate: ServerEstate, canary: Canary) -> None:
    """What relay-1's own DSN says of the destination's refusal."""
    (bounce,) = canary.bounces
    assert (bounce.action, bounce.status) == ("failed", "5.1.1")
    assert canary.submission.dsn
    assert "550 5.1.1" in (bounce.diagnostic or "")
    assert estate.destination.address in (bounce.remote_mta or "")
    assert estate.relays[0].hostname in (bounce.reporting_mta or "")
    assert estate.unknown_recipient("acme") in (bounce.final_recipient or "")


def assert_not_read(agent: RunningAgent, mailbox: str, why: str) -> None:
    """Its canaries are out for longer than `loss_after`, and none is called lost."""
    health = agent.journal.health(mailbox)
    assert health is not None
    assert (health.state, health.watermark_ns) == ("down", None)
    assert why in (health.detail or "").lower()
    canaries = agent.journal.canaries(mailbox=mailbox)
    beat = agent.journal.heartbeats()[-1]
    waited = [
        canary
        for canary in canaries
        if canary.intent.at_ns + canary.intent.loss_after_s * 1e9 < beat.at_ns
    ]
    assert waited
    assert {canary.outcome for canary in canaries} == {Outcome.PENDING}
    assert not [canary for canary in canaries if canary.expiries]


def assert_read_once_it_can_be(crew: Crew, agent: RunningAgent, config: Words) -> None:
    """With the right password and certificate all canaries of before are found."""
    estate = crew.estate
    crew.workplace.secrets["globex/imap"] = estate.mailboxes["globex"].password
    initech = next(customer for customer in config["customers"] if customer["name"] == "initech")
    initech["mailboxes"][0]["imap"]["host"] = estate.dovecot.imaps.host
    crew.workplace.write(config)
    waiting = [
        canary
        for mailbox in (GLOBEX, INITECH)
        for canary in agent.journal.canaries(mailbox=mailbox)
        if canary.submissions
    ]
    agent.start()
    agent.journal.wait_for(
        lambda: all(canary.arrivals for canary in waiting), "the canaries of before"
    )
    assert agent.stop() == 0
    for canary in waiting:
        # Nobody looked, so nobody can say when it came; it may only be called late by its clock.
        assert canary.outcome is Outcome.DELIVERED
        assert canary.verdict.duplicates == 0
    agent.journal.assert_contiguous()


def test_a_delay_notice_is_noted_and_the_mail_still_comes(crew: Crew) -> None:
    """The destination puts acme's mail off; of two relays one says so by a DSN."""
    estate = crew.estate
    telling, silent = estate.relays[:2]
    telling.configure(delay_warning_time="1s")
    acme = estate.mailboxes["acme"]
    estate.defer_recipient(acme)
    crew.workplace.write(
        config_words(
            estate,
            [relay_words(telling), relay_words(silent)],
            [customer_words(estate, "acme")],
        )
    )
    agent = crew.start()
    journal = agent.journal
    journal.wait_for(
        lambda: any(canary.bounces for canary in journal.canaries()), "a notice of a delay"
    )
    warned = next(canary for canary in journal.canaries() if canary.bounces)
    assert warned.relay == telling.name
    assert (warned.bounces[0].action, warned.bounces[0].status) == ("delayed", "4.2.2")
    assert (warned.outcome, warned.verdict.delayed_dsn) == (Outcome.PENDING, True)

    estate.destination.restore()
    for relay in (telling, silent):
        relay.flush_queue()
    journal.wait_for(lambda: bool(warned.arrivals), "the mail that was put off")
    journal.wait_for_each([(silent.name, ACME)], Outcome.DELIVERED)
    assert agent.stop() == 0
    assert warned.verdict.delayed_dsn
    assert warned.outcome in (Outcome.DELIVERED, Outcome.LATE)
    assert not [c for c in journal.canaries(relay=silent.name) if c.verdict.delayed_dsn]
    journal.assert_contiguous()
