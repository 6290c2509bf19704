"""A product that the hub adjudicates itself: the insurer's book is the hub's own database, and no network is between.

The prepared bytes say everything: they are committed as evidence before `send`, and `send` knows nothing else.
"""

from __future__ import annotations

from typing import ClassVar

from adapters.insurer.canonical_codec import CONTENT_TYPE, encode_task
from adapters.insurer.hosted.book import HostedBook, NoBook
from adapters.insurer.hosted.codec import decode_answer, encode_answer, encode_not_found
from schemas.payer import (
    Capabilities,
    ClaimCancel,
    ClaimTask,
    Decision,
    Operation,
    PartySettings,
    PayerTask,
    PreparedCall,
    RawAnswer,
)

_CLAIM, _UNDO = "/claims", "/claims/cancel"
_INQUIRY = f"{_CLAIM}/"


class InsurerHosted:
    """A hosted product's insurer. Safe to share between threads."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        idempotent_submit=True,
        inquiry=True,
        reversal=True,
        needs=frozenset(
            {
                "patient.name",
                "patient.id_no",
                "insurance.person_no",
                "diagnoses.all",
                "fees.all",
                "basic",
                "earlier.amounts",
            }
        ),
    )

    def __init__(self, settings: PartySettings, book: HostedBook | None = None) -> None:
        """Without a book everything but `send` works."""
        self._book: HostedBook = book or NoBook()

    def prepare(self, task: PayerTask) -> PreparedCall:
        """ClaimTask or ClaimCancel as JSON; an inquiry is a path alone."""
        if task.operation is Operation.INQUIRE:
            return PreparedCall(b"", "", f"{_INQUIRY}{task.original_request_id or ''}", "GET")
        undoes = task.operation in (Operation.CANCEL, Operation.REVERSE)
        return PreparedCall(encode_task(task), CONTENT_TYPE, _UNDO if undoes else _CLAIM)

    def send(self, call: PreparedCall, timeout_s: float) -> RawAnswer:
        """Unavailable when nothing was stored, OutcomeUnknown when the commit was not confirmed."""
        if call.method == "GET":
            request_id = call.path.removeprefix(_INQUIRY)
            found = self._book.inquire(request_id, timeout_s)
            return encode_answer(found) if found is not None else encode_not_found(request_id)
        if call.path == _UNDO:
            return encode_answer(self._book.undo(ClaimCancel.model_validate_json(call.body), timeout_s))
        return encode_answer(self._book.claim(ClaimTask.model_validate_json(call.body), timeout_s))

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision:
        """See `decode_answer`."""
        return decode_answer(task, answer)

    def close(self) -> None:
        """Closes the book's connections."""
        self._book.close()
