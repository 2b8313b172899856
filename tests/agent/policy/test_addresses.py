"""Which addresses a customer's host may have."""

import pytest

from agent.policy.addresses import denied
from agent.policy.models import Addresses

DEFAULT = Addresses()


@pytest.mark.parametrize(
    ("address", "by"),
    [
        ("0.0.0.0", "0.0.0.0/8"),
        ("10.255.255.255", "10.0.0.0/8"),
        ("100.64.0.1", "100.64.0.0/10"),
        ("127.0.0.1", "127.0.0.0/8"),
        ("127.255.255.254", "127.0.0.0/8"),
        ("168.63.129.16", "168.63.129.16/32"),
        ("::ffff:168.63.129.16", "168.63.129.16/32"),
        ("64:ff9b::a83f:8110", "168.63.129.16/32"),
        ("169.254.169.254", "169.254.0.0/16"),
        ("172.16.0.1", "172.16.0.0/12"),
        ("172.31.255.255", "172.16.0.0/12"),
        ("192.0.0.170", "192.0.0.0/24"),
        ("192.168.1.1", "192.168.0.0/16"),
        ("198.19.0.1", "198.18.0.0/15"),
        ("224.0.0.1", "224.0.0.0/3"),
        ("255.255.255.255", "224.0.0.0/3"),
        ("::", "::/96"),
        ("::1", "::/96"),
        ("::127.0.0.1", "::/96"),
        ("::ffff:127.0.0.1", "127.0.0.0/8"),
        ("::FFFF:7f00:1", "127.0.0.0/8"),
        ("::ffff:169.254.169.254", "169.254.0.0/16"),
        ("2002:7f00:1::", "127.0.0.0/8"),
        ("2002:a00:1::1", "10.0.0.0/8"),
        ("64:ff9b::7f00:1", "127.0.0.0/8"),
        ("64:ff9b::10.1.2.3", "10.0.0.0/8"),
        ("64:ff9b::a9fe:a9fe", "169.254.0.0/16"),
        ("64:ff9b:1::1", "64:ff9b:1::/48"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001::/32"),
        ("fc00::1", "fc00::/7"),
        ("fd12:3456::1", "fc00::/7"),
        ("fe80::1", "fe80::/10"),
        ("fe80::1%eth0", "fe80::/10"),
        ("fec0::1", "fec0::/10"),
        ("ff02::1", "ff00::/8"),
        ("localhost", "no IP address"),
        ("", "no IP address"),
        ("127.1", "no IP address"),
        ("0177.0.0.1", "no IP address"),
    ],
)
def test_denied_by_default(address: str, by: str) -> None:
    assert denied(address, DEFAULT) == by


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "172.15.255.255",
        "172.32.0.0",
        "223.255.255.255",
        "2606:4700::1111",
        "::ffff:1.1.1.1",
        "64:ff9b::1.1.1.1",
        "2002:101:101::1",
    ],
)
def test_allowed_by_default(address: str) -> None:
    assert denied(address, DEFAULT) is None


def _rules(*, allow: tuple[str, ...] = (), deny: tuple[str, ...] | None = None) -> Addresses:
    given: dict[str, object] = {"allow": allow}
    return Addresses.model_validate(given if deny is None else given | {"deny": deny})


def test_allow_beats_deny() -> None:
    rules = _rules(allow=("10.20.0.0/16", "fd00:1::/32"))
    assert denied("10.20.1.1", rules) is None
    assert denied("10.21.1.1", rules) == "10.0.0.0/8"
    assert denied("fd00:1::1", rules) is None
    assert denied("fd00:2::1", rules) == "fc00::/7"


def test_an_ipv4_address_in_ipv6_dress_is_judged_as_what_it_is() -> None:
    rules = _rules(allow=("10.20.0.0/16",))
    assert denied("::ffff:10.20.0.1", rules) is None
    assert denied("64:ff9b::10.20.0.1", rules) is None
    everything_v6 = _rules(allow=("::/0",))
    assert denied("::ffff:127.0.0.1", everything_v6) == "127.0.0.0/8"
    assert denied("64:ff9b::127.0.0.1", everything_v6) == "127.0.0.0/8"
    assert denied("2002:7f00:1::", everything_v6) == "127.0.0.0/8"
    assert denied("fc00::1", everything_v6) is None


def test_both_faces_of_a_tunnel_must_be_allowed() -> None:
    rules = _rules(deny=("2002::/16", "64:ff9b::/96"))
    assert denied("2002:101:101::1", rules) == "2002::/16"
    assert denied("64:ff9b::1.1.1.1", rules) == "64:ff9b::/96"
    assert denied("1.1.1.1", rules) is None


def test_a_deny_list_of_ones_own_replaces_the_default() -> None:
    rules = _rules(deny=("1.1.1.0/24",))
    assert denied("1.1.1.1", rules) == "1.1.1.0/24"
    assert denied("127.0.0.1", rules) is None
