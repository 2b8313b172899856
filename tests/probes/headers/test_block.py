from probes.headers.block import MAX_BLOCK, MAX_FIELDS, first, parse_header_block, values


def test_fields_are_unfolded_and_their_names_lower_case() -> None:
    block = (
        b"Received: from a\r\n\tby b;\r\n  date\r\nX-Mailcanary : v=1\r\nEmpty:\r\n\r\nBody: no\r\n"
    )

    assert parse_header_block(block) == [
        ("received", "from a\tby b;  date"),
        ("x-mailcanary", "v=1"),
        ("empty", ""),
    ]


def test_line_ends_may_be_mixed_and_the_last_missing() -> None:
    assert parse_header_block(b"\r\n\nA: 1\nB: 2\r\nC: 3") == [("a", "1"), ("b", "2"), ("c", "3")]


def test_garbage_lines_go_with_what_continues_them() -> None:
    block = (
        b" lost\nFrom x@y Mon Jan  5 10:00:00 2026\n more of it\nA: 1\nno colon\n lost too\nB: 2\n"
    )

    assert parse_header_block(block) == [("a", "1"), ("b", "2")]


def test_values_are_utf_8_else_latin_1() -> None:
    assert parse_header_block("A: grün\n".encode() + b"B: gr\xfcn\n\xff\xfe: x\n") == [
        ("a", "grün"),
        ("b", "grün"),
    ]


def test_looking_up() -> None:
    fields = parse_header_block(b"A: 1\nB: 2\na: 3\n")

    assert values(fields, "a") == ["1", "3"]
    assert (first(fields, "a"), first(fields, "c")) == ("1", None)


def test_bounds() -> None:
    assert len(parse_header_block(b"A: 1\n" * (MAX_FIELDS + 5))) == MAX_FIELDS
    (field,) = parse_header_block(b"A: " + b"x" * (MAX_BLOCK * 2))
    assert len(field[1]) == MAX_BLOCK - 3
    assert parse_header_block(b"n" * 1000 + b": x") == []
