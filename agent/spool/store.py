"""What the spool can do, one transaction's worth at a time; it knows no loop and no clock.

Every method runs inside a transaction that the writer opens and commits. The methods that record a
fact write the event and the state that follows from it together.
"""

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from agent.clock import Moment
from agent.spool import bounds
from agent.spool.bounds import Depth as Depth  # noqa: PLC0414 - part of what this module offers
from agent.spool.flight import UNTOLD, Flight, FlightState
from probes.contract.events import Arrival, Bounce, Event, Expiry, Intent, Submission, encode
from probes.contract.names import parse_path

_SELECT_FLIGHTS = (
    "SELECT canary, path, path_seq, mailbox_seq, due_ns, wall_ns, boot_ns, boot_id,"
    " deadline_s, loss_after_s, state FROM flights"
)

# Bare strings: whatever is of another class, SQLite's module first looks for an adapter for.
_INTENT = FlightState.INTENT.value
_EXPIRED = FlightState.EXPIRED.value
_EXPIRED_UNTOLD = FlightState.EXPIRED_UNTOLD.value
_ARRIVED_UNTOLD = FlightState.ARRIVED_UNTOLD.value
_UNTOLD = tuple(state.value for state in UNTOLD)


@dataclass(frozen=True, slots=True)
class Record:
    """One event as it lies in the spool; (epoch, seq) is its identity."""

    seq: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far one folder was read: all below ``next_uid`` of ``uidvalidity`` is accounted for.

    ``checked`` is the start of the last complete check whose arrivals are all in the spool.
    ``account`` says on which server and in whose account the UIDs mean something: two accounts may
    well have the same UIDVALIDITY.
    """

    uidvalidity: int
    next_uid: int
    checked: Moment
    account: str = ""


class Store:
    """The spool's file, opened. Not thread-safe: one owner at a time."""

    def __init__(self, connection: sqlite3.Connection, epoch: str) -> None:
        self._db = connection
        self.epoch = epoch

    # --- transactions -----------------------------------------------------------------------

    def begin(self) -> None:
        """Start a transaction that may write."""
        self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make everything since :meth:`begin` durable, all of it or nothing."""
        self._db.execute("COMMIT")

    def rollback(self) -> None:
        """Undo everything since :meth:`begin`; harmless when SQLite already did."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file; an open transaction is lost, as it should be."""
        self._db.close()

    # --- events -----------------------------------------------------------------------------

    def append(self, event: Event, at_ns: int) -> int:
        """Write an event down; gives its sequence number, contiguous from 1 within the epoch."""
        body = encode(event)
        row = self._db.execute("INSERT INTO events (at_ns, body) VALUES (?, ?)", (at_ns, body))
        return int(row.lastrowid or 0)

    def read_after(self, seq: int, limit: int) -> list[Record]:
        """Up to ``limit`` events after ``seq``, in order."""
        rows = self._db.execute(
            "SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)
        )
        return [Record(seq, body) for seq, body in rows]

    def walls(self) -> bytes | None:
        """What :meth:`save_walls` was last given."""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'walls'").fetchone()
        return None if row is None else str(row[0]).encode()

    def save_walls(self, dumped: bytes) -> None:
        """Remember how the wall clock was set."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('walls', ?)", (dumped.decode(),))

    def shipped(self) -> int:
        """The last sequence number that is safe elsewhere."""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'shipped'").fetchone()
        return int(row[0])

    def mark_shipped(self, seq: int) -> None:
        """Everything up to ``seq`` is safe elsewhere and leaves the spool."""
        self._db.execute("DELETE FROM events WHERE seq <= ?", (seq,))
        self._db.execute(
            "UPDATE meta SET value = max(CAST(value AS INTEGER), ?) WHERE key = 'shipped'", (seq,)
        )

    def trim(self, *, max_bytes: int, min_at_ns: int) -> int:
        """Drop the oldest events past the bounds; gives how many. They are counted for ever."""
        dropped = self._drop_through(bounds.overdue(self._db, min_at_ns))
        for _ in range(10):  # which always suffice
            last = bounds.excess(self._db, max_bytes)
            if not last:
                break
            dropped += self._drop_through(last)
        return dropped

    def _drop_through(self, last: int) -> int:
        """Drop all events up to that sequence number, and count them."""
        dropped = self._db.execute("DELETE FROM events WHERE seq <= ?", (last,)).rowcount
        self._db.execute(
            "UPDATE meta SET value = CAST(value AS INTEGER) + ? WHERE key = 'dropped'", (dropped,)
        )
        return dropped

    def depth(self) -> Depth:
        """The spool's depth; cheap at any depth."""
        return bounds.depth(self._db)

    # --- flights ----------------------------------------------------------------------------

    def begin_flight(self, draft: Flight, revision: str) -> Flight:
        """Number the canary, write its intent, and remember it as in the air."""
        path = draft.path
        path_seq, mailbox_seq = self._next(f"path:{path}", f"mailbox:{path.agent}|{path.mailbox}")
        flight = draft.numbered(path_seq, mailbox_seq, self.epoch)
        self._db.execute(
            "INSERT INTO flights VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                flight.canary, str(path), path_seq, mailbox_seq, flight.due_ns,
                flight.sent.wall_ns, flight.sent.boot_ns, flight.sent.boot_id,
                flight.deadline_s, flight.loss_after_s, flight.state.value,
            ),
        )  # fmt: skip
        intent = Intent(
            canary=flight.canary,
            path=path,
            path_seq=path_seq,
            mailbox_seq=mailbox_seq,
            stream_epoch=self.epoch,
            due_ns=flight.due_ns,
            at_ns=flight.sent.wall_ns,
            deadline_s=flight.deadline_s,
            loss_after_s=flight.loss_after_s,
            revision=revision,
            boot_id=flight.sent.boot_id,
            sent_boot_ns=flight.sent.boot_ns,
        )
        self.append(intent, intent.at_ns)
        return flight

    def _next(self, first: str, second: str) -> tuple[int, int]:
        """The next number of each of the two streams."""
        rows = self._db.execute(
            "INSERT INTO streams VALUES (?, 1), (?, 1)"
            " ON CONFLICT (key) DO UPDATE SET last = last + 1 RETURNING key, last",
            (first, second),
        )
        last = dict(rows.fetchall())
        return last[first], last[second]

    def end_submission(self, event: Submission, sent: Moment, state: FlightState) -> None:
        """Write down how the attempt ended; ``state`` says whether its arrival is still awaited.

        A flight whose arrival overtook its relay's reply is accounted for with that; and a wait
        that was over before the reply came stays over.
        """
        self.append(event, event.at_ns)
        if state is FlightState.CLOSED:
            self._db.execute("DELETE FROM flights WHERE canary = ?", (event.canary,))
            return
        updated = self._db.execute(
            "UPDATE flights SET state = iif(state = ?1, ?2, ?3), wall_ns = ?4, boot_ns = ?5,"
            " boot_id = ?6 WHERE canary = ?7 AND state IN (?1, ?8)",
            (
                _INTENT, state.value, _EXPIRED, sent.wall_ns, sent.boot_ns,
                sent.boot_id, event.canary, _EXPIRED_UNTOLD,
            ),
        )  # fmt: skip
        if not updated.rowcount:
            self._db.execute(
                "DELETE FROM flights WHERE canary = ? AND state = ?",
                (event.canary, _ARRIVED_UNTOLD),
            )

    def end_wait(self, event: Expiry) -> None:
        """The wait is over. The flight is kept, so that a late arrival still has its boot clock."""
        self.append(event, event.at_ns)
        self._db.execute(
            "UPDATE flights SET state = iif(state = ?1, ?2, ?3)"
            " WHERE canary = ?4 AND state IN (?1, ?5)",
            (
                _INTENT, _EXPIRED_UNTOLD, _EXPIRED, event.canary, FlightState.AWAITED.value,
            ),
        )  # fmt: skip

    def record_check(
        self,
        mailbox: str,
        folder: str,
        cursor: Cursor,
        found: Sequence[tuple[int, Arrival | Bounce | None]],
    ) -> None:
        """One complete check: its finds (UID and event), what they close, and how far it read.

        A find without an event is only remembered as to be deleted.
        """
        for uid, event in found:
            if event is not None:
                self.append(event, event.seen_ns)
            self._db.execute(
                "INSERT OR IGNORE INTO cleanup VALUES (?, ?, ?, ?)",
                (mailbox, folder, cursor.uidvalidity, uid),
            )
        self._arrived([event.canary for _, event in found if event and ends_flight(event)])
        self.save_cursor(mailbox, folder, cursor)

    def save_cursor(self, mailbox: str, folder: str, cursor: Cursor) -> None:
        """Remember how far a folder was read."""
        checked = cursor.checked
        self._db.execute(
            "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                mailbox, folder, cursor.uidvalidity, cursor.next_uid,
                checked.wall_ns, checked.boot_ns, checked.boot_id, cursor.account,
            ),
        )  # fmt: skip

    def take_up(self, mailbox: str, folder: str, cursor: Cursor) -> list[int]:
        """Go on from there; gives the UIDs that are accounted for and still lie in the folder.

        What was remembered of another account or UIDVALIDITY is dropped.
        """
        self._db.execute(
            "DELETE FROM cleanup WHERE mailbox = ?1 AND folder = ?2 AND ?3 IS NOT"
            " (SELECT account FROM cursors WHERE mailbox = ?1 AND folder = ?2)",
            (mailbox, folder, cursor.account),
        )
        self.save_cursor(mailbox, folder, cursor)
        return self.cleanup(mailbox, folder, cursor.uidvalidity)

    def forget_flights(self, before: Moment) -> int:
        """Remove expired flights sent before that, by the best clock there is; gives how many."""
        return self._db.execute(
            "DELETE FROM flights WHERE state = ?"
            " AND CASE boot_id WHEN ? THEN boot_ns < ? ELSE wall_ns < ? END",
            (_EXPIRED, before.boot_id, before.boot_ns, before.wall_ns),
        ).rowcount

    def _arrived(self, canaries: Sequence[str]) -> None:
        """Nothing more is awaited of them, but for the submission of those that have none."""
        told = self._db.executemany(
            "DELETE FROM flights WHERE canary = ? AND state NOT IN (?, ?, ?)",
            [(canary, *_UNTOLD) for canary in canaries],
        )
        if told.rowcount < len(canaries):
            self._db.executemany(
                "UPDATE flights SET state = ? WHERE canary = ?",
                [(_ARRIVED_UNTOLD, canary) for canary in canaries],
            )

    def has_flown(self, mailbox: str | None) -> bool:
        """Whether a canary was ever on its way to that mailbox (``None``: to any)."""
        keys = self._db.execute("SELECT key FROM streams WHERE key GLOB 'mailbox:*'")
        return any(mailbox is None or key.endswith(f"|{mailbox}") for (key,) in keys)

    # --- what a restart needs ---------------------------------------------------------------

    def flights(self) -> list[Flight]:
        """Every flight that is awaited or has no submission yet, oldest first."""
        rows = self._db.execute(
            f"{_SELECT_FLIGHTS} WHERE state <> ? ORDER BY wall_ns, canary", (_EXPIRED,)
        )
        return [self._flight(*row) for row in rows]

    def sent_elsewhere(self, flights: Iterable[Flight], moved: Collection[str]) -> set[str]:
        """Which of all ``flights`` were sent to where their mailbox was before.

        Those to the mailboxes ``moved`` are from now on, also after restarts: once the new account
        has been opened, no cursor tells of the old one.
        """
        row = self._db.execute("SELECT value FROM meta WHERE key = 'elsewhere'").fetchone()
        known = set() if row is None else msgspec.json.decode(row[0], type=set[str])
        found = {
            flight.canary
            for flight in flights
            if flight.canary in known or flight.path.mailbox in moved
        }
        if found != known:
            text = msgspec.json.encode(sorted(found)).decode()
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('elsewhere', ?)", (text,))
        return found

    def _flight(
        self, canary: str, path: str, path_seq: int, mailbox_seq: int, due_ns: int, wall_ns: int,
        boot_ns: int, boot_id: str, deadline_s: float, loss_after_s: float, state: str,
    ) -> Flight:  # fmt: skip
        return Flight(
            canary=canary,
            path=parse_path(path),
            due_ns=due_ns,
            sent=Moment(wall_ns, boot_ns, boot_id),
            deadline_s=deadline_s,
            loss_after_s=loss_after_s,
            path_seq=path_seq,
            mailbox_seq=mailbox_seq,
            stream_epoch=self.epoch,
            state=FlightState(state),
        )

    def find_flights(self, canaries: Iterable[str]) -> dict[str, Flight]:
        """The flights of those canaries that have not arrived, expired ones included."""
        found = {}
        for canary in canaries:
            row = self._db.execute(f"{_SELECT_FLIGHTS} WHERE canary = ?", (canary,)).fetchone()
            if row is not None and row[-1] != FlightState.ARRIVED_UNTOLD:
                found[canary] = self._flight(*row)
        return found

    def cursors(self, mailbox: str | None = None) -> dict[tuple[str, str], Cursor]:
        """How far each (mailbox, folder) was read; those of one mailbox, or all."""
        rows = self._db.execute(
            "SELECT mailbox, folder, uidvalidity, next_uid, wall_ns, boot_ns, boot_id, account"
            " FROM cursors WHERE ?1 IS NULL OR mailbox = ?1",
            (mailbox,),
        )
        return {(m, f): Cursor(v, n, Moment(w, b, i), a) for m, f, v, n, w, b, i, a in rows}

    def cleanup(self, mailbox: str, folder: str, uidvalidity: int) -> list[int]:
        """UIDs that are accounted for and still lie in the folder; older validities are dropped."""
        self._db.execute(
            "DELETE FROM cleanup WHERE mailbox = ? AND folder = ? AND uidvalidity <> ?",
            (mailbox, folder, uidvalidity),
        )
        rows = self._db.execute(
            "SELECT uid FROM cleanup WHERE mailbox = ? AND folder = ? AND uidvalidity = ?"
            " ORDER BY uid",
            (mailbox, folder, uidvalidity),
        )
        return [uid for (uid,) in rows]

    def cleaned(self, mailbox: str, folder: str, uidvalidity: int, uids: Iterable[int]) -> None:
        """Those mails are gone from the folder."""
        self._db.executemany(
            "DELETE FROM cleanup WHERE mailbox = ? AND folder = ? AND uidvalidity = ? AND uid = ?",
            [(mailbox, folder, uidvalidity, uid) for uid in uids],
        )


def ends_flight(event: Arrival | Bounce) -> bool:
    """Whether nothing more is awaited of the canary: it arrived, or was returned for good."""
    return isinstance(event, Arrival) or event.action == "failed"
