"""Diffs of the audit trail."""

from collector.control.audit import MAX_DIFF_CHARS, unified_diff


def test_a_diff() -> None:
    text = unified_diff("a: 1\nb: 2\n", "a: 1\nb: 3", "acme.yaml")
    assert text == ("--- acme.yaml\n+++ acme.yaml\n@@ -1,2 +1,2 @@\n a: 1\n-b: 2\n+b: 3\n")


def test_something_new() -> None:
    assert unified_diff("", "a\n", "x").startswith("--- /dev/null\n+++ x\n")


def test_a_huge_diff_is_cut_and_says_so() -> None:
    text = unified_diff("", "line\n" * MAX_DIFF_CHARS, "x")
    assert len(text) < MAX_DIFF_CHARS + 100
    assert text.endswith("characters more\n")
