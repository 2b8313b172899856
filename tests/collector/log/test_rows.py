"""A chunk's content: as it came, packed where that is shorter, and believed when it is whole."""

import zlib

import pytest

from collector.log.engine import Item
from collector.log.rows import Chunk, pack, unpack
from tests.collector.log.batches import body


def items(count: int, padding: int = 0) -> list[Item]:
    return [Item(seq, "tick", body("fra", "e1", seq, padding)) for seq in range(1, count + 1)]


@pytest.mark.parametrize(("count", "padding"), [(1, 0), (1, 5000), (500, 0), (500, 600)])
def test_what_is_packed_comes_out_again(count: int, padding: int) -> None:
    found = unpack(pack(7, 11, 3, items(count, padding)), "fra", "e1")
    assert [(one.seq, one.kind, one.body) for one in found] == [*map(tuple, items(count, padding))]
    assert [one.cursor for one in found] == list(range(7, 7 + count))


def test_many_events_take_less_room_than_they_are_long() -> None:
    chunk = pack(1, 1, 1, items(500))
    assert chunk.length > 5 * len(chunk.content)


def test_a_few_bytes_stay_as_they_are() -> None:
    few = pack(1, 1, 1, items(1))
    assert few.content == b'["tick"]\n' + body("fra", "e1", 1)


def test_what_packing_makes_no_shorter_stands_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zlib, "compress", lambda plain, _level: bytes(len(plain)))
    chunk = pack(1, 1, 1, items(500))
    assert [one.body for one in unpack(chunk, "", "")] == [one.body for one in items(500)]


def flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("at", [0, 100, -1])
def test_one_bit_that_is_wrong_is_seen(at: int) -> None:
    chunk = pack(1, 1, 1, items(500))
    with pytest.raises(ValueError, match="allowed"):
        unpack(chunk._replace(content=flip(chunk.content, at % len(chunk.content))), "", "")


@pytest.mark.parametrize("by", [-1, 1])
def test_a_wrong_length_is_seen(by: int) -> None:
    chunk = pack(1, 1, 1, items(500))
    with pytest.raises(ValueError, match=f"allowed are {chunk.length + by}"):
        unpack(chunk._replace(length=chunk.length + by), "", "")


def test_content_that_ends_early_is_seen() -> None:
    chunk = pack(1, 1, 1, items(500))
    with pytest.raises(ValueError, match="allowed"):
        unpack(chunk._replace(content=chunk.content[:-4]), "", "")


def test_no_more_is_unpacked_than_the_row_says() -> None:
    bomb = Chunk(1, 1, 1, 1, 1, 2000, zlib.compress(bytes(1 << 26)))
    with pytest.raises(ValueError, match="found 2000 bytes or more"):
        unpack(bomb, "", "")
