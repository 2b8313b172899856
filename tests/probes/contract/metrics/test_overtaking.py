"""Overtaking across relays: only what surely was handed over first can have been overtaken."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.contract.events import Arrival, Interval, Submission
from probes.contract.metrics.missing import Standing
from probes.contract.metrics.overtaking import (
    Crossing,
    Handover,
    Overtaken,
    Overtaking,
    crossing,
    handover,
    new_mailbox,
)
from probes.contract.metrics.spans import Span
from probes.contract.names import Path
from probes.contract.stages import Result
from probes.contract.units import NS_PER_S
from tests.probes.contract.metrics import oracle


def arrival(
    seq: int,
    uid: int,
    data: int | None,
    accepted: int | None,
    *,
    relay: str = "a",
    folder: str = "INBOX",
    uidvalidity: int = 1,
) -> Crossing:
    """A crossing with times in whole seconds, seen at the second of its UID."""
    return Crossing(
        seq=seq,
        relay=relay,
        handover=Handover(
            None if data is None else data * NS_PER_S,
            None if accepted is None else accepted * NS_PER_S,
        ),
        folder=folder,
        uidvalidity=uidvalidity,
        uid=uid,
        arrived=Span(uid * NS_PER_S, uid * NS_PER_S),
    )


def standings(mailbox: Overtaking, *arrivals: Crossing) -> list[Standing]:
    return [mailbox.fold(each).standing for each in arrivals]


def test_a_canary_stuck_on_one_relay_is_overtaken_by_those_of_others() -> None:
    mailbox = new_mailbox(first=1)
    assert (
        standings(
            mailbox,
            arrival(2, uid=1, data=10, accepted=11, relay="b"),
            arrival(3, uid=2, data=20, accepted=21, relay="c"),
        )
        == [Standing.IN_ORDER] * 2
    )
    assert mailbox.fold(arrival(1, uid=9, data=0, accepted=1)) == Overtaken(
        standing=Standing.REORDERED,
        by_seq=2,
        by_relay="b",
        extent=2,
        late=Interval(8.0, 8.0),
    )
    assert mailbox.overtaken_ratio() == 1 / 3
    assert (mailbox.extent_max, mailbox.latest) == (2, Interval(8.0, 8.0))


@pytest.mark.parametrize("data_of_the_other", [4, 5])
def test_two_handed_over_at_the_same_time_overtake_nobody(data_of_the_other: int) -> None:
    """Lower sequence number or not: acceptance must have come before the other's DATA."""
    mailbox = new_mailbox(first=1)
    other = arrival(2, uid=1, data=data_of_the_other, accepted=7, relay="b")
    assert standings(mailbox, other, arrival(1, uid=2, data=3, accepted=5)) == [
        Standing.IN_ORDER,
        Standing.IN_ORDER,
    ]


def test_folders_are_not_compared() -> None:
    mailbox = new_mailbox(first=1)
    assert (
        standings(
            mailbox,
            arrival(2, uid=5, data=10, accepted=11),
            arrival(1, uid=9, data=0, accepted=1, folder="Junk"),
        )
        == [Standing.IN_ORDER] * 2
    )


def test_a_new_uidvalidity_begins_a_new_order() -> None:
    mailbox = new_mailbox(first=1)
    assert (
        standings(
            mailbox,
            arrival(2, uid=5, data=10, accepted=11),
            arrival(1, uid=1, data=0, accepted=1, uidvalidity=2),
        )
        == [Standing.IN_ORDER] * 2
    )


def test_a_second_copy_is_no_arrival() -> None:
    mailbox = new_mailbox(first=1)
    assert standings(
        mailbox,
        arrival(1, uid=1, data=0, accepted=1),
        arrival(2, uid=2, data=10, accepted=11),
        arrival(1, uid=3, data=0, accepted=1),
    ) == [Standing.IN_ORDER, Standing.IN_ORDER, Standing.COPY]
    assert (mailbox.judged, mailbox.copies) == (2, 1)


def test_without_a_known_acceptance_nothing_is_said_but_it_still_overtakes() -> None:
    mailbox = new_mailbox(first=1)
    assert standings(
        mailbox,
        arrival(2, uid=1, data=10, accepted=None),
        arrival(1, uid=2, data=0, accepted=1),
    ) == [Standing.UNJUDGED, Standing.REORDERED]
    assert mailbox.overtaken_ratio() == 1.0


def test_an_arrival_out_of_turn_is_not_judged() -> None:
    mailbox = new_mailbox(first=1)
    assert standings(
        mailbox,
        arrival(1, uid=5, data=0, accepted=1),
        arrival(2, uid=4, data=10, accepted=11),
    ) == [Standing.IN_ORDER, Standing.UNJUDGED]


def test_no_arrival_has_no_ratio() -> None:
    assert new_mailbox().overtaken_ratio() is None


def test_past_the_bound_an_extent_is_a_least_one() -> None:
    mailbox = new_mailbox(first=1, limit=2)
    standings(
        mailbox,
        *(arrival(seq, uid=seq, data=seq * 10, accepted=seq * 10 + 1) for seq in (2, 3, 4)),
    )
    assert mailbox.fold(arrival(1, uid=9, data=0, accepted=25)) == Overtaken(
        standing=Standing.REORDERED, by_seq=3, by_relay="a", extent=2, late=Interval(6.0, 6.0)
    )
    oldest = mailbox.fold(arrival(0, uid=10, data=0, accepted=1))
    assert oldest.standing is Standing.UNJUDGED  # below ``first``
    stuck = mailbox.fold(arrival(5, uid=11, data=0, accepted=1))
    assert (stuck.by_seq, stuck.extent, stuck.at_least) == (3, 3, True)


HANDED = st.tuples(st.integers(0, 20), st.integers(0, 8)).map(lambda pair: (pair[0], sum(pair)))
STREAM = st.lists(st.tuples(HANDED, st.sampled_from(["INBOX", "Junk"])), max_size=30)


@given(STREAM, st.integers(1, 30))
def test_overtaking_is_what_the_definition_says(
    stream: list[tuple[tuple[int, int], str]], limit: int
) -> None:
    mailbox = new_mailbox(limit=limit)
    seen: dict[str, list[tuple[int, int]]] = {}
    places: dict[str, list[int]] = {}
    for seq, (handed, folder) in enumerate(stream):
        seen.setdefault(folder, []).append(handed)
        places.setdefault(folder, []).append(seq)
        data, accepted = handed
        found = mailbox.fold(arrival(seq, uid=seq + 1, data=data, accepted=accepted, folder=folder))
        i = len(seen[folder])
        j = oracle.overtaker(seen[folder], i)
        assert (found.standing is Standing.REORDERED) == (j is not None)
        assert len(mailbox.folders[folder].leads) <= limit
        if j is None:
            assert found == Overtaken(standing=Standing.IN_ORDER)
        elif found.at_least:
            assert found.extent is not None
            assert found.extent < i - j
        else:
            assert (found.by_seq, found.extent) == (places[folder][j - 1], i - j)


@given(STREAM, st.integers(0, 30), st.integers(1, 30))
def test_a_state_written_down_and_taken_up_again_goes_on_the_same(
    stream: list[tuple[tuple[int, int], str]], cut: int, limit: int
) -> None:
    arrivals = [
        arrival(seq, uid=seq + 1, data=data, accepted=accepted, folder=folder)
        for seq, ((data, accepted), folder) in enumerate(stream)
    ]
    whole, part = new_mailbox(limit=limit), new_mailbox(limit=limit)
    expected = [whole.fold(each) for each in arrivals]
    found = [part.fold(each) for each in arrivals[:cut]]
    again = msgspec.json.decode(msgspec.json.encode(part), type=Overtaking)
    found += [again.fold(each) for each in arrivals[cut:]]
    assert found == expected
    assert again == whole


PATH = Path("sfo", "relay-a1", "acme/inbox")
SENT = 1_000 * NS_PER_S


def submission(result: Result, phases: dict[str, float]) -> Submission:
    return Submission(
        canary="c", path=PATH, sent_ns=SENT, at_ns=SENT + 9 * NS_PER_S, result=result, phases=phases
    )


def test_a_handover_errs_towards_no_overtaking() -> None:
    """DATA began no earlier than the phases before it took, the name lookup left out."""
    phases = {"resolve": 4.0, "connect": 1.0, "rcpt": 0.5, "data": 0.25, "accept": 2.0}
    assert handover(submission(Result.ACCEPTED, phases)) == Handover(
        SENT + 1_500_000_000, SENT + 9 * NS_PER_S
    )


def test_a_lost_reply_leaves_the_acceptance_unknown() -> None:
    assert handover(submission(Result.UNKNOWN, {"connect": 1.0, "data": 0.5})) == Handover(
        SENT + NS_PER_S, None
    )


def test_without_data_there_is_nothing_to_overtake_with() -> None:
    assert handover(submission(Result.DEFERRED, {"connect": 1.0})) == Handover(None, None)


def test_a_crossing_is_made_of_the_two_events_of_a_canary() -> None:
    seen = Arrival(
        canary="c",
        path=PATH,
        path_seq=3,
        mailbox_seq=7,
        stream_epoch="e",
        sent_ns=SENT,
        seen_ns=SENT + 3 * NS_PER_S,
        delay=Interval(2.0, 3.0),
        clock="boottime",
        folder="INBOX",
        junk=False,
        uidvalidity=1,
        uid=101,
    )
    sent = submission(Result.ACCEPTED, {"connect": 1.0, "data": 0.5})
    assert crossing(sent, seen) == Crossing(
        seq=7,
        relay="relay-a1",
        handover=Handover(SENT + NS_PER_S, SENT + 9 * NS_PER_S),
        folder="INBOX",
        uidvalidity=1,
        uid=101,
        arrived=Span(SENT + 2 * NS_PER_S, SENT + 3 * NS_PER_S),
    )
    assert crossing(None, seen).handover == Handover(None, None)
