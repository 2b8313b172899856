"""A customer's file is shown as data, or it is told why not."""

from pathlib import Path

import pytest

from collector.config.customer_files import CustomerFile
from collector.config.shown import MAX_SHOWN, BrokenError, shown


def _show(data: bytes) -> object:
    return shown(CustomerFile.of(Path("acme.yaml"), data))


def test_aliases_are_written_out() -> None:
    assert _show(b"name: acme\na: &a {b: [1, 2]}\nc: *a\n") == {
        "name": "acme",
        "a": {"b": [1, 2]},
        "c": {"b": [1, 2]},
    }


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"name: acme\nlabels: &a [*a]\n", "acme.yaml:2: found alias *a inside its own anchor"),
        (b"name: acme\nlabels: " + b"[" * 5000, "acme.yaml:2: found deep nesting"),
        ("name: acme\n".encode("utf-16"), "acme.yaml:1: found the byte 0xff, which is no UTF-8"),
        (b"- name: acme\n", "acme.yaml:1: found a list, allowed is a mapping"),
        (b"", "acme.yaml: found nothing, allowed is a mapping"),
        # Few nodes, but each of them long.
        (
            b"name: acme\na: &a "
            + b"x" * 10_000
            + b"\nb: ["
            + b"*a, " * (MAX_SHOWN // 10_000)
            + b"]",
            "acme.yaml:1: found 4",
        ),
    ],
    ids=["within itself", "deep", "utf-16", "a list", "empty", "long"],
)
def test_what_cannot_be_shown_is_told(data: bytes, line: str) -> None:
    with pytest.raises(BrokenError) as caught:
        _show(data)
    [problem] = caught.value.problems
    assert str(problem).startswith(line)


def test_what_multiplies_is_not_written_out() -> None:
    lines = ["name: acme", "l0: &l0 [" + "x, " * 10 + "]"]
    lines += [f"l{n}: &l{n} [" + f"*l{n - 1}, " * 10 + "]" for n in range(1, 9)]
    with pytest.raises(BrokenError, match="aliases that multiply"):
        _show("\n".join(lines).encode())
