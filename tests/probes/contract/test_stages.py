"""The words for where and why."""

import pytest

from probes.contract.stages import SUBMISSION_STAGES, Reason, Result, Stage


def test_the_stages_of_a_submission_come_first_and_in_order() -> None:
    stages = list(Stage)
    assert stages[: len(SUBMISSION_STAGES)] == list(SUBMISSION_STAGES)
    assert stages[len(SUBMISSION_STAGES)] is Stage.TRANSIT


@pytest.mark.parametrize("word", [*Stage, *Reason, *Result])
def test_the_words_are_fit_for_metric_labels_and_file_names(word: Stage | Reason | Result) -> None:
    assert word.value == word.name.lower().replace("_", "-")
    assert str(word) == word.value
