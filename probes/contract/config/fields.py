"""The kinds of value in the configuration file: what each may be, and what else is told.

Durations are seconds once parsed, ratios lie in 0..1.
"""

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Literal
from unicodedata import category

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from probes.contract.names import LABEL_KEY_PATTERN, NAME_PATTERN
from probes.contract.units import (
    DURATION_PATTERN,
    PERCENT_PATTERN,
    format_duration,
    parse_duration,
    parse_percent,
    write_duration,
    write_percent,
)

MIN_DURATION_S = 0.001
MIN_PAUSE_S = 5.0
"""Looked at more often, other people's hosts would take it for an attack."""
MAX_DURATION_S = 366 * 86400.0


def _duration(value: object, least_s: float = MIN_DURATION_S) -> float:
    if not isinstance(value, str):
        raise ValueError("a duration with a unit, such as 500ms, 30s, 5m, 2h or 6d")
    seconds = parse_duration(value)
    if not least_s <= seconds <= MAX_DURATION_S:
        raise ValueError(f"a duration from {format_duration(least_s)} to 366d")
    return seconds


def _pause(value: object) -> float:
    return _duration(value, MIN_PAUSE_S)


def _percent(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError("a percentage from 0% to 100%, such as 99.5%")
    return parse_percent(value)


def _version(value: object) -> object:
    # Literal[1] alone lets 1.0 and true pass, which another reader of the file may not.
    if type(value) is not int:
        raise ValueError("1")
    return value


_JOINERS = "\u200c\u200d"


def _printable(value: str) -> str:
    # Such texts end in a line of a protocol, on a terminal, in a log. What cannot be seen there
    # could break the line, or say something else than it seems to.
    if not all(map(_can_be_read, value)) or not value.strip():
        raise ValueError("printable text on one line, and not only spaces")
    return value


def _can_be_read(sign: str) -> bool:
    # Python calls no space but one printable, and no joiner: there is hardly a line in Persian or
    # Hindi without those, and Japanese and French have spaces of their own.
    return sign.isprintable() or sign in _JOINERS or category(sign) == "Zs"


def _ip_address(value: object, handler: ValidatorFunctionWrapHandler) -> Any:
    # One problem for the field, not one per member of the union; and no address from a number.
    try:
        if isinstance(value, str | IPv4Address | IPv6Address):
            return handler(value)
    except ValidationError:
        pass
    raise ValueError("an IPv4 or IPv6 address, such as 203.0.113.11")


def _selector(value: object, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        chosen = handler(value)
    except ValidationError:
        chosen = None
    if not chosen:
        raise ValueError("all, a name, a list of names, or labels such as {pool: mx}")
    return chosen


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(write_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["30s", "5m"]}),
]
"""Seconds; written with a unit."""

Pause = Annotated[
    float,
    BeforeValidator(_pause),
    PlainSerializer(write_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["30s", "5m"]}),
]
"""Seconds from one look at somebody's host to the next; written with a unit."""

Percent = Annotated[
    float,
    BeforeValidator(_percent),
    PlainSerializer(write_percent, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": PERCENT_PATTERN, "examples": ["99.5%"]}),
]
"""A ratio; written as a percentage."""

Version = Annotated[Literal[1], BeforeValidator(_version)]
"""The version of a file's format; there is one so far."""

# For editors and other programs. What is printable besides this depends on a version of Unicode.
TEXT_PATTERN = r"^ *[^\u0000-\u0020\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
Text = Annotated[
    str,
    Field(min_length=1, json_schema_extra={"pattern": TEXT_PATTERN}),
    AfterValidator(_printable),
]
"""One line that a person can read whole: in any language, but nothing that cannot be printed."""
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
LabelKey = Annotated[str, StringConstraints(pattern=LABEL_KEY_PATTERN)]
LabelValue = Annotated[Text, StringConstraints(max_length=128)]
Labels = dict[LabelKey, LabelValue]
NO_LABELS: Labels = {}
HOST_PATTERN = r"^[A-Za-z0-9._:-]{1,253}$"
Host = Annotated[str, StringConstraints(pattern=HOST_PATTERN)]
"""A host name or an IP address."""
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
# A dot-atom and a domain (RFC 5321 section 4.1.2) in ASCII: what every relay takes.
ADDRESS_PATTERN = (
    r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$"
)
Address = Annotated[str, StringConstraints(pattern=ADDRESS_PATTERN, max_length=318)]
SECRET_NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}(/[a-z0-9][a-z0-9._-]{0,62})?$"  # noqa: S105 - a pattern
SecretName = Annotated[str, StringConstraints(pattern=SECRET_NAME_PATTERN)]
"""``name`` for the operator's own secrets, ``customer/name`` for a customer's."""
MAILBOX_REF_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}/[a-z0-9][a-z0-9._-]{0,62}$"
MailboxRef = Annotated[str, StringConstraints(pattern=MAILBOX_REF_PATTERN)]
"""``customer/mailbox``."""
FilePath = Annotated[Text, StringConstraints(max_length=4096)]
UserName = Annotated[Text, StringConstraints(max_length=320)]
FolderName = Annotated[Text, StringConstraints(max_length=1024)]
PerMinute = Annotated[float, Field(gt=0, le=1_000_000, strict=True)]
IpAddress = Annotated[IPv4Address | IPv6Address, WrapValidator(_ip_address)]
Selector = Annotated[Literal["all"] | Name | tuple[Name, ...] | Labels, WrapValidator(_selector)]
"""``all``, one name, a list of names, or labels that must all match."""


class Model(BaseModel):
    """The base of every part of the configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
