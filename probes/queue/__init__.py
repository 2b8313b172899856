"""Reads the queue of the mail server on this host: how much waits, where to, and why."""

from probes.queue.model import QueueCommand, default_command
from probes.queue.probe import QueueProbe, QueueTarget
from probes.queue.reasons import read_reason

__all__ = ["QueueCommand", "QueueProbe", "QueueTarget", "default_command", "read_reason"]
