-- Amounts are whole smallest units of the row's currency. Times are microseconds since 1970 UTC.
CREATE TABLE invoice (
    -- The order of creation, which lists go by. Rows are never deleted, so it only grows.
    serial INTEGER PRIMARY KEY,
    invoice_id TEXT NOT NULL UNIQUE,
    revision INTEGER NOT NULL CHECK (revision >= 1),
    state TEXT NOT NULL CHECK (state IN ('draft', 'open', 'paid', 'void')),
    -- NULL: a tombstone, the mark of a void that came before its create.
    document_type TEXT CHECK (document_type IN ('invoice', 'credit_note')),
    sequence INTEGER CHECK (sequence >= 1),
    party_id TEXT NOT NULL,
    party_name TEXT NOT NULL,
    reference TEXT NOT NULL,
    metadata TEXT NOT NULL CHECK (json_valid(metadata)),
    currency TEXT,
    total INTEGER NOT NULL,
    amount_paid INTEGER NOT NULL,
    create_time INTEGER,
    finalize_time INTEGER,
    paid_time INTEGER,
    void_time INTEGER,
    void_reason TEXT NOT NULL,
    UNIQUE (document_type, sequence),
    -- A tombstone has an id, a time and a reason, and nothing else.
    CHECK ((document_type IS NULL) = (currency IS NULL)),
    CHECK ((document_type IS NULL) = (create_time IS NULL)),
    CHECK ((document_type IS NULL) = (total = 0)),
    CHECK (document_type IS NOT NULL OR (state = 'void' AND sequence IS NULL)),
    CHECK (total >= 0),
    CHECK (amount_paid BETWEEN 0 AND total),
    CHECK (state IN ('open', 'paid') OR amount_paid = 0),
    CHECK ((state = 'paid') = (document_type IS NOT NULL AND amount_paid = total)),
    CHECK (state NOT IN ('open', 'paid') OR sequence IS NOT NULL),
    CHECK (state <> 'draft' OR sequence IS NULL),
    CHECK ((sequence IS NULL) = (finalize_time IS NULL)),
    CHECK ((state = 'paid') = (paid_time IS NOT NULL)),
    CHECK ((state = 'void') = (void_time IS NOT NULL))
) STRICT;

CREATE INDEX invoice_by_state ON invoice (state, serial);
CREATE INDEX invoice_by_reference ON invoice (reference, serial) WHERE reference <> '';

CREATE TABLE invoice_line (
    serial INTEGER NOT NULL REFERENCES invoice (serial),
    position INTEGER NOT NULL CHECK (position BETWEEN 1 AND 1000),
    description TEXT NOT NULL CHECK (description <> ''),
    quantity INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 1000000),
    unit_price INTEGER NOT NULL CHECK (unit_price >= 0),
    PRIMARY KEY (serial, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE invoice_payment (
    serial INTEGER NOT NULL REFERENCES invoice (serial),
    -- The revision of the invoice that the payment made.
    revision INTEGER NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    reference TEXT NOT NULL,
    pay_time INTEGER NOT NULL,
    PRIMARY KEY (serial, revision)
) STRICT, WITHOUT ROWID;

-- Every mutation that was done, with the request as it was asked.
CREATE TABLE request (
    operation TEXT NOT NULL CHECK (operation IN ('create', 'finalize', 'pay', 'void')),
    request_id TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (operation, request_id)
) STRICT, WITHOUT ROWID;
