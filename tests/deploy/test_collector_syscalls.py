"""What a collector does passes the unit's filters of system calls, address families and memory."""

import json
import os
import signal
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.collector.collectors import RunningCollector
from tests.collector.config.services import customer, site_files
from tests.deploy.syscalls import Trace, systemd_sets, tracing
from tests.deploy.unit import COLLECTOR, settings


def _call(
    collector: RunningCollector, method: str, path: str, token: str, body: object = None
) -> Any:
    request = urllib.request.Request(  # noqa: S310 - loopback
        collector.url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            **({"If-None-Match": "*"} if method == "PUT" else {}),
        },
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return answer.read()


def _counts(collector: RunningCollector, token: str) -> bool:
    """Whether the process of the rollup has dealt with something."""
    report = json.loads(_call(collector, "GET", "/api/v1/health", token))
    return int(report["parts"]["consumers"]["detail"]["rollup"]["cursor"]) > 0


@pytest.mark.slow
def test_what_a_collector_does_is_allowed(tmp_path: Path) -> None:
    trace = tmp_path / "strace"
    collector = RunningCollector(tmp_path, site_files(tmp_path), tracing(trace))
    lines: list[str] = []
    for name in ("first", "second"):
        collector.start()
        try:
            token = collector.token("operator", name)
            _call(collector, "PUT", f"/api/v1/customers/{name}", token, customer(name))
            os.kill(collector.program.pid, signal.SIGHUP)
            assert _call(collector, "GET", "/metrics", token)
            collector.program.wait_for(partial(_counts, collector, token), "the rollup counts")
        finally:
            code = collector.program.stop()
        assert code == 0
        lines += trace.read_text().splitlines()
    found = Trace.of(lines)
    # The second is that of the rollup, a session of its own.
    assert {"bind", "rename", "setsid"} <= found.names, "the trace is not a collector's"
    assert found.refused_by(settings(COLLECTOR), systemd_sets()) == set()
