"""The assignment of an agent that a benchmark runs."""

from typing import Any

from agent.assignment import Assignment, assign
from agent.embedded import as_environment
from benchmarks.job import Home, Job
from probes.contract.config.models import Config

AGENT = "bench"
CUSTOMER = "acme"
SENDER = "canary@monitor.example"
HELO = "bench.monitor.example"
KEY = "a key of the benchmark's, no secret"
ALIASES = 50
"""Names for the one relay, so that many canaries a second are many paths with their own phases."""


def document(home: Home, *, per_second: float, commands_per_minute: float) -> dict[str, Any]:
    """A configuration of ``ALIASES`` paths that send ``per_second`` canaries together."""
    relays = [
        {
            "name": f"relay-{number:02}",
            "host": home.relay,
            "port": home.relay_port,
            "tls": "none",
            "max_per_minute": 1e6,
        }
        for number in range(ALIASES)
    ]
    mailbox = {
        "name": "inbox",
        "address": home.address,
        "imap": {
            "host": home.imap,
            "port": home.imap_port,
            "tls": "none",
            "user": home.user,
            "secret": f"{CUSTOMER}/imap",
            "max_commands_per_minute": commands_per_minute,
        },
        "max_per_minute": 1e6,
    }
    rule = {"per": "path", "interval": f"{1000 * ALIASES / per_second:.0f}ms"}
    return {
        "version": 1,
        "relays": relays,
        "agents": [{"name": AGENT, "sender": {"address": SENDER, "helo": HELO}}],
        "customers": [{"name": CUSTOMER, "mailboxes": [mailbox], "canaries": [rule]}],
    }


def of_job(job: Job) -> tuple[Config, Assignment, dict[str, str]]:
    """Configuration, assignment and secrets for a job."""
    config = Config.model_validate(
        document(
            job.home,
            per_second=job.per_second or 1.0,
            commands_per_minute=job.commands_per_minute,
        )
    )
    secrets = as_environment({f"{CUSTOMER}/imap": job.home.password}, KEY)
    return config, assign(config), secrets
