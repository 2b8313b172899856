"""Events as JSON lines: each once, torn ends mended, foreign files left alone."""

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.events_file import EventsFile, EventsStdout, ReaderGoneError, is_torn, line
from agent.spool.store import Record
from probes.contract.errors import SpoolError
from probes.contract.events import Tick, encode


def records(*seqs: int) -> list[Record]:
    """Events with those sequence numbers."""
    return [Record(seq, encode(Tick(at_ns=seq))) for seq in seqs]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the events go."""
    return tmp_path / "events.jsonl"


def reopened(path: Path, epoch: str = "e1") -> int:
    """What a new start finds in the file."""
    file = EventsFile(path)
    try:
        return file.resume(epoch)
    finally:
        file.close()


def test_a_new_file_begins_at_nothing(path: Path) -> None:
    assert reopened(path) == 0
    assert path.read_bytes() == b""


def test_lines_are_json_with_the_events_identity(path: Path) -> None:
    file = EventsFile(path)
    file.write("e1", records(1, 2))
    file.close()
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    assert lines == [
        {"epoch": "e1", "seq": seq, "event": {"kind": "tick", "at_ns": seq}} for seq in (1, 2)
    ]
    assert reopened(path) == 2


def test_another_epoch_begins_anew_behind_the_old_one(path: Path) -> None:
    file = EventsFile(path)
    file.write("e1", records(1, 2, 3))
    assert file.resume("e2") == 0
    file.write("e2", records(1))
    file.close()
    assert reopened(path, "e2") == 1
    assert reopened(path, "e1") == 0


@pytest.mark.parametrize("kept", [1, 5, 10, 11, 30, -1])
def test_a_torn_last_line_is_cut_off_and_written_again(path: Path, kept: int) -> None:
    file = EventsFile(path)
    file.write("e1", records(1, 2))
    file.close()
    whole = path.read_bytes()
    path.write_bytes(whole + line("e1", records(3)[0])[:kept])
    file = EventsFile(path)
    assert file.resume("e1") == 2
    assert path.read_bytes() == whole
    file.write("e1", records(3))
    file.close()
    assert reopened(path) == 3


def test_only_a_torn_line_leaves_an_empty_file(path: Path) -> None:
    path.write_bytes(b'{"epoch":"e1","seq":1,"ev')
    assert reopened(path) == 0
    assert path.read_bytes() == b""


def test_zeros_of_a_power_failure_are_cut_off(path: Path) -> None:
    whole = line("e1", records(1)[0])
    path.write_bytes(whole + bytes(4096))
    assert reopened(path) == 1
    assert path.read_bytes() == whole
    path.write_bytes(whole + b'{"epoch":"e1","se' + bytes(100))
    assert reopened(path) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"a letter to my aunt",
        b"a letter\nto my aunt\n",
        b"a letter\nto my aunt",
        b'{"some":"json"}\n',
        b"x" * (3 << 20),
        line("e1", records(1)[0]) + b"and a note",
        line("e1", records(1)[0]) + b"and a note\n",
        b"[1]\n",
        b"\n",
    ],
)
def test_a_file_that_holds_something_else_is_refused_and_left_alone(
    path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    with pytest.raises(SpoolError, match="found a last line that is no event"):
        reopened(path)
    assert path.read_bytes() == content


def test_what_a_torn_end_looks_like() -> None:
    assert is_torn(b"")
    assert is_torn(b"{")
    assert is_torn(b'{"epoch":"e1","seq":7')
    assert not is_torn(b"#")
    assert not is_torn(b'{"event":')


def test_a_long_file_is_read_from_its_end(path: Path) -> None:
    file = EventsFile(path)
    for start in range(1, 60_001, 10_000):
        file.write("e1", records(*range(start, start + 10_000)))
    assert path.stat().st_size > 2 << 20
    assert file.resume("e1") == 60_000
    file.close()


@pytest.mark.parametrize("size", [(1 << 18) - 60, 1 << 18, (1 << 20) + 1, 5 << 20])
def test_a_long_last_line_is_read_to_its_beginning(path: Path, size: int) -> None:
    long = Record(2, b'{"kind":"heartbeat","detail":"' + b"y" * size + b'"}')
    file = EventsFile(path)
    file.write("e1", [*records(1), long])
    assert file.resume("e1") == 2
    file.write("e1", records(3))
    whole = path.read_bytes()
    file.write("e1", [Record(4, long.body)])
    file.close()
    assert reopened(path) == 4
    # Torn off in its middle it is as long, and is written again.
    path.write_bytes(whole + line("e1", Record(4, long.body))[: size - 100])
    assert reopened(path) == 3
    assert path.read_bytes() == whole


def test_no_more_is_read_than_an_event_can_be_long(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b'{"epoch":"e1","seq":1')
        file.truncate(100 << 20)
    with pytest.raises(SpoolError, match="longer than 64 MiB"):
        reopened(path)
    assert path.stat().st_size == 100 << 20


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="found Is a directory, allowed is a file that can be"):
        EventsFile(tmp_path)
    with pytest.raises(SpoolError, match="found No such file or directory"):
        EventsFile(tmp_path / "no" / "such" / "place")


def test_a_pipe_is_refused_since_it_has_no_end_to_go_on_from(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(SpoolError, match=r"found a pipe or a terminal, .* or - for standard out"):
        EventsFile(pipe)
    reading, writing = os.pipe()
    try:
        with pytest.raises(SpoolError, match="found a pipe or a terminal"):
            EventsFile(Path(f"/dev/fd/{writing}"))
    finally:
        os.close(reading)
        os.close(writing)


def test_a_pipe_in_place_of_a_rotated_file_is_refused_and_the_next_try_works(path: Path) -> None:
    file = EventsFile(path)
    file.write("e1", records(1))
    path.rename(path.with_suffix(".1"))
    os.mkfifo(path)
    with pytest.raises(SpoolError, match="found a pipe or a terminal"):
        file.write("e1", records(2))
    path.unlink()
    file.write("e1", records(2))
    file.close()
    assert reopened(path) == 2


def test_a_full_disk_is_said() -> None:
    file = EventsFile(Path("/dev/full"))
    with pytest.raises(SpoolError, match=r"/dev/full: could not write \(No space left on device\)"):
        file.write("e1", records(1))
    file.close()


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """No file grows past so many bytes, as on a disk that is full: writes stop in the middle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_in_mid_line_loses_and_repeats_nothing(path: Path) -> None:
    file = EventsFile(path)
    with file_size_limit(100):
        with pytest.raises(SpoolError, match="could not write"):
            file.write("e1", records(1, 2, 3))
        assert path.stat().st_size == 100
        assert file.resume("e1") == 1
        with pytest.raises(SpoolError, match="could not write"):
            file.write("e1", records(2, 3))
    assert file.resume("e1") == 1
    file.write("e1", records(2, 3))
    file.close()
    assert [json.loads(text)["seq"] for text in path.read_text().splitlines()] == [1, 2, 3]


def test_standard_output_takes_lines(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    out = EventsStdout()
    assert out.resume("e1") == 0
    out.write("e1", records(1))
    out.close()
    assert capfdbinary.readouterr().out == line("e1", records(1)[0])


def test_a_pipe_whose_reader_has_gone_is_an_error_that_is_said() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(ReaderGoneError, match="standard output with nobody who reads it any more"):
        EventsStdout(writer).write("e1", records(1))
    os.close(writer)


def test_what_a_full_disk_cut_off_standard_output_is_written_first(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        out = EventsStdout(file.fileno())
        with file_size_limit(70):
            with pytest.raises(SpoolError, match="could not write"):
                out.write("e1", records(1, 2))
            with pytest.raises(SpoolError, match="could not write"):
                out.resume("e1")
        assert out.resume("e1") == 2
        out.write("e1", records(3))
    assert [json.loads(text)["seq"] for text in path.read_text().splitlines()] == [1, 2, 3]


def test_a_file_that_was_rotated_away_is_begun_anew_and_nothing_is_lost(path: Path) -> None:
    file = EventsFile(path)
    file.write("e1", records(1, 2))
    moved = path.rename(path.with_suffix(".jsonl.1"))
    file.write("e1", records(3))
    path.unlink()
    file.write("e1", records(4, 5))
    file.close()
    assert [json.loads(text)["seq"] for text in moved.read_text().splitlines()] == [1, 2]
    assert [json.loads(text)["seq"] for text in path.read_text().splitlines()] == [4, 5]
    assert reopened(path) == 5


def test_a_directory_that_went_away_is_an_error_and_the_next_try_works(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    directory.mkdir()
    file = EventsFile(directory / "events.jsonl")
    away = directory.rename(tmp_path / "away")
    with pytest.raises(SpoolError, match="found No such file or directory, allowed is"):
        file.write("e1", records(1))
    away.rename(directory)
    file.write("e1", records(1))
    file.close()
    assert reopened(directory / "events.jsonl") == 1
