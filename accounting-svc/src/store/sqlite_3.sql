-- Written fast: what was checked for each row is checked once for all that a group adds, when the
-- head moves over it; and legs are found by account without a page of the index for each account.

DROP TRIGGER journal_has_no_gaps;
DROP TRIGGER journal_is_balanced;

-- How many legs there are. A leg that is put into what is recorded is one too many.
ALTER TABLE head ADD COLUMN legs INTEGER NOT NULL DEFAULT 0 CHECK (legs >= 0);
UPDATE head SET legs = (SELECT count(*) FROM leg);

-- The same without the keys that refer to accounts and entries: the head checks both.
CREATE TABLE leg_3 (
    sequence    INTEGER NOT NULL,
    position    INTEGER NOT NULL CHECK (position BETWEEN 0 AND 999),
    account_key INTEGER NOT NULL,
    currency    TEXT NOT NULL,
    side        INTEGER NOT NULL CHECK (side IN (1, 2)), -- 1 debit, 2 credit
    amount      INTEGER NOT NULL CHECK (amount > 0),
    PRIMARY KEY (sequence, position)
) STRICT, WITHOUT ROWID;
INSERT INTO leg_3 SELECT sequence, position, account_key, currency, side, amount FROM leg
    ORDER BY sequence, position;
DROP TABLE leg;
ALTER TABLE leg_3 RENAME TO leg;

-- By bands of 8192 entries, and within each by account: what a group adds is in few pages, however
-- many accounts it touches.
CREATE INDEX leg_by_account ON leg (sequence >> 13, account_key, sequence);

CREATE TRIGGER leg_is_not_changed BEFORE UPDATE ON leg
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER leg_is_not_deleted BEFORE DELETE ON leg
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;

CREATE TRIGGER head_seals BEFORE UPDATE ON head
WHEN NEW.sequence > OLD.sequence OR NEW.legs <> OLD.legs
BEGIN
    SELECT RAISE(ABORT, 'the journal has no gaps: the sequence goes up by 1')
    WHERE (SELECT count(*) FROM journal WHERE sequence > OLD.sequence) <> NEW.sequence - OLD.sequence
        OR (SELECT coalesce(max(sequence), 0) FROM journal) <> NEW.sequence;
    SELECT RAISE(ABORT, 'a recorded transaction gets no further legs')
    WHERE (SELECT count(*) FROM leg WHERE sequence > OLD.sequence) <> NEW.legs - OLD.legs;
    SELECT RAISE(ABORT, 'a transaction has its legs, and legs their transaction')
    WHERE (SELECT max(sequence) FROM leg) > NEW.sequence
        OR EXISTS (
            SELECT 1 FROM journal j WHERE j.sequence > OLD.sequence
            AND (j.kind <= 4) <> EXISTS (SELECT 1 FROM leg l WHERE l.sequence = j.sequence)
        );
    SELECT RAISE(ABORT, 'a leg is in the currency of an account that exists')
    WHERE EXISTS (
        SELECT 1 FROM leg l LEFT JOIN account a ON a.account_key = l.account_key
        WHERE l.sequence > OLD.sequence AND a.currency IS NOT l.currency
    );
    -- Most are in one currency, and those are added up without sorting.
    SELECT RAISE(ABORT, 'a transaction balances in each currency')
    WHERE EXISTS (
        SELECT 1 FROM leg l WHERE l.sequence > OLD.sequence
        GROUP BY l.sequence
        HAVING CASE
            WHEN min(l.currency) = max(l.currency)
            THEN sum(CASE l.side WHEN 1 THEN l.amount ELSE -l.amount END) <> 0
            ELSE EXISTS (
                SELECT 1 FROM leg m WHERE m.sequence = l.sequence
                GROUP BY m.currency
                HAVING sum(CASE m.side WHEN 1 THEN m.amount ELSE -m.amount END) <> 0
            )
        END
    );
END;
