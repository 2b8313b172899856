"""The rollup's benchmark counts what it says it counts."""

from benchmarks import rollup


def test_it_runs_and_names_its_figures() -> None:
    figures = rollup.run(canaries=300)
    assert [figure.name for figure in figures] == [
        "rollup.events",
        "rollup.beside_decoding",
        "rollup.longest_batch",
        "rollup.bytes",
    ]
    assert all(figure.value > 0 for figure in figures)
