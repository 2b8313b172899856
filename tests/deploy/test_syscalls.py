"""What an agent does passes the unit's filters of system calls, address families and memory."""

import asyncio
import urllib.request
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext

import pytest
import trustme
import yaml

from lab.estate import Estate
from lab.specs import RelaySpec
from probes.contract.config.models import RelayTls
from tests.agent.processes import Site, lay_out, running
from tests.deploy.syscalls import Trace, allowed, read_sets, systemd_sets, tracing
from tests.deploy.unit import AGENT, settings
from tests.ports import free_port

LISTED = """\
@default
    # System calls that are always permitted
    brk

@inner
    read
    setuid

@outer
    # A set in a set
    @inner
    chown

# Ungrouped System Calls (known but not included in any of the groups except @known):
#   sgetmask
"""
TRACED = """\
11 execve("/bin/x", [...], 0x7ffd /* 9 vars */) = 0
11 read(3, ""..., 832) = 832
12 socket(AF_INET6, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP <unfinished ...>
11 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f
12 <... socket resumed>) = 4
11 mmap(NULL, 4096, PROT_READ|PROT_WRITE|PROT_EXEC, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f
11 mprotect(0x7f, 4096, PROT_READ) = 0
11 mprotect(0x7f, 4096, PROT_READ|PROT_EXEC) = 0
11 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=1, si_uid=0} ---
11 +++ exited with 0 +++
"""


def test_sets_are_expanded_and_taken_off_in_their_order() -> None:
    sets = read_sets(LISTED)
    assert sets["@outer"] == {"@inner", "chown"}
    assert allowed(["@outer"], sets) == {"brk", "read", "setuid", "chown"}
    assert allowed(["@outer", "~@inner"], sets) == {"brk", "chown"}
    assert allowed(["@outer", "~@inner", "read"], sets) == {"brk", "chown", "read"}
    with pytest.raises(KeyError):
        allowed(["@misspelt"], sets)


def test_what_a_trace_says() -> None:
    trace = Trace.of(TRACED.splitlines())
    assert trace.names == {"execve", "read", "socket", "mmap", "mprotect"}
    assert trace.families == {"AF_INET6"}
    assert [call.partition("(")[0] for call in trace.executable_writes()] == ["mmap", "mprotect"]


def name_a_relay(site: Site, name: str, port: int) -> None:
    """Have the agent look up a name for that relay, where nobody listens."""
    document = yaml.safe_load(site.config.read_text())
    [relay] = [relay for relay in document["relays"] if relay["name"] == name]
    relay.update(host="localhost", port=port)
    site.config.write_text(yaml.safe_dump(document))


async def work_a_while(lab: Estate, site: Site, port: int, command: list[str]) -> None:
    """Run an agent until six more canaries are home and its metrics are read, and stop it."""
    enough = len(lab.truth.deliveries) + 6
    async with running(site, "--metrics", f"127.0.0.1:{port}", under=command) as agent:
        await lab.until(lambda: len(lab.truth.deliveries) >= enough)
        url = f"http://127.0.0.1:{port}/metrics"
        with await asyncio.to_thread(urllib.request.urlopen, url) as answer:
            assert await asyncio.to_thread(answer.read)
        assert await agent.stopped() == 0


async def traced_agent(directory: Path) -> Trace:
    """An agent on relays with TLS, with AUTH, and with a name; started twice on one state."""
    output = directory / "strace"
    command = tracing(output)
    context = SSLContext(PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.20.0.1").configure_cert(context)
    relays = [
        RelaySpec(name="secured", tls=RelayTls.OPPORTUNISTIC, tls_context=context),
        RelaySpec(name="login", users={"canary": "the relay's password"}),
        RelaySpec(name="named"),
    ]
    lines: list[str] = []
    async with Estate(relays, ["acme/inbox"]) as lab:
        site = lay_out(lab, directory, interval="300ms")
        port = free_port()
        name_a_relay(site, "named", port)
        for _ in range(2):
            await work_a_while(lab, site, port, command)
            lines += output.read_text().splitlines()
        assert {one.relay for one in lab.truth.deliveries} == {"secured", "login"}
    return Trace.of(lines)


@pytest.mark.slow
async def test_what_an_agent_does_is_allowed(tmp_path: Path) -> None:
    unit, sets = settings(AGENT), systemd_sets()
    trace = await traced_agent(tmp_path)
    assert trace.names >= {"execve", "connect", "accept4", "fsync", "exit_group"}
    assert trace.refused_by(unit, sets) == set()
    # A filter that is too narrow would be noticed.
    assert trace.names - allowed([*unit["SystemCallFilter"], "~@network-io"], sets) >= {"connect"}
