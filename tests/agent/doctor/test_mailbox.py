"""What is said of an account, from what a survey saw."""

import pytest

from agent.doctor.mailbox import _folder, _inbox, _junk, _likely_junk, _offers
from agent.doctor.model import Findings, Item, Status
from probes.contract.config.models import Mailbox
from probes.imap.folders import ListedFolder
from probes.imap.survey import FolderLook, Survey


def _mailbox(**folders: str) -> Mailbox:
    imap = {"host": "h", "user": "u", "secret": "acme/imap"}
    values = {"name": "inbox", "address": "a@b.example", "imap": imap, "folders": folders}
    return Mailbox.model_validate(values)


def _listed(*names: str, junk: str = "") -> list[ListedFolder]:
    return [ListedFolder(name, frozenset({"\\JUNK"} if name == junk else ())) for name in names]


def _of(found: Findings) -> Item:
    [item] = found.items
    return item


@pytest.mark.parametrize(
    ("look", "status", "said"),
    [
        (FolderLook("INBOX", uidvalidity=1, uidnext=2, exists=1), Status.OK, "UIDNEXT 2"),
        (FolderLook("INBOX", uidvalidity=1, exists=1), Status.WARN, "UIDNEXT is not offered"),
        (FolderLook("INBOX", uidnext=1), Status.FAIL, "no UIDVALIDITY"),
        (FolderLook("INBOX", uidvalidity=1, uidnext=1, read_only=True), Status.WARN, "read-only"),
    ],
)
def test_a_folder(look: FolderLook, status: Status, said: str) -> None:
    found = Findings("mailbox acme/inbox")
    _inbox(found, _mailbox(), Survey(looks={"INBOX": look}))
    assert _of(found).status is status
    assert said in _of(found).seen
    assert bool(_of(found).advice) == (status is not Status.OK)


def test_a_missing_folder_shows_those_there_are() -> None:
    names = [f"Folder {number}" for number in range(20)]
    seen = Survey(looks={"Trash": FolderLook("Trash", refused="no")}, folders=_listed(*names))
    found = Findings("m")
    _folder(found, "inbox", "Trash", seen, None)
    assert "'Folder 11' and 8 more" in _of(found).seen
    assert _of(found).advice == "set folders.inbox to one of them"
    found = Findings("m")
    _folder(found, "inbox", "Folder", Survey(looks={"Folder": FolderLook("F", refused="no")}), None)
    assert "there are none" in _of(found).seen


def test_a_folder_of_nearly_that_name_is_suggested() -> None:
    look = FolderLook("Junk Email", refused="no such folder")
    seen = Survey(looks={"Junk Email": look}, folders=_listed("INBOX", "Junk E-mail"))
    found = Findings("m")
    _folder(found, "junk", "Junk Email", seen, None)
    assert _of(found).advice == "set folders.junk: 'Junk E-mail'"


def test_the_servers_own_word_for_junk_counts_most() -> None:
    assert _likely_junk(Survey(folders=_listed("Spam", "Ramsch", junk="Ramsch"))) == "Ramsch"
    assert _likely_junk(Survey(folders=_listed("INBOX", "SPAM"))) == "SPAM"
    assert _likely_junk(Survey(folders=_listed("INBOX", "Sent"))) is None
    closed = ListedFolder("Spam", frozenset({"\\NOSELECT"}))
    assert _likely_junk(Survey(folders=[closed])) is None


def test_no_junk_folder_at_all() -> None:
    found = Findings("m")
    _junk(found, _mailbox(), Survey(folders=_listed("INBOX")))
    assert _of(found).status is Status.OK
    found = Findings("m")
    _junk(found, _mailbox(), Survey())
    assert _of(found).status is Status.SKIPPED


@pytest.mark.parametrize(
    ("capabilities", "quota", "expected"),
    [
        ({"IDLE", "UIDPLUS", "QUOTA"}, 0.5, ["ok", "ok", "ok"]),
        ({"IDLE", "UIDPLUS", "QUOTA=RES-STORAGE"}, 0.8, ["ok", "ok", "warn"]),
        ({"IDLE", "UIDPLUS", "QUOTA"}, 0.95, ["ok", "ok", "fail"]),
        ({"IDLE", "UIDPLUS", "QUOTA"}, None, ["ok", "ok", "ok"]),
        ({"IMAP4REV1"}, None, ["warn", "warn", "ok"]),
    ],
)
def test_what_is_offered(capabilities: set[str], quota: float | None, expected: list[str]) -> None:
    found = Findings("m")
    _offers(found, Survey(capabilities=frozenset(capabilities), quota=quota))
    assert [str(item.status) for item in found.items] == expected
