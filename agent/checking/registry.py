"""Every probe that looks at something from the relay's side, by its kind."""

from typing import Any

from agent.policy.models import PolicyFile
from probes.contract.config.models import ProbeKind
from probes.egress import EgressProbe
from probes.probing import Probe
from probes.queue import QueueCommand, QueueProbe, default_command


def probes(policy: PolicyFile) -> dict[ProbeKind, Probe[Any]]:
    """The probes of one agent, under its policy; for one event loop."""
    listing = policy.queue
    command = default_command() if listing is None else QueueCommand(listing.form, listing.command)
    return {ProbeKind.EGRESS: EgressProbe(), ProbeKind.QUEUE: QueueProbe(command)}
