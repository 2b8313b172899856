"""X-Forwarded-For is believed as far as proxies of ours wrote it."""

from ipaddress import ip_network

import pytest

from collector.web.peers import peer_address

PROXIES = [ip_network("127.0.0.1/32"), ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")]


@pytest.mark.parametrize(
    ("remote", "forwarded", "peer"),
    [
        ("192.0.2.9", [], "192.0.2.9"),
        # Not one of our proxies: it may say what it likes.
        ("192.0.2.9", ["198.51.100.1"], "192.0.2.9"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        # The client made up the left one.
        ("127.0.0.1", ["203.0.113.7, 198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["203.0.113.7", "198.51.100.1, 10.1.1.1"], "198.51.100.1"),
        ("::ffff:127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8::1", ["[2001:db9::7]"], "2001:db9::7"),
        # All are proxies: the farthest of them.
        ("127.0.0.1", ["10.0.0.1"], "10.0.0.1"),
        ("127.0.0.1", ["garbage"], "127.0.0.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        (None, [], "unknown"),
    ],
)
def test_the_nearest_address_that_is_no_proxy(
    remote: str | None, forwarded: list[str], peer: str
) -> None:
    assert peer_address(remote, forwarded, PROXIES) == peer


def test_without_proxies_nothing_is_believed() -> None:
    assert peer_address("127.0.0.1", ["198.51.100.1"], []) == "127.0.0.1"
