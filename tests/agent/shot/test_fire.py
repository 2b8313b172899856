"""The limit on all of it, whatever hangs."""

import subprocess
import sys
import threading

import pytest

from agent.shot.fire import age_s, limited

HANGS = """
import sys, threading
from agent.shot.fire import limited
def at_limit():
    print("time is up", flush=True)
    return 7
with limited({limit_s}, at_limit, 3) as saying:
    {body}
    threading.Event().wait()
"""


@pytest.mark.parametrize(
    ("limit_s", "body", "code", "said"),
    [(0.0, "", 7, "time is up\n"), (1.0, "saying.acquire()", 3, "")],
    ids=["hangs", "hangs while it says something"],
)
def test_what_hangs_is_ended(limit_s: float, body: str, code: int, said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HANGS.format(limit_s=limit_s, body=body)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (code, said), ended.stderr


CANNOT_SAY_IT = """
import threading
from agent.shot.fire import limited
def at_limit():
    {says}
with limited(0.0, at_limit, 3) as saying:
    threading.Event().wait()
"""


@pytest.mark.parametrize(
    "says",
    ["raise BrokenPipeError", "threading.Event().wait()"],
    ids=["nobody reads it", "nobody takes it"],
)
def test_what_cannot_be_said_at_the_limit_is_no_reason_to_stay(says: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CANNOT_SAY_IT.format(says=says)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 3


SAYS_IT = """
import time
from agent.shot.fire import limited
with limited(0.2, lambda: print("again", flush=True) or 7, 3) as saying:
    with saying:
        time.sleep(0.6)
        print("said", flush=True)
    time.sleep(0.2)
"""


def test_what_is_being_said_at_the_limit_is_said_once() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SAYS_IT], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "said\n"), ended.stderr


def test_what_ends_in_time_is_left_alone() -> None:
    before = threading.active_count()
    with limited(3600.0, lambda: 7, 3):
        assert threading.active_count() == before + 1
    with limited(None, lambda: 7, 3):
        pass


def test_a_process_knows_its_age() -> None:
    code = "from agent.shot.fire import age_s; print(age_s())"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert 0 < float(shown.stdout) < 10
    assert 0 <= age_s() <= 10
