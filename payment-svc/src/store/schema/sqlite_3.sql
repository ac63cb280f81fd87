-- Refunds that were refused. A late copy of such a request is told the same, and moves nothing.
CREATE TABLE refused (
    request_id TEXT    PRIMARY KEY,
    -- The request as it came, canonically encoded: what a repetition is compared with.
    request    BLOB    NOT NULL,
    -- 1 there is no such payment, 2 it is a refund itself, 3 it is not completed, 4 in another
    -- currency, 5 too large.
    reason     INTEGER NOT NULL CHECK (reason BETWEEN 1 AND 5),
    -- Where the payment stood, and how much of it was left.
    state      INTEGER CHECK ((state IS NULL) = (reason <> 3)),
    left_minor INTEGER CHECK ((left_minor IS NULL) = (reason <> 5)),
    currency   TEXT    CHECK ((currency IS NULL) = (reason <> 5))
) STRICT, WITHOUT ROWID;
