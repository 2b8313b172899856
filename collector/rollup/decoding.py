"""Which events of the log a rollup reads, and whether their numbers can be kept."""

import msgspec

from probes.contract.events import (
    Arrival,
    Bounce,
    CanaryEvent,
    Check,
    Config,
    Expiry,
    Intent,
    Submission,
    Tick,
)

Read = CanaryEvent | Check | Config | Tick
DECODERS: dict[str, msgspec.json.Decoder[Read]] = {
    kind: msgspec.json.Decoder(shape)
    for kind, shape in (
        ("intent", Intent),
        ("submission", Submission),
        ("arrival", Arrival),
        ("expiry", Expiry),
        ("bounce", Bounce),
        ("check", Check),
        ("config", Config),
        ("tick", Tick),
    )
}
_MOST = 1 << 63


def fits(event: Read) -> bool:
    """Whether its numbers are such that a database takes them."""
    match event:
        case Intent():
            return 0 <= event.at_ns < _MOST and 0 <= event.loss_after_s < 1e9
        case Submission():
            return 0 <= event.sent_ns < _MOST and 0 <= event.at_ns < _MOST
        case Arrival():
            # The sum is past the most when one of them is: they are none of them negative.
            low = min(event.sent_ns, event.seen_ns, event.path_seq, event.mailbox_seq)
            total = event.sent_ns + event.seen_ns + event.path_seq + event.mailbox_seq
            uid = event.uidvalidity | event.uid
            bounds = event.delay
            return (
                low >= 0
                and total < _MOST
                and 0 <= uid < _MOST
                and -1e10 < bounds.lo < 1e10
                and -1e10 < bounds.hi < 1e10
            )
        case Tick() | Check():
            return 0 <= event.at_ns < _MOST
        case _:
            return True
