"""Audits: a sample that can be drawn again, deductions with a reason, and the closing that books them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from hub.funds.claims import held, months_of
from routing.days import day_of
from routing.funds import WHOLE, ClaimState, Part, withheld
from routing.postings import Account, Kind
from schemas.errors import Conflict, InvalidMessage, NotFound, Violation
from schemas.money import split_within, yuan_of
from store import fund_audits, fund_figures, funds, ledger
from store.fund_audits import Deduction, Sampled, Share
from store.funds import Claim
from store.ledger import Entry

SAMPLE_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Sample:
    """How a sample is drawn: of so many, or of so many basis points of all; `seed` decides which."""

    seed: str
    count: int | None = None
    basis_points: int | None = None

    def size(self, population: int) -> int:
        """How many of a population, rounded up."""
        if self.count is not None:
            return min(self.count, population, SAMPLE_MAX)
        return min(-(-population * (self.basis_points or 0) // WHOLE), SAMPLE_MAX)


def sample(connection: Connection, claim_no: int, how: Sample) -> list[Sampled]:
    """Draw a sample of an open audit and remember how. Conflict: the audit is closed."""
    claim = _open(connection, claim_no)
    fund_figures.read_whole_periods(connection)
    population = fund_audits.population(connection, claim)
    size = how.size(population)
    kept = {"seed": how.seed, "count": how.count, "basis_points": how.basis_points, "of": population, "size": size}
    funds.keep_sample(connection, claim_no, kept)
    return fund_audits.draw(connection, claim, how.seed, size)


def drawn_again(connection: Connection, claim: Claim) -> list[Sampled]:
    """The sample that was drawn last; empty when none was."""
    if claim.sample is None:
        return []
    fund_figures.read_whole_periods(connection)
    return fund_audits.draw(connection, claim, claim.sample["seed"], claim.sample["size"])


@dataclass(frozen=True, slots=True)
class Refused:
    """What an audit refuses: of one settlement, or with an empty number of the whole (a year's claim only)."""

    settlement_no: str
    amount_fen: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Noted:
    """What a request has deducted: the numbers of its deductions, and of these the ones that an earlier one noted."""

    numbers: list[int]
    before: list[int]


def deduct(
    connection: Connection, claim_no: int, rows: Sequence[Refused], *, request_no: str = "", by: str, now: datetime
) -> Noted:
    """Note deductions, all or none; they are booked when the audit is closed.

    Asked for again, nothing is deducted again: under a request number ever, without one as long as an equal deduction
    stands. NotFound: the claim holds no such settlement. Conflict: more than is left of it, the audit is closed, or the
    number was used for something else.
    """
    claim = _open(connection, claim_no)
    known: dict[str, list[int]] = defaultdict(list)
    for one in fund_audits.requested(connection, claim_no, request_no):
        if request_no or not one.taken_back:
            known[one.row.rpartition("/")[0]].append(one.deduction_id)
    asked = _named(rows)
    if request_no and known and known.keys() != set(asked):
        raise Conflict(
            "this request number was used for other deductions", code="request.reused", request_no=request_no
        )
    noted = Noted([], [number for name in asked for number in known.get(name, ())])
    for place, (name, refused) in enumerate(zip(asked, rows, strict=True), 1):
        try:
            new = known.get(name) or _deduct(connection, claim, refused, by, now, (request_no, name))
        except (Conflict, NotFound) as error:
            if len(rows) == 1:
                raise
            told = f"row {place}, {refused.settlement_no}: {error.message}"
            raise Conflict(told, code=error.code) from error
        noted.numbers.extend(new)
    return noted


def _named(rows: Sequence[Refused]) -> list[str]:
    """What each row is known by: a hash of what it says, and which of the equal ones it is."""
    seen: Counter[str] = Counter()
    names = []
    for one in rows:
        said = "\x1f".join((one.settlement_no, str(one.amount_fen), one.code, one.reason))
        digest = hashlib.sha256(said.encode()).hexdigest()[:32]
        seen[digest] += 1
        names.append(f"{digest}/{seen[digest]}")
    return names


def _deduct(
    connection: Connection, claim: Claim, refused: Refused, by: str, now: datetime, request: tuple[str, str]
) -> list[int]:
    """The numbers of one row's deductions: two where a settlement has two products."""
    if refused.amount_fen <= 0:
        raise InvalidMessage("nothing to deduct", Violation("amount", "deduction.amount", "deduct more than 0"))
    pieces: list[tuple[Share | None, int]] = [(None, refused.amount_fen)]
    if refused.settlement_no:
        pieces = [*_from_shares(connection, claim, refused)]
    elif claim.kind != "year":
        raise InvalidMessage("no settlement", Violation("settlement_no", "deduction.of", "name the settlement"))
    numbers = [
        fund_audits.add(
            connection,
            claim.claim_no,
            share,
            refused.settlement_no,
            fen,
            code=refused.code,
            reason=refused.reason,
            by=by,
            now=now,
            request_no=request[0],
            request_row=f"{request[1]}/{piece}",
        )
        for piece, (share, fen) in enumerate(pieces)
    ]
    _check_year(connection, claim)
    return numbers


def _from_shares(connection: Connection, claim: Claim, refused: Refused) -> list[tuple[Share | None, int]]:
    shares = fund_audits.shares(connection, claim, refused.settlement_no)
    if not shares:
        raise NotFound("the claim holds no such settlement", code="deduction.unknown")
    left = sum(max(0, one.left_fen) for one in shares)
    if refused.amount_fen > left:
        raise Conflict(f"only {yuan_of(left)} is left of its share", code="deduction.too_much")
    pieces: list[tuple[Share | None, int]] = []
    rest = refused.amount_fen
    for share in shares:
        taken = min(rest, max(0, share.left_fen))
        if taken:
            pieces.append((share, taken))
        rest -= taken
    return pieces


def _check_year(connection: Connection, claim: Claim) -> None:
    """A year's deductions go down to everything that its months claimed, no further."""
    if claim.kind != "year":
        return
    months = months_of(connection, claim.institution, claim.payer, claim.first_day.year)
    most = sum(one.amount_fen - one.deducted_fen for one in months)
    if sum(one.amount_fen for one in fund_audits.of_claim(connection, claim.claim_no)) > most:
        raise Conflict(f"the year's claims came to {yuan_of(most)}", code="deduction.too_much")


def take_back(connection: Connection, claim_no: int, deduction_id: int, by: str) -> None:
    """Undo a deduction of an open audit; NotFound when there is none that stands."""
    _open(connection, claim_no)
    if not fund_audits.take_back(connection, claim_no, deduction_id, by):
        raise NotFound("there is no such deduction", code="deduction.unknown", deduction=deduction_id)


def close(
    connection: Connection, claim_no: int, *, basis_points: int, action: int, by: str, now: datetime
) -> list[Part]:
    """Close the audit: book the deductions, hold back the year's deposit; the parts as they are payable.

    Conflict: closed already, a deducted settlement was undone meanwhile, or the year is claimed already and would never
    pay out what is held back now.
    """
    claim = _open(connection, claim_no)
    fund_figures.read_whole_periods(connection)
    _check_deposit(connection, claim, basis_points)
    if undone := fund_audits.excessive(connection, claim):
        raise Conflict(f"undone meanwhile, take the deduction back: {', '.join(undone[:20])}", code="deduction.undone")
    fund_audits.give_back(connection, claim, by=by, now=now)
    deductions = fund_audits.of_claim(connection, claim_no)
    parts = withheld(deducted(funds.parts(connection, [claim_no]), deductions), basis_points)
    entries = _entries(claim, deductions, parts, now)
    ledger.post(connection, entries)
    funds.close(connection, claim, parts, basis_points=basis_points, action=action, now=now)
    return list(parts)


def _check_deposit(connection: Connection, claim: Claim, basis_points: int) -> None:
    if not 0 <= basis_points <= WHOLE or (basis_points and claim.kind == "year"):
        remedy = "hold back 0 to 100 percent of a month, nothing of a year"
        raise InvalidMessage("percentage", Violation("withheld_percent", "claim.withheld", remedy))
    year = claim.first_day.year
    claimed = funds.listed(connection, institution=claim.institution, payer=claim.payer, kind="year")
    if basis_points and any(one.first_day.year == year and one.state is not ClaimState.WITHDRAWN for one in claimed):
        raise Conflict("the year is claimed already: hold nothing back", code="claim.year")


def deducted(parts: Sequence[Part], deductions: Sequence[Deduction]) -> list[Part]:
    """The parts with their deductions; what is refused of the whole is taken from all in proportion, and from none
    more than it has unless it is more than all have together."""
    fens: dict[tuple[str, str, str], int] = defaultdict(int)
    for one in deductions:
        if one.case_id is not None:
            fens[(one.region, one.layer, one.product)] += one.amount_fen
    known = [*parts, *(Part(*key, 0) for key in sorted(fens.keys() - {part.key for part in parts}))]
    found = [replace(part, deducted_fen=fens[part.key]) for part in known]
    whole = sum(one.amount_fen for one in deductions if one.case_id is None)
    if not whole:
        return found
    if not found:
        found = [Part("", "", "", 0)]
    weights = [max(0, part.amount_fen - part.deducted_fen) for part in found]
    pieces = split_within(whole, weights if sum(weights) else [1] * len(weights))
    return [replace(part, deducted_fen=part.deducted_fen + fen) for part, fen in zip(found, pieces, strict=True)]


def _entries(claim: Claim, deductions: Sequence[Deduction], parts: Sequence[Part], now: datetime) -> list[Entry]:
    """Deductions of settlements one by one, those of the whole by part."""
    made = [
        _entry(claim, (one.region, one.layer, one.product), one.amount_fen, now, one.case_id, one.leg_no)
        for one in deductions
        if one.case_id is not None
    ]
    fens: dict[tuple[str, str, str], int] = {part.key: part.deducted_fen for part in parts}
    for one in deductions:
        if one.case_id is not None:
            fens[(one.region, one.layer, one.product)] -= one.amount_fen
    return made + [_entry(claim, key, fen, now) for key, fen in fens.items() if fen]


def _entry(
    claim: Claim,
    key: tuple[str, str, str],
    fen: int,
    now: datetime,
    case_id: str | None = None,
    leg_no: int | None = None,
) -> Entry:
    debit, credit = Account.DEDUCTED, Account.RECEIVABLE
    if fen < 0:
        debit, credit = credit, debit
    region, layer, product = key
    return Entry(
        region=region,
        business_day=day_of(now),
        effective_day=day_of(now),
        about_day=claim.last_day,
        institution=claim.institution,
        payer=claim.payer,
        layer=layer,
        product=product,
        kind=Kind.DEDUCTION,
        debit=debit,
        credit=credit,
        amount_fen=abs(fen),
        case_id=case_id,
        leg_no=leg_no,
        cause=claim.cause,
    )


def _open(connection: Connection, claim_no: int) -> Claim:
    claim = held(connection, claim_no)
    if claim.state is not ClaimState.APPLIED:
        raise Conflict(f"claim {claim_no} is {claim.state}: its audit is closed", code="claim.state")
    return claim
