"""Which texts are a line that a person can read whole."""

import pytest
from pydantic import TypeAdapter, ValidationError

from probes.contract.config.fields import FolderName

TEXT = TypeAdapter[str](FolderName)


@pytest.mark.parametrize(
    "name",
    [
        "Junk E-mail",
        "\u8ff7\u60d1\u3000\u30e1\u30fc\u30eb",
        "Courrier\u00a0ind\u00e9sirable",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0915\u094d\u200d\u0937",
    ],
)
def test_names_of_all_languages_are_taken(name: str) -> None:
    assert TEXT.validate_python(name) == name


@pytest.mark.parametrize(
    "name", ["", "  ", "\u3000", "a\nb", "a\u2028b", "a\x1b[1m", "a\u202eb", "a\u200bb", "a\u00adb"]
)
def test_what_cannot_be_seen_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        TEXT.validate_python(name)
