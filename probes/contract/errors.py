"""What can be wrong with input, said so that a person can mend it. A leaf module."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in a file: where, what was found, what is allowed.

    ``line`` is 1-based; 0 means that no single line is to blame. ``path`` is the field, written
    ``customers[0].mailboxes[1].imap.port``.
    """

    file: str
    line: int
    path: str
    found: str
    allowed: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        path = f" {self.path}:" if self.path else ""
        return f"{where}:{path} found {self.found}, allowed is {self.allowed}"


class MailcanaryError(Exception):
    """The base of all errors that mailcanary raises on purpose.

    ``exit_code`` is what the command ends with: 2 where what it was told is wrong, so that trying
    again mends nothing, else 1.
    """

    exit_code = 1


class ConfigError(MailcanaryError, ValueError):
    """A configuration that cannot be used; carries every problem found, not only the first."""

    exit_code = 2

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class TokenError(MailcanaryError, ValueError):
    """A canary header that is not, or not quite, what an agent of ours wrote."""


class SecretError(MailcanaryError):
    """A secret that cannot be read or may not be used; its text never holds the secret's value."""


class SpoolError(MailcanaryError, OSError):
    """The spool cannot take or give events: disk full, file damaged, newer schema."""
