"""A secret that does not show itself."""

from typing import NoReturn


class Secret:
    """A password or token; only :meth:`reveal` gives its value, nothing prints or pickles it."""

    __slots__ = ("_value", "name")

    def __init__(self, value: str, name: str = "") -> None:
        self._value = value
        self.name = name

    def reveal(self) -> str:
        """The value, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.name!r}, <hidden>)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not to be copied out of the process")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return (self.name, self._value) == (other.name, other._value)

    def __hash__(self) -> int:
        # Of the name alone: a hash of the value would leave traces of it.
        return hash(("Secret", self.name))
