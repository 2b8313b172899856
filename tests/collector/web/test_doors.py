"""Who is let in: so many in all, so many of an address, and proxies as they come."""

from ipaddress import ip_network

from collector.web.doors import Doors


def test_so_many_of_an_address_and_so_many_in_all() -> None:
    refused: list[str] = []
    doors = Doors(4, 2, (), refused.append)
    first = doors.enter("192.0.2.1")
    assert first is not None
    assert doors.enter("192.0.2.1") is not None
    assert doors.enter("192.0.2.1") is None
    assert doors.enter("::ffff:192.0.2.1") is None
    assert doors.enter("2001:db8::1") is not None
    assert doors.enter("2001:db8::ffff:1") is not None
    assert refused == ["address"] * 2
    assert doors.enter("192.0.2.9") is None
    assert refused[2:] == ["all"]
    doors.leave(first)
    assert doors.enter("2001:db8::2") is None
    assert doors.enter("192.0.2.1") is not None


def test_a_proxy_brings_everybody() -> None:
    refused: list[str] = []
    doors = Doors(3, 1, (ip_network("192.0.2.0/24"),), refused.append)
    assert [doors.enter("192.0.2.7") for _ in range(4)] == ["192.0.2.7"] * 3 + [None]
    assert refused == ["all"]
