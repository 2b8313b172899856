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
    assert view.news_ns == 101
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
    assert view.news_ns == 100
    view.saw(11)
    assert (view.exists, view.news_ns) == (11, 101)


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
    with pytest.raises(ProtocolError):
        view.take([b"* 99999999999 EXISTS"])
