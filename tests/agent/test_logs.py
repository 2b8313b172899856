"""Logs: one JSON object a line on standard error, libraries' warnings among them."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from agent import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("agent", "lab", "probes")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


Capture = pytest.CaptureFixture[str]


def lines(capsys: Capture) -> list[dict[str, object]]:
    """The lines on standard error, decoded."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_events_have_a_level_a_time_and_their_fields(capsys: Capture) -> None:
    logs.configure()
    structlog.get_logger("agent.test").info("agent started", paths=3)
    [line] = lines(capsys)
    assert (line["event"], line["paths"], line["level"]) == ("agent started", 3, "info")
    assert str(line["timestamp"]).endswith("Z")


def test_the_level_holds_for_our_own(capsys: Capture) -> None:
    logs.configure(level="warning")
    structlog.get_logger("agent.test").info("not this")
    logging.getLogger("probes.test").info("nor this")
    logging.getLogger("probes.test").warning("but this")
    assert [line["event"] for line in lines(capsys)] == ["but this"]


def test_of_libraries_only_warnings_come_through_even_when_debugging(capsys: Capture) -> None:
    logs.configure(level="debug")
    logging.getLogger("aioimaplib.aioimaplib").debug("LOGIN user password")
    logging.getLogger("asyncio").info("chatter")
    logging.getLogger("aiosmtplib").warning("trouble")
    structlog.get_logger("agent.test").debug("detail")
    assert [line["event"] for line in lines(capsys)] == ["trouble", "detail"]


def test_a_fault_comes_with_its_traceback_on_one_line(capsys: Capture) -> None:
    logs.configure()
    try:
        int("a fault")
    except ValueError:
        structlog.get_logger("agent.test").exception("it failed")
    [line] = lines(capsys)
    assert "ValueError: invalid literal" in str(line["exception"])


def test_a_second_configuration_takes_the_place_of_the_first(capsys: Capture) -> None:
    logs.configure()
    logs.configure()
    logging.getLogger("agent.test").warning("once")
    assert len(lines(capsys)) == 1
