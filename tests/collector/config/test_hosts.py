"""Which hosts a customer may name."""

import pytest

from collector.config.hosts import HostPolicy


@pytest.mark.parametrize("host", ["imap.example.net", "8.8.8.8", "2001:4860:4860::8888", "A.B."])
def test_public_hosts_are_allowed(host: str) -> None:
    assert HostPolicy().refuses(host) is None


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "imap", "127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "::1",
        "fe80::1", "fd00::1", "::ffff:127.0.0.1", "127.1", "0x7f.1", "printer.local", "db.internal",
        "0.0.0.0", "example.localhost.", "2130706433",
    ],
)  # fmt: skip
def test_what_is_not_public_is_refused(host: str) -> None:
    assert HostPolicy().refuses(host) == f"found {host}, allowed is a public host name or address"


def test_a_list_allows_what_it_names_and_nothing_else() -> None:
    policy = HostPolicy(("*.example.net", "10.0.0.7"))
    assert policy.refuses("IMAP.Example.NET") is None
    assert policy.refuses("10.0.0.7") is None
    assert policy.refuses("imap.example.org") == (
        "found imap.example.org, allowed is *.example.net, 10.0.0.7"
    )


def test_an_inner_host_may_be_allowed_beside_all_public_ones() -> None:
    policy = HostPolicy(("*", "10.0.0.7"))
    assert policy.refuses("imap.example.net") is None
    assert policy.refuses("10.0.0.7") is None
    assert policy.refuses("10.0.0.8") is not None
