"""Faults are checked when they are made; the board finds the one that counts."""

import pytest

from lab.board import Board, Order
from lab.faults import Bounce, Drop, Fault, Greylist, Junk, Refuse, Side
from probes.contract.stages import Stage


@pytest.mark.parametrize(
    ("code", "enhanced"), [(250, "2.0.0"), (600, "5.0.0"), (550, "4.1.1"), (450, "5.1.1")]
)
def test_a_refusal_needs_codes_that_agree(code: int, enhanced: str) -> None:
    with pytest.raises(ValueError, match="allowed are 4xx"):
        Refuse(code=code, enhanced=enhanced)


def test_a_stage_must_be_one_of_the_dialogue() -> None:
    for kind in (Drop, Refuse, Bounce):
        with pytest.raises(ValueError, match="allowed are banner, ehlo"):
            kind(stage=Stage.TRANSIT)


def order(fault: Fault, relays: set[str] | None, mailboxes: set[str] | None) -> Order[Fault]:
    return Order(
        fault,
        None if relays is None else frozenset(relays),
        None if mailboxes is None else frozenset(mailboxes),
        0,
    )


def test_the_latest_order_that_concerns_relay_and_mailbox_counts() -> None:
    board = Board()
    everywhere = order(Refuse(text="everywhere"), None, None)
    there = order(Refuse(text="there"), {"a"}, {"acme/inbox"})
    board.add(everywhere)
    board.add(there)

    def text(relay: str, mailbox: str | None) -> str:
        found = board.find(Refuse, relay=relay, mailbox=mailbox)
        assert found is not None
        return found.text

    assert text("a", "acme/inbox") == "there"
    assert text("a", "acme/other") == "everywhere"
    assert text("b", "acme/inbox") == "everywhere"
    assert text("a", None) == "everywhere", "a mailbox that is not known is none of the subset"
    board.remove(there)
    board.remove(there)
    assert text("a", "acme/inbox") == "everywhere"
    assert board.orders == (everywhere,)


def test_a_side_tells_apart_and_kinds_include_their_subclasses() -> None:
    board = Board()
    board.add(order(Bounce(), None, None))
    board.add(order(Junk(), None, None))
    board.add(order(Greylist(at=Side.RELAY), None, None))
    assert board.find(Refuse, relay="a", at=Side.DESTINATION) == Bounce()
    assert board.find(Refuse, relay="a", at=Side.RELAY) is None
    assert board.find(Greylist, relay="a", at=Side.DESTINATION) is None
    assert board.find(Junk, relay="a", at=Side.DESTINATION) == Junk(), "a fault without a side"
