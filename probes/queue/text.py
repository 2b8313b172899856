"""Text of others, made fit for events and terminals; pure."""


def one_line(text: str, limit: int) -> str:
    """``text`` in a line of at most ``limit`` printable characters, white space runs as a space."""
    words = " ".join(text[: limit * 4].split())
    if len(words) > limit:
        words = f"{words[: limit - 1]}…"
    if words.isprintable():
        return words
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in words)
