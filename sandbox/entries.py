"""What a party writes down: one entry per request, and the rules by which a cancel meets its original."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

SETTLE = "settle"
CANCEL = "cancel"
REVIEW = "review"
APPROVED = "approved"
DECLINED = "declined"
DEFERRED = "deferred"
CANCELLED = "cancelled"
REUSED = "request_reused"
ANY_AMOUNT = -1
"""Amount of a cancel whose sender does not know what was settled."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One answered request. `amount_fen` is what the answer says, `effect_fen` (signed) what it moved."""

    request_id: str
    operation: str
    outcome: str
    amount_fen: int = 0
    effect_fen: int = 0
    account_fen: int = 0
    """Of the basic system: what the personal account paid beside the funds, signed like the effect."""
    case_id: str = ""
    institution: str = ""
    settlement_no: str = ""
    original_request_id: str = ""
    reference: str = ""
    reason_code: str = ""
    reason_zh: str = ""
    reason_en: str = ""
    decided_at: str = ""
    content: str = ""
    """Fingerprint of what was asked: the same id with other content is refused."""
    detail: str = ""
    """The whole adjudication as JSON, for parties whose answer holds more than an amount."""


class Shelf(Protocol):
    """Where entries lie."""

    def find(self, request_id: str) -> Entry | None: ...

    def cancel_of(self, original_request_id: str) -> Entry | None:
        """The cancel that undid this original; when none did, any that named it."""
        ...

    def put(self, entry: Entry) -> None: ...


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a book, whole fen."""

    entries: int
    settled: int
    settled_fen: int
    cancelled: int
    cancelled_fen: int
    net_fen: int
    net_account_fen: int


def record(shelf: Shelf, wanted: Entry) -> Entry:
    """Write an entry unless its request is known; what the party answers, the same for every repeat."""
    known = standing(shelf, wanted.request_id)
    if known is not None:
        return known if known.content == wanted.content else _reused(wanted)
    entry = _cancel(shelf, wanted) if wanted.operation == CANCEL else _settle(shelf, wanted)
    shelf.put(entry)
    return entry


def standing(shelf: Shelf, request_id: str) -> Entry | None:
    """What the party says of a request now: its entry, or what a review made of a deferral."""
    entry = shelf.find(request_id)
    if entry is None or entry.outcome != DEFERRED:
        return entry
    review = shelf.find(review_id(request_id))
    return entry if review is None else replace(review, request_id=request_id, operation=SETTLE)


def review(shelf: Shelf, wanted: Entry) -> Entry | None:
    """Decide a deferral (`wanted.original_request_id`) by hand; None when there is nothing open to decide.

    The entry that stands keeps the facts of the deferral and takes outcome, amount, reference, reason and moment.
    """
    deferral = standing(shelf, wanted.original_request_id)
    if deferral is None or deferral.outcome != DEFERRED or shelf.cancel_of(deferral.request_id) is not None:
        return None
    decided = replace(
        wanted,
        request_id=review_id(deferral.request_id),
        operation=REVIEW,
        effect_fen=wanted.amount_fen if wanted.outcome == APPROVED else 0,
        case_id=deferral.case_id,
        institution=deferral.institution,
        settlement_no=deferral.settlement_no,
        content=deferral.content,
    )
    shelf.put(decided)
    return standing(shelf, deferral.request_id)


def review_id(request_id: str) -> str:
    """The key of the entry that decides a deferral."""
    return f"{request_id}:review"


def _settle(shelf: Shelf, wanted: Entry) -> Entry:
    if shelf.cancel_of(wanted.request_id) is None:
        return wanted
    return _refused(wanted, "cancelled_before", "该请求此前已被撤销", "this request was cancelled before it arrived")


def _cancel(shelf: Shelf, wanted: Entry) -> Entry:
    original = standing(shelf, wanted.original_request_id)
    if original is None or original.operation != SETTLE:
        return _refused(wanted, "unknown_original", "未找到原请求", "the original request is unknown")
    if original.outcome == DECLINED:
        return _refused(wanted, "nothing_to_cancel", "原请求已被拒绝", "the original request was declined")
    if wanted.amount_fen not in (original.amount_fen, ANY_AMOUNT):
        return _refused(wanted, "amount_differs", "撤销金额与原金额不一致", "the amount is not that of the original")
    earlier = shelf.cancel_of(original.request_id)
    undone = earlier is not None and earlier.outcome == CANCELLED
    return replace(
        wanted,
        outcome=CANCELLED,
        amount_fen=original.amount_fen,
        effect_fen=0 if undone else -original.effect_fen,
        account_fen=0 if undone else -original.account_fen,
        detail=original.detail,
        reason_code="already_cancelled" if undone else "",
    )


def _refused(wanted: Entry, code: str, zh: str, en: str) -> Entry:
    return replace(
        wanted,
        outcome=DECLINED,
        amount_fen=0,
        effect_fen=0,
        account_fen=0,
        reference="",
        detail="",
        reason_code=code,
        reason_zh=zh,
        reason_en=en,
    )


def _reused(wanted: Entry) -> Entry:
    return _refused(wanted, REUSED, "请求编号已用于其他内容", "this request id was used for other content")


def total(entries: Iterable[Entry]) -> Totals:
    """Sums of what was moved; refusals and deferrals count as entries only."""
    count = settled = settled_fen = cancelled = cancelled_fen = account_fen = 0
    for entry in entries:
        count += 1
        account_fen += entry.account_fen
        if entry.outcome == APPROVED:
            settled += 1
            settled_fen += entry.effect_fen
        elif entry.outcome == CANCELLED:
            cancelled += 1
            cancelled_fen -= entry.effect_fen
    return Totals(count, settled, settled_fen, cancelled, cancelled_fen, settled_fen - cancelled_fen, account_fen)
