"""A million cases as people look for them: filled in set by set, with every table that a search reads."""

from __future__ import annotations

import psycopg2

from store.search import Name

INSTITUTIONS = 200
PERSONS_SHARE = 3
"""So many cases has each person; one person, and the visit number "1", have COMMON of them."""
COMMON = 10_000
CASE_ID = (
    "CAST(lpad(to_hex(1767225600000 + CAST(n AS bigint) * 10000), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0') "
    "AS uuid)"
)
INSTITUTION = f"'H4403' || lpad(CAST(n % {INSTITUTIONS} AS text), 8, '0')"
VISIT = f"CASE WHEN n % 100 = 0 AND n < {COMMON * 100} THEN '1' ELSE 'V' || n END"
PERSON = f"CASE WHEN n % 100 = 1 AND n < {COMMON * 100} THEN 'common' ELSE 'person-' || n / {PERSONS_SHARE} END"
AT = "CAST('2026-01-01 08:00+08' AS timestamptz) + n * interval '10 seconds'"


def _key(name: Name, value: str) -> str:
    hashed = f"substr(sha256(convert_to('{name}:' || {value}, 'UTF8')), 1, 8)"
    return f"CAST(CAST('x' || encode({hashed}, 'hex') AS bit(64)) AS bigint)"


_KEYS = (
    (Name.MESSAGE, "'M-' || n"),
    (Name.VISIT, VISIT),
    (Name.PERSON, PERSON),
    (Name.REFERENCE, "'REF-' || n || '-1'"),
    (Name.REFERENCE, "'REF-' || n || '-2'"),
)
FILLS = (
    f"""
    INSERT INTO settlement_case (case_id, region, institution, settlement_no, case_key, purpose, request_hash, state,
        version, revision, total_fen, rulebook_version, considered, received_at, answer_by, reply_to, correlation_id,
        ended_at, business_day)
    SELECT {CASE_ID}, '440300', {INSTITUTION}, 'S' || n, 'S' || n, 'settle', md5(CAST(n AS text)) || md5('x' || n),
        'settled', 4, 1, 30000, 1, '[["basic", ""]]', {AT}, {AT} + interval '15 s', 'out:' || {INSTITUTION}, 'M-' || n,
        {AT} + interval '300 ms', CAST({AT} AS date)
    FROM generate_series(%s, %s, %s) AS n""",
    f"""
    INSERT INTO settlement_leg (case_id, leg_no, region, payer, layer, product, rule, split, weight, independent, state,
        version, attempts, left_fen, amount_fen, payer_reference, claimed_at, decided_at)
    SELECT {CASE_ID}, leg, '440300', CASE leg WHEN 1 THEN 'BASIC-440300' ELSE 'CICI' END,
        CASE leg WHEN 1 THEN 'basic' ELSE 'critical_illness' END, 'p', 'basic', 0, 100, false, 'approved', 2, 1, 30000,
        7500, 'REF-' || n || '-' || leg, {AT}, {AT}
    FROM generate_series(%s, %s, %s) AS n, generate_series(1, 2) AS leg""",
    f"""
    INSERT INTO case_undo (case_id, cancel_no, region, reason, reply_to, correlation_id, asked_at)
    SELECT {CASE_ID}, 'C-' || n, '440300', 'r', '', 'CM-' || n, {AT}
    FROM generate_series(%s, %s, %s) AS n WHERE n %% 20 = 0
    """,
    f"""
    INSERT INTO message_number (request_id, payer, institution, first, count, at)
    SELECT replace(CAST({CASE_ID} AS text), '-', '') || '-1', 'BASIC-440300', left({INSTITUTION}, 12), n * 20, 20, {AT}
    FROM generate_series(%s, %s, %s) AS n""",
    f"""
    INSERT INTO ledger_entry (region, business_day, effective_day, institution, payer, layer, product, kind, debit,
        credit, amount_fen, case_id, leg_no)
    SELECT '440300', CAST({AT} AS date), CAST({AT} AS date), {INSTITUTION}, 'CICI', 'critical_illness', 'p', 'settle',
        'receivable', 'patient', 7500, {CASE_ID}, 2
    FROM generate_series(%s, %s, %s) AS n""",
    *(
        f"INSERT INTO search_key (key, case_id, region) SELECT {_key(name, value)}, {CASE_ID}, '440300' "
        "FROM generate_series(%s, %s, %s) AS n"
        for name, value in _KEYS
    ),
)
"""Each takes the first number, the last and the step."""


EVIDENCE = (
    f"""
    INSERT INTO exchange (region, case_id, leg_no, party, direction, operation, request_id, attempt, body, at)
    SELECT '440300', {CASE_ID}, 0, {INSTITUTION}, 'in', 'settle', 'M-' || n, 1, '{{}}', {AT}
    FROM generate_series(%s, %s, %s) AS n""",
    f"""
    INSERT INTO case_answer (case_id, revision, region, final, body, answered_at)
    SELECT {CASE_ID}, 1, '440300', true, '{{}}', {AT} FROM generate_series(%s, %s, %s) AS n""",
)
"""What no search reads."""


def fill(cursor: psycopg2.extensions.cursor, total: int, chunk: int = 100_000) -> None:
    """Store cases 0 to `total` - 1, ten seconds apart from 2026 on, in a migrated, empty database."""
    for first in range(0, total, chunk):
        fill_some(cursor, first, min(first + chunk, total) - 1)
    cursor.execute("VACUUM ANALYZE")


def fill_some(
    cursor: psycopg2.extensions.cursor, first: int, last: int, step: int = 1, *, evidence: bool = False
) -> None:
    """Store every `step`th of the cases `first` to `last`, with what was said if `evidence`."""
    for statement in (*FILLS, *EVIDENCE) if evidence else FILLS:
        # What is a per cent sign to PostgreSQL is doubled for the driver.
        escaped = statement.replace("%s", "\0").replace("%%", "%").replace("%", "%%").replace("\0", "%s")
        cursor.execute(escaped, (first, last, step))
