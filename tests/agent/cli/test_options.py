"""A wrong option is told by its name, with what was found and what is allowed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import typer

from agent.cli.check import check
from agent.cli.doctor import doctor
from agent.cli.options import readable, seconds
from agent.cli.probe import probe


def _told(error: pytest.ExceptionInfo[typer.BadParameter]) -> str:
    return error.value.format_message()


@pytest.mark.parametrize(("text", "found"), [("5", 5.0), ("2.5", 2.5), ("5s", 5.0), ("1m", 60.0)])
def test_a_bare_number_means_seconds(text: str, found: float) -> None:
    assert seconds(text, "--wait", 1.0, 3600.0) == found


@pytest.mark.parametrize("text", ["", "x", "5x", "-1", ".5", "1.2.3", "0", "2h", "²", "nan"])
def test_what_is_no_time_or_out_of_bounds(text: str) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        seconds(text, "--wait", 1.0, 3600.0)
    allowed = "a duration from 1s to 1h, such as 30s or 5m, or seconds"
    assert _told(caught) == f"Invalid value for --wait: found {text!r}, allowed is {allowed}"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    for path, found in (
        (missing, f"{missing}: no such file or directory"),
        (tmp_path, f"the directory {tmp_path}"),
    ):
        with pytest.raises(typer.BadParameter) as caught:
            readable(path, "--config")
        allowed = "allowed is a readable file"
        assert _told(caught) == f"Invalid value for --config: found {found}, {allowed}"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert readable(pipe, "--config") == pipe


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_others(tmp_path: Path) -> None:
    file = tmp_path / "mailcanary.yaml"
    file.touch(mode=0o000)
    with pytest.raises(typer.BadParameter, match="permission denied"):
        readable(file, "--config")


@pytest.mark.parametrize("command", [probe, doctor, check])
def test_no_file_is_judged_in_other_words_than_ours(command: Callable[..., None]) -> None:
    """Typer's own check of a path would say neither what was found nor what is allowed."""
    hints = get_type_hints(command, include_extras=True)
    told = {name: get_args(hint) for name, hint in hints.items() if "Path" in str(hint)}
    assert told
    assert [name for name, (_, option) in told.items() if option.readable] == []
