"""The lab's libraries are an extra of the package; this says which one when they are missing."""

import importlib.util

from probes.contract.errors import MailcanaryError

LAB_MODULES = ("aiosmtpd", "pymap")


class LabError(MailcanaryError):
    """The lab was asked for something that it does not have or cannot do."""


class MissingExtraError(LabError, ImportError):
    """The libraries that the lab is made of are not installed."""


def missing_extra(module: str) -> MissingExtraError:
    """The error to raise when ``module`` cannot be imported; its text says what to install."""
    return MissingExtraError(
        f"the lab needs {module}, which is not installed: pip install '.[lab]' in a clone"
    )


def require_extras() -> None:
    """Make sure that the lab can run, without importing its libraries.

    Raises:
        MissingExtraError: when aiosmtpd or pymap is not installed.
    """
    for module in LAB_MODULES:
        if importlib.util.find_spec(module) is None:
            raise missing_extra(module)
