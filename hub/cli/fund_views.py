"""Claims and payments for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from routing.funds import ClaimState, Part
from schemas.counting import how_many
from schemas.money import yuan_of
from store.fund_audits import Deduction, Sampled
from store.fund_payments import Payment, Unordered
from store.funds import Claim

_SAMPLED_SHOWN = 50
_NEXT = {
    ClaimState.APPLIED: "hub fund sample {0} --percent 5, hub fund deduct {0} …, hub fund audit {0} --reason WHY",
    ClaimState.AUDITED: "hub fund order {1} --institution {2} --reason WHY",
    ClaimState.ORDERED: "hub fund file {1} --out FILE; the institution confirms {3}",
}


def _table(*columns: str, money: Sequence[str] = ()) -> Table:
    made = Table(box=None, pad_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in money else "left", no_wrap=name in money, overflow="fold")
    return made


def claims(found: Sequence[Claim]) -> Table:
    """The list."""
    money = ("claim", "settlements", "asked", "deducted", "withheld", "payable")
    made = _table(
        *("claim", "kind", "institution", "payer", "first", "last", "state", "settlements", "asked", "deducted"),
        *("withheld", "payable", "payment"),
        money=money,
    )
    for one in found:
        payable = "" if one.state in (ClaimState.APPLIED, ClaimState.WITHDRAWN) else yuan_of(one.payable_fen)
        made.add_row(
            str(one.claim_no),
            one.kind + (f" {one.visit_kind}" if one.visit_kind else ""),
            one.institution,
            one.payer,
            str(one.first_day),
            str(one.last_day),
            one.state.value,
            str(one.settlements),
            yuan_of(one.asked_fen),
            yuan_of(one.deducted_fen),
            yuan_of(one.withheld_fen),
            payable,
            one.payment_no or "",
        )
    return made


def show(
    claim: Claim, parts: Sequence[Part], deductions: Sequence[Deduction], drawn: Sequence[Sampled], console: Console
) -> None:
    """One claim."""
    console.print(claims([claim]))
    made = _table("region", "layer", "product", "shares", "account", "deducted", "withheld", "payable")
    for part in parts:
        fens = (part.amount_fen, part.account_fen, part.deducted_fen, part.withheld_fen, part.payable_fen)
        made.add_row(part.region, part.layer, part.product, *map(yuan_of, fens))
    console.print(made)
    if deductions:
        made = _table("deduction", "settlement", "amount", "code", "by", "reason", money=("amount",))
        for one in deductions:
            cells = (one.settlement_no or "(whole)", yuan_of(one.amount_fen), one.code, one.made_by)
            made.add_row(str(one.deduction_id), *cells, escape(one.reason))
        console.print(made)
    if claim.sample is not None:
        size, of, seed = (claim.sample[name] for name in ("size", "of", "seed"))
        console.print(f"sample: {size} of {how_many(of, 'settlement')}, seed {seed}", markup=False)
        shown = ", ".join(f"{one.settlement_no} {yuan_of(one.amount_fen)}" for one in drawn[:_SAMPLED_SHOWN])
        rest = f" and {len(drawn) - _SAMPLED_SHOWN} more (--json)" if len(drawn) > _SAMPLED_SHOWN else ""
        console.print(shown + rest, markup=False, soft_wrap=True)
    if claim.state in _NEXT:
        told = _NEXT[claim.state].format(claim.claim_no, claim.payer, claim.institution, claim.payment_no)
        console.print(f"next: {told}", markup=False, soft_wrap=True)


def payments(found: Sequence[Payment]) -> Table:
    """The list of orders."""
    made = _table("payment", "payer", "institution", "amount", "state", "claims", "file", "paid on", money=("amount",))
    for one in found:
        numbers = " ".join(map(str, one.claims))
        file_no = "" if one.file_no is None else str(one.file_no)
        paid = "" if one.paid_on is None else str(one.paid_on)
        cells = (one.payment_no, one.payer, one.institution, yuan_of(one.amount_fen), one.state)
        made.add_row(*cells, numbers, file_no, paid)
    return made


def unordered(found: Sequence[Unordered]) -> Table:
    """Confirmations of what nobody ordered."""
    made = _table("payment", "payer", "institution", "amount", "paid on", money=("amount",))
    for one in found:
        made.add_row(one.payment_no, one.payer, one.institution, yuan_of(one.amount_fen), str(one.paid_on))
    return made
