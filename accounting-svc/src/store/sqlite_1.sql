-- The body of a row is the request as it was accepted, in its canonical encoding: the record itself.
-- The other columns are what the database checks, adds up and searches by. Times are microseconds
-- since 1970. Amounts are whole smallest units.

CREATE TABLE account (
    account_key INTEGER PRIMARY KEY,
    account_id  TEXT NOT NULL UNIQUE CHECK (length(account_id) BETWEEN 1 AND 128),
    type        INTEGER NOT NULL CHECK (type BETWEEN 1 AND 5),
    currency    TEXT NOT NULL CHECK (length(currency) = 3),
    create_time INTEGER NOT NULL,
    request_id  TEXT NOT NULL UNIQUE CHECK (length(request_id) BETWEEN 1 AND 128),
    body        BLOB NOT NULL,
    -- So that a leg can be tied to the account and its currency at once.
    UNIQUE (account_key, currency)
) STRICT;

-- What went through each account: the journal added up, kept in the same transaction.
CREATE TABLE turnover (
    account_key INTEGER PRIMARY KEY REFERENCES account,
    debits      INTEGER NOT NULL CHECK (debits >= 0),
    credits     INTEGER NOT NULL CHECK (credits >= 0)
) STRICT;

-- What went through all accounts of a currency: its limit bounds every account's.
CREATE TABLE total (
    currency TEXT PRIMARY KEY CHECK (length(currency) = 3),
    debits   INTEGER NOT NULL CHECK (debits >= 0),
    credits  INTEGER NOT NULL CHECK (credits >= 0),
    CHECK (debits = credits)
) STRICT, WITHOUT ROWID;

CREATE TABLE journal (
    sequence       INTEGER PRIMARY KEY CHECK (sequence > 0),
    transaction_id TEXT NOT NULL UNIQUE CHECK (length(transaction_id) BETWEEN 1 AND 128),
    reference      TEXT NOT NULL CHECK (length(reference) <= 256),
    effective_time INTEGER NOT NULL,
    record_time    INTEGER NOT NULL,
    body           BLOB NOT NULL
) STRICT;

CREATE INDEX journal_by_reference ON journal (reference, sequence) WHERE reference <> '';

-- Legs are written first, then the journal row that seals them.
CREATE TABLE leg (
    sequence    INTEGER NOT NULL REFERENCES journal DEFERRABLE INITIALLY DEFERRED,
    position    INTEGER NOT NULL CHECK (position BETWEEN 0 AND 999),
    account_key INTEGER NOT NULL,
    currency    TEXT NOT NULL,
    side        INTEGER NOT NULL CHECK (side IN (1, 2)), -- 1 debit, 2 credit
    amount      INTEGER NOT NULL CHECK (amount > 0),
    PRIMARY KEY (sequence, position),
    FOREIGN KEY (account_key, currency) REFERENCES account (account_key, currency)
) STRICT, WITHOUT ROWID;

CREATE INDEX leg_by_account ON leg (account_key, sequence);

-- Refusals that depend on the books: the same id gives the same one for ever.
CREATE TABLE refusal (
    call        TEXT NOT NULL CHECK (call IN ('CreateAccount', 'RecordTransaction')),
    request_id  TEXT NOT NULL CHECK (length(request_id) BETWEEN 1 AND 128),
    reason      TEXT NOT NULL CHECK (reason <> ''),
    field       TEXT NOT NULL CHECK (field <> ''),
    description TEXT NOT NULL CHECK (description <> ''),
    record_time INTEGER NOT NULL,
    body        BLOB NOT NULL,
    PRIMARY KEY (call, request_id)
) STRICT;

CREATE TRIGGER journal_has_no_gaps BEFORE INSERT ON journal
WHEN NEW.sequence <> (SELECT coalesce(max(sequence), 0) + 1 FROM journal)
BEGIN
    SELECT RAISE(ABORT, 'the journal has no gaps: the sequence goes up by 1');
END;

-- No leg is too few; a single one never balances, because amounts are above zero.
CREATE TRIGGER journal_is_balanced AFTER INSERT ON journal
WHEN NOT EXISTS (SELECT 1 FROM leg WHERE sequence = NEW.sequence)
    OR EXISTS (
        SELECT 1 FROM leg WHERE sequence = NEW.sequence
        GROUP BY currency HAVING sum(CASE side WHEN 1 THEN amount ELSE -amount END) <> 0
    )
BEGIN
    SELECT RAISE(ABORT, 'a transaction balances in each currency');
END;

CREATE TRIGGER leg_is_sealed BEFORE INSERT ON leg
WHEN EXISTS (SELECT 1 FROM journal WHERE sequence = NEW.sequence)
BEGIN
    SELECT RAISE(ABORT, 'a recorded transaction gets no further legs');
END;

CREATE TRIGGER turnover_only_grows BEFORE UPDATE ON turnover
WHEN NEW.account_key <> OLD.account_key OR NEW.debits < OLD.debits OR NEW.credits < OLD.credits
BEGIN
    SELECT RAISE(ABORT, 'what went through an account only grows');
END;

CREATE TRIGGER account_is_not_changed BEFORE UPDATE ON account
BEGIN SELECT RAISE(ABORT, 'accounts are append-only'); END;
CREATE TRIGGER account_is_not_deleted BEFORE DELETE ON account
BEGIN SELECT RAISE(ABORT, 'accounts are append-only'); END;
CREATE TRIGGER journal_is_not_changed BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER journal_is_not_deleted BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER leg_is_not_changed BEFORE UPDATE ON leg
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER leg_is_not_deleted BEFORE DELETE ON leg
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER refusal_is_not_changed BEFORE UPDATE ON refusal
BEGIN SELECT RAISE(ABORT, 'refusals are append-only'); END;
CREATE TRIGGER refusal_is_not_deleted BEFORE DELETE ON refusal
BEGIN SELECT RAISE(ABORT, 'refusals are append-only'); END;
