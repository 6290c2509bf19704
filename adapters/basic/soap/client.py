"""The thin client of a basic system: one POST per call."""

from __future__ import annotations

from typing import ClassVar

from adapters.basic.soap.codec import Codec
from adapters.basic.soap.contract import Version
from adapters.basic.soap.statements import StatementCodec
from adapters.http_pool import HttpPool
from schemas.payer import Capabilities, Decision, PartySettings, PayerTask, PreparedCall, RawAnswer
from schemas.statement_pages import StatementPage, StatementQuestion


class BasicSoap:
    """A basic medical-insurance system over SOAP 1.1. Safe to share between threads."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        idempotent_submit=True,
        inquiry=True,
        reversal=True,
        statements=True,
        needs=frozenset({"patient.name", "patient.id_no", "insurance.person_no", "diagnoses.main", "fees.all"}),
    )

    version: ClassVar[Version] = "1.1"

    def __init__(self, settings: PartySettings) -> None:
        self._codec = Codec(settings.code, self.version)
        self._statements = StatementCodec(settings.code, self.version)
        self._http = HttpPool(settings)

    def prepare(self, task: PayerTask) -> PreparedCall:
        """The SOAP message; InvalidMessage for what the basic system's schema cannot carry."""
        return self._codec.encode(task)

    def send(self, call: PreparedCall, timeout_s: float) -> RawAnswer:
        """Unavailable when nothing was sent, OutcomeUnknown when no whole answer came back."""
        headers = {"Content-Type": call.content_type} | self._codec.headers(call)
        return self._http.send(call, headers, timeout_s)

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision:
        """See `Codec.decode`."""
        return self._codec.decode(task, answer)

    def prepare_statement(self, question: StatementQuestion) -> PreparedCall:
        """The SOAP message."""
        return self._statements.encode(question)

    def decode_statement(self, question: StatementQuestion, answer: RawAnswer) -> StatementPage:
        """See `StatementCodec.decode`."""
        return self._statements.decode(question, answer)

    def close(self) -> None:
        """Closes idle connections."""
        self._http.close()


class BasicSoap12(BasicSoap):
    """The same over SOAP 1.2."""

    version = "1.2"
