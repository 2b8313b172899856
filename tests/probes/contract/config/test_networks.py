"""A field that is a network, and what its messages say."""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from probes.contract.config.networks import IpNetwork, network

FIELD: TypeAdapter[IpNetwork] = TypeAdapter(Annotated[IpNetwork, network("a network")])


def test_a_network_and_a_single_address_are_networks() -> None:
    assert FIELD.validate_python("10.1.0.0/16") == IPv4Network("10.1.0.0/16")
    assert FIELD.validate_python("2001:db8::7") == IPv6Network("2001:db8::7/128")
    assert FIELD.validate_python(IPv4Network("10.1.0.7")) == IPv4Network("10.1.0.7/32")


@pytest.mark.parametrize(
    "value", ["10.0.0.1/8", "relay.example", "", 10, b"\x0a\x00\x00\x01", None]
)
def test_what_is_none_is_one_problem_in_the_words_given(value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        FIELD.validate_python(value)
    [problem] = caught.value.errors()
    assert problem["msg"] == "Value error, a network"
