"""The metrics of a collector that the docs list."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(
    r"^\| `(mailcanary_(?:collector|check|queue)_[a-z0-9_]+)` \|([^|]*)\|", re.MULTILINE
)


def documented() -> dict[str, set[str]]:
    """Each metric of the docs' tables with its labels."""
    found: dict[str, set[str]] = {}
    for page in sorted(DOCS.glob("*.md")):
        for name, labels in ROW.findall(page.read_text(encoding="utf-8")):
            found[name] = set(re.findall(r"`(\w+)`", labels))
    return found
