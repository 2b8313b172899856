"""Problems: where, what was found, what is allowed."""

import pytest

from probes.contract import errors
from probes.contract.errors import ConfigError, MailcanaryError, Problem


def test_a_problem_names_file_line_path_what_was_found_and_what_is_allowed() -> None:
    problem = Problem("acme.yaml", 12, "customers[0].quota.paths", "'many'", "a whole number")
    assert str(problem) == (
        "acme.yaml:12: customers[0].quota.paths: found 'many', allowed is a whole number"
    )


def test_a_problem_of_the_whole_file_names_no_line_and_no_path() -> None:
    assert str(Problem("acme.yaml", 0, "", "nothing", "a mapping")) == (
        "acme.yaml: found nothing, allowed is a mapping"
    )


def test_a_config_error_tells_every_problem_in_the_order_of_files_and_lines() -> None:
    problems = [
        Problem("b.yaml", 1, "x", "1", "2"),
        Problem("a.yaml", 10, "x", "1", "2"),
        Problem("a.yaml", 9, "x", "1", "2"),
    ]
    error = ConfigError(problems)
    assert [(p.file, p.line) for p in error.problems] == [
        ("a.yaml", 9),
        ("a.yaml", 10),
        ("b.yaml", 1),
    ]
    assert str(error).splitlines() == [str(problem) for problem in error.problems]


@pytest.mark.parametrize(
    ("cls", "also"),
    [
        (errors.ConfigError, ValueError),
        (errors.TokenError, ValueError),
        (errors.SecretError, Exception),
        (errors.SpoolError, OSError),
    ],
)
def test_every_error_is_one_of_ours_and_of_its_usual_kind(
    cls: type[Exception], also: type[Exception]
) -> None:
    assert issubclass(cls, MailcanaryError)
    assert issubclass(cls, also)
