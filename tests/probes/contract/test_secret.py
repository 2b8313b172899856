"""A secret shows itself through ``reveal`` alone."""

import copy
import json
import pickle
import traceback
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.contract.secret import Secret

VALUE = "hunter2-hunter2-hunter2"


@pytest.fixture
def secret() -> Secret:
    return Secret(VALUE, "acme/imap")


def test_reveal_gives_the_value(secret: Secret) -> None:
    assert secret.reveal() == VALUE


def test_no_way_of_printing_shows_it(secret: Secret) -> None:
    shown = [
        str(secret), repr(secret), f"{secret}", f"{secret!s:>60}", f"{secret:>60}", f"{secret!r}",
        "%s" % secret, "{}".format(secret), str([secret]), str({"password": secret}),  # noqa: UP031, UP032 - each way of formatting is its own code path
    ]  # fmt: skip
    assert all(VALUE not in text and "acme/imap" in text for text in shown)


@pytest.mark.parametrize(
    "leak",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        json.dumps,
        msgspec.json.encode,
        msgspec.to_builtins,
        vars,
        bytes,
        list,
    ],
)
def test_it_does_not_leave_the_process(secret: Secret, leak: Callable[[object], object]) -> None:
    with pytest.raises(TypeError) as caught:
        leak(secret)
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickle_protocol_takes_it(secret: Secret, protocol: int) -> None:
    with pytest.raises(TypeError, match="not to be copied out"):
        pickle.dumps(secret, protocol)


def test_a_traceback_with_locals_does_not_show_it(secret: Secret) -> None:
    def fail(password: Secret) -> None:
        raise ValueError(f"not this one: {password}")

    with pytest.raises(ValueError, match="not this one") as caught:
        fail(secret)
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    text = "".join(told.format())
    assert text.count("<hidden>") >= 2
    assert VALUE not in text


def test_no_further_attributes(secret: Secret) -> None:
    with pytest.raises(AttributeError):
        secret.note = "x"  # type: ignore[attr-defined]  # that there is none is the point


@given(*[st.sampled_from(["a", "b"])] * 4)
def test_equality_is_of_name_and_value_and_agrees_with_the_hash(
    value: str, name: str, other_value: str, other_name: str
) -> None:
    one, other = Secret(value, name), Secret(other_value, other_name)
    assert (one == other) == ((value, name) == (other_value, other_name))
    assert one != other or hash(one) == hash(other)


def test_it_is_equal_to_no_text(secret: Secret) -> None:
    assert secret != VALUE
    assert secret != None  # noqa: E711 - the comparison is under test
