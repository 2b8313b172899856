"""Looking outward from a relay at real mail servers, while nftables does what providers do."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from probes.contract.checks import Finding
from probes.contract.stages import Reason, Stage
from tests.servers.dovecot import IMAP_PORT
from tests.servers.estate import ServerEstate
from tests.servers.namespaces import KERNEL_HAS_IPV6, Namespace
from tests.servers.process import environment

pytestmark = pytest.mark.servers

needs_ipv6 = pytest.mark.skipif(not KERNEL_HAS_IPV6, reason="the kernel knows no IPv6")

TIMEOUT_S = 1.5
ELSEWHERE = 8025
ONLY_IPV4 = "mx2.pair.test"


@dataclass(frozen=True)
class Outlook:
    """What a round came to: a finding per look, and one per source."""

    looks: list[Finding]
    together: list[Finding]

    def mail(self, target: str) -> list[Finding]:
        """The looks at a destination's mail port."""
        return [
            one
            for one in self.looks
            if one.target == target and one.egress and not one.egress.control
        ]

    @property
    def controls(self) -> list[bool]:
        """Whether each control works."""
        return [one.ok for one in self.looks if one.egress and one.egress.control]

    def of(self, source: str) -> Finding:
        """What it comes to from one source."""
        return next(one for one in self.together if one.source == source)


@dataclass(frozen=True)
class Post:
    """The relay that is looked from, and where its mail goes."""

    estate: ServerEstate

    @property
    def namespace(self) -> Namespace:
        return self.estate.relays[0].namespace

    @property
    def source(self) -> str:
        return self.namespace.address

    def config(self, sources: list[str]) -> dict[str, Any]:
        """Two destinations by name, the first of them with two hosts, and a reference."""
        home, second, third, other = self.estate.destination, *self.estate.relays[1:4]
        names = {"mx.home.test": home, "mx1.pair.test": second, "mx.known.test": third}
        found = {name: list(one.namespace.addresses) for name, one in names.items()}
        self.namespace.resolve(found | {ONLY_IPV4: [other.address]})
        return {
            "version": 1,
            "relays": [{"name": "relay-1", "host": self.source, "port": 25, "tls": "none"}],
            "agents": [{"name": "on-relay-1", "on_relay": "relay-1", "sources": sources}],
            "destinations": [
                {"name": "home", "hosts": ["mx.home.test"], "controls": [IMAP_PORT]},
                {"name": "pair", "hosts": ["mx1.pair.test", ONLY_IPV4]},
                {"name": "known", "hosts": ["mx.known.test"], "reference": True},
            ],
            "checks": [{"probe": "egress", "relays": "all", "timeout": f"{TIMEOUT_S:g}s"}],
        }

    def look(self, *sources: str) -> Outlook:
        """One round, inside the relay's namespace, from its IPv4 address if from no other."""
        return self.look_from(list(sources or [self.source]))

    def look_from(self, sources: list[str]) -> Outlook:
        """One round from these sources, or from none in particular."""
        done = subprocess.run(
            self.namespace.command(
                [sys.executable, "-m", "tests.servers.egress_round", "on-relay-1"]
            ),
            input=json.dumps(self.config(sources)),
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(),
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        found = [msgspec.json.decode(line, type=Finding) for line in done.stdout.splitlines()]
        looks = [one for one in found if one.egress is not None]
        return Outlook(looks, [one for one in found if one.egress is None])


@pytest.fixture
def post(server_estate: ServerEstate) -> Iterator[Post]:
    post = Post(server_estate)
    yield post
    post.namespace.unfilter()


@contextmanager
def impostor(namespace: Namespace, greeting: str = "") -> Iterator[None]:
    """Somebody inside who answers for all mail servers: with a greeting, or with silence."""
    code = (
        "import socket, sys, threading\n"
        f"listener = socket.create_server(('', {ELSEWHERE}))\n"
        "kept = []\n"
        "def serve():\n"
        "    while True:\n"
        "        kept.append(listener.accept()[0])\n"
        f"        kept[-1].sendall({greeting.encode()!r})\n"
        "threading.Thread(target=serve, daemon=True).start()\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with namespace.popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        namespace.redirect_outbound(to_port=ELSEWHERE)
        yield
        process.communicate("")


def test_real_mail_servers_greet(post: Post) -> None:
    seen = post.look()
    [home] = seen.mail("home")
    assert home.ok
    assert home.source == post.source
    assert home.egress is not None
    assert home.egress.code == 220
    assert home.egress.banner is not None
    assert home.egress.banner.startswith(post.estate.destination.hostname)
    assert set(home.timings) == {"resolve", "connect", "banner"}
    assert [one.ok for one in seen.mail("pair")] == [True, True]
    assert seen.controls == [True]
    [together] = seen.together
    assert (together.ok, together.target, together.source) == (True, None, post.source)
    assert together.pattern is not None
    assert (together.pattern.reached, together.pattern.tried) == (4, 4)


def test_dropped(post: Post) -> None:
    post.namespace.filter_outbound()
    seen = post.look()
    for target in ("home", "pair", "known"):
        for finding in seen.mail(target):
            assert (finding.stage, finding.reason) == (Stage.EGRESS_CONNECT, Reason.TIMEOUT)
    assert seen.controls == [True]
    [together] = seen.together
    assert (together.stage, together.reason) == (Stage.EGRESS_CONNECT, Reason.FILTERED)
    assert together.detail == (
        f"port 25 times out towards all 4 hosts of 3 destinations from {post.source}, "
        f"while {IMAP_PORT} works: filtered"
    )

    post.namespace.unfilter()
    assert post.look().together[0].ok


@pytest.mark.parametrize(
    ("by", "reason"), [("icmp", Reason.UNREACHABLE), ("reset", Reason.REFUSED)]
)
def test_rejected(post: Post, by: Any, reason: Reason) -> None:
    post.namespace.reject_outbound(by=by)
    seen = post.look()
    assert {one.reason for one in seen.looks if not one.ok} == {reason}
    [together] = seen.together
    assert (together.stage, together.reason) == (Stage.EGRESS_CONNECT, Reason.FILTERED)
    assert seen.controls == [True]


def test_accepted_and_silent(post: Post) -> None:
    with impostor(post.namespace):
        seen = post.look()
    assert {one.reason for one in seen.looks if not one.ok} == {Reason.SILENT}
    [together] = seen.together
    assert (together.stage, together.reason) == (Stage.EGRESS_BANNER, Reason.INTERCEPTED)
    assert seen.controls == [True]


def test_answered_by_another(post: Post) -> None:
    """A transparent proxy answers for everybody, under its own name."""
    with impostor(post.namespace, "220 proxy.isp.test ESMTP\r\n"):
        seen = post.look()
    assert {one.ok for one in seen.looks} == {True}
    [together] = seen.together
    assert (together.ok, together.reason) == (False, Reason.INTERCEPTED)
    assert together.detail == (
        "port 25 is answered by 'proxy.isp.test' in the place of all 4 hosts of 3 destinations "
        f"from {post.source}: intercepted"
    )


def test_one_mx_of_two(post: Post) -> None:
    post.namespace.filter_outbound(to=[post.estate.relays[1].address])
    seen = post.look()
    assert [one.ok for one in seen.mail("pair")] == [False, True]
    [together] = seen.together
    assert together.ok
    assert together.pattern is not None
    assert (together.pattern.reached, together.pattern.tried) == (3, 4)


def test_one_destination(post: Post) -> None:
    post.namespace.filter_outbound(to=[post.estate.destination.address])
    [together] = post.look().together
    assert (together.stage, together.reason) == (Stage.EGRESS_CONNECT, Reason.DESTINATION)
    assert together.pattern is not None
    assert together.pattern.failed == ["home"]


def test_everything_is_dropped(post: Post) -> None:
    post.namespace.filter_outbound()
    post.namespace.filter_outbound(IMAP_PORT)
    [together] = post.look().together
    # A process that has just begun has never seen the controls work.
    assert (together.stage, together.reason) == (Stage.EGRESS_CONNECT, Reason.TIMEOUT)
    assert "no control has worked from here yet" in (together.detail or "")


def test_a_source_that_is_none_of_the_relays(post: Post) -> None:
    seen = post.look("203.0.113.11")
    assert {one.source for one in seen.looks} == {post.source}
    assert all(one.ok and "203.0.113.11 is none of" in (one.detail or "") for one in seen.looks)
    assert seen.of(post.source).ok


@needs_ipv6
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_one_family_only(post: Post, family: Any) -> None:
    post.namespace.filter_outbound(family=family)
    seen = post.look(post.namespace.address, post.namespace.address6)
    four, six = seen.of(post.namespace.address), seen.of(post.namespace.address6)
    filtered, free = (four, six) if family == "ipv4" else (six, four)
    assert (filtered.stage, filtered.reason) == (Stage.EGRESS_CONNECT, Reason.FILTERED)
    assert free.ok
    assert four.pattern is not None
    assert six.pattern is not None
    # One host has an IPv4 address only.
    assert (four.pattern.tried, six.pattern.tried) == (4, 3)


@needs_ipv6
def test_without_sources_both_families(post: Post) -> None:
    seen = post.look_from([])
    assert {one.source for one in seen.together} == set(post.namespace.addresses)
    assert all(one.ok for one in seen.together)
