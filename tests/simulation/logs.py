"""What a simulated program logs goes to the simulation."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import structlog


@contextlib.contextmanager
def logging_to(take: Callable[[Any, str, Any], Any]) -> Iterator[None]:
    """Have ``take``, a processor of structlog's, get all that is logged from warnings upwards."""
    before = structlog.get_config()
    structlog.configure(
        processors=[take],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
