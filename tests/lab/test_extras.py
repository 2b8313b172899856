"""Without the lab's libraries there is a clear error and nothing else breaks."""

import subprocess
import sys

import pytest

from lab.extras import require_extras


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


def test_with_the_extra_installed_there_is_no_complaint() -> None:
    require_extras()


@pytest.mark.parametrize("module", ["aiosmtpd", "pymap"])
def test_a_missing_library_is_named_with_what_to_install(module: str) -> None:
    done = run(f"import sys; sys.modules[{module!r}] = None; import lab.estate")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        f"lab.extras.MissingExtraError: the lab needs {module}, which is not installed: "
        "pip install '.[lab]' in a clone"
    )


def test_the_package_itself_imports_none_of_them() -> None:
    done = run(
        "import sys, lab, lab.extras, lab.faults, lab.specs\n"
        "assert not {'aiosmtpd', 'pymap'} & set(sys.modules)"
    )
    assert done.returncode == 0, done.stderr
