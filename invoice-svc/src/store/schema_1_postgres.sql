-- Amounts are whole smallest units of the row's currency. Times are microseconds since 1970 UTC.
CREATE TABLE invoice (
    -- The order of creation, which lists go by.
    serial BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    invoice_id TEXT NOT NULL UNIQUE,
    revision BIGINT NOT NULL CHECK (revision >= 1),
    state TEXT NOT NULL CHECK (state IN ('draft', 'open', 'uncollectible', 'paid', 'void')),
    -- NULL: a tombstone, the mark of a void that came before its create.
    document_type TEXT CHECK (document_type IN ('invoice', 'credit_note')),
    series TEXT,
    sequence BIGINT CHECK (sequence >= 1),
    party_id TEXT NOT NULL,
    reference TEXT NOT NULL,
    metadata JSONB NOT NULL,
    currency TEXT,
    -- Tax included.
    total BIGINT NOT NULL CHECK (total >= 0),
    -- What was due when it was issued.
    payable BIGINT NOT NULL CHECK (payable >= 0),
    amount_paid BIGINT NOT NULL CHECK (amount_paid >= 0),
    -- On an invoice what credit notes took off; on its credit note what that took off.
    amount_credited BIGINT NOT NULL CHECK (amount_credited >= 0),
    -- On an invoice: what credit notes give back of what was paid.
    credited_after BIGINT NOT NULL CHECK (credited_after >= 0),
    -- On a credit note: the invoice that it credits.
    credits TEXT REFERENCES invoice (invoice_id),
    -- On an invoice: the ids of its credit notes, oldest first.
    credit_notes JSONB NOT NULL,
    create_time BIGINT,
    finalize_time BIGINT,
    paid_time BIGINT,
    void_time BIGINT,
    uncollectible_time BIGINT,
    void_reason TEXT NOT NULL,
    due_time BIGINT,
    content JSONB,
    UNIQUE (series, sequence),
    -- A tombstone has an id, a time and a reason, and nothing else.
    CHECK ((document_type IS NULL) = (currency IS NULL)),
    CHECK ((document_type IS NULL) = (create_time IS NULL)),
    CHECK ((document_type IS NULL) = (series IS NULL)),
    CHECK ((document_type IS NULL) = (content IS NULL)),
    CHECK ((document_type IS NULL) = (total = 0)),
    CHECK (document_type IS NOT NULL OR (state = 'void' AND sequence IS NULL)),
    CHECK (credits IS NULL OR document_type = 'credit_note'),
    CHECK (amount_paid + amount_credited <= payable),
    CHECK (state NOT IN ('draft', 'void') OR amount_paid + amount_credited = 0),
    CHECK (state NOT IN ('open', 'uncollectible') OR amount_paid + amount_credited < payable),
    CHECK (state <> 'paid' OR amount_paid + amount_credited = payable),
    CHECK (state IN ('draft', 'void') OR sequence IS NOT NULL),
    CHECK (state <> 'draft' OR sequence IS NULL),
    CHECK ((sequence IS NULL) = (finalize_time IS NULL)),
    CHECK ((state = 'paid') = (paid_time IS NOT NULL)),
    CHECK ((state = 'void') = (void_time IS NOT NULL)),
    CHECK (state <> 'uncollectible' OR uncollectible_time IS NOT NULL)
);

CREATE INDEX invoice_by_state ON invoice (state, serial);
CREATE INDEX invoice_by_reference ON invoice (reference, serial) WHERE reference <> '';
CREATE INDEX invoice_by_party ON invoice (party_id, serial) WHERE party_id <> '';
CREATE INDEX invoice_by_credited ON invoice (credits, serial) WHERE credits IS NOT NULL;
CREATE INDEX invoice_overdue ON invoice (due_time) WHERE state = 'open';
CREATE INDEX invoice_by_metadata ON invoice USING gin (metadata jsonb_path_ops);

CREATE TABLE payment (
    invoice_id TEXT NOT NULL REFERENCES invoice (invoice_id),
    -- The revision of the invoice that the payment made.
    revision BIGINT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 0),
    reference TEXT NOT NULL,
    pay_time BIGINT NOT NULL,
    PRIMARY KEY (invoice_id, revision)
);

-- The last number of each series. Whoever numbers in it locks its row until the commit, so that no
-- number is given twice and none is left out.
CREATE TABLE series (
    name TEXT PRIMARY KEY,
    last BIGINT NOT NULL CHECK (last >= 0)
);

-- Every mutation that was done, with the request as it was asked.
CREATE TABLE request (
    operation TEXT NOT NULL CHECK (operation IN
        ('create', 'update', 'finalize', 'pay', 'void', 'uncollectible', 'credit')),
    request_id TEXT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (operation, request_id)
);
