"""What is said next, from the script and what was heard so far: the same for whoever holds the same transcript."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any

from adapters.basic.national.contents import GAPS, MDTRT_ID
from adapters.basic.national.keys import Keys
from adapters.basic.national.region import Region
from adapters.basic.national.scripts import infno_of
from adapters.conversation import Said, Step
from crypto.errors import CryptoError
from schemas.errors import Malformed, OutcomeUnknown, Violation
from schemas.national.envelope import Response, read_json, read_response
from schemas.national.identities import broken_lines
from schemas.national.transactions import Content, read_output

_DECODER = json.JSONDecoder(parse_float=Decimal)
ANSWERS_KEPT = 128
"""An answer is read while the conversation goes on and again when it is decoded."""
REGISTRATIONS, UPLOADS = ("2201", "2401"), ("2204", "2301")
SETTLEMENTS = ("2206", "2207", "2303", "2304", "2101", "2102")


def own_json(text: str | bytes) -> dict[str, Any]:
    """What we wrote ourselves, decimals with their digits."""
    written: dict[str, Any] = _DECODER.decode(text if isinstance(text, str) else text.decode())
    return written


@contextmanager
def whole_transcript() -> Iterator[None]:
    """A transcript is read back from the database: one that was damaged there is no answer."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, ArithmeticError) as error:
        raise Malformed("a broken transcript", code="answer.transcript") from error


@dataclass
class Heard:
    """What the answers so far have told."""

    mdtrt_id: str = ""
    batch: str = ""
    setl_ids: list[str] = field(default_factory=list)
    looked: bool = False
    found: bool | None = None
    """Whether 5201 showed the visit."""
    uploads: int = 0
    standing: dict[tuple[str, bool], int] = field(default_factory=dict)
    lines_stand: bool = False
    """What stands already comes to the bill."""
    anything_stands: bool = True
    refusal: Said | None = None
    """The answer that ends the conversation before its effect."""
    broken: list[Violation] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a conversation is about."""

    institution: str
    psn_no: str = ""
    visit_no: str = ""
    total_fen: int = 0
    batch: str = ""
    stay: bool = False
    mdtrt_id: str = ""
    """The region's number of the visit, where it is known before."""


class Talk:
    """Reads answers and fills the gaps of steps."""

    def __init__(self, region: Region, keys: Keys) -> None:
        self._region, self._keys = region, keys
        self.opened = lru_cache(ANSWERS_KEPT)(self._opened)
        self.content = lru_cache(ANSWERS_KEPT)(self._content)

    def _opened(self, body: bytes, institution: str) -> Response:
        """The answer in these bytes; Malformed for none, OutcomeUnknown for one that is not proven to be theirs."""
        parsed = read_json(body)
        if self._keys.proven:
            parsed = self._verified(parsed, institution)
        return read_response(parsed)

    def _content(self, body: bytes, institution: str, infno: str) -> Content:
        """What a successful answer holds; InvalidMessage where it breaks its table."""
        return read_output(infno, self.opened(body, institution).output)

    def _verified(self, parsed: dict[str, Any], institution: str) -> dict[str, Any]:
        inner = parsed.get("data")
        if "infcode" not in parsed and isinstance(inner, dict) and "infcode" in inner:
            return self._verified(inner, institution)
        if "infcode" not in parsed:
            # What a gateway says of itself is no word about the transaction, signed or not.
            return {**parsed, "type": "unproven"}
        try:
            return self._keys.opened(parsed, institution)
        except CryptoError as error:
            raise OutcomeUnknown("the answer's signature is not proven", code="national.signature") from error

    def next(
        self, step: Step, envelope: dict[str, Any], said: Sequence[Said], heard: Heard, facts: Facts
    ) -> dict[str, Any] | None:
        """The envelope of a step with its gaps filled; None when it does not apply."""
        if not self._applies(step, said, heard, facts):
            return None
        looked_at = sum(infno_of(one.name) == "5203" for one in said)
        setl_id = heard.setl_ids[looked_at] if looked_at < len(heard.setl_ids) else ""
        if f'"{MDTRT_ID}"' in step.body and not heard.mdtrt_id:
            return None
        fillings = {"mdtrt_id": heard.mdtrt_id, "chrg_bchno": heard.batch or facts.batch, "setl_id": setl_id}
        return _filled(envelope, fillings)

    def _applies(self, step: Step, said: Sequence[Said], heard: Heard, facts: Facts) -> bool:
        role, _, infno = step.name.rpartition(":")
        if role == "after":
            return bool(heard.mdtrt_id) and (heard.uploads > 0 or infno in ("2202", "2404"))
        if role == "undo":
            return heard.refusal is not None and heard.uploads > 0
        if role == "find" and said and infno_of(said[-1].name) in REGISTRATIONS:
            return heard.refusal is not None and not heard.mdtrt_id
        if heard.refusal is not None:
            # Where a repeat is harmless the settlement may stand, and the steps before it are refused for that: only
            # the answer to its own message says so.
            return step.effect and bool(facts.total_fen) and self._region.yes("repeats_harmless") and not heard.broken
        if role == "clear":
            return not heard.lines_stand and heard.anything_stands
        if role == "then":
            return len(heard.setl_ids) > sum(infno_of(one.name) == "5203" for one in said)
        if role == "look":
            return bool(heard.mdtrt_id)
        if infno == "5203":
            return bool(heard.setl_ids)
        if infno in UPLOADS and heard.standing and not facts.total_fen:
            return not _all_stand(own_json(step.body), heard)
        return not (heard.lines_stand and infno in (*UPLOADS, "2402"))

    def heard(self, said: Sequence[Said], facts: Facts) -> Heard:
        """What the answers so far come to."""
        heard = Heard(mdtrt_id=facts.mdtrt_id)
        for one in said:
            self.hear(heard, one, facts)
        return heard

    def hear(self, heard: Heard, one: Said, facts: Facts) -> None:
        """Add what one more answer tells."""
        role, _, infno = one.name.rpartition(":")
        if infno in UPLOADS:
            heard.uploads += 1
        response = self.opened(one.answer, facts.institution) if one.status == 200 else None
        if response is None:
            return
        if response.done:
            self._learn(heard, one, facts)
        elif response.refused and role == "" and not (heard.refusal or infno == "5203"):
            heard.refusal = one

    def _learn(self, heard: Heard, one: Said, facts: Facts) -> None:
        infno = infno_of(one.name)
        if infno not in (*REGISTRATIONS, *UPLOADS, "5201", "5204", "1101"):
            return
        content = self.content(one.answer, facts.institution, infno)
        if infno in REGISTRATIONS:
            heard.mdtrt_id = content["data" if infno == "2201" else "result"]["mdtrt_id"]
        elif infno in UPLOADS:
            self._check_lines(heard, one, content["result"])
        elif infno == "5201":
            _find(heard, content["mdtrtinfo"], facts)
        elif infno == "5204":
            _look(heard, content["feedetail"], facts)
        elif content["baseinfo"]["psn_no"] != facts.psn_no:
            heard.refusal = one
            heard.broken.append(Violation("psn_no", "national.person", "1101 names another person than the request"))

    def _check_lines(self, heard: Heard, one: Said, rows: list[dict[str, Any]]) -> None:
        """A1 to A3 of one chunk, where the region tells its lines."""
        if not rows:
            return
        lines = own_json(one.sent)["input"]["feedetail"]
        asked = {_key(line): _fen(line["det_item_fee_sumamt"]) for line in lines}
        told = {(row["feedetl_sn"], row["det_item_fee_sumamt"] < 0): row["det_item_fee_sumamt"] for row in rows}
        broken = broken_lines(rows, self._region.switches)
        tolerance = self._region.switches.tolerance_fen
        if told.keys() != asked.keys() or any(abs(told[key] - asked[key]) > tolerance for key in asked):
            broken.append(Violation("result", "national.A1", "answer each line once, with its amount"))
        if broken:
            heard.broken.extend(broken)
            heard.refusal = heard.refusal or one


def _find(heard: Heard, rows: list[dict[str, Any]], facts: Facts) -> None:
    """The visit under our number; where a region tells no numbers, the only visit of the day."""
    ours = [row for row in rows if row.get("ipt_otp_no") == facts.visit_no]
    unnamed = [row for row in rows if "ipt_otp_no" not in row]
    if not ours and len(unnamed) == len(rows) == 1:
        ours = unnamed
    if not ours and not unnamed:
        heard.found = False
    elif len(ours) == 1:
        heard.found = True
        heard.mdtrt_id, heard.refusal = ours[0]["mdtrt_id"], None


def _look(heard: Heard, rows: list[dict[str, Any]], facts: Facts) -> None:
    """What stands of the visit. It is used only as a whole: where it is not the bill it is taken back."""
    open_rows = [row for row in rows if "setl_id" not in row]
    batches = {row.get("chrg_bchno", "") for row in open_rows}
    heard.looked = True
    heard.setl_ids = sorted({row["setl_id"] for row in rows if "setl_id" in row})
    heard.anything_stands = bool(open_rows)
    heard.standing = {_key(row): row["det_item_fee_sumamt"] for row in open_rows}
    adds_up = sum(row["det_item_fee_sumamt"] for row in open_rows) == facts.total_fen
    heard.lines_stand = bool(open_rows) and adds_up and (facts.stay or len(batches) == 1)
    heard.batch = batches.pop() if heard.lines_stand and not facts.stay else ""


def _filled(envelope: dict[str, Any], fillings: Mapping[str, str]) -> dict[str, Any]:
    for node in envelope["input"].values():
        for record in node if isinstance(node, list) else [node]:
            for name, gap in GAPS.items():
                if record.get(name) == gap:
                    record[name] = fillings[name]
    return envelope


def _key(line: Mapping[str, Any]) -> tuple[str, bool]:
    """A line by serial and sign: a refund may come back under the serial of what it refunds."""
    return line["feedetl_sn"], Decimal(line["det_item_fee_sumamt"]) < 0


def _all_stand(envelope: dict[str, Any], heard: Heard) -> bool:
    """Whether every line of an upload stands already, with its amount: it was said before."""
    lines = envelope["input"]["feedetail"]
    return all(heard.standing.get(_key(line)) == _fen(line["det_item_fee_sumamt"]) for line in lines)


def _fen(amount: Any) -> int:
    return int(Decimal(amount) * 100)


def facts_in(envelopes: Iterable[tuple[str, dict[str, Any]]]) -> Facts:
    """What a script is about, from its own words: the envelopes of its steps, by their names."""
    by_infno: dict[str, dict[str, Any]] = {}
    head: dict[str, Any] = {}
    for name, head in envelopes:
        first, *_ = head["input"].values()
        by_infno.setdefault(infno_of(name), first)
    number: dict[str, Any] = {}
    for infno in ("5201", *REGISTRATIONS):
        number = by_infno.get(infno, number)
    settled: dict[str, Any] = next((by_infno[infno] for infno in SETTLEMENTS if infno in by_infno), {})
    nodes = [node[0] if isinstance(node, list) else node for node in by_infno.values()]
    known = [node.get("mdtrt_id", "") for node in nodes]
    lines: Any = next((by_infno[infno] for infno in UPLOADS if infno in by_infno), [{}])
    return Facts(
        institution=head["fixmedins_code"],
        psn_no=settled.get("psn_no", ""),
        visit_no=number.get("ipt_otp_no", ""),
        total_fen=_fen(settled.get("medfee_sumamt", 0)),
        batch=lines[0].get("chrg_bchno", ""),
        stay="2401" in by_infno,
        mdtrt_id=next((number for number in known if isinstance(number, str) and number not in ("", MDTRT_ID)), ""),
    )
