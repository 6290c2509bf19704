"""The views of the invariants about hosted products; see `store.invariants`."""

from __future__ import annotations

ACCUMULATORS = """SELECT a.changed_at AS at, CAST(NULL AS uuid) AS case_id,
    'accumulator/' || a.product || '/' || a.policy_no || '/' || a.year || '/' || left(a.person_key, 8) AS subject,
    'says ' || a.visits || ' visits, deductible ' || a.deductible_fen || ', counted ' || a.counted_fen || ', paid '
        || a.paid_fen || ' fen; its standing claims are ' || s.visits || ', ' || s.deductible_fen || ', '
        || s.counted_fen || ', ' || s.paid_fen AS detail
FROM accumulator a
CROSS JOIN LATERAL (
    SELECT count(*) AS visits, coalesce(sum(h.deductible_fen), 0) AS deductible_fen,
           coalesce(sum(h.counted_fen), 0) AS counted_fen, coalesce(sum(h.amount_fen), 0) AS paid_fen
    FROM hosted_claim h
    WHERE h.state = 'approved' AND h.product = a.product AND h.person_key = a.person_key
      AND (a.year = 0 OR (h.policy_no = a.policy_no AND h.year = a.year))
) AS s
WHERE s.visits <> a.visits OR s.deductible_fen <> a.deductible_fen OR s.counted_fen <> a.counted_fen
   OR s.paid_fen <> a.paid_fen
UNION ALL
SELECT h.settled_at, h.case_id, 'hosted_claim/' || h.request_id, 'stands, and no accumulator counts it'
FROM hosted_claim h
WHERE h.state = 'approved' AND 2 <> (
    SELECT count(*) FROM accumulator a
    WHERE a.product = h.product AND a.person_key = h.person_key
      AND ((a.policy_no = '' AND a.year = 0) OR (a.policy_no = h.policy_no AND a.year = h.year)))"""

CLAIMS_AND_LEGS = """SELECT h.settled_at AS at, h.case_id, 'leg/' || h.case_id || '/' || l.leg_no AS subject,
    found.detail
FROM hosted_claim h
JOIN settlement_leg l ON l.case_id = h.case_id AND replace(l.case_id::text, '-', '') || '-' || l.leg_no = h.request_id
CROSS JOIN LATERAL (
    SELECT 'approved with ' || l.amount_fen || ' fen, and the claim is ' || h.state || ' with ' || h.amount_fen
    WHERE l.state = 'approved' AND (h.state <> 'approved' OR h.amount_fen <> l.amount_fen)
    UNION ALL
    SELECT l.state || ', and its claim stands with ' || h.amount_fen || ' fen'
    WHERE l.state IN ('declined', 'not_needed', 'cancelled', 'reversed') AND h.state = 'approved'
) AS found(detail)
WHERE NOT EXISTS (
    SELECT 1 FROM operator_action o WHERE o.subject = 'leg/' || h.case_id || '/' || l.leg_no
      AND o.state = 'executed' AND o.kind IN ('doubt.approve', 'doubt.decline', 'doubt.undone'))"""
