"""Decompression: right for what is right, and bounded for everything else."""

import gzip
import resource
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.ingest.inflate import BodyError, BodyTooLargeError, PastLimitError, gunzip

MIB = 1 << 20


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=5))
def test_what_was_packed_comes_out_in_one_member_or_several(parts: list[bytes]) -> None:
    assert gunzip(b"".join(gzip.compress(part) for part in parts), 20_000) == b"".join(parts)


def test_nothing_is_nothing() -> None:
    assert gunzip(b"", 10) == b""


def test_the_limit_is_met_to_the_byte() -> None:
    assert gunzip(gzip.compress(b"a" * 1000), 1000) == b"a" * 1000
    with pytest.raises(PastLimitError, match="found more than 999 bytes when unpacked"):
        gunzip(gzip.compress(b"a" * 1000), 999)


def test_the_limit_is_for_all_members_together() -> None:
    member = gzip.compress(b"a" * 1000)
    assert len(gunzip(member * 3, 3000)) == 3000
    with pytest.raises(BodyTooLargeError):
        gunzip(member * 3, 2999)


def bomb(mib: int) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return b"".join([*(packer.compress(bytes(MIB)) for _ in range(mib)), packer.flush()])


def test_a_bomb_takes_no_more_memory_than_its_limit_needs() -> None:
    data = bomb(256)
    assert len(data) < 2 * MIB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        with pytest.raises(PastLimitError):
            gunzip(data, 4 * MIB)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


@pytest.mark.parametrize("cut", [1, 5, 9, 10, 15, -9, -8, -1])
def test_what_is_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(BodyError, match="cut short"):
        gunzip(gzip.compress(b"hello" * 100)[:cut], 1000)


@pytest.mark.parametrize("tail", [b"garbage", b"\0", b"\0" * 512, b"\x1f\x8bXX"])
def test_what_follows_the_stream_is_refused(tail: bytes) -> None:
    with pytest.raises(BodyError, match=r"damaged gzip|cut short"):
        gunzip(gzip.compress(b"hello") + tail, 1000)


@pytest.mark.parametrize("data", [b"hello", zlib.compress(b"hello"), b"\x1f\x8b\x09" + bytes(20)])
def test_what_is_no_gzip_is_refused(data: bytes) -> None:
    with pytest.raises(BodyError, match="damaged gzip"):
        gunzip(data, 1000)


@pytest.mark.parametrize("at", [-8, -4])
def test_a_wrong_checksum_or_length_is_refused(at: int) -> None:
    data = bytearray(gzip.compress(b"hello" * 10))
    data[at] ^= 1
    with pytest.raises(BodyError, match="damaged gzip"):
        gunzip(bytes(data), 1000)


def test_a_great_many_members_are_refused() -> None:
    member = gzip.compress(b"")
    assert gunzip(member * 64, 10) == b""
    with pytest.raises(BodyError, match="more than 64 gzip members"):
        gunzip(member * 65, 10)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_come_out_bounded_or_are_refused(data: bytes, gzip_like: bool) -> None:
    if gzip_like:
        data = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + data
    refused = "found, allowed"
    try:
        assert len(gunzip(data, 100)) <= 100
    except BodyError as error:
        refused = str(error)
    assert "found" in refused
    assert "allowed" in refused
