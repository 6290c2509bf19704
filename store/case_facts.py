"""What a case was for, as SQL: columns of the case, and for cases older than these the hospital's stored message."""

from __future__ import annotations


def _told(column: str, path: str) -> str:
    return (
        f"coalesce(c.{column}, (SELECT convert_from(x.body, 'UTF8')::jsonb #>> '{path}' FROM exchange x "
        "WHERE x.case_id = c.case_id AND x.leg_no = 0 AND x.operation = 'settle' AND x.direction = 'in' LIMIT 1))"
    )


VISIT_KIND = _told("visit_kind", "{visit,kind}")
"""Of a `settlement_case c`: a code of schemas.codes.VisitKind, null where nobody said it."""
INSURANCE_TYPE = _told("insurance_type", "{insurance,type}")
"""Of a `settlement_case c`: a code of schemas.codes.InsuranceType, null where nobody said it."""
