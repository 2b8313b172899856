"""Room for bodies: so much of one sender, so much in all, and given back."""

import pytest

from collector.web.bodies import Bodies
from collector.web.problems import Refused


def test_so_much_of_one_and_so_much_in_all() -> None:
    bodies = Bodies(of_one=100, in_all=150)
    with bodies.hold("a", 60):
        with pytest.raises(Refused) as caught, bodies.hold("a", 50):
            pass
        assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "1"})
        with bodies.hold("a", 40), pytest.raises(Refused) as caught, bodies.hold("b", 51):
            pass
        assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "1"})
        with bodies.hold("b", 90):
            pass
    with bodies.hold("a", 100), bodies.hold("b", 50):
        pass


def test_one_by_itself_is_let_in_whatever_its_size() -> None:
    bodies = Bodies(of_one=100, in_all=150)
    with bodies.hold("a", 1000), pytest.raises(Refused), bodies.hold("a", 1):
        pass
    with pytest.raises(ValueError, match="broken"), bodies.hold("a", 10):
        raise ValueError("broken")
    with bodies.hold("a", 1000):
        pass
