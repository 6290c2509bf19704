"""The last step of matching: what one side settled and undid on different days while the other never heard of it.

Looked at day by day such an item is a settlement that is missing, and days later a refund that is. Over all its days
it comes to nothing on both sides. The neighbouring days were looked at before; here all days on which we have entries
of an item count, and all on which a run of the same party found it. A day on which we have entries and no run was made
is not known, and an item with such a day stays what it is. So does one of which a difference was posted: it stands.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from store.breaks import hold_runs
from store.hub_side import SETTLES, HubSide
from store.matching_rows import PAYER

_ONE_SIDED = "('missing_at_hospital', 'missing_at_basic', 'missing_at_insurer', 'missing_at_hub', 'status')"
_STANDS = """r.state IN ('done', 'signed_off')
    AND NOT EXISTS (SELECT 1 FROM statement s WHERE s.statement_id = ANY(r.statement_ids) AND s.state <> 'standing')"""
"""That a run `r` counts, and was made with what its parties say now."""
_WHY = "settled and undone over several days: nothing stands on either side"


def _net(column: str) -> str:
    """SQL: what the figures of a break come to."""
    return f"(({column} ->> 2)::bigint + ({column} ->> 3)::bigint + ({column} ->> 4)::bigint)"


def _rows(column: str) -> str:
    """SQL: how many settlements and refunds the figures of a break are about."""
    return f"(({column} ->> 0)::bigint + ({column} ->> 1)::bigint)"


def explain_pairs(connection: Connection, side: HubSide, run_id: int, pair: int, missing: str) -> bool:
    """Call open breaks of this run that are half of such a pair `reversed_pair`, and their other halves with them where
    nobody has seen to those; what lost its other half by this run is open again. `pair`: whose book the party's own is,
    `missing`: the class of what that book lacks. Whether anything changed."""
    theirs = "payer_side" if pair == PAYER else "hospital"
    values = side.values | {"run_id": run_id}
    hold_runs(connection, run_id)
    reopened = connection.execute(text(_reopen(theirs)), values | {"missing": missing}).scalars().all()
    changed = [*reopened, *connection.execute(text(_explain(side, theirs)), values).scalars()]
    connection.execute(_COUNT_ANEW, {"runs": [one for one in set(changed) if one != run_id]})
    return bool(changed)


def _explain(side: HubSide, theirs: str) -> str:
    same_leg = "true" if side.whole else "e.leg_no = m.leg_no"
    day = side.day_of_entry
    return f"""
        WITH mine AS MATERIALIZED (
            SELECT break_id, key, case_id, leg_no, {_net("hub")} AS h_net, {_rows("hub")} AS h_rows,
                {_net(theirs)} AS x_net, {_rows(theirs)} AS x_rows
            FROM recon_break
            WHERE run_id = :run_id AND state = 'open' AND class IN {_ONE_SIDED} AND {theirs} IS NOT NULL
              AND case_id IS NOT NULL
        ), booked AS MATERIALIZED (
            SELECT m.break_id, {day} AS day, count(*) AS h_rows,
                sum(CASE WHEN {SETTLES} THEN e.amount_fen ELSE -e.amount_fen END)
                    FILTER (WHERE 'receivable' IN (e.debit, e.credit) OR 'personal' IN (e.debit, e.credit)) AS h_net
            FROM mine m JOIN ledger_entry e ON e.case_id = m.case_id AND {same_leg}
            WHERE {side.belongs} AND {day} <> :day
            GROUP BY m.break_id, {day}
        ), found AS MATERIALIZED (
            SELECT m.break_id, r.day, b.break_id AS other_id, {_net(f"b.{theirs}")} AS x_net,
                {_rows(f"b.{theirs}")} AS x_rows
            FROM mine m JOIN recon_break b ON b.key = m.key JOIN recon_run r USING (run_id)
            WHERE r.party = :party AND r.scheme = :scheme AND r.day <> :day AND {_STANDS} AND b.{theirs} IS NOT NULL
        ), days AS (
            SELECT break_id, day, coalesce(k.h_net, 0) AS h_net, coalesce(k.h_rows, 0) AS h_rows, f.other_id,
                CASE WHEN f.other_id IS NULL THEN coalesce(k.h_net, 0) ELSE f.x_net END AS x_net,
                CASE WHEN f.other_id IS NULL THEN coalesce(k.h_rows, 0) ELSE f.x_rows END AS x_rows,
                EXISTS (SELECT 1 FROM recon_run r WHERE r.party = :party AND r.scheme = :scheme
                        AND r.day = coalesce(k.day, f.day)
                        AND {_STANDS} AND r.statement_ids <> '{{}}') AS known
            FROM booked k FULL JOIN found f USING (break_id, day)
        ), pairs AS MATERIALIZED (
            SELECT m.break_id FROM mine m JOIN days d USING (break_id) GROUP BY m.break_id
            HAVING bool_and(d.known) AND min(m.h_net) + sum(d.h_net) = 0 AND min(m.x_net) + sum(d.x_net) = 0
               AND 0 IN (min(m.h_rows) + sum(d.h_rows), min(m.x_rows) + sum(d.x_rows))
            EXCEPT SELECT m.break_id FROM mine m JOIN ledger_entry e ON e.case_id = m.case_id AND {same_leg}
            WHERE 'difference' IN (e.debit, e.credit) AND 'receivable' IN (e.debit, e.credit) GROUP BY m.break_id
            HAVING sum(CASE WHEN e.debit = 'receivable' THEN e.amount_fen ELSE -e.amount_fen END) <> 0
        )
        UPDATE recon_break b SET class = 'reversed_pair', state = 'explained', proposal = 'none',
            reason = '{_WHY}'
        FROM recon_run r
        WHERE r.run_id = b.run_id AND r.state IN ('running', 'done') AND b.state = 'open'
          AND b.break_id IN (SELECT break_id FROM pairs
                             UNION SELECT other_id FROM days JOIN pairs USING (break_id) WHERE other_id IS NOT NULL)
        RETURNING b.run_id"""


def _reopen(theirs: str) -> str:
    had = f"({theirs} ->> 0)::bigint + ({theirs} ->> 1)::bigint"
    return f"""
        UPDATE recon_break b SET state = 'open', proposal = '', reason = '', class = CASE
            WHEN {had} = 0 THEN CASE WHEN (hub ->> 0)::bigint > 0 THEN :missing ELSE 'status' END
            ELSE CASE WHEN ({theirs} ->> 0)::bigint > 0 THEN 'missing_at_hub' ELSE 'status' END END
        FROM recon_run r
        WHERE r.run_id = b.run_id AND r.party = :party AND r.scheme = :scheme AND r.day <> :day AND r.state = 'done'
          AND b.state = 'explained' AND b.reason = '{_WHY}'
          AND EXISTS (SELECT 1 FROM recon_break h JOIN recon_run v USING (run_id)
                      WHERE h.key = b.key AND h.reason = '{_WHY}' AND v.party = :party AND v.scheme = :scheme
                        AND v.day = :day AND v.state = 'void')
        RETURNING b.run_id"""


_COUNT_ANEW = text("""
    UPDATE recon_run r SET counts = (
        SELECT coalesce(jsonb_object_agg(name, count), '{}') FROM (
            SELECT name, value::bigint AS count FROM jsonb_each_text(r.counts) AS had(name, value)
            WHERE name IN ('matched', 'no_statement')
            UNION ALL SELECT class, count(*) FROM recon_break b WHERE b.run_id = r.run_id GROUP BY class
        ) AS now)
    WHERE r.run_id = ANY(:runs)""")
