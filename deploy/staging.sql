-- The staging table of one institution or basic system, on PostgreSQL 12 or newer, in a database of its own (UTF-8).
-- Run it as the owner of that database:  psql -d staging -f staging.sql
-- Running it again is harmless.
--
-- The sender inserts rows (party, transaction, message_key, content) and reads what became of them;
-- the hub takes new rows and writes state and answer back. Nobody deletes but the sender.
BEGIN;

CREATE SCHEMA IF NOT EXISTS staging;

CREATE TABLE IF NOT EXISTS staging.staging_request (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- written by the sender
    party         text NOT NULL,                       -- its own code at the hub
    transaction   text NOT NULL,                       -- such as settlement.settle
    message_key   text NOT NULL,                       -- its own number of this message: 1 to 64 of 0-9 A-Z a-z . _ : -
    content       text NOT NULL,                       -- the message as JSON, 1 MiB at most
    created_at    timestamptz NOT NULL DEFAULT now(),
    -- written by the hub
    state         text NOT NULL DEFAULT 'new',
    attempts      integer NOT NULL DEFAULT 0,
    claimed_at    timestamptz,
    claimed_by    text,
    case_id       uuid,                                -- of a settlement: its answer follows
    answer        text,                                -- the answer as JSON; of a refused row the refusal
    revision      integer NOT NULL DEFAULT 0,          -- grows whenever the answer of a settlement changes
    final         boolean NOT NULL DEFAULT false,      -- no further revision is expected
    answered_at   timestamptz,
    error_code    text,
    error_text_zh text,                                -- what is wrong, in which field, and what to do
    CONSTRAINT staging_state_is_known CHECK (state IN ('new', 'taken', 'answered', 'refused'))
);

-- What the hub looks for: rows to take, rows whose answer is still to come, rows of a case.
CREATE INDEX IF NOT EXISTS staging_to_take ON staging.staging_request (id)
    WHERE state IN ('new', 'taken') AND case_id IS NULL;
CREATE INDEX IF NOT EXISTS staging_to_answer ON staging.staging_request (claimed_at)
    WHERE state = 'taken' AND case_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS staging_by_case ON staging.staging_request (case_id) WHERE case_id IS NOT NULL;
-- What the sender looks for.
CREATE INDEX IF NOT EXISTS staging_by_key ON staging.staging_request (message_key);

-- The figures of a settlement's answer in columns, for programs that read no JSON. Amounts are in yuan.
CREATE OR REPLACE VIEW staging.staging_result AS
SELECT id, party, transaction, message_key, state, revision, final, answered_at, error_code, error_text_zh,
       found.answer ->> 'settlement_no'                AS settlement_no,
       found.answer ->> 'status'                       AS status,
       (found.answer ->> 'total')::numeric(18, 2)          AS total,
       (found.answer ->> 'account')::numeric(18, 2)        AS account,
       (found.answer ->> 'hospital_borne')::numeric(18, 2) AS hospital_borne,
       (found.answer ->> 'cash')::numeric(18, 2)           AS cash,
       (found.answer ->> 'deferred')::numeric(18, 2)       AS deferred,
       found.answer -> 'message' ->> 'zh'              AS message_zh
FROM staging.staging_request
CROSS JOIN LATERAL (SELECT CASE WHEN state = 'answered' THEN answer::jsonb END AS answer) AS found;

-- One line for each payer of a settlement.
CREATE OR REPLACE VIEW staging.staging_share AS
SELECT r.id, r.party, r.message_key, r.revision,
       (share ->> 'sequence')::integer                 AS sequence,
       share ->> 'payer'                               AS payer,
       share ->> 'layer'                               AS layer,
       share ->> 'product'                             AS product,
       share ->> 'state'                               AS share_state,
       (share ->> 'amount')::numeric(18, 2)            AS amount,
       share -> 'reason' ->> 'zh'                      AS reason_zh,
       share -> 'next_step' ->> 'zh'                   AS next_step_zh
FROM staging.staging_request r
CROSS JOIN LATERAL (SELECT CASE WHEN r.state = 'answered' THEN r.answer::jsonb -> 'shares' END AS shares) AS found
CROSS JOIN LATERAL jsonb_array_elements(coalesce(found.shares, '[]'::jsonb)) AS share;

-- Rights, by two roles that own nothing. Give each a password and the right to log in:
--   ALTER ROLE staging_sender LOGIN PASSWORD '…';  ALTER ROLE staging_hub LOGIN PASSWORD '…';
DO $$
BEGIN
    CREATE ROLE staging_sender;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of this server has it already
END $$;
DO $$
BEGIN
    CREATE ROLE staging_hub;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
REVOKE ALL ON SCHEMA staging FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA staging FROM PUBLIC;
GRANT USAGE ON SCHEMA staging TO staging_sender, staging_hub;
GRANT INSERT (party, transaction, message_key, content), SELECT, DELETE ON staging.staging_request TO staging_sender;
GRANT SELECT ON staging.staging_result, staging.staging_share TO staging_sender;
GRANT SELECT, UPDATE (state, attempts, claimed_at, claimed_by, case_id, answer, revision, final, answered_at,
                      error_code, error_text_zh) ON staging.staging_request TO staging_hub;

COMMIT;
