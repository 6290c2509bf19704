"""Payment orders between payers and institutions, and the files that carry them to a bank. Whole fen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, text

from routing.days import day_of
from schemas.bank import BankAccount


@dataclass(frozen=True, slots=True)
class Payment:
    """An order as it stands; below zero the institution pays back."""

    payment_no: str
    payer: str
    institution: str
    amount_fen: int
    state: str
    claims: list[int]
    ordered_by: str
    order_action: int | None
    ordered_at: datetime
    file_no: int | None
    paid_on: date | None
    bank_reference: str
    ended_at: datetime | None
    reason: str
    institution_account: BankAccount | None
    payer_account: BankAccount | None

    @property
    def cause(self) -> str:
        """How the ledger names it."""
        return f"payment/{self.payment_no}"


@dataclass(frozen=True, slots=True)
class PaymentFile:
    """A file of payments as it was written."""

    file_no: int
    payer: str
    payments: int
    total_fen: int
    sha256: str
    content: bytes
    made_by: str
    made_at: datetime


_COLUMNS = ", ".join(Payment.__dataclass_fields__)
_FILE_COLUMNS = ", ".join(PaymentFile.__dataclass_fields__)
_NEXT = text("SELECT nextval(pg_get_serial_sequence('fund_payment', 'payment_id'))")
_ADD = text(f"""
    INSERT INTO fund_payment (payment_id, payment_no, payer, institution, amount_fen, state, claims, ordered_by,
        order_action, ordered_at, institution_account, payer_account)
    VALUES (:payment_id, :payment_no, :payer, :institution, :amount_fen, 'ordered', CAST(:claims AS jsonb), :by,
        :action, :now, CAST(:institution_account AS jsonb), CAST(:payer_account AS jsonb)) RETURNING {_COLUMNS}""")
_READ = text(f"SELECT {_COLUMNS} FROM fund_payment WHERE payment_no = :payment_no")
_HOLD = text(f"SELECT {_COLUMNS} FROM fund_payment WHERE payment_no = :payment_no FOR UPDATE")
_END = text("""
    UPDATE fund_payment SET state = :state, paid_on = :paid_on, bank_reference = :bank_reference, reason = :reason,
        ended_at = :now WHERE payment_no = :payment_no""")
_LISTED = text(f"""
    SELECT {_COLUMNS} FROM fund_payment
    WHERE (:payer = '' OR payer = :payer) AND (:institution = '' OR institution = :institution)
        AND (:state = '' OR state = :state) ORDER BY payment_id DESC LIMIT :limit""")
_UNWRITTEN = text(f"""
    SELECT {_COLUMNS} FROM fund_payment
    WHERE payer = :payer AND state = 'ordered' AND amount_fen > 0 AND file_no IS NULL ORDER BY payment_id FOR UPDATE""")
_CARRIED = text(f"SELECT {_COLUMNS} FROM fund_payment WHERE file_no = :file_no ORDER BY payment_id")
_ADD_FILE = text(f"""
    INSERT INTO fund_payment_file (payer, payments, total_fen, sha256, content, made_by, made_at)
    VALUES (:payer, :payments, :total_fen, :sha256, :content, :by, :now) RETURNING {_FILE_COLUMNS}""")
_IN_FILE = text("UPDATE fund_payment SET file_no = :file_no WHERE payment_no = ANY(:payment_nos)")
_FILE = text(f"SELECT {_FILE_COLUMNS} FROM fund_payment_file WHERE file_no = :file_no")
_UNORDERED = text("""
    SELECT c.institution, c.payment_no, c.payer, c.amount_fen, c.paid_on FROM payment_confirmation c
    WHERE (:payer = '' OR c.payer = :payer) AND (:institution = '' OR c.institution = :institution)
        AND NOT EXISTS (SELECT 1 FROM fund_payment p WHERE p.payment_no = c.payment_no)
    ORDER BY c.confirmed_at DESC LIMIT :limit""")


def add(
    connection: Connection,
    payer: str,
    institution: str,
    amount_fen: int,
    claims: Iterable[int],
    *,
    by: str,
    action: int | None,
    now: datetime,
    institution_account: BankAccount | None = None,
    payer_account: BankAccount | None = None,
) -> Payment:
    """A new order, with the number by which everybody names it."""
    number = int(connection.execute(_NEXT).scalar_one())
    row = connection.execute(
        _ADD,
        {
            "payment_id": number,
            "payment_no": f"HP{day_of(now):%Y%m%d}-{number:06d}",
            "payer": payer,
            "institution": institution,
            "amount_fen": amount_fen,
            "claims": orjson.dumps(list(claims)).decode(),
            "by": by,
            "action": action,
            "now": now,
            "institution_account": institution_account and institution_account.model_dump_json(),
            "payer_account": payer_account and payer_account.model_dump_json(),
        },
    ).one()
    return _payment(row)


def read(connection: Connection, payment_no: str) -> Payment | None:
    """The order; None when there is none."""
    row = connection.execute(_READ, {"payment_no": payment_no}).first()
    return None if row is None else _payment(row)


def hold(connection: Connection, payment_no: str) -> Payment | None:
    """The order, held until the transaction ends; who asks holds its institution's lock."""
    row = connection.execute(_HOLD, {"payment_no": payment_no}).first()
    return None if row is None else _payment(row)


def end(
    connection: Connection,
    payment_no: str,
    state: str,
    *,
    now: datetime,
    paid_on: date | None = None,
    bank_reference: str = "",
    reason: str = "",
) -> None:
    """The order is confirmed or void."""
    values = {"payment_no": payment_no, "state": state, "paid_on": paid_on, "bank_reference": bank_reference}
    connection.execute(_END, values | {"reason": reason, "now": now})


def listed(
    connection: Connection, *, payer: str = "", institution: str = "", state: str = "", limit: int = 1_000
) -> list[Payment]:
    """Orders, the newest first."""
    values = {"payer": payer, "institution": institution, "state": state, "limit": limit}
    return [_payment(row) for row in connection.execute(_LISTED, values)]


def unwritten(connection: Connection, payer: str) -> list[Payment]:
    """The orders of a payer that no file carries yet, held."""
    return [_payment(row) for row in connection.execute(_UNWRITTEN, {"payer": payer})]


def add_file(
    connection: Connection, payer: str, held: list[Payment], sha256: str, content: bytes, *, by: str, now: datetime
) -> PaymentFile:
    """Keep a file with these orders, which belong to it from now on."""
    values = {"payer": payer, "payments": len(held), "total_fen": sum(one.amount_fen for one in held)}
    row = connection.execute(_ADD_FILE, values | {"sha256": sha256, "content": content, "by": by, "now": now}).one()
    connection.execute(_IN_FILE, {"file_no": row.file_no, "payment_nos": [one.payment_no for one in held]})
    return _file(row)


def in_file(connection: Connection, file_no: int) -> list[Payment]:
    """The orders that a file carries, in their order."""
    return [_payment(row) for row in connection.execute(_CARRIED, {"file_no": file_no})]


def file(connection: Connection, file_no: int) -> PaymentFile | None:
    """A file as it was written; None when there is none."""
    row = connection.execute(_FILE, {"file_no": file_no}).first()
    return None if row is None else _file(row)


@dataclass(frozen=True, slots=True)
class Unordered:
    """Money that an institution confirmed and that nobody ordered here."""

    institution: str
    payment_no: str
    payer: str
    amount_fen: int
    paid_on: date


def unordered(connection: Connection, *, payer: str = "", institution: str = "", limit: int = 1_000) -> list[Unordered]:
    """Confirmations without an order, the newest first."""
    rows = connection.execute(_UNORDERED, {"payer": payer, "institution": institution, "limit": limit})
    return [Unordered(**row._asdict()) for row in rows]


def _payment(row: Row[Any]) -> Payment:
    values = row._asdict()
    for name in ("institution_account", "payer_account"):
        values[name] = None if values[name] is None else BankAccount.model_validate(values[name])
    return Payment(**values)


def _file(row: Row[Any]) -> PaymentFile:
    return PaymentFile(**{**row._asdict(), "content": bytes(row.content)})
