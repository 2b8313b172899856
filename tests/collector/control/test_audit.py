"""Diffs of the audit trail."""

import hashlib

from collector.control.audit import MAX_DIFF_BYTES, unified_diff


def test_a_diff() -> None:
    text = unified_diff("a: 1\nb: 2\n", "a: 1\nb: 3", "acme.yaml")
    assert text == ("--- acme.yaml\n+++ acme.yaml\n@@ -1,2 +1,2 @@\n a: 1\n-b: 2\n+b: 3\n")


def test_something_new() -> None:
    assert unified_diff("", "a\n", "x").startswith("--- /dev/null\n+++ x\n")


def test_a_huge_diff_is_cut_and_says_how_much_and_of_what() -> None:
    after = "zeile: ü\n" * MAX_DIFF_BYTES
    text = unified_diff("", after, "x")
    assert len(text.encode()) < MAX_DIFF_BYTES + 300
    head, last = text.removesuffix("\n").rsplit("\n", 1)
    whole = len("--- /dev/null\n+++ x\n") + len(f"@@ -0,0 +1,{MAX_DIFF_BYTES} @@\n")
    left_out = whole + len(after) + MAX_DIFF_BYTES - len(head)
    digest = hashlib.sha256(after.encode()).hexdigest()
    assert last == f"... and {left_out} characters more; SHA-256 before (nothing), after {digest}"


def test_texts_too_long_to_be_compared_are_told_from_the_first_to_the_last_line_that_differs() -> (
    None
):
    lines = [f"{number}: x\n" for number in range(3000)]
    shuffled = lines.copy()
    shuffled[1000:1010] = reversed(shuffled[1000:1010])
    text = unified_diff("".join(lines), "".join(shuffled), "x")
    expected = "--- x\n+++ x\n@@ -1001,10 +1001,10 @@\n"
    expected += "".join(f"-{line}" for line in lines[1000:1010])
    expected += "".join(f"+{line}" for line in shuffled[1000:1010])
    assert text == expected
    assert unified_diff("".join(lines), "".join(lines), "x") == ""
    assert unified_diff("".join(lines), "".join(lines) + "new\n", "x").endswith(
        "@@ -3001,0 +3001,1 @@\n+new\n"
    )
