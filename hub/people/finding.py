"""Finding a case by whatever somebody has in hand, for the command line and for operators over HTTP."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from hub.gateway.national.numbers import uuid_of
from schemas.base import Bilingual
from schemas.codes import IdentityType
from schemas.errors import InvalidMessage, Violation
from schemas.identity import id_card_problem
from schemas.money import yuan_of
from store import search
from store.coverage import person_key
from store.search import Found, Name

KEY_MAX = 200
WORDS: dict[Name, Bilingual] = {
    Name.CASE: Bilingual(zh="平台案件号或请求号", en="the hub's number"),
    Name.SETTLEMENT: Bilingual(zh="结算流水号", en="settlement number"),
    Name.MESSAGE: Bilingual(zh="报文号", en="message id"),
    Name.VISIT: Bilingual(zh="就诊号", en="visit number"),
    Name.PERSON: Bilingual(zh="证件号码", en="identity number"),
    Name.POLICY: Bilingual(zh="保单号", en="policy number"),
    Name.REFERENCE: Bilingual(zh="支付方流水号", en="payer's reference"),
    Name.UNDO: Bilingual(zh="撤销或冲正号", en="number of an undo"),
    Name.NOTICE: Bilingual(zh="通知请求号", en="number of a notice"),
    Name.CLAIM: Bilingual(zh="清算申请号", en="claim"),
    Name.PAYMENT: Bilingual(zh="拨付单号", en="payment"),
}


class Finder:
    """Looks cases up; knows the secret under which persons are stored."""

    def __init__(self, person_secret: bytes) -> None:
        self._secret = person_secret

    def find(self, connection: Connection, key: str, limit: int = 50) -> list[Found]:
        """The cases that go by this key, the newest first. InvalidMessage: nothing can be called so."""
        key = key.strip()
        if not key or len(key) > KEY_MAX or not key.isprintable():
            remedy = f"send 1 to {KEY_MAX} printable characters"
            raise InvalidMessage("no key", Violation("q", "search.key", remedy), code="search.invalid")
        # Whoever wrote the number down may have written the check character small.
        persons = [person_key(self._secret, kind, key.upper()) for kind in IdentityType]
        if key != key.upper():
            persons += [person_key(self._secret, kind, key) for kind in IdentityType]
        return search.find(connection, uuid_of(key) or key, persons, limit)


def names_a_person(key: str) -> bool:
    """Whether this is a citizen's identity number, which belongs into no address and no log."""
    return id_card_problem(key.strip().upper()) is None


def found_as_dict(found: Found) -> dict[str, Any]:
    """One case for JSON."""
    return {
        "case_id": found.case_id,
        "found_by": list(found.by),
        "institution": found.institution,
        "settlement_no": found.settlement_no,
        "purpose": found.purpose,
        "state": found.state,
        "total": yuan_of(found.total_fen),
        "received_at": found.received_at.isoformat(),
        "business_day": found.business_day and found.business_day.isoformat(),
    }
