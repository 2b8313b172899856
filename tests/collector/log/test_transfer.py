"""Export and import: each event as it stood, once, and no half of a wrong file."""

import io
from pathlib import Path

import msgspec
import pytest

from collector.log import files
from collector.log.engine import LogError
from collector.log.opening import open_store
from collector.log.sqlite import SqliteLog
from collector.log.store import Limits
from collector.log.transfer import ImportFileError, Selection, check_file, export, load
from collector.log.verify import verify
from probes.contract.events import Envelope
from tests.collector.log.batches import AT_NS, S, batch, everything


async def filled(directory: Path, limits: Limits | None = None) -> SqliteLog:
    log = SqliteLog.open(directory, limits)
    for number in range(10):
        for source in ("fra", "sfo"):
            first = number * 10 + 1
            at_ns = AT_NS + number * S
            await log.append(batch(first, first + 9, source=source, at_ns=at_ns))
    return log


def exported(directory: Path, wanted: Selection | None = None) -> bytes:
    out = io.BytesIO()
    export(directory, wanted or Selection(), out)
    return out.getvalue()


def envelopes(text: bytes) -> list[Envelope]:
    return [msgspec.json.decode(line, type=Envelope) for line in text.splitlines()]


@pytest.mark.parametrize("limits", [Limits(), Limits(segment_bytes=1)], ids=["usual", "small"])
async def test_a_log_goes_into_a_file_and_back(tmp_path: Path, limits: Limits) -> None:
    log = await filled(tmp_path / "log", limits)
    before = await everything(log)
    # The collector runs meanwhile.
    text = exported(tmp_path / "log")
    marks = await log.marks()
    await log.close()
    assert len(text.splitlines()) == len(before) == 200
    file = tmp_path / "export.jsonl"
    file.write_bytes(text)
    assert check_file(file) == 200
    store = open_store(tmp_path / "new", limits)
    done = load(store, file)
    again = load(store, file)
    store.close()
    assert (done.accepted, done.duplicates, done.missing, done.bad) == (200, 0, 0, 0)
    assert (again.accepted, again.duplicates) == (0, 200)
    new = SqliteLog.open(tmp_path / "new")
    assert [entry[1:] for entry in await everything(new)] == [entry[1:] for entry in before]
    assert await new.marks() == marks
    await new.close()
    assert exported(tmp_path / "new") == text
    assert verify(tmp_path / "new").problems == []


async def test_a_selection_of_a_log(tmp_path: Path) -> None:
    log = await filled(tmp_path)
    entries = await everything(log)
    await log.close()
    everywhere = envelopes(exported(tmp_path))
    middle = entries[99].cursor
    assert envelopes(exported(tmp_path, Selection(after=middle))) == everywhere[100:]
    assert envelopes(exported(tmp_path, Selection(until=middle))) == everywhere[:100]
    later = Selection(since_ns=AT_NS + 3 * S, until_ns=AT_NS + 4 * S)
    assert envelopes(exported(tmp_path, later)) == everywhere[60:100]
    assert exported(tmp_path, Selection(kinds=frozenset({"arrival"}))) == b""
    ticks = Selection(kinds=frozenset({"tick", "arrival"}))
    assert envelopes(exported(tmp_path, ticks)) == everywhere


async def test_what_a_file_leaves_out_is_a_gap(tmp_path: Path) -> None:
    await (await filled(tmp_path / "log")).close()
    lines = exported(tmp_path / "log").splitlines(keepends=True)
    file = tmp_path / "export.jsonl"
    file.write_bytes(b"".join(lines[:5] + lines[8:]))
    store = open_store(tmp_path / "new", Limits())
    assert load(store, file).missing == 3
    assert store.marks()["fra", "e1"].missing == 3
    store.close()


async def test_a_wrong_file_tells_every_wrong_line(tmp_path: Path) -> None:
    await (await filled(tmp_path / "log")).close()
    lines = exported(tmp_path / "log").splitlines(keepends=True)
    lines[1] = b"garbage\n"
    lines[3] = lines[3].replace(b'"version":1', b'"version":7')
    lines[5] = lines[5].replace(b'"at_ns":6', b'"at_ns":"six"')
    lines[7] = lines[7].replace(b'"seq":8', b'"seq":0')
    lines[9] = b'{"kind":"tick","at_ns":1}\n'
    lines[-1] = lines[-1][:-10]
    file = tmp_path / "export.jsonl"
    file.write_bytes(b"".join(lines))
    with pytest.raises(ImportFileError) as caught:
        check_file(file)
    assert [problem.line for problem in caught.value.problems] == [2, 4, 6, 8, 10, 200]
    text = str(caught.value)
    assert f"{file}:2: found JSON is malformed" in text
    assert f"{file}:4: found version 7, allowed is 1" in text
    assert f"{file}:200: found a line that is cut short, allowed is a whole line" in text
    assert caught.value.exit_code == 2
    store = open_store(tmp_path / "new", Limits())
    done = load(store, file)
    store.close()
    assert (done.accepted, done.bad, done.missing) == (194, 6, 5)
    assert verify(tmp_path / "new").problems == []


def test_a_file_of_nonsense_is_told_in_bounds(tmp_path: Path) -> None:
    file = tmp_path / "nonsense"
    file.write_bytes(b"\xff\x00nonsense\n" * 5000)
    with pytest.raises(ImportFileError, match=r"and 4900 lines more$"):
        check_file(file)


async def test_a_damaged_segment_is_left_out_of_an_export_and_told(tmp_path: Path) -> None:
    await (await filled(tmp_path, Limits(segment_bytes=1))).close()
    firsts = files.list_segments(tmp_path)
    segment = files.segment_file(tmp_path, firsts[3])
    segment.write_bytes(b"x" * segment.stat().st_size)
    out = io.BytesIO()
    done = export(tmp_path, Selection(), out)
    assert done.entries == 190
    (problem,) = done.problems
    assert str(segment) in problem


def test_where_there_is_no_log(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "none"):
        with pytest.raises(LogError, match="allowed is a"):
            exported(directory)
        with pytest.raises(LogError, match="allowed is a"):
            verify(directory)
    with pytest.raises(LogError, match="allowed is an export"):
        check_file(tmp_path / "none")
