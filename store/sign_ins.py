"""Sign-ins of operators (9001, 9002): a number that later messages name, until it ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from store.driver import Prepared
from store.rows import as_json, insert_rows
from store.tables_visits import sign_ins


@dataclass(frozen=True, slots=True)
class SignIn:
    """One operator at one institution, from the sign-in until it ends by itself."""

    sign_no: str
    institution: str
    operator: str
    signed_in_at: datetime
    valid_until: datetime


_INSERT = insert_rows(sign_ins, tuple(SignIn.__dataclass_fields__))
_STANDS = Prepared(
    "SELECT 1 FROM sign_in WHERE sign_no = $1 AND institution = $2 AND signed_out_at IS NULL "
    "AND valid_until > CAST($3 AS timestamptz)",
    "text",
    "text",
    "text",
)
_END = Prepared(
    "UPDATE sign_in SET signed_out_at = CAST($3 AS timestamptz) "
    "WHERE sign_no = $1 AND institution = $2 AND signed_out_at IS NULL",
    "text",
    "text",
    "text",
)


def add(connection: Connection, new: SignIn) -> None:
    """Remember a sign-in."""
    _INSERT.count(connection, as_json([{name: getattr(new, name) for name in SignIn.__dataclass_fields__}]))


def stands(connection: Connection, institution: str, sign_no: str, now: datetime) -> bool:
    """Whether this institution signed in under this number and the sign-in has not ended."""
    return bool(_STANDS.rows(connection, sign_no, institution, now.isoformat()))


def end(connection: Connection, institution: str, sign_no: str, now: datetime) -> bool:
    """Sign out; False when there is nothing to end."""
    return _END.count(connection, sign_no, institution, now.isoformat()) > 0
