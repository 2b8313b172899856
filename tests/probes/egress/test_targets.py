"""What a round looks at: every host at every port from every source that fits."""

import functools
import socket
import threading
from collections.abc import Sequence
from ipaddress import ip_address

import dns.rcode
import pytest

from probes.contract.config.models import Destination
from probes.contract.stages import Reason, Stage
from probes.egress import EgressProbe, EgressTarget, ask_mx
from probes.resolver import Endpoint, Lookups
from tests.dns_server import Answer, DnsServer
from tests.probes.egress.conftest import plan

V4, V6 = socket.AF_INET, socket.AF_INET6
ADDRESSES = {
    "both.example": [("127.0.0.2", V4), ("::1", V6), ("127.0.0.3", V4)],
    "four.example": [("127.0.0.4", V4)],
    "far.example": [("2001:db8::25", V6)],
}


def ask(host: str, family: int) -> Sequence[Endpoint]:
    """A resolver of a few names."""
    assert family == socket.AF_UNSPEC
    if host not in ADDRESSES:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [
        Endpoint(kind, (address, 0) if kind == V4 else (address, 0, 0, 0))
        for address, kind in ADDRESSES[host]
    ]


def probe_of(server: DnsServer | None = None) -> EgressProbe:
    lookups = Lookups("tests", 4, ask)
    if server is None:
        return EgressProbe(lookups=lookups)
    return EgressProbe(lookups=lookups, mx=functools.partial(ask_mx, resolver=server.resolver()))


def aims(targets: Sequence[EgressTarget]) -> list[tuple[str, str | None, str | None, int]]:
    """What matters of them: host, address, source, port."""
    return [
        (one.host, one.endpoint and one.endpoint.sockaddr[0], one.vantage.address, one.port)
        for one in targets
    ]


BOTH = Destination(name="both", hosts=("both.example",), controls=(443, 8443))
FOUR = Destination(name="four", hosts=("four.example", "127.0.0.5"), port=2525, reference=True)


async def test_each_host_at_each_port_from_each_source() -> None:
    sources = (ip_address("127.0.0.8"), ip_address("127.0.0.9"))
    targets = await probe_of().targets(plan(BOTH, FOUR, sources=sources))
    assert aims(targets) == [
        each
        for source in ("127.0.0.8", "127.0.0.9")
        for each in (
            ("both.example", "127.0.0.2", source, 25),
            ("both.example", "127.0.0.2", source, 443),
            ("both.example", "127.0.0.2", source, 8443),
            ("four.example", "127.0.0.4", source, 2525),
            ("127.0.0.5", "127.0.0.5", source, 2525),
        )
    ]
    assert [one.control for one in targets[:5]] == [False, True, True, False, False]
    assert [one.reference for one in targets[:5]] == [False, False, False, True, True]
    assert {one.vantage.shown for one in targets} == {"127.0.0.8", "127.0.0.9"}
    assert all(one.endpoint and one.endpoint.sockaddr[1] == one.port for one in targets)


async def test_a_host_without_an_address_of_the_kind_is_not_looked_at(ipv6: None) -> None:
    assert ipv6 is None
    sources = (ip_address("127.0.0.8"), ip_address("::1"))
    targets = await probe_of().targets(plan(FOUR, BOTH, sources=sources))
    assert {(one.host, one.vantage.family) for one in targets} == {
        ("both.example", V4),
        ("both.example", V6),
        ("four.example", V4),
        ("127.0.0.5", V4),
    }


async def test_a_source_that_is_none_of_this_hosts_is_not_bound() -> None:
    sources = (ip_address("203.0.113.11"), ip_address("203.0.113.12"))
    targets = await probe_of().targets(plan(FOUR, sources=sources))
    assert aims(targets) == [
        ("four.example", "127.0.0.4", None, 2525),
        ("127.0.0.5", "127.0.0.5", None, 2525),
    ]
    vantage = targets[0].vantage
    assert vantage.shown == "127.0.0.1"
    assert vantage.note is not None
    assert "203.0.113.11 is none of this host's" in vantage.note


async def test_without_sources_each_family_that_leads_there(ipv6: None) -> None:
    assert ipv6 is None
    probe = probe_of()
    targets = await probe.targets(plan(BOTH))
    assert {one.vantage[:3] for one in targets} == {
        (V4, None, "127.0.0.1"),
        (V6, None, "::1"),
    }
    assert {one.vantage.family for one in await probe.targets(plan(FOUR))} == {V4}


async def test_without_a_route_that_is_told() -> None:
    """Of all families there are, none leads anywhere: each look says so."""
    far = Destination(name="far", hosts=("far.example",))
    probe = probe_of()
    targets = await probe.targets(plan(far))
    [aim] = targets
    assert aim.vantage.family == V6
    finding = await probe.probe(aim, 0.3)
    assert not finding.ok


async def test_mx_hosts(dns_server: DnsServer) -> None:
    dns_server.zone = {("acme.example", "MX"): Answer("20 four.example.", "10 both.example.")}
    acme = Destination(name="acme", domain="acme.example")
    targets = await probe_of(dns_server).targets(plan(acme, sources=(ip_address("127.0.0.8"),)))
    assert [one.host for one in targets] == ["both.example", "four.example"]
    assert {one.destination for one in targets} == {"acme"}


async def test_hosts_of_an_earlier_lookup_are_looked_at_with_a_note(dns_server: DnsServer) -> None:
    dns_server.zone = {("acme.example", "MX"): Answer("10 four.example.")}
    acme = plan(Destination(name="acme", domain="acme.example"))
    probe = probe_of(dns_server)
    await probe.targets(acme)
    dns_server.zone = {("acme.example", "MX"): Answer(rcode=dns.rcode.SERVFAIL)}
    [aim] = await probe.targets(acme)
    assert aim.host == "four.example"
    assert aim.note is not None
    assert aim.note.startswith("looked up 0 s ago (MX of acme.example: no name server")


@pytest.mark.parametrize(
    ("destination", "host", "said"),
    [
        (Destination(name="gone", domain="gone.example"), "gone.example", "no such domain"),
        (Destination(name="gone", hosts=("gone.test",)), "gone.test", "Name or service not known"),
        (Destination(name="gone", hosts=("a" * 70 + ".test",)), "a" * 70 + ".test", "not known"),
    ],
    ids=["domain", "host", "no name"],
)
async def test_what_is_not_found_is_told_from_each_source(
    dns_server: DnsServer, destination: Destination, host: str, said: str
) -> None:
    sources = (ip_address("127.0.0.8"), ip_address("127.0.0.9"))
    probe = probe_of(dns_server)
    targets = await probe.targets(plan(destination, FOUR, sources=sources))
    lost = [one for one in targets if one.destination == "gone"]
    assert [(one.host, one.vantage.address) for one in lost] == [
        (host, "127.0.0.8"),
        (host, "127.0.0.9"),
    ]
    finding = await probe.probe(lost[1], 10.0)
    assert (finding.ok, finding.target, finding.source) == (False, "gone", "127.0.0.9")
    assert (finding.stage, finding.reason) == (Stage.EGRESS_RESOLVE, Reason.NO_ADDRESS)
    assert finding.detail is not None
    assert said in finding.detail
    assert list(finding.timings) == ["resolve"]


async def test_nothing_is_found_and_there_are_no_sources() -> None:
    targets = await probe_of().targets(plan(Destination(name="gone", hosts=("gone.test",))))
    assert [(one.host, one.endpoint) for one in targets] == [("gone.test", None)]


async def test_a_name_whose_lookup_hangs_is_told_in_time() -> None:
    free = threading.Event()

    def hang(host: str, family: int) -> Sequence[Endpoint]:
        free.wait(20)
        return ask(host, family)

    probe = EgressProbe(lookups=Lookups("tests", 1, hang))
    stuck = Destination(name="stuck", hosts=("four.example", "both.example"))
    targets = await probe.targets(plan(stuck, FOUR, timeout_s=0.4))
    free.set()
    reasons = {one.host: one.failure and one.failure.reason for one in targets}
    assert reasons["127.0.0.5"] is None
    # The other name had no thread to be looked up by: that is no fault of its own.
    assert {reasons["four.example"], reasons["both.example"]} == {Reason.TIMEOUT, Reason.LOCAL}
