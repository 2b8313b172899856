from probes.headers.mime import MAX_DEPTH, MAX_PARTS, Part, split_message


def message(content_type: str, body: str) -> bytes:
    return f"MIME-Version: 1.0\nContent-Type: {content_type}\n\n{body}".encode()


def parts(content_type: str, body: str) -> list[Part]:
    return split_message(message(content_type, body))[1]


def test_one_part() -> None:
    fields, (part,) = split_message(b"A: 1\r\n\r\nhello\r\n")

    assert fields == [("a", "1")]
    assert part == Part("text/plain", {}, "", b"hello\n")


def test_nested_parts_in_order() -> None:
    body = (
        "preamble\n--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\none\n--i--\n--o  \n"
        "Content-Type: Message/RFC822\n\nA: 1\n\nContent-Type: text/plain\n--o--\n--o\n\nno more\n"
    )

    found = [
        (part.content_type, part.content) for part in parts('multipart/mixed; boundary="o"', body)
    ]

    assert found == [
        ("text/plain", b"one"),
        ("message/rfc822", b"A: 1\n\nContent-Type: text/plain"),
    ]


def test_a_boundary_is_a_whole_line() -> None:
    (part,) = parts("multipart/mixed; boundary=b", "--b\n\n--bb\nx --b\n--b-\n--b--\n")

    assert part.content == b"--bb\nx --b\n--b-"


def test_a_missing_end_and_a_missing_boundary() -> None:
    (cut,) = parts("multipart/mixed; boundary=b", "--b\n\nhalf of i")
    (none,) = parts("multipart/mixed", "--b\n\nx\n")

    assert cut.content == b"half of i"
    assert none.content_type == "multipart/mixed"


def test_transfer_encodings() -> None:
    def decoded(encoding: str, content: str) -> bytes:
        head = f"Content-Transfer-Encoding: {encoding}\n\n"
        (part,) = split_message((head + content).encode())[1]
        return part.decoded()

    assert decoded("base64", "aGVs\nbG8=\n") == b"hello"
    assert decoded("Quoted-Printable", "hel=\nlo=21") == b"hello!"
    assert decoded("base64", "a") == b"a"
    assert decoded("x-unknown", "as it is") == b"as it is"


def test_bounds() -> None:
    nested = ""
    for level in range(MAX_DEPTH + 3):
        nested += f"--b{level}\nContent-Type: multipart/mixed; boundary=b{level + 1}\n\n"
    (deepest,) = parts("multipart/mixed; boundary=b0", nested)

    assert deepest.params == {"boundary": f"b{MAX_DEPTH}"}
    assert len(parts("multipart/mixed; boundary=b", "--b\n\nx\n" * (MAX_PARTS + 9))) == MAX_PARTS
