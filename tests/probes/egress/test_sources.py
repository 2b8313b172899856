"""Where one looks from, when nothing is bound to, and when routes go away."""

import socket
from ipaddress import ip_address

import pytest

from probes.egress import Vantage
from probes.egress.sources import address_towards, vantages
from probes.resolver import Endpoint

V4, V6 = socket.AF_INET, socket.AF_INET6
NEAR = Endpoint(V4, ("127.0.0.1", 25))


def test_a_route_that_is_there() -> None:
    assert vantages([], [NEAR], {}) == [Vantage(V4, None, "127.0.0.1")]


def test_a_route_that_went_away_is_looked_by_all_the_same() -> None:
    nowhere = Endpoint(V6, ("::1%no-such-device", 25, 0, 0))
    assert address_towards(nowhere) is None
    assert vantages([], [NEAR, nowhere], {}) == [Vantage(V4, None, "127.0.0.1")]
    assert vantages([], [NEAR, nowhere], {V6: "2001:db8::9"}) == [
        Vantage(V4, None, "127.0.0.1"),
        Vantage(V6, None, "2001:db8::9"),
    ]
    assert vantages([], [nowhere], {}) == [Vantage(V6, None, None)]


def test_a_family_that_nothing_has_is_not_looked_by() -> None:
    assert vantages([], [NEAR], {V6: "2001:db8::9"}) == [Vantage(V4, None, "127.0.0.1")]


@pytest.mark.parametrize(
    ("before", "expected"),
    [({}, Vantage(V4, None, None)), ({V6: "2001:db8::9"}, Vantage(V6, None, "2001:db8::9"))],
)
def test_nothing_was_found(before: dict[int, str], expected: Vantage) -> None:
    assert vantages([], [], before) == [expected]


def test_sources_are_bound_to_where_they_can_be() -> None:
    found = vantages([ip_address("127.0.0.9"), ip_address("203.0.113.1")], [NEAR], {V6: "::2"})
    assert [one[:3] for one in found] == [
        (V4, "127.0.0.9", "127.0.0.9"),
        (V4, None, "127.0.0.1"),
    ]
    [only] = vantages([ip_address("203.0.113.1")], [], {})
    assert only[:3] == (V4, None, "203.0.113.1")
