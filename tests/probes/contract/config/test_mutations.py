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
    ["canary@acme.example", "203.0.113.11", "egress", "queue", "bigmail"],
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

MAIN, ACME, GLOBEX = FILES
# One for every check of what parts say of each other: random values seldom find these.
RELATIONS = [
    Mutation(MAIN, ("relays", 0, "max_per_minute"), "replace", 1),
    Mutation(MAIN, ("relays", 1, "capacity"), "replace", 2),
    Mutation(MAIN, ("relays", 2, "host"), "replace", "relay-a1.example.net"),
    Mutation(MAIN, ("relays", 3, "egress", 0), "replace", "203.0.113.11"),
    Mutation(MAIN, ("relays", 0, "auth", "secret"), "replace", "acme/imap"),
    Mutation(MAIN, ("agents", 0, "sender", "bounces"), "replace", "monitor/none"),
    Mutation(MAIN, ("agents", 2, "on_relay"), "replace", "relay-zz"),
    Mutation(MAIN, ("agents", 1, "sender"), "delete"),
    Mutation(MAIN, ("defaults", "loss_after"), "replace", "9d"),
    Mutation(ACME, ("quota", "per_minute"), "replace", 1),
    Mutation(ACME, ("quota", "paths"), "replace", 1),
    Mutation(ACME, ("mailboxes", 0, "max_per_minute"), "replace", 1),
    Mutation(ACME, ("mailboxes", 0, "address"), "replace", "canary@globex.example"),
    Mutation(ACME, ("mailboxes", 0, "folders", "junk"), "replace", "INBOX"),
    Mutation(ACME, ("mailboxes", 1, "imap", "secret"), "replace", "globex/imap"),
    Mutation(ACME, ("canaries", 1, "relays", 0), "replace", "relay-zz"),
    Mutation(ACME, ("canaries", 1, "relays", 1), "replace", "relay-a1"),
    Mutation(ACME, ("canaries", 0, "relays", "pool"), "replace", "none"),
    Mutation(GLOBEX, ("canaries", 1, "loss_after"), "replace", "1s"),
    Mutation(GLOBEX, ("canaries", 1, "agents"), "replace", "lon"),
    Mutation(MAIN, ("agents", 3, "on_relay"), "delete"),
    Mutation(MAIN, ("agents", 3, "sources"), "duplicate"),
    Mutation(MAIN, ("destinations", 0, "domain"), "delete"),
    Mutation(MAIN, ("destinations", 1, "domain"), "replace", "bigmail.example"),
    Mutation(MAIN, ("destinations", 1, "domain"), "replace", "203.0.113.11"),
    Mutation(MAIN, ("destinations", 2, "hosts"), "duplicate"),
    Mutation(MAIN, ("destinations", 0, "controls", 0), "replace", 25),
    Mutation(MAIN, ("destinations", 2, "controls"), "duplicate"),
    Mutation(MAIN, ("checks", 0, "timeout"), "replace", "9d"),
    Mutation(MAIN, ("checks", 0, "relays", 0), "replace", "relay-zz"),
    Mutation(MAIN, ("checks", 0, "probe"), "replace", "queue"),
    Mutation(MAIN, ("checks",), "duplicate"),
]


@pytest.mark.parametrize("fault", RELATIONS, ids=str)
def test_no_fault_beside_hides_what_parts_say_of_each_other(fault: Mutation) -> None:
    alone = check([fault]).problems
    assert alone
    for file, loc in PLACES:
        near = Mutation(file, loc, "replace", [[]])
        if file != fault.file or loc[:-1] != fault.loc[: len(loc) - 1] or not apart(near, fault):
            continue
        told = {identity(problem) for problem in check([fault, near]).problems}
        for problem in alone:
            assert may_mask(near, problem) or identity(problem) in told, (str(problem), near)


def test_the_configuration_without_a_fault_is_sound() -> None:
    checked = check([])
    assert checked.problems == []
    assert checked.config is not None


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from(RELATIONS), max_size=2), st.lists(MUTATIONS, min_size=1, max_size=3)
)
def test_every_fault_is_told_in_one_run(related: list[Mutation], other: list[Mutation]) -> None:
    mutations: list[Mutation] = []
    for one in [*related, *other]:
        if all(apart(one, before) for before in mutations):
            mutations.append(one)
    together = check(mutations)
    assert (together.config is None) == bool(together.problems)
    assert all(problem.file in FILES for problem in together.problems)
    told = {identity(problem) for problem in together.problems}
    for one in mutations:
        others = [another for another in mutations if another is not one]
        for problem in check([one]).problems:
            if not any(may_mask(another, problem) for another in others):
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
