"""Whether what was sealed and signed off is still what it was: each row that was changed, removed or added is found.

Whoever can write past the triggers could also write new digests. So a seal is held against the chain of days, and both
seals and signatures against what the operators' actions say was done; whoever wants more keeps a chain elsewhere, on
paper for example, and has it compared (`unexpected`): the report of the day shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, Row, text

from schemas.counting import how_many
from store import fund_totals
from store.seals import (
    CHUNK,
    Part,
    Seal,
    chain_of,
    day_parts,
    day_subject,
    digest_of,
    kept,
    listed,
    run_parts,
    run_subject,
)

_SIGNED = text("""
    SELECT run_id, day, digest FROM recon_run
    WHERE state = 'signed_off' AND (CAST(:since AS date) IS NULL OR day >= :since) ORDER BY run_id""")
_RUN_DIGESTS = text("SELECT run_id, digest FROM recon_run WHERE run_id = ANY(:ids) AND state = 'signed_off'")
_UNSEALED = text("""
    SELECT e.business_day, count(*) AS rows FROM ledger_entry e
    WHERE e.business_day <= (SELECT max(business_day) FROM day_seal)
      AND (CAST(:since AS date) IS NULL OR e.business_day >= :since)
      AND NOT EXISTS (SELECT 1 FROM day_seal s WHERE s.business_day = e.business_day)
    GROUP BY e.business_day ORDER BY e.business_day""")
_SEAL, _SIGN_OFF = "recon.seal", "recon.sign_off"
_DONE = text("""
    SELECT subject, outcome FROM operator_action
    WHERE kind = :kind AND state = 'executed' ORDER BY id""")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is not as it was sealed: which day or run, and as near as can be told what of it."""

    subject: str
    detail: str


def faults(connection: Connection, last: int | None = None) -> Iterator[Fault]:
    """Everything that is wrong with seals and signed-off runs; `last`: of the newest so many sealed days."""
    # Before anything else: what is sealed or signed while we read, which takes minutes, is nobody's loss.
    done = {kind: connection.execute(_DONE, {"kind": kind}).all() for kind in (_SEAL, _SIGN_OFF)}
    every = listed(connection, None if last is None else last + 1)
    looked = every if last is None else every[-last:]
    since = looked[0].business_day if looked and last is not None else None
    before = every[0] if len(every) > len(looked) else None
    for seal in looked:
        yield from _day(connection, seal, before, first=before is None and last is None)
        before = seal
    for row in connection.execute(_UNSEALED, {"since": since}):
        subject = day_subject(row.business_day)
        entries = how_many(row.rows, "entry", "entries")
        yield Fault(subject, f"{entries} on a day without a seal, before a day that has one")
    yield from (Fault(one.subject, one.detail) for one in fund_totals.wrong(connection, since))
    yield from _runs(connection, since)
    yield from _missing(connection, done, {day_subject(one.business_day): one.chain for one in every}, since)


def unexpected(connection: Connection, chains: Mapping[date, str]) -> Iterator[Fault]:
    """Sealed days whose chain is another than the one that was kept elsewhere. As each chain holds the one before it,
    one that agrees vouches for every day before it, once `faults` finds nothing."""
    now = {one.business_day: one.chain for one in listed(connection)}
    for day, chain in sorted(chains.items()):
        if day not in now:
            yield Fault(day_subject(day), "it is not sealed, and a chain of it is kept elsewhere")
        elif now[day] != chain:
            yield Fault(day_subject(day), f"its chain is {now[day]}, and another is kept elsewhere")


def _day(connection: Connection, seal: Seal, before: Seal | None, *, first: bool) -> Iterator[Fault]:
    subject = day_subject(seal.business_day)
    if chain_of(seal) != seal.chain:
        yield Fault(subject, "the seal's own row was changed")
    if (before is not None and seal.previous != before.chain) or (first and seal.previous):
        yield Fault(subject, "the seal before it was changed or removed")
    parts = kept(connection, subject)
    if digest_of(parts) != seal.digest:
        yield Fault(subject, "the parts of its digest were changed")
    now = day_parts(connection, seal.business_day)
    yield from _compared(subject, [one for one in parts if one.part.startswith("entries/")], now)
    signed = {one.part: one.digest for one in parts if one.part.startswith("run/")}
    numbers = [int(part.removeprefix("run/")) for part in signed]
    found = {f"run/{row.run_id}": row.digest for row in connection.execute(_RUN_DIGESTS, {"ids": numbers})}
    for part, digest in sorted(signed.items()):
        if found.get(part) != digest:
            yield Fault(subject, f"{part} is not the run any more that was signed off when the day was sealed")


def _runs(connection: Connection, since: date | None) -> Iterator[Fault]:
    for row in connection.execute(_SIGNED, {"since": since}).all():
        subject = run_subject(row.run_id)
        parts = kept(connection, subject)
        if digest_of(parts) != row.digest:
            yield Fault(subject, "its digest or the parts of it were changed")
        yield from _compared(subject, parts, run_parts(connection, row.run_id))


def _compared(subject: str, then: list[Part], now: list[Part]) -> Iterator[Fault]:
    """What differs, part by part."""
    before, after = {one.part: one for one in then}, {one.part: one for one in now}
    for name in sorted(before.keys() | after.keys()):
        was, is_ = before.get(name), after.get(name)
        if was != is_:
            yield Fault(subject, f"{_where(name)}: {_difference(was, is_)}")


def _difference(was: Part | None, now: Part | None) -> str:
    if was is None or now is None:
        return f"{how_many(was.rows if was else 0, 'row')} then, {now.rows if now else 0} now"
    if was.rows != now.rows:
        return f"{how_many(was.rows, 'row')} then, {now.rows} now"
    if was.amount_fen != now.amount_fen:
        return f"{how_many(was.rows, 'row')}, {was.amount_fen} fen then, {now.amount_fen} now"
    return f"{how_many(was.rows, 'row')}, and not the same"


def _where(part: str) -> str:
    """A part's name with the numbers that it holds."""
    name, _, chunk = part.rpartition("/")
    if name == "run":
        return "its own row"
    first = int(chunk) * CHUNK
    named = f"lines of statement {name.removeprefix('lines/')}" if name.startswith("lines/") else name
    return f"{named} {max(first, 1)} to {first + CHUNK - 1}"


def _missing(
    connection: Connection, done: Mapping[str, Sequence[Row[Any]]], chains: dict[str, str], since: date | None
) -> Iterator[Fault]:
    """What was carried out and is not there any more, or is another."""
    for row in done[_SEAL]:
        if since is not None and row.subject < day_subject(since):
            continue
        chain = chains.get(row.subject)
        if chain is None:
            yield Fault(row.subject, "it was sealed, and its seal is gone")
        elif chain not in row.outcome:
            yield Fault(row.subject, "its seal is another than the one that was approved")
    signed = {run_subject(row.run_id): row.digest for row in connection.execute(_SIGNED, {"since": None})}
    for row in done[_SIGN_OFF]:
        if row.subject not in signed:
            yield Fault(row.subject, "it was signed off, and its row is gone or says otherwise")
        elif signed[row.subject] not in row.outcome:
            yield Fault(row.subject, "its digest is another than the one that was signed")
