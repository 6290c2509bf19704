"""What a party writes down: one entry per request, and the rules by which an undo meets its original.

There are two ways to undo. A cancel is for what is known to stand: it names the party's number and amount, and is
refused when there is no such thing. A reversal is for what nobody knows: it names the request alone, takes back what
stands under it, and always succeeds. Either leaves a tombstone: an original that comes after it is refused for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

SETTLE = "settle"
CANCEL = "cancel"
REVERSE = "reverse"
REVIEW = "review"
APPROVED = "approved"
DECLINED = "declined"
DEFERRED = "deferred"
CANCELLED = "cancelled"
UNDO = frozenset({CANCEL, REVERSE})
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

    def undo_of(self, original_request_id: str) -> Entry | None:
        """The first undo of this original that was confirmed; when none was, the first that named it."""
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
    if known is not None and known.content != wanted.content:
        return _reused(wanted)
    again = known is not None and _refused_cancel(known) and wanted.operation == REVERSE
    if known is not None and not again:
        return known
    entry = _undo(shelf, wanted) if wanted.operation in UNDO else _settle(shelf, wanted)
    shelf.put(replace(entry, request_id=reversal_id(entry.request_id)) if again else entry)
    return entry


def standing(shelf: Shelf, request_id: str) -> Entry | None:
    """What the party says of a request now.

    That is its entry, or what a review made of a deferral, or the reversal that followed a refused cancel under its id.
    """
    entry = shelf.find(request_id)
    if entry is None:
        return None
    if _refused_cancel(entry):
        reversal = shelf.find(reversal_id(request_id))
        return entry if reversal is None else replace(reversal, request_id=request_id)
    if entry.outcome != DEFERRED:
        return entry
    review = shelf.find(review_id(request_id))
    return entry if review is None else replace(review, request_id=request_id, operation=SETTLE)


def fate(shelf: Shelf, request_id: str) -> Entry | None:
    """What became of a request, for whoever inquires: its entry, or its undoing with the amount that was taken back.

    None when the party never heard of it: neither of the request nor of an undo that names it.
    """
    entry, undo = standing(shelf, request_id), shelf.undo_of(request_id)
    if undo is None or (entry is not None and undo.outcome != CANCELLED):
        return entry
    if entry is not None and entry.outcome == DECLINED:
        return entry
    return replace(undo, request_id=request_id, outcome=CANCELLED, reason_code="", reason_zh="", reason_en="")


def review(shelf: Shelf, wanted: Entry) -> Entry | None:
    """Decide a deferral (`wanted.original_request_id`) by hand; None when there is nothing open to decide.

    The entry that stands keeps the facts of the deferral and takes outcome, amount, reference, reason and moment.
    """
    deferral = standing(shelf, wanted.original_request_id)
    if deferral is None or deferral.outcome != DEFERRED:
        return None
    undo = shelf.undo_of(deferral.request_id)
    if undo is not None and undo.outcome == CANCELLED:
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


def reversal_id(request_id: str) -> str:
    """The key of a reversal that came under the id of a refused cancel."""
    return f"{request_id}:reverse"


def _refused_cancel(entry: Entry) -> bool:
    return entry.operation == CANCEL and entry.outcome == DECLINED


def _settle(shelf: Shelf, wanted: Entry) -> Entry:
    if shelf.undo_of(wanted.request_id) is None:
        return wanted
    return _refused(wanted, "cancelled_before", "该请求此前已被撤销", "this request was cancelled before it arrived")


def _undo(shelf: Shelf, wanted: Entry) -> Entry:
    original = standing(shelf, wanted.original_request_id)
    earlier = shelf.undo_of(wanted.original_request_id)
    if original is not None and original.operation != SETTLE:
        return _refused(wanted, "unknown_original", "未找到原请求", "the original request is unknown")
    if wanted.operation == CANCEL and (refusal := _cancel_refused(original, wanted)) is not None:
        return refusal
    if earlier is not None and earlier.outcome == CANCELLED:
        return _undone(wanted, earlier, "already_cancelled")
    if original is None or original.outcome != APPROVED:
        return _undone(wanted, None, "nothing_booked" if wanted.operation == REVERSE else "")
    undone = replace(wanted, outcome=CANCELLED, amount_fen=original.amount_fen, detail=original.detail, reason_code="")
    return replace(undone, effect_fen=-original.effect_fen, account_fen=-original.account_fen)


def _cancel_refused(original: Entry | None, wanted: Entry) -> Entry | None:
    """Why a cancel cannot be: it names something that does not stand, or another amount."""
    if original is None:
        return _refused(wanted, "unknown_original", "未找到原请求", "the original request is unknown")
    if original.outcome == DECLINED:
        return _refused(wanted, "nothing_to_cancel", "原请求已被拒绝", "the original request was declined")
    if wanted.amount_fen not in (original.amount_fen, ANY_AMOUNT):
        return _refused(wanted, "amount_differs", "撤销金额与原金额不一致", "the amount is not that of the original")
    return None


def _undone(wanted: Entry, first: Entry | None, reason: str) -> Entry:
    """Confirmed without moving anything: the first undo did that, or there was nothing to move."""
    amount, detail = (0, "") if first is None else (first.amount_fen, first.detail)
    return replace(
        wanted,
        outcome=CANCELLED,
        amount_fen=amount,
        effect_fen=0,
        account_fen=0,
        detail=detail,
        reason_code=reason,
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


def unwilling(wanted: Entry) -> Entry:
    """The answer of a party that refuses to undo, whatever stands: for a fault script, never for the book."""
    return _refused(wanted, "undo_refused", "已月结, 不予撤销", "the month is closed: nothing is undone")


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
