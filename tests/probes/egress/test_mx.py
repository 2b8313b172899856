"""The hosts of a domain, asked of a DNS server that may say anything."""

import functools
import resource

import dns.rcode
import pytest

from probes.contract.stages import Reason
from probes.egress.mx import REMEMBERED_S, MxError, MxMemory, ask_mx
from tests.dns_server import Answer, DnsServer

ACME = ("acme.example", "MX")
LONG = 10.0
THREE = Answer("20 b.example.", "10 C.Example.", "20 a.example.")


async def test_by_preference_and_then_by_name(dns_server: DnsServer) -> None:
    dns_server.zone = {ACME: THREE}
    hosts = await ask_mx("acme.example", LONG, dns_server.resolver())
    assert hosts == ["c.example", "a.example", "b.example"]
    assert dns_server.asked == [("acme.example", "MX", "udp")]


async def test_no_more_than_five(dns_server: DnsServer) -> None:
    many = [f"{number} mx{number}.acme.example." for number in range(1, 200)]
    dns_server.zone = {ACME: Answer(*many, truncated=True)}
    hosts = await ask_mx("acme.example", LONG, dns_server.resolver())
    assert hosts == [f"mx{number}.acme.example" for number in range(1, 6)]
    assert [transport for _, _, transport in dns_server.asked] == ["udp", "tcp"]


async def test_without_mx_the_domain_itself(dns_server: DnsServer) -> None:
    dns_server.zone = {ACME: Answer()}
    assert await ask_mx("acme.example", LONG, dns_server.resolver()) == ["acme.example"]


async def test_a_null_mx_takes_no_mail(dns_server: DnsServer) -> None:
    dns_server.zone = {ACME: Answer("0 .")}
    with pytest.raises(MxError) as caught:
        await ask_mx("acme.example", LONG, dns_server.resolver())
    assert caught.value.failure.reason is Reason.NO_ADDRESS
    assert "null MX" in str(caught.value)
    assert caught.value.lasting


async def test_a_null_mx_beside_others_is_none(dns_server: DnsServer) -> None:
    dns_server.zone = {ACME: Answer("0 .", "10 a.example.")}
    assert await ask_mx("acme.example", LONG, dns_server.resolver()) == ["a.example"]


@pytest.mark.parametrize("domain", ["gone.example", "a..b", "x" * 64 + ".example"])
async def test_a_domain_that_is_none(dns_server: DnsServer, domain: str) -> None:
    with pytest.raises(MxError) as caught:
        await ask_mx(domain, LONG, dns_server.resolver())
    assert caught.value.failure.reason is Reason.NO_ADDRESS
    assert caught.value.lasting


@pytest.mark.parametrize(
    "answer",
    [
        Answer(rcode=dns.rcode.SERVFAIL),
        Answer(rcode=dns.rcode.REFUSED),
        Answer(raw=b"\x81\x80\x00\x01\x00\xff"),
        Answer(raw=b""),
    ],
    ids=["servfail", "refused", "broken", "empty"],
)
async def test_a_name_server_that_fails(dns_server: DnsServer, answer: Answer) -> None:
    dns_server.zone = {ACME: answer}
    with pytest.raises(MxError) as caught:
        await ask_mx("acme.example", 1.0, dns_server.resolver())
    assert caught.value.failure.reason in (Reason.NO_ADDRESS, Reason.TIMEOUT)
    assert not caught.value.lasting


async def test_a_name_server_that_is_silent(dns_server: DnsServer) -> None:
    dns_server.zone = {ACME: Answer(silent=True)}
    with pytest.raises(MxError) as caught:
        await ask_mx("acme.example", 0.3, dns_server.resolver())
    assert caught.value.failure.reason is Reason.TIMEOUT
    assert "did not answer in 0.3 s" in str(caught.value)


async def test_no_file_descriptor_is_no_fault_of_the_domain(dns_server: DnsServer) -> None:
    resolver = dns_server.resolver()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(MxError) as caught:
            await ask_mx("acme.example", 1.0, resolver)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.failure.reason is Reason.LOCAL


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def memory_of(server: DnsServer, clock: Clock) -> MxMemory:
    return MxMemory(functools.partial(ask_mx, resolver=server.resolver()), clock)


async def test_the_last_good_lookup_stands_in_for_a_day(dns_server: DnsServer) -> None:
    clock = Clock()
    memory = memory_of(dns_server, clock)
    dns_server.zone = {ACME: THREE}
    known, note = await memory.hosts("acme.example", LONG)
    assert note is None

    dns_server.zone = {ACME: Answer(rcode=dns.rcode.SERVFAIL)}
    clock.now_s += REMEMBERED_S
    hosts, note = await memory.hosts("acme.example", LONG)
    assert hosts == known
    assert note is not None
    assert note.startswith("looked up 86400 s ago (MX of acme.example: no name server")
    clock.now_s += 1.0
    with pytest.raises(MxError):
        await memory.hosts("acme.example", LONG)


async def test_an_answer_that_there_is_none_stands_in_for_what_was(dns_server: DnsServer) -> None:
    memory = memory_of(dns_server, Clock())
    dns_server.zone = {ACME: THREE}
    await memory.hosts("acme.example", LONG)
    dns_server.zone = {ACME: Answer("0 .")}
    with pytest.raises(MxError):
        await memory.hosts("acme.example", LONG)
    dns_server.zone = {ACME: Answer(rcode=dns.rcode.SERVFAIL)}
    with pytest.raises(MxError):
        await memory.hosts("acme.example", LONG)
