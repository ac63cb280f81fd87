-- As the file's; see schema/sqlite_3.sql for what the columns say.
CREATE TABLE refused (
    request_id TEXT   PRIMARY KEY,
    request    BYTEA  NOT NULL,
    reason     BIGINT NOT NULL CHECK (reason BETWEEN 1 AND 5),
    state      BIGINT CHECK ((state IS NULL) = (reason <> 3)),
    left_minor BIGINT CHECK ((left_minor IS NULL) = (reason <> 5)),
    currency   TEXT   CHECK ((currency IS NULL) = (reason <> 5))
);
