"""A file's bytes as text, or why they are none."""

import pytest

from probes.contract.config.source import text_of
from probes.contract.errors import ConfigError


def test_a_byte_order_mark_is_no_text() -> None:
    assert text_of("a.yaml", b"\xef\xbb\xbfversion: 1\n", 20) == "version: 1\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a: 1\nb: \xfc\n", "a.yaml:2: found the byte 0xfc, which is no UTF-8, allowed is UTF-8"),
        (b"x" * 21, "a.yaml: found a huge file, allowed is at most 20 bytes"),
    ],
)
def test_what_is_no_text_says_where(data: bytes, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        text_of("a.yaml", data, 20)
    assert str(caught.value).startswith(said)


def test_the_bound_itself_is_allowed() -> None:
    assert text_of("a.yaml", b"x" * 20, 20) == "x" * 20
