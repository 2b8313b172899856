"""Names and paths."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.contract.names import LABEL_KEY_PATTERN, Path, is_name, parse_path

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize("text", ["a", "0", "relay-a1", "mx.acme.example", "a_b", "a--b", "x" * 63])
def test_names(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "-a", "a-", ".a", "a.", "_a", "..", ".", "A", "é", "a b", "a/b", "a|b", "a;b", "a\n",
        "a\0", "٣", "x" * 64,
    ],
)  # fmt: skip
def test_no_names(text: str) -> None:
    assert not is_name(text)


@given(NAMES, NAMES, NAMES, NAMES)
def test_path_round_trip(agent: str, relay: str, customer: str, mailbox: str) -> None:
    path = Path(agent, relay, f"{customer}/{mailbox}")
    assert parse_path(str(path)) == path
    assert path.customer == customer


def test_path_text() -> None:
    assert str(Path("sfo", "relay-a1", "acme/inbox")) == "sfo|relay-a1|acme/inbox"


@pytest.mark.parametrize(
    "text",
    [
        "", "sfo", "sfo|relay-a1", "sfo|relay-a1|acme", "sfo|relay-a1|acme/", "sfo|relay-a1|/inbox",
        "sfo|relay-a1|acme/in/box", "sfo|relay-a1|acme/inbox|", "|relay-a1|acme/inbox",
        "SFO|relay-a1|acme/inbox", "sfo|relay a1|acme/inbox", "sfo|relay-a1|acme/inbox\n",
    ],
)  # fmt: skip
def test_no_paths(text: str) -> None:
    with pytest.raises(ValueError, match=r"allowed is agent\|relay\|customer/mailbox") as caught:
        parse_path(text)
    assert repr(text) in str(caught.value)


@given(st.text())
def test_any_text_is_a_path_that_reads_back_or_refused(text: str) -> None:
    try:
        path = parse_path(text)
    except ValueError:
        return
    assert str(path) == text


def test_paths_are_ordered_and_hashable() -> None:
    one, other = Path("fra", "b", "c/d"), Path("sfo", "a", "c/d")
    assert sorted([other, one]) == [one, other]
    assert len({one, other, Path("fra", "b", "c/d")}) == 2


@pytest.mark.parametrize(
    ("key", "good"),
    [
        ("site", True),
        ("a_1", True),
        ("1a", False),
        ("A", False),
        ("a-b", False),
        ("__x", False),
        ("x" * 64, False),
    ],
)
def test_label_keys(key: str, good: bool) -> None:
    assert bool(re.fullmatch(LABEL_KEY_PATTERN, key)) == good
