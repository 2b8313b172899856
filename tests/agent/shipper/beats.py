"""A beat to send."""

from probes.contract.wire import Beat

BEAT = Beat(
    version="1", boot_id="b", started_ns=1, sent_at_ns=2, revision="r", epoch="e", last_seq=1,
    shipped_seq=1,
)  # fmt: skip
