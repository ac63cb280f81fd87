-- The same as in a SQLite file (see sqlite_1.sql and sqlite_2.sql), with checks that cost once a
-- statement instead of once a row. Nothing here takes a lock but the head's row, which every group
-- takes first.

CREATE TABLE account (
    account_key bigint PRIMARY KEY CHECK (account_key > 0),
    account_id  text COLLATE "C" NOT NULL UNIQUE CHECK (length(account_id) BETWEEN 1 AND 128),
    type        bigint NOT NULL CHECK (type BETWEEN 1 AND 5),
    currency    text NOT NULL CHECK (length(currency) = 3),
    limits      bigint NOT NULL CHECK (limits BETWEEN 0 AND 2),
    create_time bigint NOT NULL,
    request_id  text COLLATE "C" NOT NULL UNIQUE CHECK (length(request_id) BETWEEN 1 AND 128),
    body        bytea NOT NULL,
    hash        bytea NOT NULL CHECK (length(hash) = 32)
);

-- With room on its pages, so that an update stays on its page and touches no index.
CREATE TABLE turnover (
    account_key     bigint PRIMARY KEY REFERENCES account,
    debits          bigint NOT NULL CHECK (debits >= 0),
    credits         bigint NOT NULL CHECK (credits >= 0),
    pending_debits  bigint NOT NULL CHECK (pending_debits >= 0),
    pending_credits bigint NOT NULL CHECK (pending_credits >= 0),
    closed          bigint NOT NULL CHECK (closed IN (0, 1)),
    limits          bigint NOT NULL CHECK (
        CASE limits
            WHEN 0 THEN true
            WHEN 1 THEN debits + pending_debits <= credits
            WHEN 2 THEN credits + pending_credits <= debits
            ELSE false
        END
    )
) WITH (fillfactor = 50);

CREATE TABLE total (
    currency        text PRIMARY KEY CHECK (length(currency) = 3),
    debits          bigint NOT NULL CHECK (debits >= 0),
    credits         bigint NOT NULL CHECK (credits = debits),
    pending_debits  bigint NOT NULL CHECK (pending_debits >= 0),
    pending_credits bigint NOT NULL CHECK (pending_credits = pending_debits)
) WITH (fillfactor = 50);

CREATE TABLE journal (
    sequence       bigint PRIMARY KEY CHECK (sequence > 0),
    kind           bigint NOT NULL CHECK (kind BETWEEN 1 AND 7),
    transaction_id text COLLATE "C" NOT NULL UNIQUE CHECK (length(transaction_id) BETWEEN 1 AND 128),
    request_id     text COLLATE "C"
        CHECK ((request_id IS NULL) = (kind <= 3) AND length(request_id) BETWEEN 1 AND 128),
    target         bigint CHECK ((target IS NULL) = (kind <= 2)),
    reference      text COLLATE "C" NOT NULL CHECK (length(reference) <= 256),
    effective_time bigint NOT NULL,
    record_time    bigint NOT NULL,
    expire_time    bigint CHECK (expire_time IS NULL OR kind = 2),
    body           bytea NOT NULL,
    hash           bytea NOT NULL CHECK (length(hash) = 32)
);
CREATE INDEX journal_by_reference ON journal (reference, sequence) WHERE reference <> '';
CREATE UNIQUE INDEX journal_by_request ON journal (kind, request_id) WHERE request_id IS NOT NULL;
CREATE UNIQUE INDEX journal_settles ON journal (target) WHERE kind IN (4, 5);
CREATE UNIQUE INDEX journal_reverses ON journal (target) WHERE kind = 3;

CREATE TABLE leg (
    sequence    bigint NOT NULL,
    position    bigint NOT NULL CHECK (position BETWEEN 0 AND 999),
    account_key bigint NOT NULL,
    currency    text NOT NULL,
    side        bigint NOT NULL CHECK (side IN (1, 2)),
    amount      bigint NOT NULL CHECK (amount > 0),
    PRIMARY KEY (sequence, position)
);
CREATE INDEX leg_by_account ON leg (account_key, sequence);

CREATE TABLE hold (
    sequence    bigint PRIMARY KEY,
    expire_time bigint
);
CREATE INDEX hold_by_expiry ON hold (expire_time) WHERE expire_time IS NOT NULL;

CREATE TABLE label (
    key      text COLLATE "C" NOT NULL,
    value    text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (key, value, sequence)
);

CREATE TABLE refused (
    space       bigint NOT NULL CHECK (space BETWEEN 1 AND 6),
    request_id  text COLLATE "C" NOT NULL CHECK (length(request_id) BETWEEN 1 AND 128),
    call        bigint NOT NULL CHECK (call BETWEEN 1 AND 7),
    reason      text NOT NULL CHECK (reason <> ''),
    field       text NOT NULL CHECK (field <> ''),
    description text NOT NULL CHECK (description <> ''),
    record_time bigint NOT NULL,
    body        bytea NOT NULL,
    PRIMARY KEY (space, request_id)
);

CREATE TABLE head (
    one           bigint PRIMARY KEY CHECK (one = 1),
    sequence      bigint NOT NULL CHECK (sequence >= 0),
    record_time   bigint NOT NULL,
    transactions  bigint NOT NULL CHECK (transactions BETWEEN 0 AND sequence),
    hash          bytea NOT NULL CHECK (length(hash) = 32),
    accounts      bigint NOT NULL CHECK (accounts >= 0),
    accounts_hash bytea NOT NULL CHECK (length(accounts_hash) = 32)
) WITH (fillfactor = 50);
INSERT INTO head VALUES
    (1, 0, -9223372036854775808, 0, decode(repeat('00', 32), 'hex'), 0, decode(repeat('00', 32), 'hex'));

-- Legs are written after their journal rows and before the head moves over them. Each balances,
-- belongs to a row that is not sealed yet, and is in its account's currency.
CREATE FUNCTION legs_are_sound() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM new_legs WHERE sequence <= (SELECT sequence FROM head)) THEN
        RAISE EXCEPTION 'a recorded transaction gets no further legs';
    END IF;
    IF EXISTS (
        SELECT 1 FROM new_legs GROUP BY sequence, currency
        HAVING sum(CASE side WHEN 1 THEN amount ELSE -amount END) <> 0
    ) THEN
        RAISE EXCEPTION 'a transaction balances in each currency';
    END IF;
    IF EXISTS (
        SELECT 1 FROM new_legs l
        LEFT JOIN account a ON a.account_key = l.account_key AND a.currency = l.currency
        WHERE a.account_key IS NULL
    ) THEN
        RAISE EXCEPTION 'a leg is in the currency of an account that exists';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER legs_are_sound AFTER INSERT ON leg
    REFERENCING NEW TABLE AS new_legs FOR EACH STATEMENT EXECUTE FUNCTION legs_are_sound();

CREATE FUNCTION journal_grows_at_its_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM new_entries WHERE sequence <= (SELECT sequence FROM head)) THEN
        RAISE EXCEPTION 'the journal has no gaps: the sequence goes up by 1';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER journal_grows_at_its_end AFTER INSERT ON journal
    REFERENCING NEW TABLE AS new_entries FOR EACH STATEMENT EXECUTE FUNCTION journal_grows_at_its_end();

-- The head seals what was added: the rows up to it are all there, and each that moves something
-- has its legs.
CREATE FUNCTION head_seals() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    entries bigint;
    moving  bigint;
    last    bigint;
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
        SELECT count(DISTINCT l.sequence) INTO moved
          FROM leg l JOIN journal j ON j.sequence = l.sequence AND j.kind <= 4
         WHERE l.sequence > OLD.sequence;
        IF moved <> moving
           OR EXISTS (SELECT 1 FROM leg l LEFT JOIN journal j ON j.sequence = l.sequence
                       WHERE l.sequence > OLD.sequence AND (j.kind IS NULL OR j.kind > 4)) THEN
            RAISE EXCEPTION 'a transaction has its legs, and legs their transaction';
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER head_seals BEFORE UPDATE OR DELETE ON head
    FOR EACH ROW EXECUTE FUNCTION head_seals();

CREATE FUNCTION is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER account_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON account
    FOR EACH STATEMENT EXECUTE FUNCTION is_append_only();
CREATE TRIGGER journal_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION is_append_only();
CREATE TRIGGER leg_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON leg
    FOR EACH STATEMENT EXECUTE FUNCTION is_append_only();
CREATE TRIGGER label_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON label
    FOR EACH STATEMENT EXECUTE FUNCTION is_append_only();
CREATE TRIGGER refused_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON refused
    FOR EACH STATEMENT EXECUTE FUNCTION is_append_only();
CREATE TRIGGER head_is_kept BEFORE TRUNCATE ON head
    FOR EACH STATEMENT EXECUTE FUNCTION is_append_only();

CREATE FUNCTION turnover_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM after_rows n LEFT JOIN before_rows o ON o.account_key = n.account_key
        WHERE o.account_key IS NULL OR n.debits < o.debits OR n.credits < o.credits
    ) THEN
        RAISE EXCEPTION 'what went through an account only grows';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER turnover_only_grows AFTER UPDATE ON turnover
    REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
    FOR EACH STATEMENT EXECUTE FUNCTION turnover_only_grows();
CREATE TRIGGER turnover_is_kept BEFORE DELETE OR TRUNCATE ON turnover
    FOR EACH STATEMENT EXECUTE FUNCTION is_append_only();
