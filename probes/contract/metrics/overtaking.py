"""Overtaking in a mailbox's stream across relays: order as a customer sees it.

Sequence numbers do not order canaries that left through different relays at about the same time,
so here one counts as overtaken only where its relay had accepted it before the DATA of the other
began (the partial order takes the place of RFC 4737's numbers; the rest is as in section 4). The
order of arrival is the order of UIDs within one folder (RFC 9051 section 2.3.1.1) and is not judged
between folders.
"""

from bisect import bisect_right

import msgspec

from probes.contract.events import Arrival, Interval, Submission
from probes.contract.metrics.missing import DEFAULT_LIMIT, Missing, Opening, Standing
from probes.contract.metrics.ratios import ratio
from probes.contract.metrics.reordering import greatest
from probes.contract.metrics.spans import Span, arrival_span, late_time
from probes.contract.stages import SUBMISSION_STAGES, Result, Stage
from probes.contract.units import NS_PER_S

# The name lookup may have come before the send time was taken, so it is left out.
_BEFORE_DATA = SUBMISSION_STAGES[
    SUBMISSION_STAGES.index(Stage.CONNECT) : SUBMISSION_STAGES.index(Stage.DATA)
]


class Handover(msgspec.Struct, frozen=True):
    """When the agent gave a canary to its relay, on the agent's clock, nanoseconds.

    ``data_ns`` is no later than the start of DATA, ``accepted_ns`` no earlier than the acceptance,
    so that no error of either makes an overtaking out of two canaries sent at the same time.
    ``None``: DATA was not reached; or no acceptance was seen.
    """

    data_ns: int | None
    accepted_ns: int | None


def handover(submission: Submission) -> Handover:
    """The handover that a submission tells of."""
    accepted = submission.at_ns if submission.result is Result.ACCEPTED else None
    if Stage.DATA not in submission.phases:
        return Handover(None, accepted)
    before = sum(submission.phases.get(stage, 0.0) for stage in _BEFORE_DATA)
    return Handover(submission.sent_ns + int(before * NS_PER_S), accepted)


class Crossing(msgspec.Struct, frozen=True, kw_only=True):
    """One canary's arrival in a mailbox with its handover; ``seq`` is its ``mailbox_seq``."""

    seq: int
    relay: str
    handover: Handover
    folder: str
    uidvalidity: int
    uid: int
    arrived: Span


def crossing(submission: Submission | None, arrival: Arrival) -> Crossing:
    """The crossing that the two events of a canary make; without a submission it is unjudged.

    Raises:
        ValueError: when the arrival's delay is no finite interval.
    """
    return Crossing(
        seq=arrival.mailbox_seq,
        relay=arrival.path.relay,
        handover=Handover(None, None) if submission is None else handover(submission),
        folder=arrival.folder,
        uidvalidity=arrival.uidvalidity,
        uid=arrival.uid,
        arrived=arrival_span(arrival.sent_ns, arrival.delay),
    )


class Overtaken(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of one arrival.

    ``standing`` is ``reordered`` for an overtaken one. ``by_seq`` and ``by_relay`` name the
    earliest arrival that overtook it, ``extent`` how many places before it in the folder that came
    and ``late`` how many seconds. With ``at_least`` that arrival was forgotten: the true extent
    and lateness are no smaller than these.
    """

    standing: Standing
    by_seq: int | None = None
    by_relay: str | None = None
    extent: int | None = None
    late: Interval | None = None
    at_least: bool = False


class Lead(msgspec.Struct, frozen=True):
    """An arrival whose DATA began later than that of all before it in its folder."""

    data_ns: int
    seq: int
    relay: str
    place: int
    arrived: Span


class Folder(msgspec.Struct, kw_only=True):
    """The order of arrivals in one folder under one UIDVALIDITY.

    ``leads`` rise in ``data_ns`` and ``place``; ``forgotten_ns`` is the greatest ``data_ns`` of
    those given up.
    """

    uidvalidity: int
    uid: int = 0
    places: int = 0
    leads: list[Lead] = msgspec.field(default_factory=list)
    forgotten_ns: int | None = None


class Overtaking(msgspec.Struct, kw_only=True):
    """The state of one (agent, mailbox) stream: fold its arrivals in UID order per folder.

    ``missing`` tells first copies from others. Each folder keeps at most ``limit`` leads; the
    oldest are given up first, and an arrival that they would be needed for gets ``at_least``.
    Start a new one with :func:`new_mailbox` for every stream epoch.
    """

    missing: Missing
    limit: int = DEFAULT_LIMIT
    folders: dict[str, Folder] = msgspec.field(default_factory=dict)
    judged: int = 0
    overtaken: int = 0
    copies: int = 0
    unjudged: int = 0
    extent_max: int = 0
    latest: Interval | None = None

    def fold(self, crossing: Crossing) -> Overtaken:
        """Judge the next arrival; O(log n).

        ``unjudged`` is an arrival whose acceptance is not known, whose UID is not above the last
        one of its folder, or whose number is below what is remembered. Only the first of these
        still counts as an arrival that others may have been overtaken by.
        """
        folder = self._folder(crossing)
        standing = self.missing.take(crossing.seq, Opening(0, crossing.arrived)).standing
        if standing is Standing.COPY:
            self.copies += 1
            return Overtaken(standing=standing)
        if standing is Standing.UNJUDGED or crossing.uid <= folder.uid:
            self.unjudged += 1
            return Overtaken(standing=Standing.UNJUDGED)
        folder.uid = crossing.uid
        folder.places += 1
        verdict = _judge(folder, crossing)
        self._lead(folder, crossing)
        self._count(verdict)
        return verdict

    def overtaken_ratio(self) -> float | None:
        """Overtaken arrivals of all judged ones; ``None`` when none was judged."""
        return ratio(self.overtaken, self.judged)

    def _folder(self, crossing: Crossing) -> Folder:
        known = self.folders.get(crossing.folder)
        if known is None or known.uidvalidity != crossing.uidvalidity:
            # UIDs start anew, so nothing orders what comes against what was there.
            known = self.folders[crossing.folder] = Folder(uidvalidity=crossing.uidvalidity)
        return known

    def _lead(self, folder: Folder, crossing: Crossing) -> None:
        data_ns = crossing.handover.data_ns
        if data_ns is None or (folder.leads and data_ns <= folder.leads[-1].data_ns):
            return
        folder.leads.append(
            Lead(data_ns, crossing.seq, crossing.relay, folder.places, crossing.arrived)
        )
        if len(folder.leads) > self.limit:
            folder.forgotten_ns = folder.leads.pop(0).data_ns

    def _count(self, verdict: Overtaken) -> None:
        if verdict.standing is Standing.UNJUDGED:
            self.unjudged += 1
            return
        self.judged += 1
        if verdict.extent is not None:
            self.overtaken += 1
            self.extent_max = max(self.extent_max, verdict.extent)
            self.latest = greatest(self.latest, verdict.late)


def new_mailbox(*, first: int = 0, limit: int = DEFAULT_LIMIT) -> Overtaking:
    """The state of a mailbox's stream of which nothing has arrived; as ``reordering.new_stream``.

    Raises:
        ValueError: when ``limit`` is below 1.
    """
    return Overtaking(missing=Missing(first=first, limit=limit), limit=limit)


def _judge(folder: Folder, crossing: Crossing) -> Overtaken:
    accepted_ns = crossing.handover.accepted_ns
    if accepted_ns is None:
        return Overtaken(standing=Standing.UNJUDGED)
    at = bisect_right(folder.leads, accepted_ns, key=_data_ns)
    if at == len(folder.leads):
        return Overtaken(standing=Standing.IN_ORDER)
    lead = folder.leads[at]
    return Overtaken(
        standing=Standing.REORDERED,
        by_seq=lead.seq,
        by_relay=lead.relay,
        extent=folder.places - lead.place,
        late=late_time(crossing.arrived, lead.arrived),
        at_least=folder.forgotten_ns is not None and accepted_ns < folder.forgotten_ns,
    )


def _data_ns(lead: Lead) -> int:
    return lead.data_ns
