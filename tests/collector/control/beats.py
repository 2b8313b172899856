"""Beats as agents send them."""

from typing import Any

from probes.contract.wire import Beat
from tests.collector.control.stores import NOW_NS


def beat(**more: Any) -> Beat:
    """A beat of an agent that has shipped 7 of 9 events."""
    values: dict[str, Any] = {
        "version": "0.1.0",
        "boot_id": "b1",
        "started_ns": NOW_NS,
        "sent_at_ns": NOW_NS,
        "revision": "r1",
        "epoch": "e1",
        "last_seq": 9,
        "shipped_seq": 7,
    }
    return Beat(**{**values, **more})
