"""Files that are moved aside take their journals along and overwrite nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from collector.log.files import SIDE_SUFFIXES, set_aside
from collector.rollup.file import move_aside


def _database(file: Path, content: str) -> None:
    for suffix in ("", *SIDE_SUFFIXES):
        file.with_name(file.name + suffix).write_text(content + suffix)


def _damaged(file: Path) -> Path:
    return move_aside(file, "damaged")


@pytest.mark.parametrize("aside", [set_aside, _damaged])
def test_a_second_file_and_its_journal_stand_beside_the_first(
    tmp_path: Path, aside: Callable[[Path], Path]
) -> None:
    file = tmp_path / "0000000000000001.sqlite3"
    for number, content in enumerate(("one", "two"), start=1):
        file.unlink(missing_ok=True)
        _database(file, content)
        assert aside(file) == tmp_path / f"{file.name}.damaged-{number}"
    found = {path.name: path.read_text() for path in tmp_path.iterdir() if path != file}
    assert found == {
        f"{file.name}.damaged-{number}{suffix}": content + suffix
        for number, content in ((1, "one"), (2, "two"))
        for suffix in ("", *SIDE_SUFFIXES)
    }


def test_a_segment_keeps_its_name_and_a_rollup_does_not(tmp_path: Path) -> None:
    file = tmp_path / "0000000000000001.sqlite3"
    _database(file, "one")
    set_aside(file)
    assert file.exists()
    move_aside(file, "damaged")
    assert not file.exists()
