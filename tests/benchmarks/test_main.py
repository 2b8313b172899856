"""The benchmark runner: what it prints, and what it refuses."""

import json

import pytest

from benchmarks.__main__ import BENCHMARKS, line, main
from benchmarks.figures import Figure, compared


def test_an_unknown_name_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["nonsense"])
    assert caught.value.code == 2
    assert f"known: {', '.join(BENCHMARKS)}" in capsys.readouterr().err


def test_a_figure_as_json_has_every_field() -> None:
    figure = compared("x", 3.0, "s", "floor", 2.0)
    assert json.loads(json.dumps(figure.as_json())) == {
        "name": "x",
        "value": 3.0,
        "unit": "s",
        "baseline": "floor",
        "baseline_value": 2.0,
        "ratio": 1.5,
    }


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (compared("x", 3.0, "s", "floor", 2.0), "x 3 s floor: 2 (x1.5)"),
        (compared("x", 3.0, "s", "floor", 0.0), "x 3 s floor: 0"),
        (Figure("x", 3.0, "s", "aim: below 5 s"), "x 3 s aim: below 5 s"),
    ],
)
def test_a_figure_for_people(figure: Figure, text: str) -> None:
    assert " ".join(line(figure).split()) == text
