"""The unprivileged filter does what a firewall that drops packets does."""

import select
import socket

import pytest

from lab.blackhole import AcceptFilter, Blackhole, bind_listening, stop_listening


def connects(address: tuple[str, int], timeout: float = 0.2) -> socket.socket:
    return socket.create_connection(address, timeout=timeout)


def test_connects_to_a_blackhole_time_out_and_keep_timing_out() -> None:
    with Blackhole() as address:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                connects(address)
    with pytest.raises(ConnectionRefusedError):
        connects(address)


def test_a_connection_made_before_the_filter_lives_on() -> None:
    with bind_listening("127.0.0.1") as listening:
        gate = AcceptFilter(listening)
        with connects(listening.getsockname(), 5) as early:
            served, _ = listening.accept()
            gate.close_gate()
            with served:
                early.sendall(b"still here")
                assert served.recv(100) == b"still here"
            assert gate.open_gate() == []


def test_a_connect_that_still_waits_goes_through_when_the_filter_is_lifted() -> None:
    with bind_listening("127.0.0.1") as listening, socket.socket() as waiting:
        gate = AcceptFilter(listening)
        gate.close_gate()
        waiting.setblocking(False)
        waiting.connect_ex(listening.getsockname())
        assert not select.select([], [waiting], [], 0)[1]
        assert gate.open_gate() == []
        # The kernel sends the next SYN within a second.
        assert select.select([listening], [], [], 5)[0] == [listening]
        accepted, peer = listening.accept()
        with accepted:
            assert peer == waiting.getsockname()


def test_a_listener_that_stops_refuses_keeps_its_port_and_can_listen_again() -> None:
    with bind_listening("127.0.0.1") as listening:
        address = listening.getsockname()
        stop_listening(listening)
        with pytest.raises(ConnectionRefusedError):
            connects(address)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(address)
        listening.listen()
        connects(address, 5).close()


def test_an_address_that_is_taken_cannot_be_bound() -> None:
    with bind_listening("127.0.0.1") as listening, pytest.raises(OSError, match="in use"):
        bind_listening(*listening.getsockname())


def test_ipv6_works_where_the_machine_has_it() -> None:
    try:
        listening = bind_listening("::1")
    except OSError:
        pytest.skip("no IPv6 on loopback")
    with listening:
        connects(listening.getsockname()[:2], 5).close()
