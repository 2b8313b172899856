"""What all tests share: how the marker `servers` is honoured."""

import os

import pytest
from hypothesis import settings

from tests.servers.requirements import machine_lacks, verdict

# No deadline: how long an example takes is the machine's affair, and no test asserts times.
settings.register_profile("mailcanary", deadline=None, print_blob=True)
settings.load_profile("mailcanary")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test on real servers where they cannot run, or fail it where they must."""
    if item.get_closest_marker("servers") is None:
        return
    decision, message = verdict(list(machine_lacks()), os.environ)
    if decision == "skip":
        pytest.skip(message)
    if decision == "fail":
        pytest.fail(message, pytrace=False)
