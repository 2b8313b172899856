import pytest

from probes.headers.text import Kind, clean, parse_address, tokens, without_comments


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  a \r\n\t b  ", "a b"),
        ("a\x1b[2Jb\x00\ud800", "a?[2Jb??"),
        ("x" * 100, "x" * 10),
        (" " * 100, ""),
    ],
)
def test_clean(text: str, cleaned: str) -> None:
    assert clean(text, 10) == cleaned


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" IPv6:2001:DB8:0:0::1 ", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("192.0.2.01", None),
        ("host.example", None),
        ("1" * 1000, None),
        ("", None),
    ],
)
def test_parse_address(text: str, address: str | None) -> None:
    assert parse_address(text) == address


def test_tokens() -> None:
    found = [(token.kind, token.text) for token in tokens('a=b (c (d\\)) "e") "f\\" (g";h)', "=;")]

    assert found == [
        (Kind.WORD, "a"),
        (Kind.MARK, "="),
        (Kind.WORD, "b"),
        (Kind.COMMENT, 'c (d\\)) "e"'),
        (Kind.QUOTED, 'f" (g'),
        (Kind.MARK, ";"),
        (Kind.WORD, "h"),
    ]


@pytest.mark.parametrize(
    ("text", "kept"),
    [("a (b (c) d) e", "a e"), ("a (b", "a"), ("a) b", "a b"), ('a "b', "a b"), ("(\\", "")],
)
def test_without_comments(text: str, kept: str) -> None:
    assert without_comments(text) == kept
