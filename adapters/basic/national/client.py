"""The client of a national-style region: a conversation of POSTs to one address."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from adapters.basic.national.answers import Reader
from adapters.basic.national.keys import Keys
from adapters.basic.national.notices import NOTICES, Notices
from adapters.basic.national.region import NUMBERS, Region, region_of
from adapters.basic.national.scripts import Scripts, effect_of, infno_of
from adapters.basic.national.session import SignIns, Token
from adapters.basic.national.statements import FILE, NAME, Statements
from adapters.basic.national.talk import Facts, Heard, Talk, facts_in, own_json
from adapters.conversation import Said, Step, converse, script, steps_of
from adapters.http_pool import HttpPool
from schemas.errors import InvalidMessage, Malformed, OutcomeUnknown, Unavailable
from schemas.national.envelope import Response, dump_json, read_json
from schemas.national.transactions import read_output
from schemas.payer import Capabilities, Decision, Notice, PartySettings, PayerTask, PreparedCall, RawAnswer
from schemas.statement_pages import StatementPage, StatementQuestion

JSON = "application/json"
NEEDS = frozenset({"patient.id_no", "insurance.person_no", "diagnoses.main", "fees.all"})


class BasicNational:
    """A basic system with the national interface. Safe to share between threads."""

    capabilities: ClassVar[Capabilities] = Capabilities(inquiry=True, numbers=NUMBERS, notices=NOTICES, needs=NEEDS)

    def __init__(self, settings: PartySettings) -> None:
        region = region_of(settings)
        self.region = region
        self._http = HttpPool(settings)
        self.token = Token(settings, region, self._http) if region.texts["token_path"] else None
        self._keys = Keys(settings, region, self.token)
        self.sign_ins = SignIns(region.sign_in_s)
        self.talk = Talk(region, self._keys)
        self._scripts = Scripts(region)
        self._notices = Notices(region, self._scripts, self.talk)
        self._reader = Reader(region, self.talk)
        self._statements = Statements(region, self._scripts, self.talk)
        # What a region can be trusted with is its own matter, so the class can promise only the least.
        self.capabilities = _capabilities(region)  # type: ignore[misc]

    def prepare(self, task: PayerTask) -> PreparedCall:
        """The script; InvalidMessage for what the field tables cannot carry."""
        return script(self._scripts.of_task(task))

    def prepare_notice(self, notice: Notice) -> PreparedCall:
        """The script; InvalidMessage for what the field tables cannot carry."""
        return script(self._notices.steps(notice))

    def send(self, call: PreparedCall, timeout_s: float) -> RawAnswer:
        """Says the script. Unavailable when nothing has been settled, OutcomeUnknown when nobody knows."""
        steps = steps_of(call)
        asks_for_books = infno_of(steps[-1].name) == "9102"
        return (_BooksAsked if asks_for_books else _Conversation)(self, steps).run(timeout_s)

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision:
        """See `Reader.decision`."""
        return self._reader.decision(task, answer, effect_of(task))

    def decode_notice(self, notice: Notice, answer: RawAnswer) -> Decision:
        """APPROVED: taken; DECLINED: refused; UNKNOWN: neither was said."""
        return self._notices.decision(notice, answer)

    def prepare_statement(self, question: StatementQuestion) -> PreparedCall:
        """The script; InvalidMessage for what the field tables cannot carry."""
        return script(self._statements.steps(question))

    def decode_statement(self, question: StatementQuestion, answer: RawAnswer) -> StatementPage:
        """See `Statements.page`."""
        return self._statements.page(question, answer)

    def close(self) -> None:
        """Closes idle connections."""
        self._http.close()

    def say(self, step: Step, envelope: dict[str, Any], institution: str, timeout_s: float) -> Said:
        """One call, signed now. Unavailable when nothing was sent, OutcomeUnknown when no whole answer came."""
        if self.token is not None:
            self.token.refresh(timeout_s)
        if sign_no := self.sign_ins.current(institution):
            envelope = {**envelope, "sign_no": sign_no}
        signed, headers = self._keys.sign(envelope, institution)
        body = dump_json(signed)
        answer = self._http.send(
            PreparedCall(body, JSON, self.region.texts["path"]),
            {"Content-Type": JSON, "Accept": JSON, **headers},
            timeout_s,
        )
        # Evidence that nobody can read proves nothing: of what went out encrypted, what was meant is kept.
        sent = body if isinstance(signed["input"], dict) else dump_json(envelope)
        return Said(step.name, sent, answer.status, answer.content_type, answer.body)

    def response(self, said: Said, institution: str) -> Response:
        """What was answered; Malformed or OutcomeUnknown for what is no proven answer."""
        return self.talk.opened(said.answer, institution)


class _Conversation:
    """One script on its way."""

    def __init__(self, client: BasicNational, steps: list[Step]) -> None:
        self._client, self._steps = client, steps
        self._envelopes = [own_json(step.body) for step in steps]
        names = [step.name for step in steps]
        self._facts: Facts = facts_in(zip(names, self._envelopes, strict=True))
        self._place = -1
        self._heard = Heard(mdtrt_id=self._facts.mdtrt_id)
        self._listened = 0

    def run(self, timeout_s: float) -> RawAnswer:
        return converse(self._steps, self._speak, self._goes_on, timeout_s)

    def _goes_on(self, _heard: Said) -> bool:
        """What was heard decides about each step by itself."""
        return True

    def _speak(self, step: Step, said: Sequence[Said], left_s: float) -> Said | None:
        client, institution = self._client, self._facts.institution
        ends_at = time.monotonic() + left_s
        self._place += 1
        if step.name == "sign:9001":
            return self._signed_in(step, left_s)
        envelope = self._envelope(step, said)
        if envelope is None:
            return None
        heard = client.say(step, envelope, institution, left_s)
        if self._refused_unheard(heard):
            self._renew(_left(ends_at))
            heard = client.say(step, envelope, institution, _left(ends_at))
            if self._refused_unheard(heard):
                raise Unavailable("refused before it was looked at: sign-in or token", code="national.session")
        if not step.effect and step.name.partition(":")[0] not in ("after", "undo"):
            self._must_be_readable(heard)
        return heard

    def _envelope(self, step: Step, said: Sequence[Said]) -> dict[str, Any] | None:
        """What is said now; None when the step does not apply."""
        for one in said[self._listened :]:
            self._client.talk.hear(self._heard, one, self._facts)
        self._listened = len(said)
        return self._client.talk.next(step, self._envelopes[self._place], said, self._heard, self._facts)

    def _signed_in(self, step: Step, left_s: float) -> Said | None:
        """Sign in, unless somebody has; one at a time."""
        with self._client.sign_ins.turn:
            if self._client.sign_ins.current(self._facts.institution):
                return None
            return self._sign_in(step, left_s)

    def _sign_in(self, step: Step, left_s: float) -> Said:
        """Nothing of the business is said by it, so whatever fails here can be tried again."""
        try:
            heard = self._client.say(step, own_json(step.body), self._facts.institution, left_s)
            response = self._client.response(heard, self._facts.institution)
            signed_in = read_output("9001", response.output)["signinoutb"] if response.done else {}
        except (InvalidMessage, OutcomeUnknown) as error:
            raise Unavailable("signing in got no answer", code="national.sign_in") from error
        if heard.status != 200 or not signed_in:
            raise Unavailable("the region did not let us sign in", code="national.sign_in")
        self._client.sign_ins.keep(self._facts.institution, signed_in["sign_no"])
        return heard

    def _refused_unheard(self, heard: Said) -> bool:
        """Whether an explicit word says that the call was not executed for want of a sign-in or a token."""
        client = self._client
        if client.token is not None and (heard.status == 401 or _names(client.region, "token_expired", heard)):
            client.token.forget(client.token())
            return True
        if heard.status != 200 or not client.region.yes("sign_in"):
            return False
        try:
            response = client.response(heard, self._facts.institution)
        except (Malformed, OutcomeUnknown):
            return False
        if not (response.refused and client.region.says("not_signed_in", response.err_msg)):
            return False
        client.sign_ins.forget(self._facts.institution, own_json(heard.sent).get("sign_no", ""))
        return True

    def _renew(self, left_s: float) -> None:
        sign_in = next((step for step in self._steps if step.name == "sign:9001"), None)
        if sign_in is not None:
            self._signed_in(sign_in, left_s)

    def _must_be_readable(self, heard: Said) -> None:
        """Before the effect an answer that is none ends the attempt: nothing is settled, and all can be said again."""
        client = self._client
        if heard.status != 200:
            raise OutcomeUnknown("no answer but a status", code=f"http.{heard.status}")
        response = client.response(heard, self._facts.institution)
        if not (response.done or response.refused):
            raise OutcomeUnknown("a gateway's word", code="national.gateway")
        if response.done and not heard.name.startswith("clear:"):
            try:
                client.talk.content(heard.answer, self._facts.institution, infno_of(heard.name))
            except InvalidMessage as error:
                raise OutcomeUnknown("an answer that breaks its table", code=error.code) from None


class _BooksAsked(_Conversation):
    """A day's books: each file is asked about under the number that it got, and fetched under the one answered."""

    def _envelope(self, step: Step, said: Sequence[Said]) -> dict[str, Any] | None:
        envelope = self._envelopes[self._place]
        (record,) = envelope["input"].values()
        if FILE in record.values():
            content = self._client.talk.content(said[-1].answer, self._facts.institution, infno_of(said[-1].name))
            (told,) = content.values()
            gaps = {FILE: told["file_qury_no"], NAME: told["filename"]}
            record |= {name: gaps[value] for name, value in record.items() if value in (FILE, NAME)}
        return envelope

    def _must_be_readable(self, heard: Said) -> None:
        """A file travels without an envelope."""
        if infno_of(heard.name) != "9102":
            super()._must_be_readable(heard)

    def _goes_on(self, heard: Said) -> bool:
        """A refusal ends the questions."""
        file = infno_of(heard.name) == "9102" or heard.status != 200
        return file or not self._client.response(heard, self._facts.institution).refused


def _left(ends_at: float) -> float:
    """What is left for a call after one that was not executed; Unavailable when nothing is."""
    left_s = ends_at - time.monotonic()
    if left_s <= 0:
        raise Unavailable("the time was up before the call was said anew", code="call.timeout")
    return left_s


def _names(region: Region, kind: str, heard: Said) -> bool:
    """A gateway's own wrapper that holds one of the known words."""
    try:
        parsed = read_json(heard.answer)
    except Malformed:
        return False
    told = f"{parsed.get('message', '')} {parsed.get('err_msg', '')}"
    return ("infcode" not in parsed or str(parsed["infcode"]) != "0") and region.says(kind, told)


def _capabilities(region: Region) -> Capabilities:
    return replace(
        BasicNational.capabilities,
        idempotent_submit=region.yes("repeats_harmless"),
        inquiry=region.yes("queries"),
        reversal=region.yes("reversal_proves"),
        statements=region.yes("statements"),
        statements_compared=region.yes("statements"),
    )
