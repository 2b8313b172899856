"""One run of check tells every fault: of a sound configuration with several of them, all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.contract.config.document import Loc
from tests.probes.contract.config.mutations import (
    FILES,
    Mutation,
    apart,
    check,
    identity,
    may_mask,
    places,
    sound,
)

PLACES = [(file, loc) for file, data in sound().items() for loc in places(data)]
SCALARS = (
    [None, True, 0, -1, 5, 1e300, float("inf"), "", "x" * 400, "a b", "BAD NAME", "all", "100%"],
    ["relay-a1", "relay-zz", "acme/imap", "globex/imap", "monitor/bounces", "500ms", "9d"],
    ["canary@acme.example", "203.0.113.11"],
)
LISTS = [[], {}, ["relay-a1", "relay-a1"], ["relay-zz", 5], {"pool": "none"}]
VALUES = st.sampled_from([*SCALARS[0], *SCALARS[1], *SCALARS[2], *LISTS])
HOWS = st.sampled_from(["delete", "replace", "replace", "retype", "rename", "add", "duplicate"])
MUTATIONS = st.builds(
    lambda place, how, value: Mutation(place[0], place[1], how, value),
    st.sampled_from(PLACES),
    HOWS,
    VALUES,
)


def test_the_configuration_without_a_fault_is_sound() -> None:
    checked = check([])
    assert checked.problems == []
    assert checked.config is not None


@settings(max_examples=150)
@given(st.lists(MUTATIONS, min_size=1, max_size=4))
def test_every_fault_is_told_in_one_run(candidates: list[Mutation]) -> None:
    mutations: list[Mutation] = []
    for one in candidates:
        if all(apart(one, other) for other in mutations):
            mutations.append(one)
    together = check(mutations)
    assert (together.config is None) == bool(together.problems)
    assert all(problem.file in FILES for problem in together.problems)
    told = {identity(problem) for problem in together.problems}
    for one in mutations:
        others = [other for other in mutations if other is not one]
        for problem in check([one]).problems:
            if not any(may_mask(other, problem) for other in others):
                assert identity(problem, others) in told, (str(problem), mutations)


def _keys() -> list[tuple[str, Loc]]:
    return [(file, loc) for file, loc in PLACES if Mutation(file, loc, "rename").renames]


@pytest.mark.parametrize(("file", "loc"), _keys(), ids=str)
def test_a_misspelt_key_is_one_problem(file: str, loc: Loc) -> None:
    (problem,) = check([Mutation(file, loc, "rename")]).problems
    assert f"did you mean '{loc[-1]}'" in problem.found


@pytest.mark.parametrize(("file", "loc"), PLACES, ids=str)
def test_an_unknown_key_is_one_problem(file: str, loc: Loc) -> None:
    problems = check([Mutation(file, loc, "add", 5)]).problems
    assert len(problems) <= 1
    assert all("the unknown key 'qqq'" in problem.found for problem in problems)
