"""The estate of real servers as fixtures, and all logs in the report of a test that fails."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.servers.agents import Crew
from tests.servers.estate import ServerEstate

ESTATE = pytest.StashKey[ServerEstate]()
CREW = pytest.StashKey[Crew]()


@pytest.fixture(scope="session")
def running_estate(request: pytest.FixtureRequest) -> Iterator[ServerEstate]:
    """The servers, started once for the whole run."""
    with ServerEstate() as estate:
        request.config.stash[ESTATE] = estate
        yield estate
        del request.config.stash[ESTATE]


@pytest.fixture
def server_estate(running_estate: ServerEstate) -> Iterator[ServerEstate]:
    """The servers, without faults, and with empty queues and mailboxes.

    Only tests with the marker `servers` may ask for it.
    """
    yield running_estate
    running_estate.reset()


@pytest.fixture
def crew(
    server_estate: ServerEstate, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Crew]:
    """Agents on the servers; whatever they do, no secret may stand in what they write."""
    crew = request.node.stash[CREW] = Crew.of(server_estate, tmp_path / "work")
    try:
        yield crew
    finally:
        crew.end()
    assert crew.leaks() == []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the ends of the servers' and agents' logs to a failure, as they are at that moment."""
    del call
    report = yield
    estate = item.config.stash.get(ESTATE, None)
    if report.failed and estate is not None and item.get_closest_marker("servers"):
        report.sections.append(("Servers' logs", estate.log_tails()))
        if (crew := item.stash.get(CREW, None)) is not None:
            report.sections.append(("Agents' logs", crew.log_tails()))
    return report
