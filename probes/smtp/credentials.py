"""A user and a password in the forms that SASL sends, and their removal from what comes back."""

from dataclasses import dataclass, field
from typing import Self

from aiosmtplib.auth import auth_login_encode, auth_plain_encode

from probes.contract.stages import Reason, Result
from probes.smtp.model import SmtpTarget, SubmissionError

HIDDEN = "<hidden>"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What AUTH PLAIN (RFC 4616) and AUTH LOGIN send; shows none of it."""

    plain: bytes = field(repr=False)
    login_user: bytes = field(repr=False)
    login_password: bytes = field(repr=False)
    _needles: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, target: SmtpTarget) -> Self | None:
        """The target's credentials, or ``None`` when it has none.

        Raises:
            SubmissionError: when they cannot be sent: a NUL, or no valid Unicode.
        """
        if target.user is None or target.password is None:
            return None
        password = target.password.reveal()
        if "\0" in target.user or "\0" in password or not _is_utf8(target.user + password):
            # The text names neither, and no exception that holds them is chained.
            text = "user or password cannot be sent: a NUL or no valid Unicode in it"
            raise SubmissionError(Result.UNSENT, Reason.SECRET, text)
        plain = auth_plain_encode(target.user, password)
        login_user, login_password = auth_login_encode(target.user, password)
        needles = (plain.decode(), login_password.decode(), password)
        return cls(plain, login_user, login_password, tuple(n for n in needles if n))

    def hide(self, text: str) -> str:
        """``text`` with the password, in any form that we sent, replaced."""
        for needle in self._needles:
            text = text.replace(needle, HIDDEN)
        return text


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
