from probes.contract.events import Carrier, Hop
from probes.headers.carrier import carrier

RELAY = "relay-a1.example.net"
EGRESS = "203.0.113.11"
AGENT = "sfo.monitor.example"


def hop(by: str | None, helo: str | None = None, address: str | None = None) -> Hop:
    return Hop(by=by, helo=helo, address=address, protocol=None, tls=None, at_ns=None, delay_s=None)


FROM_AGENT = hop(RELAY, AGENT, "192.0.2.10")
TO_MX = hop("mx.acme.example", RELAY, EGRESS)


def judge(*hops: Hop, relay: tuple[str, ...] = (RELAY,), agent: tuple[str, ...] = ()) -> object:
    return carrier(hops, relay=relay, egress=[EGRESS, "2001:DB8::11"], agent=agent)


def test_as_planned() -> None:
    good = Carrier(
        relay_as_planned=True, egress_as_planned=True, relay_seen=RELAY, egress_seen=EGRESS
    )

    assert judge(FROM_AGENT, TO_MX) == good
    assert judge(FROM_AGENT, TO_MX, hop("store.acme.example", "mx.acme.example")) == good


def test_names_compare_without_case_dot_or_missing_domain() -> None:
    for name in ("RELAY-A1.Example.Net.", "relay-a1"):
        judged = carrier([FROM_AGENT, TO_MX], relay=[name], egress=[EGRESS])
        assert judged is not None
        assert judged.relay_as_planned is True


def test_a_wrong_egress_address_is_reported() -> None:
    judged = judge(FROM_AGENT, hop("mx.acme.example", RELAY, "203.0.113.99"))

    assert judged == Carrier(
        relay_as_planned=True,
        egress_as_planned=False,
        relay_seen=RELAY,
        egress_seen="203.0.113.99",
    )


def test_only_the_first_hop_after_the_relay_tells_the_egress() -> None:
    """The planned address further on is somebody else's business."""
    judged = judge(
        FROM_AGENT,
        hop("gateway.example.net", RELAY, "203.0.113.99"),
        hop("mx.acme.example", "gateway.example.net", EGRESS),
    )

    assert judged == Carrier(
        relay_as_planned=True,
        egress_as_planned=False,
        relay_seen=RELAY,
        egress_seen="203.0.113.99",
    )


def test_hops_inside_the_relay_are_passed_over() -> None:
    judged = judge(
        FROM_AGENT,
        hop(None),
        hop("localhost", RELAY, "127.0.0.1"),
        hop("filter.example.net", "localhost", "::1"),
        hop(RELAY, "filter.example.net", "192.0.2.77"),
        TO_MX,
    )

    assert judged == judge(FROM_AGENT, TO_MX)


def test_another_node_behind_a_load_balancer() -> None:
    judged = judge(
        hop("relay-b2.example.net", AGENT, "192.0.2.10"),
        hop("mx.acme.example", "relay-b2.example.net", "203.0.113.22"),
    )

    assert judged == Carrier(
        relay_as_planned=False,
        egress_as_planned=False,
        relay_seen="relay-b2.example.net",
        egress_seen="203.0.113.22",
    )


def test_a_proxy_in_front_of_the_planned_relay() -> None:
    judged = judge(hop("lb.example.net", AGENT, "192.0.2.10"), hop(RELAY, "lb.example.net"), TO_MX)

    assert judged == judge(FROM_AGENT, TO_MX)


def test_a_relay_that_calls_itself_otherwise_in_by_is_known_by_helo_or_address() -> None:
    inside = hop("ip-10-0-0-7.internal", AGENT, "192.0.2.10")

    assert judge(inside, TO_MX) == judge(FROM_AGENT, TO_MX)
    by_address = judge(inside, hop("mx.acme.example", "x.internal", EGRESS), relay=(EGRESS,))
    assert by_address == Carrier(
        relay_as_planned=True, egress_as_planned=True, relay_seen=EGRESS, egress_seen=EGRESS
    )


def test_a_strange_name_with_the_planned_egress_is_not_called_another_relay() -> None:
    judged = judge(
        hop("alias.internal", AGENT, "192.0.2.10"), hop("mx.acme.example", "x.internal", EGRESS)
    )

    assert judged == Carrier(
        relay_as_planned=None,
        egress_as_planned=True,
        relay_seen="alias.internal",
        egress_seen=EGRESS,
    )


def test_a_relay_that_writes_no_received_field() -> None:
    """Its name in HELO tells it; without that, only the egress is known."""
    assert judge(TO_MX) == judge(FROM_AGENT, TO_MX)
    assert judge(hop("mx.acme.example", "x.example", EGRESS)) == Carrier(
        relay_as_planned=None, egress_as_planned=True, egress_seen=EGRESS
    )


def test_a_first_hop_that_did_not_come_from_the_agent_blames_nobody() -> None:
    strange = hop("mx.acme.example", "x.example", "203.0.113.99")

    assert judge(strange, agent=(AGENT, "192.0.2.10")) is None
    assert judge(strange, agent=()) == Carrier(
        relay_as_planned=False, egress_as_planned=None, relay_seen="mx.acme.example"
    )
    assert judge(hop("b.example", "nat.example", "192.0.2.10"), agent=("192.0.2.10",)) == Carrier(
        relay_as_planned=False, egress_as_planned=None, relay_seen="b.example"
    )


def test_a_name_cannot_be_held_against_an_address() -> None:
    judged = judge(
        hop("relay.internal", AGENT), hop("mx.acme.example", None, None), relay=("203.0.113.5",)
    )

    assert judged == Carrier(
        relay_as_planned=None, egress_as_planned=None, relay_seen="relay.internal"
    )


def test_loopback_proves_nothing() -> None:
    judged = judge(
        hop("other.example", AGENT, "127.0.0.1"), hop("mx", "other.example"), relay=("127.0.0.1",)
    )

    assert judged == Carrier(
        relay_as_planned=None, egress_as_planned=None, relay_seen="other.example"
    )


def test_nothing_planned_nothing_judged_but_seen() -> None:
    judged = carrier([FROM_AGENT, TO_MX], relay=[], egress=[])

    assert judged == Carrier(
        relay_as_planned=None, egress_as_planned=None, relay_seen=RELAY, egress_seen=EGRESS
    )


def test_no_chain_no_claim() -> None:
    assert judge() is None
    assert judge(hop(None)) is None
    assert judge(FROM_AGENT) == Carrier(
        relay_as_planned=True, egress_as_planned=None, relay_seen=RELAY
    )


def test_in_an_estate_on_loopback_the_egress_is_judged_all_the_same() -> None:
    chain = [hop(RELAY, AGENT, "127.0.0.1"), hop("mx.lab.example", RELAY, "127.21.0.1")]
    for planned, as_planned in (("127.21.0.1", True), ("127.21.0.2", False)):
        judged = carrier(chain, relay=[RELAY], egress=[planned])
        assert judged is not None
        assert (judged.egress_as_planned, judged.egress_seen) == (as_planned, "127.21.0.1")
