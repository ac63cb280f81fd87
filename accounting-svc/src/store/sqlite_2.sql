-- Limits, pending transactions, reversals, closed accounts, metadata to search by, the hash chain.

ALTER TABLE account ADD COLUMN limits INTEGER NOT NULL DEFAULT 0 CHECK (limits BETWEEN 0 AND 2);
ALTER TABLE account ADD COLUMN hash BLOB CHECK (hash IS NULL OR length(hash) = 32);

-- The limit is kept here too, so that the database checks it with the counters.
ALTER TABLE turnover ADD COLUMN pending_debits INTEGER NOT NULL DEFAULT 0 CHECK (pending_debits >= 0);
ALTER TABLE turnover ADD COLUMN pending_credits INTEGER NOT NULL DEFAULT 0 CHECK (pending_credits >= 0);
ALTER TABLE turnover ADD COLUMN closed INTEGER NOT NULL DEFAULT 0 CHECK (closed IN (0, 1));
ALTER TABLE turnover ADD COLUMN limits INTEGER NOT NULL DEFAULT 0 CHECK (
    CASE limits
        WHEN 0 THEN 1
        WHEN 1 THEN debits + pending_debits <= credits
        WHEN 2 THEN credits + pending_credits <= debits
        ELSE 0
    END
);

ALTER TABLE total ADD COLUMN pending_debits INTEGER NOT NULL DEFAULT 0 CHECK (pending_debits >= 0);
ALTER TABLE total ADD COLUMN pending_credits INTEGER NOT NULL DEFAULT 0
    CHECK (pending_credits = pending_debits);

-- 1 a transaction, 2 a pending one, 3 a reversal, 4 posts one, 5 voids one, 6 closes an account,
-- 7 reopens one. The last four have a request_id, and in transaction_id a word that is no id.
ALTER TABLE journal ADD COLUMN kind INTEGER NOT NULL DEFAULT 1 CHECK (kind BETWEEN 1 AND 7);
ALTER TABLE journal ADD COLUMN request_id TEXT
    CHECK ((request_id IS NULL) = (kind <= 3) AND length(request_id) BETWEEN 1 AND 128);
-- The sequence of the transaction, or the key of the account, that it is about.
ALTER TABLE journal ADD COLUMN target INTEGER CHECK ((target IS NULL) = (kind <= 2));
ALTER TABLE journal ADD COLUMN expire_time INTEGER CHECK (expire_time IS NULL OR kind = 2);
ALTER TABLE journal ADD COLUMN hash BLOB CHECK (hash IS NULL OR length(hash) = 32);

CREATE UNIQUE INDEX journal_by_request ON journal (kind, request_id) WHERE request_id IS NOT NULL;
-- A pending transaction is settled once, and a transaction taken back once.
CREATE UNIQUE INDEX journal_settles ON journal (target) WHERE kind IN (4, 5);
CREATE UNIQUE INDEX journal_reverses ON journal (target) WHERE kind = 3;

-- Transactions that count in the pending counters: those that are pending, and those that have
-- expired and that no write has passed since.
CREATE TABLE hold (
    sequence    INTEGER PRIMARY KEY REFERENCES journal,
    expire_time INTEGER
) STRICT;
CREATE INDEX hold_by_expiry ON hold (expire_time) WHERE expire_time IS NOT NULL;

CREATE TABLE label (
    key      TEXT NOT NULL,
    value    TEXT NOT NULL,
    sequence INTEGER NOT NULL REFERENCES journal,
    PRIMARY KEY (key, value, sequence)
) STRICT, WITHOUT ROWID;

-- Calls by number: 1 CreateAccount, 2 CloseAccount, 3 ReopenAccount, 4 RecordTransaction,
-- 5 PostTransaction, 6 VoidTransaction, 7 ReverseTransaction. The space is the call whose ids
-- they share.
CREATE TABLE refused (
    space       INTEGER NOT NULL CHECK (space BETWEEN 1 AND 6),
    request_id  TEXT NOT NULL CHECK (length(request_id) BETWEEN 1 AND 128),
    call        INTEGER NOT NULL CHECK (call BETWEEN 1 AND 7),
    reason      TEXT NOT NULL CHECK (reason <> ''),
    field       TEXT NOT NULL CHECK (field <> ''),
    description TEXT NOT NULL CHECK (description <> ''),
    record_time INTEGER NOT NULL,
    body        BLOB NOT NULL,
    PRIMARY KEY (space, request_id)
) STRICT;
INSERT INTO refused
    SELECT iif(call = 'CreateAccount', 1, 4), request_id, iif(call = 'CreateAccount', 1, 4),
           reason, field, description, record_time, body
    FROM refusal;
DROP TABLE refusal;

-- The ends of the journal and of the accounts. Without hashes until the rows of the first version
-- have been given theirs, which happens before anything else is written.
CREATE TABLE head (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    sequence      INTEGER NOT NULL CHECK (sequence >= 0),
    record_time   INTEGER NOT NULL,
    transactions  INTEGER NOT NULL CHECK (transactions BETWEEN 0 AND sequence),
    hash          BLOB CHECK (length(hash) = 32),
    accounts      INTEGER NOT NULL CHECK (accounts >= 0),
    accounts_hash BLOB CHECK (length(accounts_hash) = 32)
) STRICT;
INSERT INTO head
    SELECT 1, count(*), coalesce(max(record_time), -9223372036854775808), count(*), NULL,
           (SELECT count(*) FROM account), NULL
    FROM journal;

DROP TRIGGER journal_is_balanced;
-- No leg is too few; a single one never balances, because amounts are above zero.
CREATE TRIGGER journal_is_balanced AFTER INSERT ON journal
WHEN (NEW.kind <= 4) <> EXISTS (SELECT 1 FROM leg WHERE sequence = NEW.sequence)
    OR EXISTS (
        SELECT 1 FROM leg WHERE sequence = NEW.sequence
        GROUP BY currency HAVING sum(CASE side WHEN 1 THEN amount ELSE -amount END) <> 0
    )
BEGIN
    SELECT RAISE(ABORT, 'a transaction balances in each currency');
END;

-- Rows of the first version are given their hash, once.
DROP TRIGGER account_is_not_changed;
CREATE TRIGGER account_is_not_changed BEFORE UPDATE ON account
WHEN OLD.hash IS NOT NULL OR NEW.hash IS NULL
    OR (NEW.account_key, NEW.account_id, NEW.type, NEW.currency, NEW.create_time, NEW.request_id,
        NEW.body, NEW.limits)
       IS NOT (OLD.account_key, OLD.account_id, OLD.type, OLD.currency, OLD.create_time,
        OLD.request_id, OLD.body, OLD.limits)
BEGIN SELECT RAISE(ABORT, 'accounts are append-only'); END;
DROP TRIGGER journal_is_not_changed;
CREATE TRIGGER journal_is_not_changed BEFORE UPDATE ON journal
WHEN OLD.hash IS NOT NULL OR NEW.hash IS NULL
    OR (NEW.sequence, NEW.transaction_id, NEW.reference, NEW.effective_time, NEW.record_time,
        NEW.body, NEW.kind, NEW.request_id, NEW.target, NEW.expire_time)
       IS NOT (OLD.sequence, OLD.transaction_id, OLD.reference, OLD.effective_time,
        OLD.record_time, OLD.body, OLD.kind, OLD.request_id, OLD.target, OLD.expire_time)
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;

CREATE TRIGGER head_only_grows BEFORE UPDATE ON head
WHEN NEW.sequence < OLD.sequence OR NEW.record_time < OLD.record_time OR NEW.accounts < OLD.accounts
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER head_is_not_deleted BEFORE DELETE ON head
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER label_is_not_changed BEFORE UPDATE ON label
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER label_is_not_deleted BEFORE DELETE ON label
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER refused_is_not_changed BEFORE UPDATE ON refused
BEGIN SELECT RAISE(ABORT, 'refusals are append-only'); END;
CREATE TRIGGER refused_is_not_deleted BEFORE DELETE ON refused
BEGIN SELECT RAISE(ABORT, 'refusals are append-only'); END;
