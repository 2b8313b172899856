"""Batches changed in every way that a fault, a proxy or an attacker may, sent to a real collector.

What comes of each is computed here from the bytes that were sent and from the answer, by code of
its own: what was answered as accepted is in the log once and in order, and nothing else is.
"""

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from collector.ingest.admission import Room
from probes.contract.events import encode
from probes.contract.wire import PROBLEM_TYPE, Gap, Ingested, ProblemDetails
from tests.collector.ingest.made import check, intent, running
from tests.collector.log.batches import everything
from tests.collector.web.posting import DESCRIBED, URL, serving

ROOM = Room(per_minute=1_000_000)
GOOD = [encode(intent(number) if number % 2 else check()) for number in range(1, 13)]
"""What sfo may report; each is a line of its own but those of ``check``."""
BAD = (
    b"", b"garbage", b"{}", b"null", b"[]", b'{"kind":"tick","at_ns":1}', b'{"kind":5}',
    b'{"kind":"intent"}', b'{"kind":"new","agent":"fra"}', b"\xff\xfe", b'{"kind":"\xff"}',
    b"[" * 5000, b'{"kind":"check","agent":"sfo","probe":"dns","ok":true,"at_ns":1e400}',
    GOOD[1][:-1] + b',"x":"\xff"}',
    GOOD[1].replace(b'"at_ns":', b'"at_ns":9223372036854775808,"x":'),
    GOOD[0].replace(b'"path_seq":', b'"path_seq":-9223372036854775809,"x":'),
)  # fmt: skip


class Sent(NamedTuple):
    """A request: its token, what its head says, its body, and how long it says that this is."""

    token: str
    kind: str
    encoding: str
    body: bytes
    length: int


@dataclass
class Model:
    """What the log must hold: marks, entries in order, dead letters."""

    marks: dict[tuple[str, str], int] = field(default_factory=dict)
    entries: list[tuple[str, str, int, bytes]] = field(default_factory=list)
    dead: set[tuple[str, str, int]] = field(default_factory=set)

    def take(self, sent: Sent, answer: Ingested) -> None:
        """A request that was answered with 200."""
        whole = sent.body[: sent.length]
        plain = gzip.decompress(whole) if sent.encoding == "gzip" else whole
        head, *lines = plain.split(b"\n")[:-1]
        said = json.loads(head)
        agent, epoch, first = said["agent"], said["epoch"], int(said["first_seq"])
        assert sent.token == f"agent-{agent}"
        assert len(lines) == int(said["count"]) > 0
        mark, last = self.marks.get((agent, epoch), 0), first + len(lines) - 1
        refused = {one.seq for one in answer.refused}
        assert refused <= set(range(first, last + 1))
        new = [(seq, line) for seq, line in enumerate(lines, start=first) if seq > mark]
        for seq, line in enumerate(lines, start=first):
            if line in GOOD:
                assert (seq in refused) == (agent != "sfo")
            if (line in BAD and agent == "sfo") or not _is_json(line):
                assert seq in refused
        taken = [(agent, epoch, seq, line) for seq, line in new if seq not in refused]
        self.entries += taken
        self.dead |= {(agent, epoch, seq) for seq, _ in new if seq in refused}
        self.marks[agent, epoch] = max(mark, last)
        assert answer.epoch == epoch
        assert answer.high_water == max(mark, last)
        assert answer.accepted == len(taken)
        assert answer.duplicates == len(lines) - len(new)
        assert answer.gap == (
            Gap(first_seq=mark + 1, last_seq=first - 1) if first > mark + 1 else None
        )


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line.decode())
    except (ValueError, RecursionError):
        return False
    return True


Change = Callable[[bytes], bytes]


def _flip(at: int, bit: int) -> Change:
    def change(data: bytes) -> bytes:
        if not data:
            return data
        place = at % len(data)
        return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]

    return change


def _cut(at: int, of: int) -> Change:
    return lambda data: data[: len(data) * at // of]


def _short(count: int) -> Change:
    return lambda data: data[:-count]


def _lines(work: Callable[[list[bytes]], list[bytes]]) -> Change:
    return lambda data: b"\n".join(work(data.split(b"\n")))


def _drop(at: int) -> Change:
    return _lines(lambda lines: [line for n, line in enumerate(lines) if n != at % len(lines)])


def _twice(at: int) -> Change:
    return _lines(lambda lines: lines[: at % len(lines) + 1] + lines[at % len(lines) :])


def _swap(at: int) -> Change:
    def work(lines: list[bytes]) -> list[bytes]:
        one, other = at % len(lines), (at + 1) % len(lines)
        lines[one], lines[other] = lines[other], lines[one]
        return lines

    return _lines(work)


def _put(at: int, line: bytes) -> Change:
    def work(lines: list[bytes]) -> list[bytes]:
        lines[1 + at % max(1, len(lines) - 2) if len(lines) > 1 else 0] = line
        return lines

    return _lines(work)


def _lie(name: str, value: Any) -> Change:
    def change(data: bytes) -> bytes:
        head, _, rest = data.partition(b"\n")
        try:
            said = json.loads(head)
        except (ValueError, RecursionError):
            return data
        if not isinstance(said, dict):
            return data
        said[name] = value
        if value is None:
            del said[name]
        return json.dumps(said).encode() + b"\n" + rest

    return change


NUMBERS = st.integers(0, 10_000)
CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.builds(_flip, NUMBERS, st.integers(0, 7)),
    st.builds(_cut, st.integers(0, 20), st.just(20)),
    st.builds(_short, st.integers(1, 12)),
    st.builds(_drop, NUMBERS),
    st.builds(_twice, NUMBERS),
    st.builds(_swap, NUMBERS),
    st.builds(_put, NUMBERS, st.sampled_from(BAD)),
    st.builds(
        _lie,
        st.sampled_from(["version", "agent", "epoch", "first_seq", "count", "sent_at_ns"]),
        st.sampled_from(
            [None, 0, 1, 2, 3, 7, -1, 2.0, 0.5, 1e300, 1 << 63, -(1 << 70), True, "", "1", "fra",
             "e2", "e/2", "x" * 65, [], {}, 10_001, (1 << 63) - 10_001, "\x00"]
        ),
    ),
)  # fmt: skip
PACKINGS: dict[str, tuple[str, Change]] = {
    "plain": ("", lambda data: data),
    "gzip": ("gzip", lambda data: gzip.compress(data, 1)),
    "members": ("gzip", lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:])),
    "zlib": ("gzip", zlib.compress),
    "twice": ("gzip", lambda data: gzip.compress(gzip.compress(data))),
    "no gzip": ("gzip", lambda data: data),
    "unsaid": ("", lambda data: gzip.compress(data, 1)),
    "other": ("br", lambda data: data),
}


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    """A good batch, changed a few times or not at all; mostly as agents send it."""
    first = draw(st.integers(1, 9))
    lines = draw(st.lists(st.sampled_from((*GOOD, *GOOD[:6], *BAD)), min_size=1, max_size=6))
    head = {"version": 1, "agent": "sfo", "epoch": "e1", "first_seq": first, "count": len(lines),
            "sent_at_ns": 1}  # fmt: skip
    plain = b"\n".join((json.dumps(head).encode(), *lines, b""))
    for change in draw(st.lists(CHANGES, max_size=2)):
        plain = change(plain)
    often = ["gzip"] * 12 + ["plain"] * 4
    encoding, pack = PACKINGS[draw(st.sampled_from([*often, *PACKINGS]))]
    body = pack(plain)
    if draw(st.integers(0, 3)) == 0:
        body = draw(CHANGES)(body)
    token = draw(
        st.sampled_from(["agent-sfo"] * 12 + ["agent-fra", "operator-ann", "customer-acme", "x"])
    )
    kind = draw(st.sampled_from(["application/x-ndjson"] * 15 + ["application/json"]))
    length = len(body) - draw(st.sampled_from([0] * 15 + [1, 9, 200]))
    return Sent(token, kind, encoding, body, max(0, length))


async def _exchange(port: int, sent: Sent) -> tuple[int, str, bytes]:
    """The status, media type and body of the first answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    encoding = f"Content-Encoding: {sent.encoding}\r\n" if sent.encoding else ""
    head = (
        f"POST {URL} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {sent.token}\r\n"
        f"Content-Type: {sent.kind}\r\n{encoding}Content-Length: {sent.length}\r\n"
        "Connection: close\r\n\r\n"
    )
    writer.write(head.encode() + sent.body)
    answer_head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    headers = dict(line.lower().split(": ", 1) for line in answer_head[1:] if line)
    answer = await reader.readexactly(int(headers["content-length"]))
    writer.close()
    return int(answer_head[0].split()[1]), headers["content-type"], answer


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sendings=st.lists(requests(), min_size=1, max_size=8))
async def test_whatever_is_sent_the_log_holds_what_was_answered_as_accepted(
    tmp_path_factory: pytest.TempPathFactory, sendings: list[Sent]
) -> None:
    model, directory = Model(), tmp_path_factory.mktemp("mutated")
    async with serving(directory, ROOM) as (client, ingest, log):
        port = (await client.get("/nothing")).url.port
        assert port is not None
        for sent in sendings:
            status, kind, answer = await _exchange(port, sent)
            event(str(status))
            assert str(status) in DESCRIBED
            assert status < 500
            if status == 200:
                assert kind.startswith("application/json")
                model.take(sent, msgspec.json.decode(answer, type=Ingested))
            elif kind.startswith("text/plain"):
                # More than it says it is: what follows its end is no HTTP at all.
                assert (status, sent.length < len(sent.body)) == (400, True)
            else:
                assert kind == PROBLEM_TYPE
                told = msgspec.json.decode(answer, type=ProblemDetails)
                assert told.status == status
        await _compare(log, model)
        assert ingest.admission.inside == ingest.admission.body_bytes == 0
        assert ingest.admission.memory.free == ingest.admission.memory.total
    # And the same when it is opened again.
    async with running(directory) as (_, log):
        await _compare(log, model)


async def _compare(log: Any, model: Model) -> None:
    found = [(one.source, one.epoch, one.seq, one.body) for one in await everything(log)]
    assert found == model.entries
    marks = {key: mark.high_water for key, mark in (await log.marks()).items()}
    assert marks == model.marks
    dead = [(one.source, one.epoch, one.refusal.seq) for one in await log.dead_letters()]
    assert len(dead) == len(set(dead))
    assert set(dead) == model.dead
