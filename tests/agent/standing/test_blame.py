"""A mailbox that takes nothing is blamed itself, and a relay that passes nothing on is too."""

from itertools import count

from agent.standing.blame import Blame
from agent.standing.condition import Sign, Trouble

OVERDUE = Trouble("overdue", "transit")
FULL = Trouble("rejected", "rcpt", "reply-5xx")
DOWN = Trouble("unreachable", "connect", "refused")
RELAYS = ("r1", "r2", "r3", "r4")
BOXES = ("m1", "m2", "m3")


class Site:
    """Relays and mailboxes, through and to each of which canaries go in turn."""

    def __init__(self, boxes: tuple[str, ...] = BOXES) -> None:
        self.blame = Blame()
        self.told: list[str] = []
        self._boxes = boxes
        self._now = count(1)

    def round(self, sick: dict[str, Sign], times: int = 1) -> list[str]:
        """A canary for each relay and mailbox; gives who is in trouble, or well again, by it."""
        self.told = []
        for _ in range(times):
            for relay in RELAYS:
                for box in self._boxes:
                    sign = sick.get(relay, sick.get(box))
                    for change in self.blame.take(relay, box, sign, next(self._now)):
                        self.told.append(f"{change.name} {'bad' if change.now else 'well'}")
        return self.told


def test_a_relay_that_passes_nothing_on_is_named_and_no_mailbox() -> None:
    site = Site()
    assert site.round({}, 5) == []
    assert site.round({"r2": OVERDUE}, 20) == ["r2 bad"]
    assert site.round({}, 5) == ["r2 well"]


def test_so_are_all_but_one() -> None:
    site = Site()
    site.round({}, 5)
    sick: dict[str, Sign] = {"r1": OVERDUE, "r2": OVERDUE, "r3": OVERDUE}
    assert sorted(site.round(sick, 20)) == ["r1 bad", "r2 bad", "r3 bad"]


def test_a_mailbox_that_takes_nothing_is_named_and_no_relay() -> None:
    for trouble in (OVERDUE, FULL):
        site = Site()
        site.round({}, 5)
        assert site.round({"m2": trouble}, 20) == ["m2 bad"]
        assert site.round({}, 10) == ["m2 well"]


def test_nor_when_it_was_so_from_the_start() -> None:
    site = Site()
    assert site.round({"m2": OVERDUE}, 20) == ["m2 bad"]


def test_a_relay_that_cannot_be_reached_is_to_blame_whatever_the_mailbox() -> None:
    site = Site(("m1",))
    site.round({}, 5)
    assert site.round(dict.fromkeys(RELAYS, DOWN), 20) == [f"{relay} bad" for relay in RELAYS]


def test_where_nothing_comes_through_at_all_the_one_mailbox_is_named() -> None:
    site = Site(("m1",))
    site.round({}, 5)
    assert site.round(dict.fromkeys(RELAYS, OVERDUE), 20) == ["m1 bad"]


def test_relays_that_cannot_be_reached_speak_for_no_other() -> None:
    """Only r1 gets as far as to the mailbox: that is its own matter."""
    site = Site(("m1",))
    site.round({}, 5)
    sick: dict[str, Sign] = {"r2": DOWN, "r3": DOWN, "r4": DOWN}
    site.round(sick, 20)
    assert site.round({**sick, "r1": OVERDUE}, 20) == ["r1 bad"]


def test_the_only_relay_is_to_blame() -> None:
    blame = Blame()
    changes = [change for now in range(3) for change in blame.take("r1", "m1", OVERDUE, now)]
    assert [(change.kind, change.name) for change in changes] == [("relay", "r1")]


def test_what_is_gone_is_forgotten() -> None:
    site = Site()
    site.round({"r2": OVERDUE, "m2": OVERDUE}, 20)
    site.blame.keep({"r1"}, {"m1"})
    assert (set(site.blame.relays), set(site.blame.mailboxes)) == ({"r1"}, {"m1"})
    # Of the others nothing speaks any more, so r1 is the only one.
    changes = [c for now in range(3) for c in site.blame.take("r1", "m1", OVERDUE, 10**6 + now)]
    assert [(change.kind, change.name) for change in changes] == [("relay", "r1")]
