-- As in a file (see sqlite_3.sql): by bands of 8192 entries, and within each by account, so that what
-- a group adds is in few pages, however many accounts it touches.
DROP INDEX leg_by_account;
CREATE INDEX leg_by_account ON leg ((sequence >> 13), account_key, sequence);

-- The same rules, asked so that each costs what a group adds and not its square.
DROP TRIGGER turnover_only_grows ON turnover;
DROP FUNCTION turnover_only_grows();
CREATE FUNCTION only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what went through an account only grows';
END $$;
CREATE TRIGGER turnover_only_grows BEFORE UPDATE ON turnover FOR EACH ROW
    WHEN (NEW.account_key <> OLD.account_key OR NEW.debits < OLD.debits OR NEW.credits < OLD.credits)
    EXECUTE FUNCTION only_grows();

CREATE OR REPLACE FUNCTION head_seals() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    entries bigint;
    moving  bigint;
    last    bigint;
    legged  bigint;
    moved   bigint;
BEGIN
    IF TG_OP <> 'UPDATE' OR NEW.sequence < OLD.sequence OR NEW.record_time < OLD.record_time
       OR NEW.accounts < OLD.accounts THEN
        RAISE EXCEPTION 'the journal is append-only';
    END IF;
    IF NEW.sequence > OLD.sequence THEN
        SELECT count(*), count(*) FILTER (WHERE kind <= 4), max(sequence)
          INTO entries, moving, last FROM journal WHERE sequence > OLD.sequence;
        IF entries <> NEW.sequence - OLD.sequence OR last <> NEW.sequence THEN
            RAISE EXCEPTION 'the journal has no gaps: the sequence goes up by 1';
        END IF;
        SELECT count(*), count(*) FILTER (WHERE j.kind <= 4) INTO legged, moved
          FROM (SELECT DISTINCT sequence FROM leg WHERE sequence > OLD.sequence) l
          LEFT JOIN (SELECT sequence, kind FROM journal WHERE sequence > OLD.sequence) j
               ON j.sequence = l.sequence;
        IF moved <> moving OR legged <> moved THEN
            RAISE EXCEPTION 'a transaction has its legs, and legs their transaction';
        END IF;
    END IF;
    RETURN NEW;
END $$;
