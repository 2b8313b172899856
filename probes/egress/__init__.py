"""Looks outward from a relay: whether the hosts that mail goes on to answer, and if not, why."""

from probes.egress.model import EgressTarget, Vantage
from probes.egress.mx import Mx, MxError, ask_mx
from probes.egress.pattern import conclude
from probes.egress.probe import EgressProbe

__all__ = ["EgressProbe", "EgressTarget", "Mx", "MxError", "Vantage", "ask_mx", "conclude"]
