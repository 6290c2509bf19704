"""What a claim for advanced money comes to and how it moves through the ledger: pure arithmetic, whole fen.

A claim has parts, one per region, layer and product, so that what is paid can be told apart like what is owed. Amounts
may be below zero: then the institution gives back what was paid for settlements that were undone since.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from routing.postings import Account, Kind
from schemas.money import share_fen, split_within

WHOLE = 10_000
"""Basis points of everything."""


class ClaimState(StrEnum):
    """The life of a claim: applied -> audited -> ordered -> paid, or withdrawn before the audit is closed."""

    APPLIED = "applied"
    AUDITED = "audited"
    ORDERED = "ordered"
    PAID = "paid"
    WITHDRAWN = "withdrawn"


NATIONAL_STATES: dict[ClaimState, str] = {
    ClaimState.APPLIED: "10",
    ClaimState.AUDITED: "20",
    ClaimState.ORDERED: "20",
    ClaimState.PAID: "50",
}
"""Clearing states of the national interface: applied, accepted, cleared. What is withdrawn is no application."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a claim asks for in one region, layer and product."""

    region: str
    layer: str
    product: str
    amount_fen: int
    account_fen: int = 0
    deducted_fen: int = 0
    withheld_fen: int = 0

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.region, self.layer, self.product)

    @property
    def share_fen(self) -> int:
        """What is to be paid of the payer's shares, accounts apart."""
        return self.amount_fen - self.deducted_fen - self.withheld_fen

    @property
    def payable_fen(self) -> int:
        return self.share_fen + self.account_fen


@dataclass(frozen=True, slots=True)
class Transfer:
    """One entry of the ledger to be, of one part."""

    part: Part
    kind: Kind
    debit: Account
    credit: Account
    amount_fen: int

    def back(self) -> Transfer:
        """What takes it back."""
        return replace(self, debit=self.credit, credit=self.debit)


def withheld(parts: Sequence[Part], basis_points: int) -> tuple[Part, ...]:
    """The parts with a share of what is left after deductions held back; nothing of a claim that comes to nothing.

    The rounding is the hub's one rounding rule on the whole. Each part holds back its share of that, and never more
    than is left of it.
    """
    left = [part.amount_fen - part.deducted_fen for part in parts]
    whole = share_fen(max(0, sum(left)), basis_points, WHOLE)
    if not whole:
        return tuple(parts)
    held = split_within(whole, [max(0, fen) for fen in left])
    return tuple(replace(part, withheld_fen=fen) for part, fen in zip(parts, held, strict=True))


def ordered(parts: Iterable[Part]) -> list[Transfer]:
    """What an order for these parts posts: on its way to the institution, or back from it."""
    moves = (
        (part, account, fen)
        for part in parts
        for account, fen in ((Account.RECEIVABLE, part.share_fen), (Account.PERSONAL, part.account_fen))
    )
    return [_between(part, Account.IN_TRANSIT, account, fen) for part, account, fen in moves if fen]


def confirmed(transfers: Iterable[Transfer]) -> list[Transfer]:
    """What the confirmation of an order posts: what was on its way has come, or is gone."""
    return [
        replace(one, kind=Kind.CONFIRMATION, debit=Account.BANK, credit=Account.IN_TRANSIT)
        if one.debit is Account.IN_TRANSIT
        else replace(one, debit=Account.IN_TRANSIT, credit=Account.BANK)
        for one in transfers
    ]


def _between(part: Part, to: Account, from_: Account, fen: int) -> Transfer:
    if fen > 0:
        return Transfer(part, Kind.PAYMENT, to, from_, fen)
    return Transfer(part, Kind.REPAYMENT, from_, to, -fen)
