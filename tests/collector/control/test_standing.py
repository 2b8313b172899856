"""Up, down, never seen."""

import pytest

from collector.control.standing import Standing, standing

S = 10**9


@pytest.mark.parametrize(
    ("seen", "now", "started", "stopped", "expected"),
    [
        (None, 100, 0, None, Standing.NEVER_SEEN),
        (100, 130, 0, None, Standing.UP),
        (100, 131, 0, None, Standing.DOWN),
        # The collector was away from 105 to 500: silence until 530 is no fault of the agent's.
        (100, 530, 500, 105, Standing.UP),
        (100, 531, 500, 105, Standing.DOWN),
        # It had been down before the collector went.
        (100, 501, 500, 131, Standing.DOWN),
        # It was heard since.
        (540, 570, 500, 131, Standing.UP),
        # The clock was set back.
        (100, 50, 0, None, Standing.UP),
    ],
)
def test_standing(
    seen: int | None, now: int, started: int, stopped: int | None, expected: Standing
) -> None:
    times = [None if time is None else time * S for time in (seen, now, started, stopped)]
    seen_ns, now_ns, started_ns, stopped_ns = times
    assert now_ns is not None
    assert started_ns is not None
    assert standing(seen_ns, now_ns, 10.0, started_ns, stopped_ns) is expected
