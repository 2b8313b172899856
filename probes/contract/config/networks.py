"""A network in a file of the operator's, such as whose headers are believed or where none goes."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from pydantic import ValidationError, ValidatorFunctionWrapHandler, WrapValidator

IpNetwork = IPv4Network | IPv6Network


def network(allowed: str) -> WrapValidator:
    """Makes an :data:`IpNetwork` of a field, from text only; ``allowed`` is what messages allow."""

    def judge(value: object, handler: ValidatorFunctionWrapHandler) -> Any:
        # One problem for the field, not one per member of the union; and no network from a number.
        try:
            if isinstance(value, str | IPv4Network | IPv6Network):
                return handler(ip_network(value))
        except (ValidationError, ValueError):
            pass
        raise ValueError(allowed)

    return WrapValidator(judge)
