"""The lab on its own: what it writes can be used, and it takes orders."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from agent.policy.load import find_policy
from agent.policy.secrets import Secrets
from agent.settings_files import load_config
from lab.__main__ import obey, relay_count, write
from lab.estate import Estate
from lab.faults import OutboundFiltered

ROOT = Path(__file__).parents[2]


async def test_what_it_writes_is_a_configuration_with_its_policy(tmp_path: Path) -> None:
    async with Estate(["relay-1"], ["acme/inbox"]) as estate:
        write(tmp_path, estate.config_document(), estate.secrets)
        config = load_config(tmp_path / "mailcanary.yaml")
        vault = Secrets(find_policy(tmp_path / "mailcanary.yaml"), {})
        assert vault.key_ring().current.id == "lab"
        (imap,) = [
            box.imap for one in config.customers for box in one.mailboxes if "acme" in one.name
        ]
        grant = vault.grant(imap.secret, imap.host, imap.port)
        assert grant.secret.reveal() == estate.mailboxes["acme/inbox"].password


@pytest.mark.parametrize("place", ["/proc/x", "file", "file/deeper"])
def test_a_place_that_cannot_be_written_is_told_in_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    shown = subprocess.run(
        [sys.executable, "-m", "lab", str(tmp_path / place), "--relays", "1"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert shown.returncode == 2
    (line,) = shown.stderr.splitlines()
    assert line.endswith("allowed is a directory that can be made and written to")
    assert str(tmp_path / place) in line


async def test_it_takes_orders_and_says_what_it_cannot_do() -> None:
    async with Estate(["relay-1", "relay-2"], ["acme/inbox"]) as estate:
        assert await obey(estate, "OutboundFiltered relay-2\n") == "OutboundFiltered on relay-2"
        (order,) = estate.faults
        assert isinstance(order.fault, OutboundFiltered)
        assert "there are relay-1, relay-2" in await obey(estate, "OutboundFiltered nope")
        assert "allowed is clear, or a fault" in await obey(estate, "os")
        assert await obey(estate, "clear") == "all faults are gone"
        assert estate.faults == ()


@pytest.mark.parametrize("text", ["0", "-1", "201", "1e3", "nan", "", "٣", "9" * 5000])
def test_a_number_of_relays_says_what_is_allowed(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="allowed is a whole number from 1 to 200"):
        relay_count(text)
    assert relay_count("200") == 200
