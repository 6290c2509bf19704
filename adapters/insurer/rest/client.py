"""An insurer that speaks the hub's own messages over REST.

POST {endpoint}/claims, {endpoint}/claims/cancel and {endpoint}/notices; GET {endpoint}/claims/{request_id} asks what
became of a claim, GET {endpoint}/statements/{day} for the books of a day.
"""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import quote

import orjson

from adapters.insurer.canonical_codec import CONTENT_TYPE, NEEDS, encode_task
from adapters.insurer.notice_codec import TOLD, decode_notice_answer, encode_notice
from adapters.insurer.rest.codec import PROBLEM_TYPE, decode_answer
from adapters.insurer.rest.statements import decode_page, encode_question
from adapters.signed_http import IDEMPOTENCY_KEY, SignedHttp
from schemas.payer import Capabilities, Decision, Notice, Operation, PartySettings, PayerTask, PreparedCall, RawAnswer
from schemas.statement_pages import StatementPage, StatementQuestion

_PATHS = {
    Operation.SETTLE: "/claims",
    Operation.TRIAL: "/claims",
    Operation.CANCEL: "/claims/cancel",
    Operation.REVERSE: "/claims/cancel",
}


class InsurerRest:
    """A REST insurer. Safe to share between threads."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        idempotent_submit=True, inquiry=True, reversal=True, needs=NEEDS, notices=TOLD, statements=True
    )

    def __init__(self, settings: PartySettings) -> None:
        self._http = SignedHttp(settings)

    def prepare(self, task: PayerTask) -> PreparedCall:
        """ClaimTask or ClaimCancel as JSON, with its path below the endpoint; an inquiry is a path alone."""
        if task.operation is Operation.INQUIRE:
            return PreparedCall(b"", "", f"/claims/{quote(task.original_request_id or '', safe=':')}", "GET")
        return PreparedCall(encode_task(task), CONTENT_TYPE, _PATHS[task.operation])

    def send(self, call: PreparedCall, timeout_s: float) -> RawAnswer:
        """Unavailable when nothing was sent, OutcomeUnknown when no whole answer came back, or none that is proven."""
        headers = {"Accept": f"{CONTENT_TYPE}, {PROBLEM_TYPE}"}
        if call.body:
            headers["Content-Type"] = call.content_type
            headers[IDEMPOTENCY_KEY] = orjson.loads(call.body)["request_id"]
        return self._http.send(call, headers, timeout_s)

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision:
        """See `decode_answer`."""
        return decode_answer(task, answer)

    def prepare_notice(self, notice: Notice) -> PreparedCall:
        """A ClaimNotice as JSON."""
        return PreparedCall(encode_notice(notice), CONTENT_TYPE, "/notices")

    def decode_notice(self, notice: Notice, answer: RawAnswer) -> Decision:
        """See `decode_notice_answer`."""
        return decode_notice_answer(notice, answer)

    def prepare_statement(self, question: StatementQuestion) -> PreparedCall:
        """A path alone."""
        return encode_question(question)

    def decode_statement(self, question: StatementQuestion, answer: RawAnswer) -> StatementPage:
        """See `decode_page`."""
        return decode_page(question, answer)

    def close(self) -> None:
        """Closes idle connections."""
        self._http.close()
