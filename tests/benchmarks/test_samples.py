"""What is made of many values."""

import pytest

from benchmarks.samples import median, quantile, slope, spread


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(1, 0.5, 1), (1, 0.99, 1), (4, 0.5, 2), (100, 0.99, 99), (101, 0.99, 100), (10, 1.0, 10)],
)
def test_a_quantile_is_one_of_the_values(count: int, share: float, expected: float) -> None:
    assert quantile([float(n) for n in range(count, 0, -1)], share) == expected


def test_a_quantile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_a_slope_leaves_the_start_out() -> None:
    assert slope((10, 1070), (30, 1210)) == 7


def test_runs_in_words() -> None:
    assert median([3.0, 1.0, 2.0]) == 2
    assert spread([1.5, 2.25]) == "1.5 to 2.25 in 2 runs"
