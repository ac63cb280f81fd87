-- Series of one's own, tax, adjustments, credit notes, uncollectible. What a document says moves
-- into one column, `content`, whose shape `content.rs` has.
CREATE TABLE invoice_2 (
    -- The order of creation, which lists go by. Rows are never deleted, so it only grows.
    serial INTEGER PRIMARY KEY,
    invoice_id TEXT NOT NULL UNIQUE,
    revision INTEGER NOT NULL CHECK (revision >= 1),
    state TEXT NOT NULL CHECK (state IN ('draft', 'open', 'uncollectible', 'paid', 'void')),
    -- NULL: a tombstone, the mark of a void that came before its create.
    document_type TEXT CHECK (document_type IN ('invoice', 'credit_note')),
    series TEXT,
    sequence INTEGER CHECK (sequence >= 1),
    party_id TEXT NOT NULL,
    reference TEXT NOT NULL,
    metadata TEXT NOT NULL CHECK (json_valid(metadata)),
    currency TEXT,
    -- Tax included.
    total INTEGER NOT NULL CHECK (total >= 0),
    -- What was due when it was issued.
    payable INTEGER NOT NULL CHECK (payable >= 0),
    amount_paid INTEGER NOT NULL CHECK (amount_paid >= 0),
    -- On an invoice what credit notes took off; on its credit note what that took off.
    amount_credited INTEGER NOT NULL CHECK (amount_credited >= 0),
    -- On an invoice: what credit notes give back of what was paid.
    credited_after INTEGER NOT NULL CHECK (credited_after >= 0),
    -- On a credit note: the invoice that it credits.
    credits TEXT REFERENCES invoice_2 (invoice_id),
    -- On an invoice: the ids of its credit notes, oldest first.
    credit_notes TEXT NOT NULL CHECK (json_valid(credit_notes)),
    create_time INTEGER,
    finalize_time INTEGER,
    paid_time INTEGER,
    void_time INTEGER,
    uncollectible_time INTEGER,
    void_reason TEXT NOT NULL,
    due_time INTEGER,
    content TEXT CHECK (json_valid(content)),
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
) STRICT;

INSERT INTO invoice_2
SELECT
    serial, invoice_id, revision, state, document_type,
    CASE document_type WHEN 'invoice' THEN 'INV' WHEN 'credit_note' THEN 'CRN' END,
    sequence, party_id, reference, metadata, currency, total, total, amount_paid, 0, 0, NULL, '[]',
    create_time, finalize_time, paid_time, void_time, NULL, void_reason, NULL,
    CASE WHEN document_type IS NOT NULL THEN json_object(
        'party', json_object('id', party_id, 'name', party_name),
        -- An ordered aggregate gives JSON as text.
        'lines', json((
            SELECT json_group_array(json_object(
                'description', description,
                'quantity', CAST(quantity AS TEXT),
                'unit_price', unit_price
            ) ORDER BY position)
            FROM invoice_line WHERE invoice_line.serial = invoice.serial
        ))
    ) END
FROM invoice;

CREATE TABLE payment (
    invoice_id TEXT NOT NULL REFERENCES invoice_2 (invoice_id),
    -- The revision of the invoice that the payment made.
    revision INTEGER NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    reference TEXT NOT NULL,
    pay_time INTEGER NOT NULL,
    PRIMARY KEY (invoice_id, revision)
) STRICT, WITHOUT ROWID;

INSERT INTO payment
SELECT invoice_id, invoice_payment.revision, amount, invoice_payment.reference, pay_time
FROM invoice_payment JOIN invoice USING (serial);

-- The last number of each series.
CREATE TABLE series (
    name TEXT PRIMARY KEY,
    last INTEGER NOT NULL CHECK (last >= 1)
) STRICT, WITHOUT ROWID;

INSERT INTO series
SELECT series, max(sequence) FROM invoice_2 WHERE sequence IS NOT NULL GROUP BY series;

-- Every mutation that was done, with the request as it was asked.
CREATE TABLE request_2 (
    operation TEXT NOT NULL CHECK (operation IN
        ('create', 'update', 'finalize', 'pay', 'void', 'uncollectible', 'credit')),
    request_id TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (operation, request_id)
) STRICT, WITHOUT ROWID;

INSERT INTO request_2 SELECT operation, request_id, body FROM request;

DROP TABLE request;
DROP TABLE invoice_payment;
DROP TABLE invoice_line;
DROP TABLE invoice;
ALTER TABLE request_2 RENAME TO request;
ALTER TABLE invoice_2 RENAME TO invoice;

CREATE INDEX invoice_by_state ON invoice (state, serial);
CREATE INDEX invoice_by_reference ON invoice (reference, serial) WHERE reference <> '';
CREATE INDEX invoice_by_party ON invoice (party_id, serial) WHERE party_id <> '';
CREATE INDEX invoice_by_credited ON invoice (credits, serial) WHERE credits IS NOT NULL;
CREATE INDEX invoice_overdue ON invoice (due_time) WHERE state = 'open';
