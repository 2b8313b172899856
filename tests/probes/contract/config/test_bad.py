"""One bad configuration for each rule; the messages are asserted to the letter.

``bad/NAME.yaml`` (or ``bad/NAME/`` with a ``customers.d``) must give exactly ``bad/NAME.txt``.
"""

from pathlib import Path

import pytest

from probes.contract.config.loader import parse_config
from probes.contract.config.source import Source
from probes.contract.errors import ConfigError

BAD = Path(__file__).parent / "bad"
CASES = sorted([*BAD.glob("*.yaml"), *(entry for entry in BAD.iterdir() if entry.is_dir())])


def _sources(case: Path) -> list[Source]:
    if case.is_file():
        return [Source(case.name, case.read_text())]
    customers = sorted((case / "customers.d").glob("*.yaml"))
    return [
        Source("mailcanary.yaml", (case / "mailcanary.yaml").read_text()),
        *(Source(f"customers.d/{file.name}", file.read_text(), "customer") for file in customers),
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_every_problem_is_named_with_its_line(case: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(_sources(case))
    assert str(caught.value) + "\n" == case.with_suffix(".txt").read_text()


def test_each_message_file_has_its_case() -> None:
    assert {file.stem for file in BAD.glob("*.txt")} == {case.stem for case in CASES}
