//! What the file itself refuses, and how it finds things.

use ::store::rusqlite::Connection;

fn file() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(super::MIGRATIONS[0]).unwrap();
    connection
        .execute_batch(
            "INSERT INTO invoice VALUES
                 (1, 'draft', 1, 'draft', 'invoice', NULL, '', 'A', '', '{}', 'GBP', 100, 0,
                  1, NULL, NULL, NULL, ''),
                 (2, 'open', 2, 'open', 'invoice', 1, '', 'A', 'r', '{}', 'GBP', 100, 40,
                  1, 2, NULL, NULL, ''),
                 (3, 'paid', 3, 'paid', 'invoice', 2, '', 'A', '', '{}', 'GBP', 100, 100,
                  1, 2, 3, NULL, ''),
                 (4, 'tombstone', 1, 'void', NULL, NULL, '', '', '', '{}', NULL, 0, 0,
                  NULL, NULL, NULL, 1, '')",
        )
        .unwrap();
    connection
}

#[test]
fn the_file_refuses_what_no_call_leads_to() {
    let file = file();
    for change in [
        "SET amount_paid = 101 WHERE invoice_id = 'open'",
        "SET amount_paid = -1 WHERE invoice_id = 'open'",
        "SET amount_paid = 100 WHERE invoice_id = 'open'",
        "SET amount_paid = 99 WHERE invoice_id = 'paid'",
        "SET amount_paid = 1 WHERE invoice_id = 'draft'",
        "SET total = 0 WHERE invoice_id = 'draft'",
        "SET total = -1 WHERE invoice_id = 'draft'",
        "SET total = 1 WHERE invoice_id = 'tombstone'",
        "SET state = 'open', finalize_time = 2 WHERE invoice_id = 'draft'",
        "SET state = 'void', void_time = 2 WHERE invoice_id = 'open'",
        "SET state = 'lost' WHERE invoice_id = 'draft'",
        "SET sequence = 3 WHERE invoice_id = 'draft'",
        "SET sequence = 1 WHERE invoice_id = 'paid'",
        "SET sequence = NULL, finalize_time = NULL WHERE invoice_id = 'open'",
        "SET paid_time = NULL WHERE invoice_id = 'paid'",
        "SET paid_time = 3 WHERE invoice_id = 'open'",
        "SET void_time = 3 WHERE invoice_id = 'open'",
        "SET invoice_id = 'open' WHERE invoice_id = 'draft'",
        "SET metadata = 'x' WHERE invoice_id = 'draft'",
        "SET document_type = 'receipt' WHERE invoice_id = 'draft'",
        "SET currency = NULL WHERE invoice_id = 'draft'",
        "SET state = 'draft', void_time = NULL WHERE invoice_id = 'tombstone'",
    ] {
        let refused = file.execute(&format!("UPDATE invoice {change}"), []);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("constraint failed"), "{change}: {refused}");
    }
    for line in [
        "1, 0, 'd', 1, 1",
        "1, 1, '', 1, 1",
        "1, 1, 'd', 0, 1",
        "1, 1, 'd', 1, -1",
    ] {
        let refused = file.execute(&format!("INSERT INTO invoice_line VALUES ({line})"), []);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("constraint failed"), "{line}: {refused}");
    }
}

#[test]
fn every_list_and_the_next_number_are_found_by_an_index_without_sorting() {
    let file = file();
    for (query, index) in [
        ("invoice_id = 'x'", "sqlite_autoindex_invoice_1"),
        (
            "state = 'open' AND serial < 9 ORDER BY serial DESC",
            "invoice_by_state",
        ),
        (
            "reference = 'r' AND reference <> '' AND serial < 9 ORDER BY serial DESC",
            "invoice_by_reference",
        ),
        (
            "reference = 'r' AND reference <> '' AND +state = 'open' AND serial < 9
             ORDER BY serial DESC",
            "invoice_by_reference",
        ),
        ("serial < 9 ORDER BY serial DESC", "INTEGER PRIMARY KEY"),
    ] {
        let plan = plan(&file, &format!("SELECT * FROM invoice WHERE {query}"));
        assert!(plan.contains(index), "{query}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{query}: {plan}");
    }
    let plan = plan(
        &file,
        "SELECT ifnull(max(sequence), 0) + 1 FROM invoice WHERE document_type = 'invoice'",
    );
    assert!(plan.contains("COVERING INDEX"), "{plan}");
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
