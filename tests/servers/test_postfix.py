"""Reading Postfix's queue as it lists it."""

from datetime import UTC, datetime

from tests.servers.postfix import QueuedMail, parse_queue

LISTING = """\
{"queue_name": "deferred", "queue_id": "5E90ABC182", "arrival_time": 1700000000, \
"message_size": 214, "forced_expire": false, "sender": "a@monitor.example", "recipients": \
[{"address": "b@acme.example", "delay_reason": "connect to home:25: Connection timed out"}]}
{"queue_name": "active", "queue_id": "6157DBC185", "arrival_time": 1700000001, \
"message_size": 214, "forced_expire": false, "sender": "", "recipients": \
[{"address": "b@acme.example"}, {"address": "c@acme.example"}]}
"""


def test_a_listing_is_one_mail_a_line() -> None:
    deferred, active = parse_queue(LISTING)
    assert deferred == QueuedMail(
        queue_id="5E90ABC182",
        queue="deferred",
        arrived=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        sender="a@monitor.example",
        recipients={"b@acme.example": "connect to home:25: Connection timed out"},
    )
    assert deferred.reasons == "connect to home:25: Connection timed out"
    assert active.recipients == {"b@acme.example": None, "c@acme.example": None}
    assert active.reasons == ""


def test_an_empty_queue_lists_nothing() -> None:
    assert parse_queue("") == []
