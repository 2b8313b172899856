"""Durations and ratios as people write them in a config file."""

import re
from decimal import Decimal

_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+$"
_DURATION = re.compile(DURATION_PATTERN)
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)")
PERCENT_PATTERN = r"^[0-9]+(\.[0-9]+)?%$"
_PERCENT = re.compile(PERCENT_PATTERN)

NS_PER_S = 1_000_000_000

MAX_DURATION_S = 36_500 * 86_400.0
"""A hundred years: in nanoseconds it can still be added to a time point within 64 bits."""


def parse_duration(text: str) -> float:
    """Seconds in ``"500ms"``, ``"30s"``, ``"1h30m"`` (Prometheus' way of writing, any order).

    Raises:
        ValueError: when ``text`` is anything else, or more than :data:`MAX_DURATION_S`; a bare
            number has no unit and is refused.
    """
    if not _DURATION.fullmatch(text):
        raise ValueError("a duration with a unit, such as 500ms, 30s, 5m, 2h or 6d")
    # Added up in milliseconds, so that 9ms is exactly the float 0.009.
    seconds = sum(float(number) * _MS[unit] for number, unit in _PART.findall(text)) / 1000
    if seconds > MAX_DURATION_S:
        raise ValueError("a duration of at most 36500d")
    return seconds


def parse_duration_between(text: str, least_s: float, most_s: float) -> float:
    """Seconds in ``text``, from ``least_s`` to ``most_s``: what an option of a command takes.

    Raises:
        ValueError: saying what was found and what is allowed.
    """
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = -1.0
    if not least_s <= seconds <= most_s:
        allowed = f"{format_duration(least_s)} to {format_duration(most_s)}"
        shown = text if len(text) <= 60 else f"{text[:59]}…"
        examples = [each for each in ("30s", "5m") if least_s <= parse_duration(each) <= most_s]
        such = f", such as {' or '.join(examples)}" if examples else ""
        raise ValueError(f"found {shown!r}, allowed is a duration from {allowed}{such}")
    return seconds


def format_duration(seconds: float) -> str:
    """``seconds`` to the millisecond: 90.0 is ``1m30s``, 0.25 is ``250ms``, -1.0 is ``-1s``."""
    if seconds < 0:
        text = format_duration(-seconds)
        return text if text == "0s" else f"-{text}"
    milliseconds = round(seconds * 1000)
    if milliseconds == 0:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, milliseconds = divmod(milliseconds, _MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def write_duration(seconds: float) -> str:
    """``seconds`` so that :func:`parse_duration` gives just them again, as far as floats allow."""
    candidates = [format_duration(seconds), f"{seconds!r}s", f"{seconds * 1000!r}ms"]
    for text in candidates:
        if _DURATION.fullmatch(text) and parse_duration(text) == seconds:
            return text
    return candidates[0]


def write_percent(ratio: float) -> str:
    """``ratio`` so that :func:`parse_percent` gives just it again: 0.995 is ``99.5%``."""
    text = f"{Decimal(repr(ratio)).scaleb(2):f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}%"


def parse_percent(text: str) -> float:
    """The ratio in ``"99.5%"``, from 0 to 1.

    Raises:
        ValueError: when ``text`` is not a percentage from 0% to 100%.
    """
    if not _PERCENT.fullmatch(text) or float(text[:-1]) > 100:
        raise ValueError("a percentage from 0% to 100%, such as 99.5%")
    # Through the text, so that 99.5% is exactly the float 0.995.
    whole, _, fraction = text[:-1].partition(".")
    return float(f"{whole}{fraction}e-{len(fraction) + 2}")
