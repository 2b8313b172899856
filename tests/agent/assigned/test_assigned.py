"""Assignments from a collector: kept on the disk, applied in order, the last one kept in need."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.app import can_sign
from agent.assigned.follow import Follower, first
from agent.assigned.kept import FILE_NAME, Assigned, load, save
from agent.assigned.planning import AssignedError
from agent.assignment import Assignment, AssignmentError
from agent.policy.models import PolicyFile
from agent.shipper.failures import ShipError, of_status
from probes.contract.wire import AssignmentDocument
from tests.agent.fakes import rng
from tests.agent.mailbox.benches import play

URL = "https://collector.example"


def _document(revision: str = "r1", **more: Any) -> AssignmentDocument:
    config = {
        "version": 1,
        "relays": [{"name": "relay-1", "host": "relay-1.example"}],
        "agents": [{"name": "sfo", "sender": {"address": "c@sfo.example", "helo": "sfo.example"}}],
        "customers": [
            {
                "name": "acme",
                "mailboxes": [
                    {
                        "name": "in",
                        "address": "in@acme.example",
                        "imap": {"host": "i.example", "user": "in", "secret": "acme/in"},
                    }
                ],
                "canaries": [{"interval": "30s"}],
            }
        ],
        **more,
    }
    return AssignmentDocument(
        version=1, agent="sfo", revision=revision, config=msgspec.Raw(msgspec.json.encode(config))
    )


class Source:
    """A collector that answers as it is told."""

    def __init__(self, *answers: tuple[str, AssignmentDocument] | int | None) -> None:
        self.answers = list(answers)
        self.asked: list[str | None] = []

    async def assignment(
        self,
        etag: str | None,
        wait_s: float,  # noqa: ARG002 - the port's signature
    ) -> tuple[str, AssignmentDocument] | None:
        self.asked.append(etag)
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            raise ShipError(of_status(answer, "", None, 0.0))
        return answer


def _follower(
    state: Path, source: Source, known: Assigned | None = None
) -> tuple[Follower, list[Assignment]]:
    applied: list[Assignment] = []
    return Follower(state, URL, source, applied.append, rng(), known), applied


async def test_a_new_assignment_is_kept_and_applied(tmp_path: Path) -> None:
    source = Source(('"a"', _document()), None, ('"b"', _document("r2")))
    follower, applied = _follower(tmp_path, source)
    assert [await follower.once(0.0) for _ in range(3)] == [True, False, True]
    assert source.asked == [None, '"a"', '"a"']
    assert [work.revision for work in applied] == ["r1", "r2"]
    assert [str(path.path) for path in applied[0].paths] == ["sfo|relay-1|acme/in"]
    kept = load(tmp_path, "sfo", URL)
    assert kept is not None
    assert (kept.etag, kept.work().revision) == ('"b"', "r2")
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


async def test_a_restart_asks_for_what_is_newer_than_what_it_kept(tmp_path: Path) -> None:
    save(tmp_path, URL, Assigned('"a"', _document()))
    source = Source(None)
    follower, applied = _follower(tmp_path, source, load(tmp_path, "sfo", URL))
    assert not await follower.once(0.0)
    assert source.asked == ['"a"']
    assert applied == []


async def test_a_collector_that_is_away_changes_nothing(tmp_path: Path) -> None:
    save(tmp_path, URL, Assigned('"a"', _document()))
    follower, applied = _follower(tmp_path, Source(503))
    with pytest.raises(ShipError):
        await follower.once(0.0)
    assert applied == []
    assert load(tmp_path, "sfo", URL) is not None


@pytest.mark.parametrize(
    "document",
    [
        AssignmentDocument(version=2, agent="sfo", revision="r2", config=msgspec.Raw(b"{}")),
        AssignmentDocument(version=1, agent="sfo", revision="r2", config=msgspec.Raw(b"[]")),
        _document("r2", tiger=1),
    ],
)
async def test_what_cannot_be_used_is_not_kept(
    tmp_path: Path, document: AssignmentDocument
) -> None:
    save(tmp_path, URL, Assigned('"a"', _document()))
    follower, applied = _follower(tmp_path, Source(('"b"', document)))
    with pytest.raises(AssignedError):
        await follower.once(0.0)
    assert applied == []
    kept = load(tmp_path, "sfo", URL)
    assert kept is not None
    assert kept.etag == '"a"'


async def test_an_assignment_without_this_agent_is_an_error(tmp_path: Path) -> None:
    follower, _ = _follower(tmp_path, Source(('"b"', _document("r2", agents=[], customers=[]))))
    with pytest.raises(AssignmentError):
        await follower.once(0.0)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"etag": 1}', "\xff"])
def test_a_kept_assignment_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_bytes(text.encode("latin-1"))
    assert load(tmp_path, "sfo", URL) is None


def test_what_was_kept_for_another_is_not_used(tmp_path: Path) -> None:
    save(tmp_path, URL, Assigned('"a"', _document()))
    assert load(tmp_path, "lon", URL) is None
    assert load(tmp_path, "sfo", "https://other.example") is None
    assert load(tmp_path / "nothing", "sfo", URL) is None


def test_an_agent_without_keys_waits_for_work_that_it_can_do(tmp_path: Path) -> None:
    """One that was to send, and was kept, must not end it again and again."""
    save(tmp_path, URL, Assigned('"a"', _document()))
    on_relay = [{"name": "sfo", "on_relay": "relay-1"}]
    source = Source(
        ('"a"', _document()), 503, ('"b"', _document("r2", agents=on_relay, customers=[]))
    )
    policy = PolicyFile(version=1)

    async def story() -> None:
        known, work = await first(
            source, tmp_path, "sfo", URL, rng(), lambda one: can_sign(one, policy)
        )
        assert (known.etag, work.revision, work.sender) == ('"b"', "r2", None)
        assert source.asked == [None, None, None]

    play(story)
    kept = load(tmp_path, "sfo", URL)
    assert kept is not None
    assert kept.etag == '"b"'
