CREATE TABLE payment (
    -- The order of acceptance, for lists.
    place           INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_id      TEXT    NOT NULL UNIQUE,
    -- The request as it came, canonically encoded: what a repetition is compared with, and what
    -- the payment is read from.
    request         BLOB    NOT NULL,
    reference       TEXT    NOT NULL,
    state           INTEGER NOT NULL CHECK (state BETWEEN 1 AND 7),
    failure_step    TEXT,
    failure_reason  TEXT,
    failure_message TEXT,
    -- The fencing token: every change moves it, and a change that names an older one is refused.
    version         INTEGER NOT NULL,
    -- Who works on it; see the table worker.
    worker          TEXT    NOT NULL,
    create_micros   INTEGER NOT NULL,
    update_micros   INTEGER NOT NULL,
    CHECK ((failure_reason IS NULL) = (state BETWEEN 1 AND 4))
) STRICT;

CREATE INDEX payment_by_state ON payment (state, place);
CREATE INDEX payment_by_reference ON payment (reference, place);
-- What recovery looks at: small, however many payments are final.
CREATE INDEX payment_unfinished ON payment (worker) WHERE state IN (1, 2, 3, 5);

-- The processes that work on payments, and until when each is certainly alive.
CREATE TABLE worker (
    worker       TEXT    PRIMARY KEY,
    until_micros INTEGER NOT NULL
) STRICT;
