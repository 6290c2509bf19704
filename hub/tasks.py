"""What a payer is asked about a leg, put together from the case, the hospital's request and the legs before."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

from sqlalchemy import Connection

from hub.stores import ExchangeStore
from routing.states import LegState
from schemas.codes import Layer
from schemas.payer import EarlierShare, Operation, PayerTask
from schemas.settlement import SettlementRequest, SettleRequest
from store.records import CaseRecord, LegRecord, basic_from_json

_REQUEST_ID = re.compile(r"(?P<case>[0-9a-f]{32})-(?P<leg>[1-9][0-9]{0,4})(?P<undo>-c)?", re.ASCII)


class Requests:
    """The hospitals' requests by case, parsed once: the legs of a case follow each other within moments."""

    def __init__(self, exchanges: ExchangeStore, size_max: int = 2048) -> None:
        self._exchanges = exchanges
        self._size_max = size_max
        self._lock = threading.Lock()
        self._known: OrderedDict[str, SettlementRequest] = OrderedDict()

    def of(self, connection: Connection, case_ids: Iterable[str]) -> dict[str, SettlementRequest]:
        """The request of each case, from memory or from the exchanges that hold it."""
        with self._lock:
            found = {case_id: self._known[case_id] for case_id in case_ids if case_id in self._known}
        missing = [case_id for case_id in case_ids if case_id not in found]
        if missing:
            for case_id, body in self._exchanges.requests_of(connection, missing).items():
                # A trial message has the same fields as a settle message; both were validated when they came in.
                found[case_id] = SettleRequest.model_validate_json(body)
            with self._lock:
                for case_id in missing:
                    if case_id in found:
                        self._known[case_id] = found[case_id]
                while len(self._known) > self._size_max:
                    self._known.popitem(last=False)
        return found


def claim_task(case: CaseRecord, leg: LegRecord, request: SettlementRequest) -> PayerTask:
    """The task to adjudicate (or to try, in a trial)."""
    earlier = tuple(
        EarlierShare(other.payer, other.layer, other.amount_fen)
        for other in case.legs
        if other.leg_no < leg.leg_no and other.state is LegState.APPROVED
    )
    basic = case.legs[0]
    return PayerTask(
        operation=case.purpose,
        request_id=leg.request_id,
        case_id=case.case_id,
        leg_no=leg.leg_no,
        payer=leg.payer,
        layer=leg.layer,
        product=leg.product,
        policy_no=leg.policy_no,
        request=request,
        left_fen=leg.left_fen or 0,
        basic=basic_from_json(basic.basic) if basic.layer is Layer.BASIC and basic.basic else None,
        earlier=earlier,
        answer_by=case.answer_by,
    )


def undo_task(case: CaseRecord, leg: LegRecord, request: SettlementRequest, operation: Operation) -> PayerTask:
    """The task to cancel what this leg's payer is known to have settled, or to reverse what it may have made of it.

    A reversal names neither the payer's number nor an amount: under one request id always the same is said.
    """
    known = operation is Operation.CANCEL
    return PayerTask(
        operation=operation,
        request_id=leg.cancel_id,
        case_id=case.case_id,
        leg_no=leg.leg_no,
        payer=leg.payer,
        layer=leg.layer,
        product=leg.product,
        policy_no=leg.policy_no,
        request=request,
        left_fen=leg.left_fen or 0,
        original_request_id=leg.request_id,
        original_reference=leg.payer_reference if known else None,
        original_amount_fen=leg.amount_fen if known else 0,
    )


def inquiry_task(case: CaseRecord, leg: LegRecord, request: SettlementRequest) -> PayerTask:
    """The task to ask what became of this leg's claim: the claim itself, under the inquiry's own id."""
    claim = claim_task(case, leg, request)
    return replace(claim, operation=Operation.INQUIRE, request_id=leg.inquiry_id, original_request_id=claim.request_id)


def leg_of_request_id(request_id: str) -> tuple[str, int, bool] | None:
    """(case id, leg number, is a cancel) of an id that `LegRecord` made; None for anything else."""
    found = _REQUEST_ID.fullmatch(request_id)
    return (str(UUID(found["case"])), int(found["leg"]), found["undo"] is not None) if found else None
