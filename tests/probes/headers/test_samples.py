"""Whole messages, as servers write them, against what should be read off them.

Beside each ``samples/NAME.eml`` stands ``NAME.json``: what is known beforehand (``expect``) and
what the parsers must find. A Postfix 3.7 made its samples, but for ``postfix-filter``; the others
follow the form of the server that they are named after. All names and addresses are those set
aside for documentation.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import pytest

from probes.headers.authres import authentication_results
from probes.headers.block import parse_header_block, values
from probes.headers.carrier import carrier
from probes.headers.dsn import parse_dsn
from probes.headers.received import parse_received

SAMPLES = Path(__file__).parent / "samples"
NAMES = sorted(path.stem for path in SAMPLES.glob("*.eml"))


def reading(message: bytes, expect: dict[str, Any]) -> dict[str, Any]:
    """All that is read off ``message``, in the form of the JSON files."""
    fields = parse_header_block(message)
    hops = parse_received(values(fields, "received"))
    carried = carrier(
        hops, relay=expect["relay"], egress=expect["egress"], agent=expect.get("agent", ())
    )
    auth = authentication_results(
        values(fields, "authentication-results"), expect.get("authserv_id")
    )
    reports = []
    for report in parse_dsn(message):
        plain = asdict(report)
        original = plain.pop("original")
        found = dict(parse_header_block(original)) if original is not None else {}
        plain["canary"] = found.get("x-mailcanary")
        reports.append({key: value for key, value in plain.items() if value is not None})
    return {
        "hops": [
            {
                key: value
                for key, value in msgspec.to_builtins(hop).items()
                if value is not None and value is not False
            }
            for hop in hops
        ],
        "carrier": msgspec.to_builtins(carried),
        "auth": msgspec.to_builtins(auth),
        "reports": reports,
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_a_message_is_read_as_its_json_says(name: str, line_end: bytes) -> None:
    golden = json.loads((SAMPLES / f"{name}.json").read_text())
    message = (SAMPLES / f"{name}.eml").read_bytes().replace(b"\n", line_end)

    found = reading(message, golden.pop("expect"))

    assert found == golden


def test_every_json_has_its_message() -> None:
    assert sorted(path.stem for path in SAMPLES.glob("*.json")) == NAMES
    assert len(NAMES) > 20
