"""The pages of the documentation are whole, as whoever renders them sees them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def headless(text: str) -> list[str]:
    """The first rows of what looks like a table and has no head, which is shown as plain text."""
    lines = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL).split("\n")
    return [
        line
        for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False)
        if line.startswith("|") and not before.startswith("|") and not after.startswith("| ---")
    ]


def test_a_table_that_an_empty_line_breaks_in_two_is_seen() -> None:
    assert headless("| a |\n| --- |\n| 1 |\n\n| 2 |\n") == ["| 2 |"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_table_has_a_head(page: Path) -> None:
    assert headless(page.read_text(encoding="utf-8")) == []
