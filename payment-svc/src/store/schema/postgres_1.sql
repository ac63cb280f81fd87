-- As the file's; see schema/sqlite_2.sql for what the columns say.
CREATE TABLE payment (
    place           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payment_id      TEXT   NOT NULL UNIQUE,
    request         BYTEA  NOT NULL,
    intent          BYTEA,
    reference       TEXT   NOT NULL,
    refund_of       TEXT,
    refund_minor    BIGINT,
    state           BIGINT NOT NULL CHECK (state BETWEEN 1 AND 8),
    failure_step    TEXT,
    failure_reason  TEXT,
    failure_message TEXT,
    journal         BYTEA  NOT NULL,
    turned_micros   BIGINT,
    version         BIGINT NOT NULL,
    worker          TEXT   NOT NULL,
    create_micros   BIGINT NOT NULL,
    update_micros   BIGINT NOT NULL,
    CHECK (state NOT BETWEEN 1 AND 4 OR failure_reason IS NULL),
    CHECK (state NOT BETWEEN 5 AND 7 OR failure_reason IS NOT NULL),
    CHECK ((refund_of IS NULL) = (refund_minor IS NULL) AND (refund_of IS NULL) = (intent IS NULL))
);

CREATE INDEX payment_by_state ON payment (state, place);
CREATE INDEX payment_by_reference ON payment (reference, place);
CREATE INDEX payment_by_refund ON payment (refund_of, place) WHERE refund_of IS NOT NULL;
CREATE INDEX payment_unfinished ON payment (worker) WHERE state IN (1, 2, 3, 5);

CREATE TABLE worker (
    worker TEXT   PRIMARY KEY,
    beats  BIGINT NOT NULL
);
