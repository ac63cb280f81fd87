-- Refunds, parking, the journal, and workers that count instead of telling the time.
CREATE TABLE payment_2 (
    -- The order of acceptance, for lists.
    place           INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_id      TEXT    NOT NULL UNIQUE,
    -- The request as it came, canonically encoded: what a repetition is compared with.
    request         BLOB    NOT NULL,
    -- What is paid, as a ProcessPaymentRequest, where that is not the request itself: refunds.
    intent          BLOB,
    reference       TEXT    NOT NULL,
    -- The payment that a refund pays back, and how much of it, in minor units.
    refund_of       TEXT,
    refund_minor    INTEGER,
    state           INTEGER NOT NULL CHECK (state BETWEEN 1 AND 8),
    failure_step    TEXT,
    failure_reason  TEXT,
    failure_message TEXT,
    -- Steps, attempts, decisions, and why it is parked; see store/journal.rs. Empty: from a version
    -- that kept none.
    journal         BLOB    NOT NULL DEFAULT x'',
    -- When it began to be undone; set while it is COMPENSATING.
    turned_micros   INTEGER,
    -- The fencing token: every change moves it, and a change that names an older one is refused.
    version         INTEGER NOT NULL,
    -- Who works on it; see the table worker.
    worker          TEXT    NOT NULL,
    create_micros   INTEGER NOT NULL,
    update_micros   INTEGER NOT NULL,
    CHECK (state NOT BETWEEN 1 AND 4 OR failure_reason IS NULL),
    CHECK (state NOT BETWEEN 5 AND 7 OR failure_reason IS NOT NULL),
    CHECK ((refund_of IS NULL) = (refund_minor IS NULL) AND (refund_of IS NULL) = (intent IS NULL))
) STRICT;

INSERT INTO payment_2 (place, payment_id, request, reference, state, failure_step, failure_reason,
                       failure_message, turned_micros, version, worker, create_micros, update_micros)
    SELECT place, payment_id, request, reference, state, failure_step, failure_reason,
           failure_message, CASE state WHEN 5 THEN update_micros END, version, worker,
           create_micros, update_micros
    FROM payment;
DROP TABLE payment;
ALTER TABLE payment_2 RENAME TO payment;

CREATE INDEX payment_by_state ON payment (state, place);
CREATE INDEX payment_by_reference ON payment (reference, place);
CREATE INDEX payment_by_refund ON payment (refund_of, place) WHERE refund_of IS NOT NULL;
-- What recovery looks at: small, however many payments are final.
CREATE INDEX payment_unfinished ON payment (worker) WHERE state IN (1, 2, 3, 5);

-- The processes that work on payments. Each counts up for as long as it lives.
DROP TABLE worker;
CREATE TABLE worker (
    worker TEXT    PRIMARY KEY,
    beats  INTEGER NOT NULL
) STRICT;
