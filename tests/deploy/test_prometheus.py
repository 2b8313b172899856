"""Prometheus' rules: accepted by promtool, firing when they should, on metrics that there are."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.core import Metric

from agent.prometheus import families, standing_families
from agent.shipper import figures
from agent.shipper.ship import Shipping
from agent.spool.store import Depth
from agent.standing.ledger import Standing
from probes.contract.events import Heartbeat, SpoolHealth
from tests.collector.documented import documented
from tests.deploy.unit import ROOT, program

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = PROMETHEUS / "mailcanary.rules.yml"
STANDALONE = PROMETHEUS / "mailcanary-standalone.rules.yml"
FILES = (RULES, STANDALONE)

BEAT = Heartbeat(
    agent="sfo",
    at_ns=0,
    version="1",
    boot_id="b",
    started_ns=0,
    in_flight=0,
    lag_s=0.0,
    spool=SpoolHealth(epoch="e", last_seq=0, depth=0, bytes=0, dropped=0, problem=None),
    mailboxes={},
    counters={},
)


def _tests(rules: Path) -> Path:
    """The tests of a file of rules."""
    return PROMETHEUS / "tests" / rules.name.replace(".rules.", ".test.")


def _rules(*files: Path) -> list[dict[str, Any]]:
    return [
        rule
        for file in files or FILES
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]


RECORDED = [rule for rule in _rules() if "record" in rule]
ALERTS = [rule for rule in _rules() if "alert" in rule]


def _promtool(*arguments: str | Path) -> None:
    command = [program("promtool", "prometheus"), *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def _exposed(family: Metric) -> str:
    return family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_promtool_accepts_the_rules(file: Path) -> None:
    _promtool("check", "rules", file)


def test_promtool_accepts_the_scrape_configuration() -> None:
    _promtool("check", "config", "--syntax-only", PROMETHEUS / "prometheus.yml")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_alerts_fire_when_they_should_and_only_then(file: Path) -> None:
    _promtool("test", "rules", _tests(file))


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_metrics_that_there_are(rule: dict[str, Any]) -> None:
    shipping = figures.families(Shipping(), Depth(0, 0, 0, 0, 0), 0)
    agents = [*families(BEAT), *standing_families(Standing()), *shipping]
    known = documented().keys() | {_exposed(family) for family in agents}
    known |= {other["record"] for other in RECORDED}
    asked = re.findall(r"[a-z_:]*\bmailcanary_[a-z0-9_:]+", re.sub(r'"[^"]*"', "", rule["expr"]))
    assert asked or "up{" in rule["expr"]
    unknown = [name for name in asked if name not in known]
    assert [name for name in unknown if name.removesuffix("_bucket") not in known] == []


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"].keys() == {"summary", "description"}
    # A summary is one line of a pager; the description has a sentence of what to do.
    assert len(alert["annotations"]["summary"]) < 100
    assert alert["annotations"]["description"].endswith((".", ")."))


def test_every_alert_is_shown_to_fire() -> None:
    told = "".join(_tests(file).read_text() for file in FILES)
    assert [alert["alert"] for alert in ALERTS if f'alertname="{alert["alert"]}"' not in told] == []


def test_no_alert_has_the_name_of_another() -> None:
    names = [alert["alert"] for alert in ALERTS]
    assert len(names) == len(set(names))


def test_the_rules_know_collector_and_agents_by_the_names_of_their_jobs() -> None:
    text = (PROMETHEUS / "prometheus.yml").read_text()
    scrape = yaml.safe_load(text)
    jobs = {job["job_name"] for job in scrape["scrape_configs"]}
    assert {job for file in FILES for job in re.findall(r'job="([^"]+)"', file.read_text())} <= jobs
    assert scrape["rule_files"] == [RULES.name]
    assert f"  # - {STANDALONE.name}\n" in text


def test_what_agents_find_about_mail_is_left_to_a_collector_where_there_is_one() -> None:
    asked = "".join(rule["expr"] for rule in _rules(RULES))
    assert "agent_relay_" not in asked
    assert "collector" not in "".join(rule["expr"] for rule in _rules(STANDALONE))
