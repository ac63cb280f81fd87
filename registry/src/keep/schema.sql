-- What the registry keeps over a restart.

-- One row an instance (id is its id) and one a node (id is empty; no instance's is).
CREATE TABLE kept (
    node   TEXT NOT NULL,
    id     TEXT NOT NULL,
    -- JSON: what was registered and the last status of its checks.
    record TEXT NOT NULL,
    -- SHA-256 of node, id and record, each behind its length: a row that was damaged, or that
    -- belongs elsewhere, is not taken for what somebody registered.
    digest BLOB NOT NULL,
    PRIMARY KEY (node, id)
) STRICT, WITHOUT ROWID;

-- One row: the life that all revisions belong to.
CREATE TABLE life (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 0),
    epoch    TEXT NOT NULL,
    -- No revision above this was given out.
    revision INTEGER NOT NULL
) STRICT;
