//! What the file itself refuses, how it finds things, and what becomes of one of the first schema.

use ::store::rusqlite::Connection;

use super::*;
use crate::domain::Record;

/// A draft, an open, a paid and a tombstone, as the first schema has them.
const FIRST: &str = "INSERT INTO invoice VALUES
     (1, 'draft', 1, 'draft', 'invoice', NULL, '', 'A', '', '{}', 'GBP', 100, 0,
      1, NULL, NULL, NULL, ''),
     (2, 'open', 2, 'open', 'invoice', 1, 'p', 'A', 'r', '{\"k\": \"v\"}', 'GBP', 100, 40,
      1, 2, NULL, NULL, ''),
     (3, 'paid', 3, 'paid', 'credit_note', 7, '', 'A', '', '{}', 'GBP', 100, 100,
      1, 2, 3, NULL, ''),
     (4, 'tombstone', 1, 'void', NULL, NULL, '', '', '', '{}', NULL, 0, 0,
      NULL, NULL, NULL, 1, 'why');
INSERT INTO invoice_line VALUES
     (1, 1, 'paper', 1, 100),
     (2, 2, 'b \"quoted\"', 1, 40), (2, 1, 'a', 3, 20),
     (3, 1, 'c', 1, 100);
INSERT INTO invoice_payment VALUES (2, 2, 40, 'x', 5), (3, 3, 100, '', 3);
INSERT INTO request VALUES ('create', 'draft', x'01'), ('pay', 'p', x'02');";

fn file() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection
        .pragma_update(None, "foreign_keys", true)
        .unwrap();
    connection.execute_batch(file::MIGRATIONS[0]).unwrap();
    connection.execute_batch(FIRST).unwrap();
    connection.execute_batch(file::MIGRATIONS[1]).unwrap();
    connection
}

fn invoice(file: &Connection, id: &str) -> domain::Invoice {
    let record = file::find(file, id).unwrap().unwrap();
    record.invoice().unwrap()
}

#[test]
fn a_file_of_the_first_schema_keeps_all_that_it_held() {
    let file = file();
    let open = invoice(&file, "open");
    assert_eq!(open.number().as_deref(), Some("INV-00000001"));
    let lines = open.document.asked().lines.iter();
    let lines: Vec<_> = lines
        .map(|l| (l.asked().description.as_str(), l.amount().minor()))
        .collect();
    assert_eq!(lines, [("a", 60), ("b \"quoted\"", 40)]);
    assert_eq!(
        (open.standing.paid().minor(), open.standing.due().minor()),
        (40, 60)
    );
    assert_eq!(open.document.asked().party.id, "p");
    assert_eq!(open.document.asked().metadata["k"], "v");
    assert_eq!(
        invoice(&file, "paid").number().as_deref(),
        Some("CRN-00000007")
    );
    assert_eq!(invoice(&file, "draft").sequence, None);
    let tombstone = file::find(&file, "tombstone").unwrap();
    assert!(matches!(tombstone, Some(Record::Tombstone(t)) if t.void_reason == "why"));
    let counted = |sql: &str| -> i64 { file.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(counted("SELECT last FROM series WHERE name = 'INV'"), 1);
    assert_eq!(counted("SELECT last FROM series WHERE name = 'CRN'"), 7);
    assert_eq!(counted("SELECT count(*) FROM request"), 2);
    assert_eq!(
        counted("SELECT amount FROM payment WHERE invoice_id = 'open'"),
        40
    );
    let broken: Option<String> = file
        .query_row("PRAGMA foreign_key_check", [], |row| row.get(0))
        .ok();
    assert_eq!(broken, None);
}

/// Changes of those rows that either back-end refuses.
pub(super) const REFUSED: &[&str] = &[
    "SET amount_paid = 101 WHERE invoice_id = 'open'",
    "SET amount_paid = -1 WHERE invoice_id = 'open'",
    "SET amount_paid = 100 WHERE invoice_id = 'open'",
    "SET amount_credited = 60 WHERE invoice_id = 'open'",
    "SET amount_credited = -1 WHERE invoice_id = 'open'",
    "SET credited_after = -1 WHERE invoice_id = 'paid'",
    "SET amount_paid = 99 WHERE invoice_id = 'paid'",
    "SET amount_paid = 1 WHERE invoice_id = 'draft'",
    "SET payable = -1 WHERE invoice_id = 'draft'",
    "SET total = 0 WHERE invoice_id = 'draft'",
    "SET total = -1 WHERE invoice_id = 'draft'",
    "SET total = 1 WHERE invoice_id = 'tombstone'",
    "SET state = 'open', finalize_time = 2 WHERE invoice_id = 'draft'",
    "SET state = 'void', void_time = 2 WHERE invoice_id = 'open'",
    "SET state = 'uncollectible' WHERE invoice_id = 'open'",
    "SET state = 'lost' WHERE invoice_id = 'draft'",
    "SET sequence = 3 WHERE invoice_id = 'draft'",
    "SET sequence = 1, series = 'INV' WHERE invoice_id = 'paid'",
    "SET sequence = NULL, finalize_time = NULL WHERE invoice_id = 'open'",
    "SET series = NULL WHERE invoice_id = 'open'",
    "SET paid_time = NULL WHERE invoice_id = 'paid'",
    "SET paid_time = 3 WHERE invoice_id = 'open'",
    "SET void_time = 3 WHERE invoice_id = 'open'",
    "SET invoice_id = 'open' WHERE invoice_id = 'draft'",
    "SET metadata = 'x' WHERE invoice_id = 'draft'",
    "SET content = 'x' WHERE invoice_id = 'draft'",
    "SET content = NULL WHERE invoice_id = 'draft'",
    "SET document_type = 'receipt' WHERE invoice_id = 'draft'",
    "SET currency = NULL WHERE invoice_id = 'draft'",
    "SET credits = 'paid' WHERE invoice_id = 'open'",
    "SET credits = 'nobody' WHERE invoice_id = 'paid'",
    "SET state = 'draft', void_time = NULL WHERE invoice_id = 'tombstone'",
];

#[test]
fn the_file_refuses_what_no_call_leads_to() {
    let file = file();
    for change in REFUSED {
        let refused = file.execute(&format!("UPDATE invoice {change}"), []);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("constraint failed"), "{change}: {refused}");
    }
}

#[test]
fn every_narrow_list_is_found_by_an_index_without_sorting() {
    let file = file();
    for (query, index) in [
        ("invoice_id = 'x'", "sqlite_autoindex_invoice_1"),
        (
            "state = 'open' AND serial < 9 ORDER BY serial DESC",
            "invoice_by_state",
        ),
        (
            "reference <> '' AND reference = 'r' AND serial < 9 ORDER BY serial DESC",
            "invoice_by_reference",
        ),
        (
            "reference <> '' AND reference = 'r' AND +state = 'open' AND serial < 9
             ORDER BY serial DESC",
            "invoice_by_reference",
        ),
        (
            "party_id <> '' AND party_id = 'p' AND serial > 9 ORDER BY serial ASC",
            "invoice_by_party",
        ),
        (
            "credits = 'x' AND serial < 9 ORDER BY serial DESC",
            "invoice_by_credited",
        ),
        (
            "series = 'INV' AND sequence = 1 AND serial < 9 ORDER BY serial DESC",
            "sqlite_autoindex_invoice_2",
        ),
        ("serial < 9 ORDER BY serial DESC", "INTEGER PRIMARY KEY"),
    ] {
        let plan = plan(&file, &format!("SELECT * FROM invoice WHERE {query}"));
        assert!(plan.contains(index), "{query}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{query}: {plan}");
    }
}

fn plan(file: &Connection, query: &str) -> String {
    let mut explain = file
        .prepare(&format!("EXPLAIN QUERY PLAN {query}"))
        .unwrap();
    let steps = explain.query_map([], |row| row.get::<_, String>("detail"));
    steps
        .unwrap()
        .map(Result::unwrap)
        .collect::<Vec<_>>()
        .join("; ")
}

#[test]
fn a_number_is_its_series_and_sequence() {
    assert_eq!(number("INV-2026-00000012"), ("INV-2026".to_owned(), 12));
    assert_eq!(number("INV-123456789"), ("INV".to_owned(), 123_456_789));
    for other in ["", "INV", "INV-1", "INV-+0000001", "-00000001x"] {
        assert_eq!(number(other), (String::new(), 0), "{other}");
    }
}
