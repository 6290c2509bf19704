"""What matching should say of one share, by the table in docs/how-to/reconciliation.md: plain Python over its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.support.recon_books import Row

EXPLAINED = ("late_cut_off", "not_yet_due", "refund_as_two_rows", "reversed_pair")


@dataclass(frozen=True, slots=True)
class Switches:
    """What the scheme says, as far as it matters here."""

    left_out: bool = False
    in_fund: bool = False
    tolerance: int = 0
    basic: bool = False


@dataclass(frozen=True, slots=True)
class Sums:
    """One book's rows of one share: (amount, account) of settlements and of refunds."""

    settled: tuple[int, int]
    refunded: tuple[int, int]

    @property
    def net(self) -> tuple[int, int]:
        return (self.settled[0] + self.refunded[0], self.settled[1] + self.refunded[1])


def sums(rows: Sequence[Row]) -> Sums:
    def of(refund: bool) -> tuple[int, int]:
        mine = [row for row in rows if row.refund is refund]
        return sum(row.amount for row in mine), sum(row.account for row in mine)

    return Sums(of(False), of(True))


def on_the_day(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.apart == 0]


def once(rows: Sequence[Row]) -> list[Row]:
    return list(dict.fromkeys(rows))


def _undone(rows: Sequence[Row]) -> bool:
    return any(row.refund for row in rows)


def _begun(rows: Sequence[Row]) -> bool:
    return any(not row.refund for row in rows)


def _cancels_out(rows: Sequence[Row]) -> bool:
    return _undone(rows) and sums(rows).net == (0, 0)


def _stripped(rows: Sequence[Row]) -> list[Row]:
    return [Row(row.amount, row.account, 0, row.refund) for row in rows]


def _stripped_once(rows: Sequence[Row]) -> list[Row]:
    return once(_stripped(rows))


def pair_class(
    hub: Sequence[Row], theirs: Sequence[Row], switches: Switches, missing: str, *, under_way: bool, by_cancel: bool
) -> str:
    """The class of one book beside ours; rows of the neighbouring days are in both. '' when they agree."""
    h, x = on_the_day(hub), on_the_day(theirs)
    if sums(h) == sums(x):
        return ""
    if switches.left_out and ((not h and _cancels_out(x)) or (not x and _cancels_out(h))):
        return ""
    if sums(hub) == sums(theirs):
        return "late_cut_off"
    if under_way:
        return "not_yet_due"
    if x and (_once_agrees(h, x) or _once_agrees(_stripped(hub), _stripped(theirs))):
        return "duplicate"
    if not hub and _cancels_out(_stripped_once(theirs)) and not _cancels_out(theirs):
        return "duplicate"
    if (not hub and _cancels_out(theirs)) or (not theirs and _cancels_out(hub) and not _cancels_out(h)):
        return "reversed_pair"
    if not h:
        if _cancels_out(x):
            return "reversed_pair"
        return "missing_at_hub" if _begun(x) else "status"
    if not x:
        if _cancels_out(h):
            return "refund_as_two_rows" if by_cancel else "reversed_pair"
        return missing if _begun(h) else "status"
    return _both_have_it(h, x, missing)


def _once_agrees(h: Sequence[Row], x: Sequence[Row]) -> bool:
    repeated = max(Counter(x).values()) > 1
    return repeated and sums(once(x)) == sums(h)


def _both_have_it(h: Sequence[Row], x: Sequence[Row], missing: str) -> str:
    if _undone(h) is not _undone(x):
        return "refund_as_two_rows" if sums(h).net == sums(x).net else "status"
    if _begun(h) and not _begun(x):
        return missing
    if _begun(x) and not _begun(h):
        return "missing_at_hub"
    return "amount"


def in_terms(rows: Sequence[Row], *, add: bool, switches: Switches) -> list[Row]:
    """Rows as a scheme compares them, where the fund holds the account: ours are added up, theirs already are."""
    if not switches.in_fund:
        return list(rows)
    return [Row(row.amount + (row.account if add else 0), 0, row.apart, row.refund) for row in rows]


def verdict(
    hub: Sequence[Row],
    theirs: Sequence[Row] | None,
    hospital: Sequence[Row] | None,
    switches: Switches,
    *,
    under_way: bool = False,
    by_cancel: bool = True,
) -> tuple[str, bool]:
    """(class, whether it needs nobody) of a share; None for a book that is not compared."""
    found: list[tuple[str, bool]] = []
    judge: Callable[..., str] = pair_class
    if theirs is not None:
        ours = in_terms(hub, add=True, switches=switches)
        book = in_terms(theirs, add=False, switches=switches)
        missing = "missing_at_basic" if switches.basic else "missing_at_insurer"
        name = judge(ours, book, switches, missing, under_way=under_way, by_cancel=by_cancel)
        found.append((name, _needs_nobody(name, ours, book, switches)))
    if hospital is not None:
        name = judge(hub, hospital, switches, "missing_at_hospital", under_way=under_way, by_cancel=by_cancel)
        found.append((name, _needs_nobody(name, hub, hospital, switches)))
    for name, explained in found:
        if not explained:
            return name, False
    return next(((name, True) for name, _ in found if name), ("", True))


def _needs_nobody(name: str, hub: Sequence[Row], theirs: Sequence[Row], switches: Switches) -> bool:
    if name in ("", *EXPLAINED):
        return True
    if name != "amount":
        return False
    h, x = sums(on_the_day(hub)), sums(on_the_day(theirs))
    pairs = zip((*h.settled, *h.refunded), (*x.settled, *x.refunded), strict=True)
    return all(abs(ours - other) <= switches.tolerance for ours, other in pairs)
