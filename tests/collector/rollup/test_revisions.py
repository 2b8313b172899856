"""What a revision names: the same as the configuration itself, and robust to what comes later."""

import subprocess
import sys
from typing import Any

import pytest

from collector.rollup.revisions import REMEMBER_S, named_by
from probes.contract.config.models import Config, Defaults
from probes.contract.config.prune import document_of
from probes.contract.names import Path
from tests.collector.rollup.histories import document


def test_a_document_as_the_collector_writes_it_names_what_the_configuration_has() -> None:
    config = Config.model_validate(document("aws", remember="2d"))
    named = named_by(document_of(config))
    assert named is not None
    assert named.remember_s == config.defaults.remember == 172_800.0
    assert named.labels_of(Path("sfo", "relay-a", "acme/inbox")) == (
        "customer:tier=gold",
        "relay:provider=aws",
    )
    assert named.labels_of(Path("sfo", "relay-b", "zenith/box")) == ("customer:tier=gold",)
    assert named.labels_of(Path("sfo", "relay-c", "zenith/box")) is None


def test_what_is_left_to_its_default_is_remembered_as_long_as_the_configuration_says() -> None:
    named = named_by(document_of(Config.model_validate({"version": 1})))
    assert named is not None
    assert named.remember_s == REMEMBER_S == Defaults().remember


def test_a_key_that_a_later_version_adds_is_passed_over() -> None:
    named = named_by({**document("aws"), "tigers": 3})
    assert named is not None
    assert named.relays["relay-a"] == ("relay:provider=aws",)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"version": 2},
        {"version": 1, "relays": [{}]},
        {"version": 1, "agents": [{"name": 7}]},
        {"version": 1, "defaults": {"remember": "soon"}},
    ],
)
def test_what_is_no_configuration_names_nothing(wrong: dict[str, Any]) -> None:
    assert named_by(wrong) is None


def test_a_rollup_loads_without_what_checks_configurations() -> None:
    program = "import sys, collector.rollup.consumer; print('pydantic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout == "False\n"
