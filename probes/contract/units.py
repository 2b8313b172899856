"""Durations and ratios as people write them in a config file."""

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+$"
_DURATION = re.compile(DURATION_PATTERN)
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)")
PERCENT_PATTERN = r"^[0-9]+(\.[0-9]+)?%$"
_PERCENT = re.compile(PERCENT_PATTERN)

NS_PER_S = 1_000_000_000


def parse_duration(text: str) -> float:
    """Seconds in ``"500ms"``, ``"30s"``, ``"1h30m"`` (Prometheus' way of writing, any order).

    Raises:
        ValueError: when ``text`` is anything else; a bare number has no unit and is refused.
    """
    if not _DURATION.fullmatch(text):
        raise ValueError("a duration with a unit, such as 500ms, 30s, 5m, 2h or 6d")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """The shortest exact way to write ``seconds``: 90.0 is ``1m30s``, 0.25 is ``250ms``."""
    milliseconds = round(seconds * 1000)
    if milliseconds == 0:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        size = round(_UNITS[unit] * 1000)
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


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
