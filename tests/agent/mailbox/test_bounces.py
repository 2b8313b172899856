"""Which canary a bounce is about."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from agent.mailbox.bounces import bounce, canary_id, may_be_bounce, token_of
from agent.spool.flight import Flight
from probes.contract.names import Path as MailPath
from probes.contract.secret import Secret
from probes.contract.token import Key, KeyRing
from probes.headers.block import parse_header_block
from probes.headers.dsn import DsnReport, parse_dsn
from tests.agent.fakes import INBOX, PATH, RING, HandClock, dsn, flight, other_mail

SAMPLES = Path(__file__).parents[2] / "probes/headers/samples"


@pytest.fixture
def made(clock: HandClock) -> Flight:
    """A flight."""
    return flight(1, sent=clock.now()).numbered(1, 1, "e1")


def report(data: bytes) -> DsnReport:
    """The only report in a bounce."""
    [one] = parse_dsn(data)
    return one


def test_a_returned_header_proves_whose_it_is(made: Flight) -> None:
    one = report(dsn(made, envelope=False))
    token = token_of(one, RING, "sfo")
    assert token is not None
    assert (token.canary, token.path) == (made.canary, made.path)
    assert canary_id(one, token) == made.canary


def test_another_agents_or_a_forged_header_is_not_believed(made: Flight) -> None:
    elsewhere = msgspec.structs.replace(made, path=MailPath("fra", "relay-a1", INBOX))
    assert token_of(report(dsn(elsewhere)), RING, "sfo") is None
    other_key = KeyRing(Key("k1", Secret("not the key that signed them", "k1")))
    assert token_of(report(dsn(made)), other_key, "sfo") is None


def test_without_the_header_the_envelope_id_names_it(made: Flight) -> None:
    one = report(dsn(made, header=False))
    assert token_of(one, RING, "sfo") is None
    assert canary_id(one, None) == made.canary


def test_without_either_nobody_can_tell(made: Flight) -> None:
    one = report(dsn(made, header=False, envelope=False))
    assert canary_id(one, None) is None
    assert canary_id(replace(one, envelope_id="somebody-else-7"), None) is None


def test_the_event_carries_what_the_report_says(made: Flight) -> None:
    event = bounce(report(dsn(made, action="delayed")), made.canary, PATH, 77)
    assert (event.canary, event.path, event.seen_ns) == (made.canary, PATH, 77)
    assert (event.action, event.status) == ("delayed", "5.1.1")
    assert event.diagnostic is not None
    assert "User unknown" in event.diagnostic
    assert (event.remote_mta, event.reporting_mta) == ("mx.acme.example", "relay-a1.example.net")
    assert event.final_recipient == "canary@acme.example"


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("dsn-*.eml")), ids=lambda path: path.stem)
def test_every_servers_bounce_is_suspected(sample: Path) -> None:
    head = sample.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    assert may_be_bounce(parse_header_block(head.replace(b"\n", b"\r\n") + b"\r\n\r\n"))


def test_ordinary_mail_is_not_suspected() -> None:
    assert not may_be_bounce(parse_header_block(other_mail(1).header))
    assert not may_be_bounce([("return-path", "<a@b.example>"), ("content-type", "text/plain")])
    assert may_be_bounce([("return-path", " <> ")])
    assert may_be_bounce([("x-failed-recipients", "a@b.example")])
