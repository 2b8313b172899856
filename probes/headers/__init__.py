"""What the headers of an arrived canary, or of a bounce about one, say. Pure text parsing.

Everything here was written by other people's mail servers, or by anyone who can send mail to the
mailbox. So nothing raises on garbage: what cannot be read is ``None``; work and results are
bounded; and text that goes into events is printable and of limited length.
``docs/arrival.md`` says what each value means and what it cannot tell.
"""
