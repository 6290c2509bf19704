"""Proposals for the breaks of a run, set-based: read page by page, decided by the table, written back together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice

from sqlalchemy import Connection

from hub.people.ways import can_of
from hub.recon.remedies_table import Able, Facts, LegFacts, Proposal, Side, decide
from routing.doubt import Move, move_cancelling, move_reversing
from routing.rulebook import Party, RuleBook
from routing.rulebook_file import read_rule_book
from schemas.errors import NotFound, Unavailable
from schemas.money import yuan_of
from schemas.statement import BreakClass
from store import breaks, rulebooks
from store.breaks import PAGE, Break, Twin

_HALVES = (
    BreakClass.MISSING_AT_HUB,
    BreakClass.MISSING_AT_INSURER,
    BreakClass.MISSING_AT_BASIC,
    BreakClass.MISSING_AT_HOSPITAL,
)
_NEED_WORDS = (BreakClass.MISSING_AT_HUB, BreakClass.STATUS)


def propose(connection: Connection, run_id: int) -> int:
    """Give each break of the run that nobody has decided its proposal with the reason; how many.

    What was ended in an earlier run of the same books stays ended.
    """
    breaks.hold_runs(connection, run_id)
    breaks.carry_over(connection, run_id, datetime.now(UTC))
    book = book_in_force(connection)
    found = breaks.of_run(connection, run_id, states=("open", "explained"))
    able: dict[str, Able] = {}
    count = 0
    for page in _pages(found):
        twins = breaks.twins_of(connection, [one.break_id for one in page if one.break_class in _HALVES])
        halves = breaks.by_id(connection, [twin.break_id for twin in twins.values()])
        twins |= breaks.twins_of(connection, list(halves))
        _propose(connection, [*page, *halves.values()], twins, book, able)
        count += len(page)
    return count


def _propose(
    connection: Connection, page: Sequence[Break], twins: Mapping[int, Twin], book: RuleBook, able: dict[str, Able]
) -> None:
    words = breaks.words_of(connection, [one.break_id for one in page if one.break_class in _NEED_WORDS])
    named = {number for number, word in words.items() if word.reference}
    posted = breaks.posted_of(connection, [one.break_id for one in page if one.about_payer])
    made = []
    for one in page:
        said = proposed_for(one, book, able, named=one.break_id in named, posted_fen=posted.get(one.break_id, 0))
        twin = twins.get(one.break_id)
        made.append((one.break_id, said.remedy, said.reason if twin is None else f"{said.reason}{_with(twin)}"))
    breaks.propose(connection, made)


def _with(twin: Twin) -> str:
    differ = yuan_of(twin.difference_fen)
    return f"; with break {twin.break_id} of {twin.day} one row, late and wrong: together the books differ by {differ}"


def _pages(found: Iterator[Break]) -> Iterator[list[Break]]:
    while page := list(islice(found, PAGE)):
        yield page


def proposed_for(one: Break, book: RuleBook, able: dict[str, Able], *, named: bool, posted_fen: int = 0) -> Proposal:
    """What the table says of one break. `able` remembers the payers that were looked up; `named`: the payer's own
    statement has its number for it; `posted_fen`: the differences that stand for its leg and day."""
    if one.payer not in able:
        able[one.payer] = able_of(book.party_by_code.get(one.payer))
    return decide(_facts(one, able[one.payer], named=named, posted_fen=posted_fen))


def able_of(party: Party | None) -> Able:
    """What a payer's interface can be trusted with; nothing, where nobody knows it."""
    can = can_of(party) if party is not None else None
    if party is None or can is None:
        return Able(undo_again=False)
    return Able(
        # To ask anew is worth nothing where the answer can only be silence.
        inquire=can.inquiry or can.reversal or can.idempotent_submit,
        reverse=move_reversing(can) is not Move.PEOPLE,
        undo_again=move_cancelling(can) is not Move.PEOPLE,
        late_stands=party.late_approval == "keep",
    )


def book_in_force(connection: Connection) -> RuleBook:
    """The rule book that decides now; Unavailable when there is none."""
    stored = rulebooks.active(connection, datetime.now(UTC))
    if stored is None:
        raise Unavailable("no rule book is active: run `hub rules activate FILE`")
    return read_rule_book(stored.content)


def side(figures: Sequence[int] | None) -> Side | None:
    """One side's figures as a break holds them; None for a side that is not compared."""
    if figures is None:
        return None
    settlements, refunds, settled_fen, refunded_fen, account_fen, *_ = figures
    # Some books write refunds without the sign.
    return Side(settlements, refunds, settled_fen, -abs(refunded_fen), account_fen)


def _facts(one: Break, able: Able, *, named: bool, posted_fen: int) -> Facts:
    leg = None
    if one.leg_state is not None and one.layer is not None and one.case_state is not None:
        asked = one.attempts > 0
        leg = LegFacts(one.leg_state, one.layer, one.case_state, not asked, one.unclaimed_fen)
    return Facts(
        break_class=one.break_class,
        hub=side(one.hub),
        payer=side(one.payer_side),
        hospital=side(one.hospital),
        leg=leg,
        known=one.case_state is not None,
        answered=one.ended and one.revision > 0,
        revisions=one.revision,
        has_reference=named,
        in_fund=one.in_fund,
        able=able,
        posted_fen=posted_fen,
    )


def required(connection: Connection, ids: Sequence[int]) -> dict[int, Break]:
    """These breaks, held until the transaction ends; NotFound names those that are none."""
    found = breaks.lock(connection, ids)
    missing = sorted(set(ids) - set(found))
    if missing:
        raise NotFound(f"there is no break {', '.join(map(str, missing[:10]))}", code="break.not_found")
    return found
