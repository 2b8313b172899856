"""The counts stay right, or on the safe side, through whatever the server tells."""

import itertools

import pytest

from probes.imap.model import ProtocolError
from probes.imap.view import FolderView


@pytest.fixture
def view() -> FolderView:
    view = FolderView(itertools.count(100).__next__)
    for line in (b"* 10 EXISTS", b"* OK [UIDVALIDITY 7] ok", b"* OK [UIDNEXT 51] next"):
        view.take([line])
    view.settle(51, 10)
    view.news = False
    return view


def test_kinds(view: FolderView) -> None:
    assert view.take([b"* 3 FETCH (FLAGS ())"]) == b"FETCH"
    assert view.take([b"* search 1"]) == b"SEARCH"
    assert view.take([b"*"]) == b""
    assert view.take([b"* "]) == b""
    assert view.take([b"* 5"]) == b""
    assert view.take([b"* XWHATEVER (1 2)"]) == b"XWHATEVER"
    assert view.take([b"* OK just text"]) == b"OK"
    assert not view.news


def test_news(view: FolderView) -> None:
    view.take([b"* 12 exists"])
    assert view.news
    assert view.at_most(51) == 2
    assert view.at_most(41) == 12
    assert view.at_most(1) == 12


def test_expunge_is_no_news_and_errs_on_the_safe_side(view: FolderView) -> None:
    view.take([b"* 12 EXISTS"])
    view.news = False
    view.take([b"* 12 EXPUNGE"])
    assert not view.news
    assert view.exists == 11
    assert view.at_most(51) >= 1


def test_an_emptied_folder(view: FolderView) -> None:
    view.take([b"* 0 EXISTS"])
    view.take([b"* 1 EXPUNGE"])
    assert (view.exists, view.at_most(1)) == (0, 0)
    view.take([b"* 1 EXISTS"])
    assert view.at_most(51) == 1


def test_an_unannounced_message_is_counted_from_when_it_is_seen(view: FolderView) -> None:
    view.saw(10)
    assert view.there_ns(10) == 100
    view.saw(11)
    assert (view.exists, view.there_ns(11)) == (11, 101)


def test_each_message_had_come_when_it_was_first_counted(view: FolderView) -> None:
    for line in (b"* 12 EXISTS", b"* 12 EXISTS", b"* 15 EXISTS"):
        view.take([line])
    assert [view.there_ns(n) for n in (1, 10, 11, 12, 13, 15)] == [100, 100, 101, 101, 102, 102]
    # Of one that was never counted it is only known now.
    assert view.there_ns(16) == 103


def test_messages_move_up_when_one_is_expunged(view: FolderView) -> None:
    for line in (b"* 12 EXISTS", b"* 14 EXISTS", b"* 11 EXPUNGE", b"* 1 EXPUNGE"):
        view.take([line])
    # What were 10, 12, 13 and 14.
    assert [view.there_ns(n) for n in (9, 10, 11, 12)] == [100, 101, 102, 102]
    view.take([b"* 12 EXPUNGE"])
    view.take([b"* 12 EXISTS"])
    assert [view.there_ns(n) for n in (11, 12)] == [102, 103]


def test_a_folder_emptied_and_filled_again_is_counted_anew(view: FolderView) -> None:
    for _ in range(10):
        view.take([b"* 1 EXPUNGE"])
    view.take([b"* 2 EXISTS"])
    assert view.there_ns(1) == 101


def test_a_count_that_shrinks_by_itself_makes_the_earlier_ones_worthless(view: FolderView) -> None:
    view.take([b"* 12 EXISTS"])
    view.take([b"* 9 EXISTS"])
    assert view.there_ns(9) == 102


def test_of_very_many_announcements_the_oldest_are_not_told_apart(view: FolderView) -> None:
    for count in range(11, 111):
        view.take([b"* %d EXISTS" % count])
    # 47 to 110 are told apart: 64 in all.
    assert [view.there_ns(n) for n in (1, 47, 48, 110)] == [137, 137, 138, 200]


def test_capabilities(view: FolderView) -> None:
    view.take([b"* CAPABILITY IMAP4rev1 IDLE"])
    assert view.capabilities == {"IMAP4REV1", "IDLE"}
    view.take([b"* OK [CAPABILITY IMAP4rev1] ready"])
    assert view.capabilities == {"IMAP4REV1"}
    view.note_capabilities(b"[CAPABILITY A B] logged in")
    assert view.capabilities == {"A", "B"}
    view.note_capabilities(b"logged in")
    assert view.capabilities == {"A", "B"}


def test_uidvalidity_may_be_told_again_but_not_changed(view: FolderView) -> None:
    view.take([b"* OK [UIDVALIDITY 7] again"])
    with pytest.raises(ProtocolError, match="UIDVALIDITY"):
        view.take([b"* OK [UIDVALIDITY 8] other"])


def test_impossible_count(view: FolderView) -> None:
    with pytest.raises(ProtocolError, match="32 bits"):
        view.take([b"* 99999999999 EXISTS"])
    with pytest.raises(ProtocolError, match="32 bits"):
        view.take([b"* " + b"9" * 5000 + b" EXPUNGE"])
