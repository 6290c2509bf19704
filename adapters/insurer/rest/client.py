"""An insurer that speaks the hub's own messages over REST: POST {endpoint}/claims and {endpoint}/claims/cancel."""

from __future__ import annotations

from typing import ClassVar

import orjson

from adapters.http_pool import HttpPool
from adapters.insurer.canonical_codec import CONTENT_TYPE, encode_task
from adapters.insurer.rest.codec import decode_answer
from schemas.payer import Capabilities, Decision, Operation, PartySettings, PayerTask, PreparedCall, RawAnswer

_PATHS = {Operation.SETTLE: "/claims", Operation.TRIAL: "/claims", Operation.CANCEL: "/claims/cancel"}


class InsurerRest:
    """A REST insurer. Safe to share between threads."""

    capabilities: ClassVar[Capabilities] = Capabilities(idempotent_submit=True)

    def __init__(self, settings: PartySettings) -> None:
        self._http = HttpPool(settings)

    def prepare(self, task: PayerTask) -> PreparedCall:
        """ClaimTask or ClaimCancel as JSON, with its path below the endpoint."""
        return PreparedCall(encode_task(task), CONTENT_TYPE, _PATHS[task.operation])

    def send(self, call: PreparedCall, timeout_s: float) -> RawAnswer:
        """Unavailable when nothing was sent, OutcomeUnknown when no whole answer came back."""
        headers = {
            "Content-Type": call.content_type,
            "Accept": CONTENT_TYPE,
            "Idempotency-Key": orjson.loads(call.body)["request_id"],
        }
        return self._http.post(call.path, call.body, headers, timeout_s)

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision:
        """See `decode_answer`."""
        return decode_answer(task, answer)

    def close(self) -> None:
        """Closes idle connections."""
        self._http.close()
