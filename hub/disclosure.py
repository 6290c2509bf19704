"""Minimum disclosure: of what is known about a case, a payer's adapter is shown what the payer's map allows, no more.

Applied to each task and notice before the adapter sees it, so that no dialect can leak what its party may not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import groupby
from typing import Any, TypeVar

from schemas.base import Value
from schemas.codes import FeeCategory, ItemLevel, Layer, Sex
from schemas.disclosure import FIELDS, Disclosure
from schemas.payer import EarlierShare, Notice, PayerTask
from schemas.settlement import AdjudicatedShare, Diagnosis, FeeLine, Patient

WITHHELD = "withheld"
"""Stands for the name of a payer that a map does not disclose."""

GUARDED = {
    "phone": "patient.phone",
    "sex": "patient.sex",
    "birth_date": "patient.birth_date",
    "person_no": "insurance.person_no",
    "card_no": "insurance.card_no",
    "department": "visit.department",
    "doctor_code": "visit.doctor",
    "doctor_name": "visit.doctor",
    "bed": "visit.bed",
    "record_no": "visit.record_no",
    "operator": "visit.operator",
}
"""Fields of any message, by what must be allowed for them to go out."""
GUARDED_OF_PATIENT = {**GUARDED, "name": "patient.name", "id_no": "patient.id_no"}
_BLANK: dict[str, Any] = {"sex": Sex.UNKNOWN, "person_no": "", "name": "", "id_no": ""}
"""What stands for a withheld field that cannot be left out; None for all others."""

Message = TypeVar("Message", bound=Value)


def disclosed(task: PayerTask, told: Disclosure) -> PayerTask:
    """The task as this payer may see it. Amounts, ids, the visit and the product are always told."""
    if told.fields == FIELDS:
        return task
    return replace(
        task,
        request=_shown(task.request, told, task.payer),
        basic=task.basic if told.basic else None,
        earlier=_earlier(task.earlier, told),
    )


def disclosed_notice(notice: Notice, told: Disclosure) -> Notice:
    """The notice as this payer may see it."""
    admission = notice.admission and _shown(notice.admission, told, notice.payer)
    return replace(notice, message=_shown(notice.message, told, notice.payer), admission=admission)


def _shown(message: Message, told: Disclosure, payer: str) -> Message:
    """The message without what is not allowed; the very same where nothing is withheld."""
    allowed = told.fields
    guarded = GUARDED_OF_PATIENT if isinstance(message, Patient) else GUARDED
    changes: dict[str, Any] = {}
    # The plain dictionary: a bill is gone through for each of its payers.
    for name, now in message.__dict__.items():
        if name in guarded:
            new = now if now is None or guarded[name] in allowed else _BLANK.get(name)
        elif isinstance(now, Value):
            new = _shown(now, told, payer)
        elif isinstance(now, tuple) and now:
            new = _shown_list(now, told, payer)
        else:
            continue
        if new is not now:
            changes[name] = new
    return message.model_copy(update=changes) if changes else message


def _shown_list(values: tuple[Any, ...], told: Disclosure, payer: str) -> tuple[Any, ...]:
    first = values[0]
    if isinstance(first, Diagnosis):
        return _diagnoses(values, told)
    if isinstance(first, AdjudicatedShare):
        return _adjudicated(values, told, payer)
    if isinstance(first, Value) and hasattr(first, "category"):
        return _fees(values, told)
    return values


def _diagnoses(values: tuple[Diagnosis, ...], told: Disclosure) -> tuple[Diagnosis, ...]:
    if told.diagnoses == "all":
        return values
    return tuple(one for one in values if one.main) if told.diagnoses == "main" else ()


def _fees(lines: tuple[Any, ...], told: Disclosure) -> tuple[Any, ...]:
    if told.fees == "all":
        return lines
    if told.fees == "in_scope":
        return tuple(line for line in lines if line.level is not ItemLevel.SELF_PAID)
    return _totals(lines) if told.fees == "totals" else ()


def _totals(lines: Sequence[Any]) -> tuple[FeeLine, ...]:
    """One line for each category, named by its code."""
    ordered = sorted(lines, key=lambda line: line.category.value)
    return tuple(
        _total(category, sum(line.amount for line in group))
        for category, group in groupby(ordered, key=lambda line: line.category)
    )


def _total(category: FeeCategory, amount_fen: int) -> FeeLine:
    return FeeLine.model_construct(
        line_no=f"sum-{category.value}",
        item_code=category.value,
        item_name=category.name.lower(),
        category=category,
        level=ItemLevel.FULL,
        price=Decimal(amount_fen).scaleb(-2),
        quantity=Decimal(1),
        amount=amount_fen,
        occurred_on=None,
    )


def _earlier(shares: tuple[EarlierShare, ...], told: Disclosure) -> tuple[EarlierShare, ...]:
    if told.earlier == "names":
        return shares
    return tuple(replace(share, payer=WITHHELD) for share in shares) if told.earlier == "amounts" else ()


def _adjudicated(shares: tuple[AdjudicatedShare, ...], told: Disclosure, payer: str) -> tuple[AdjudicatedShare, ...]:
    """One's own part as it is; of the others' what the map allows about payers before it, and about the basic one."""
    shown = (share if share.payer == payer else _others_share(share, told) for share in shares)
    return tuple(share for share in shown if share is not None)


def _others_share(share: AdjudicatedShare, told: Disclosure) -> AdjudicatedShare | None:
    changes: dict[str, Any] = {}
    if share.layer is Layer.BASIC and not told.basic:
        changes["figures"] = None
    if told.earlier == "none":
        return None
    if told.earlier == "amounts":
        changes |= {"payer": WITHHELD, "product": None, "reference": None, "calculation": ""}
    return share.model_copy(update=changes)
