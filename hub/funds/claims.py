"""Applications: an institution asks its payers for what it advanced on sealed days, and may take the request back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from routing.funds import ClaimState, Part
from routing.rulebook import RuleBook
from schemas.errors import Conflict, InvalidMessage, NotFound, Violation
from store import fund_figures, funds
from store.fund_figures import Scope
from store.funds import Claim


@dataclass(frozen=True, slots=True)
class Application:
    """What is asked for. A scope without a payer asks every payer that owes in it, each by a claim of its own."""

    scope: Scope
    application_no: str
    way: str = "01"
    recognised_fen: int | None = None


def apply(connection: Connection, book: RuleBook, asked: Application, *, by: str, now: datetime) -> list[Claim]:
    """The claims. Conflict: days that are not sealed, the same asked for before, or entries that another
    claim holds; then nothing was made."""
    scope = asked.scope
    check_scope(scope)
    funds.lock(connection, scope.institution)
    fund_figures.read_whole_periods(connection)
    check_sealed(connection, scope.first, scope.last)
    payers = [scope.payer] if scope.payer is not None else funds.owing(connection, scope, with_accounts(book))
    return [_claim(connection, book, replace(asked, scope=replace(scope, payer=one)), by, now) for one in payers]


def check_scope(scope: Scope) -> None:
    """InvalidMessage: the days are not in order, or not of one month."""
    if scope.last < scope.first or (scope.first.year, scope.first.month) != (scope.last.year, scope.last.month):
        raise InvalidMessage(
            "days of one month", Violation("period", "claim.month", "name days of one month, in order")
        )


def check_sealed(connection: Connection, first: date, last: date) -> None:
    """Conflict naming the days that are not sealed (`first`, `last`, `days`): what they come to may still change."""
    sealed_to = funds.sealed_to(connection)
    start = first if sealed_to is None else max(first, sealed_to + timedelta(days=1))
    if start > last:
        return
    days = (last - start).days + 1
    named = f"{start}" if days == 1 else f"{start} to {last}"
    raise Conflict(f"not sealed yet: {named}", code="claim.unsealed", first=start, last=last, days=days)


def account_included(book: RuleBook, payer: str) -> bool:
    """Whether the payer's amounts hold the personal accounts too, by the schemes of its reconciliation."""
    return any(scheme.account == "in_fund" for scheme in book.schemes_of(payer))


def with_accounts(book: RuleBook) -> list[str]:
    """The payers that pay out personal accounts too."""
    return [code for code in book.party_by_code if account_included(book, code)]


def _claim(connection: Connection, book: RuleBook, asked: Application, by: str, now: datetime) -> Claim:
    scope = asked.scope
    assert scope.payer is not None
    included = account_included(book, scope.payer)
    sums = fund_figures.total(fund_figures.by_day(connection, scope).values())
    facts = {
        "application_no": asked.application_no,
        "way": asked.way,
        "settlements": sums.count,
        "total_fen": sums.total_fen,
        "amount_fen": sums.paid_fen,
        "account_fen": sums.account_fen,
        "account_included": included,
        "recognised_fen": asked.recognised_fen,
        "by": by,
        "now": now,
    }
    try:
        with connection.begin_nested():
            claim = funds.add(connection, scope, facts)
            if claim is None:
                raise _exists(connection, scope, "month")
            funds.add_items(connection, claim.claim_no, scope, account_included=included)
            return claim
    except IntegrityError as error:
        held = funds.claimed_already(connection, scope, account_included=included)
        verb = "holds" if len(held) == 1 else "hold"
        raise Conflict(f"{claims_named(held)} {verb} entries of these days already", code="claim.overlaps") from error


def apply_for_year(
    connection: Connection, institution: str, payer: str, year: int, application_no: str, *, by: str, now: datetime
) -> Claim:
    """The claim for what was withheld in a year; its audit may deduct more than that, down to everything claimed.

    Conflict: days of the year are not sealed, a month is not audited, or the year was claimed.
    """
    first, last = date(year, 1, 1), date(year, 12, 31)
    scope = Scope(institution, first, last, payer)
    funds.lock(connection, institution)
    fund_figures.read_whole_periods(connection)
    check_sealed(connection, first, last)
    months = months_of(connection, institution, payer, year)
    if waiting := [one.claim_no for one in months if one.state is ClaimState.APPLIED]:
        verb = "is" if len(waiting) == 1 else "are"
        raise Conflict(f"{claims_named(waiting)} {verb} not audited yet", code="claim.state")
    parts = _withheld_parts(funds.parts(connection, [one.claim_no for one in months]))
    claim = funds.add(
        connection,
        scope,
        {
            "application_no": application_no,
            "way": "99",
            "settlements": sum(one.settlements for one in months),
            "total_fen": sum(one.total_fen for one in months),
            "amount_fen": sum(one.amount_fen for one in parts),
            "account_fen": 0,
            "account_included": False,
            "recognised_fen": None,
            "by": by,
            "now": now,
        },
        kind="year",
    )
    if claim is None:
        raise _exists(connection, scope, "year")
    funds.set_parts(connection, claim.claim_no, parts)
    return claim


def _exists(connection: Connection, scope: Scope, kind: str) -> Conflict:
    known = funds.standing(connection, scope, kind=kind)
    number = known.claim_no if known else None
    return Conflict(f"claim {number} asks for exactly this already", code="claim.exists", claim=number)


def claims_named(numbers: Sequence[int]) -> str:
    """Claims in a sentence: "claim 1", "claims 1, 2"."""
    return f"{'claim' if len(numbers) == 1 else 'claims'} {', '.join(map(str, numbers))}"


def months_of(connection: Connection, institution: str, payer: str, year: int) -> list[Claim]:
    """The claims of a year's months that stand, the newest first."""
    found = funds.listed(
        connection,
        institution=institution,
        payer=payer,
        kind="month",
        first=date(year, 1, 1),
        last=date(year, 12, 31),
        limit=100_000,
    )
    return [one for one in found if one.state is not ClaimState.WITHDRAWN]


def _withheld_parts(parts: Iterable[Part]) -> list[Part]:
    sums: dict[tuple[str, str, str], int] = defaultdict(int)
    for part in parts:
        sums[part.key] += part.withheld_fen
    return [Part(*key, fen) for key, fen in sorted(sums.items())]


def withdraw(connection: Connection, claims: Sequence[Claim], *, reason: str, now: datetime) -> list[Claim]:
    """Take claims back that are held; those withdrawn before stay so. Conflict: one is audited already."""
    if closed := [one for one in claims if one.state not in (ClaimState.APPLIED, ClaimState.WITHDRAWN)]:
        named = ", ".join(f"{one.claim_no} is {one.state}" for one in closed)
        raise Conflict(f"the audit is closed: claim {named}", code="claim.state")
    standing = [one for one in claims if one.state is ClaimState.APPLIED]
    funds.move(connection, standing, ClaimState.WITHDRAWN, ended_at=now, reason=reason)
    return standing


def held(connection: Connection, claim_no: int) -> Claim:
    """The claim, held; NotFound when there is none."""
    claim = funds.hold(connection, claim_no)
    if claim is None:
        raise NotFound("there is no such claim", code="claim.not_found", claim=claim_no)
    return claim
