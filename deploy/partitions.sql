-- Months for the tables that grow with every case; see docs/decisions/0026-partitions.md.
--
-- Converts a database of the hub in place, while the hub works on it. Every step below is a transaction of its own, or a
-- statement that may not be in one; all of them can be run again as long as the tables have not changed places. Only when
-- they do are locks needed that stop others, for the moment of some catalogue changes: no row is copied.
--
--   psql -d hub -v ON_ERROR_STOP=1 -f deploy/partitions.sql
--
-- Afterwards `SELECT hub_months_ahead(3)` has to run at least monthly, from the role that owns the tables: a row of a month
-- that has no partition is refused. `SET hub.partition_from = '2026-12-01'` chooses another month to begin with than the next.

-- step functions
CREATE OR REPLACE FUNCTION hub_month_id(month date) RETURNS uuid LANGUAGE sql STABLE AS $$
    -- The least case id of a month of China Standard Time: ids begin with their milliseconds.
    SELECT CAST(lpad(to_hex(CAST(extract(epoch FROM CAST(month AS timestamp) AT TIME ZONE 'Asia/Shanghai') * 1000 AS bigint)),
                     12, '0') || '00000000000000000000' AS uuid)
$$;
CREATE OR REPLACE FUNCTION hub_bound(by_column text, month date) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT quote_literal(CASE by_column WHEN 'case_id' THEN CAST(hub_month_id(month) AS text) ELSE CAST(month AS text) END)
$$;
CREATE OR REPLACE FUNCTION hub_first_month() RETURNS date LANGUAGE sql STABLE AS $$
    SELECT CAST(coalesce(CAST(nullif(current_setting('hub.partition_from', true), '') AS timestamp),
        date_trunc('month', now() AT TIME ZONE 'Asia/Shanghai') + interval '1 month') AS date)
$$;
CREATE TABLE IF NOT EXISTS hub_partitioned (
    name text PRIMARY KEY,
    by_column text NOT NULL,
    first_month date                -- from when on it has partitions; null until it is converted
);
INSERT INTO hub_partitioned (name, by_column) VALUES
    ('settlement_case', 'case_id'), ('settlement_leg', 'case_id'), ('case_answer', 'case_id'), ('case_undo', 'case_id'),
    ('exchange', 'case_id'), ('search_key', 'case_id'), ('ledger_entry', 'business_day')
ON CONFLICT DO NOTHING;

-- step numbers
-- A number may be used once, whatever the month: a unique key of a partitioned table would hold within a month only.
CREATE TABLE IF NOT EXISTS settlement_number (
    case_key text NOT NULL,
    institution text NOT NULL,
    CONSTRAINT settlement_number_pk PRIMARY KEY (case_key, institution)
) PARTITION BY HASH (case_key);
DO $$
BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format('CREATE TABLE IF NOT EXISTS settlement_number_%s PARTITION OF settlement_number '
            'FOR VALUES WITH (MODULUS 16, REMAINDER %s)', part, part);
    END LOOP;
END $$;
CREATE OR REPLACE FUNCTION settlement_number_is_free() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO settlement_number (case_key, institution) VALUES (NEW.case_key, NEW.institution) ON CONFLICT DO NOTHING;
    -- Skipped, as ON CONFLICT DO NOTHING of the hub's own statement skips it; whoever is inserting the same is waited for.
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION settlement_number_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO settlement_number (case_key, institution)
    SELECT case_key, institution FROM added ORDER BY institution, case_key ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

-- step new numbers are kept beside the old key, from now on
DO $$
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'settlement_case'::regclass) = 'r'
       AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'settlement_number_is_kept') THEN
        CREATE TRIGGER settlement_number_is_kept AFTER INSERT ON settlement_case REFERENCING NEW TABLE AS added
            FOR EACH STATEMENT EXECUTE FUNCTION settlement_number_is_kept();
    END IF;
END $$;

-- step and those before are copied, a day at a time
DO $$
DECLARE
    at date;
BEGIN
    FOR at IN SELECT generate_series(date_trunc('day', min(received_at)), now(), interval '1 day') FROM settlement_case LOOP
        INSERT INTO settlement_number (case_key, institution)
        SELECT case_key, institution FROM settlement_case WHERE received_at >= at AND received_at < at + 1
        ON CONFLICT DO NOTHING;
        COMMIT;
    END LOOP;
END $$;

-- step the keys that the partitions need
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS settlement_case_p0_number ON settlement_case (case_key, institution, case_id);

-- step
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS ledger_entry_p0_key ON ledger_entry (entry_id, business_day);

-- step what the first partition holds is promised, without looking
DO $$
DECLARE
    one hub_partitioned;
BEGIN
    FOR one IN SELECT * FROM hub_partitioned WHERE first_month IS NULL LOOP
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT IF EXISTS before_partitions', one.name);
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT before_partitions CHECK (%I < %s) NOT VALID',
            one.name, one.by_column, hub_bound(one.by_column, hub_first_month()));
    END LOOP;
END $$;

-- step and looked at, while everybody goes on writing
DO $$
DECLARE
    wanted text;
BEGIN
    FOR wanted IN SELECT name FROM hub_partitioned WHERE first_month IS NULL LOOP
        EXECUTE format('ALTER TABLE %I VALIDATE CONSTRAINT before_partitions', wanted);
        COMMIT;
    END LOOP;
END $$;

-- step the month's partition, its table made beside and attached with a lock that stops nobody
CREATE OR REPLACE FUNCTION hub_add_month(parent text, month date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    by_column text := (SELECT p.by_column FROM hub_partitioned p WHERE p.name = parent);
    child text := format('%s_%s', parent, to_char(month, 'YYYYMM'));
    upto date := month + interval '1 month';
    span text := format('FROM (%s) TO (%s)', hub_bound(by_column, month), hub_bound(by_column, upto));
BEGIN
    IF to_regclass(child) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMMENTS)',
        child, parent);
    IF parent = 'ledger_entry' THEN
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT '
            'EXECUTE FUNCTION rows_are_only_added()', child || '_is_only_added_to', child);
    END IF;
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES %s', parent, child, span);
    RETURN true;
END $$;
CREATE OR REPLACE FUNCTION hub_months_ahead(months integer) RETURNS integer LANGUAGE sql AS $$
    SELECT CAST(count(*) FILTER (WHERE hub_add_month(p.name, CAST(m AS date))) AS integer)
    FROM hub_partitioned p, generate_series(CAST(p.first_month AS timestamp), greatest(p.first_month,
        date_trunc('month', now() AT TIME ZONE 'Asia/Shanghai')) + months * interval '1 month', interval '1 month') AS m
    WHERE p.first_month IS NOT NULL
$$;
-- The statements that let go of every partition that ends before a month, for whoever has archived them.
CREATE OR REPLACE FUNCTION hub_months_before(month date) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT format('ALTER TABLE %I DETACH PARTITION %I CONCURRENTLY; DROP TABLE %I;', p.name, c.relname, c.relname)
    FROM hub_partitioned p JOIN pg_inherits i ON i.inhparent = to_regclass(p.name) JOIN pg_class c ON c.oid = i.inhrelid
    WHERE CASE WHEN c.relname LIKE '%\_p0' THEN p.first_month
               ELSE to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month' END <= month
    ORDER BY c.relname
$$;

-- step the tables change places with partitioned ones
DO $$
DECLARE
    one hub_partitioned;
    part record;
    views text[];
    wanted text;
    next_id bigint;
BEGIN
    SET LOCAL lock_timeout = '2s';
    -- Views know a table by its number, not by its name: they are written anew, in the order in which they were made.
    SELECT array_agg(format('CREATE OR REPLACE VIEW %I AS %s', c.relname, pg_get_viewdef(c.oid)) ORDER BY c.oid) INTO views
    FROM pg_class c WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace;
    FOR one IN SELECT * FROM hub_partitioned WHERE first_month IS NULL ORDER BY name LOOP
        EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', one.name);
    END LOOP;
    IF EXISTS (SELECT FROM hub_partitioned WHERE name = 'settlement_case' AND first_month IS NULL) THEN
        DROP TRIGGER settlement_number_is_kept ON settlement_case;
        ALTER TABLE settlement_case DROP CONSTRAINT one_case_per_settlement_number;
        ALTER TABLE settlement_case ADD CONSTRAINT one_case_per_settlement_number UNIQUE USING INDEX settlement_case_p0_number;
        ALTER TABLE ledger_entry DROP CONSTRAINT ledger_entry_pk;
        ALTER TABLE ledger_entry ADD CONSTRAINT ledger_entry_pk PRIMARY KEY USING INDEX ledger_entry_p0_key;
    END IF;
    FOR one IN SELECT * FROM hub_partitioned WHERE first_month IS NULL ORDER BY name LOOP
        CREATE TEMP TABLE keys ON COMMIT DROP AS
        SELECT conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint
        WHERE conrelid = one.name::regclass AND contype IN ('p', 'u');
        CREATE TEMP TABLE indexes ON COMMIT DROP AS
        SELECT c.relname, pg_get_indexdef(i.indexrelid) AS definition FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE i.indrelid = one.name::regclass AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid);
        EXECUTE format('ALTER TABLE %I RENAME TO %I', one.name, one.name || '_p0');
        FOR part IN SELECT * FROM keys LOOP
            EXECUTE format('ALTER TABLE %I RENAME CONSTRAINT %I TO %I', one.name || '_p0', part.conname, part.conname || '_p0');
        END LOOP;
        FOR part IN SELECT * FROM indexes LOOP
            EXECUTE format('ALTER INDEX %I RENAME TO %I', part.relname, part.relname || '_p0');
        END LOOP;
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMMENTS) '
            'PARTITION BY RANGE (%I)', one.name, one.name || '_p0', one.by_column);
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT before_partitions', one.name);
        FOR part IN SELECT * FROM keys LOOP
            EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I %s', one.name, part.conname, part.definition);
        END LOOP;
        FOR part IN SELECT * FROM indexes LOOP
            EXECUTE part.definition;  -- says the old name of the table, which is the new one's now
        END LOOP;
        SELECT a.attname INTO wanted FROM pg_attribute a
        WHERE a.attrelid = (one.name || '_p0')::regclass AND a.attidentity <> '';
        IF FOUND THEN
            EXECUTE format('SELECT coalesce(max(%I), 0) + 1 FROM %I', wanted, one.name || '_p0') INTO next_id;
            EXECUTE format('ALTER TABLE %I ALTER %I DROP IDENTITY', one.name || '_p0', wanted);
            EXECUTE format('ALTER TABLE %I ALTER %I ADD GENERATED ALWAYS AS IDENTITY (START WITH %s)', one.name, wanted, next_id);
        END IF;
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%s)',
            one.name, one.name || '_p0', hub_bound(one.by_column, hub_first_month()));
        UPDATE hub_partitioned SET first_month = hub_first_month() WHERE name = one.name;
        DROP TABLE keys, indexes;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'settlement_number_is_free') THEN
        CREATE TRIGGER settlement_number_is_free BEFORE INSERT ON settlement_case
            FOR EACH ROW EXECUTE FUNCTION settlement_number_is_free();
        CREATE TRIGGER ledger_day_is_open AFTER INSERT ON ledger_entry REFERENCING NEW TABLE AS added
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_entry_on_an_open_day();
        CREATE TRIGGER ledger_entry_is_only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entry
            FOR EACH STATEMENT EXECUTE FUNCTION rows_are_only_added();
    END IF;
    FOREACH wanted IN ARRAY coalesce(views, '{}') LOOP
        EXECUTE wanted;
    END LOOP;
    PERFORM hub_months_ahead(3);
END $$;

-- step what the planner must know
ANALYZE settlement_case, settlement_leg, case_answer, case_undo, exchange, search_key, ledger_entry;
