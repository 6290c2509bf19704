"""POST /api/v1/transactions/{name}: a party's message in, the answer out, waiting as long as the caller wants to."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from hub.gateway.courier import Brought, Courier
from hub.gateway.identity import Doorkeeper
from hub.gateway.prefer import Preference, read_prefer
from hub.gateway.problems import problem_response
from hub.gateway.reading import check_content_type, idempotency_key, read_body
from hub.routes import new_id
from schemas.errors import InvalidMessage
from schemas.transactions import ASKS, SPECS, Channel, Group, Transaction

JSON = "application/json"
MESSAGE_ID = "hub.message_id"
"""Where the log of a failed request finds which message it was."""
_NEEDS_KEY = frozenset(
    name for name, spec in SPECS.items() if spec.group is Group.SETTLEMENT and name is not Transaction.QUERY
)
_TRANSACTIONS = {each.value: each for each, spec in SPECS.items() if Channel.HTTP in spec.channels}
_ACCEPTED = b'{"accepted":true}'


class Transactions:
    """The endpoint of all canonical transactions."""

    def __init__(self, doorkeeper: Doorkeeper, courier: Courier) -> None:
        self._doorkeeper = doorkeeper
        self._courier = courier

    async def post(self, request: Request) -> Response:
        """200 with the answer, 202 while there is none, or a refusal."""
        headers = request.headers
        party = self._doorkeeper.party_of(headers.get("authorization"), headers.get("x-party"))
        transaction = _TRANSACTIONS.get(request.path_params["name"])
        if transaction is None:
            raise InvalidMessage("no such transaction", code="transaction.unknown")
        check_content_type(request)
        key = idempotency_key(request, required=transaction in _NEEDS_KEY)
        message_id = key or new_id()
        body = await read_body(request)
        request.scope[MESSAGE_ID] = message_id
        preference = read_prefer(headers.getlist("prefer"))
        brought = await self._courier.bring(
            transaction, party, message_id, body, correlation_id=key, wait_s=preference.wait_s_or_none
        )
        return _response(transaction, brought, preference)


def _response(transaction: Transaction, brought: Brought, preference: Preference) -> Response:
    if brought.error is not None:
        return problem_response(brought.error, case_id=brought.case_id)
    if brought.answer is None:
        return Response(_ACCEPTED, 202, media_type=JSON)
    headers = {}
    if preference.applied and transaction is not Transaction.CLAIM_ANSWER:
        headers["Preference-Applied"] = preference.applied
    if brought.repeated and transaction not in ASKS:
        headers["Idempotent-Replayed"] = "true"
    if brought.pending:
        headers["Location"] = f"/api/v1/cases/{brought.case_id}"
    return Response(brought.answer, 202 if brought.pending else 200, headers, JSON)
