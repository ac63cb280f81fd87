//! What PostgreSQL refuses by itself, when it is written to past the rules: what the file refuses
//! too (`tests.rs`).

use std::error::Error as _;

use ::store::{Location, Store, Unavailable, Writes, postgres::Session, rusqlite::Connection};

use super::tests::REFUSED;

/// Statements as they are, one transaction for each command.
struct Raw;

impl Writes for Raw {
    type Command = Vec<&'static str>;
    type Outcome = ();
    type Memory = ();

    const SQLITE: &'static [&'static str] = super::file::MIGRATIONS;
    const POSTGRES: &'static [&'static str] = super::server::MIGRATIONS;

    fn in_file(
        file: &Connection,
        _: &mut (),
        commands: &[Vec<&'static str>],
    ) -> Result<Vec<()>, Unavailable> {
        for sql in commands.concat() {
            file.execute_batch(sql)?;
        }
        Ok(vec![(); commands.len()])
    }

    async fn on_server(
        server: &Session,
        commands: &[Vec<&'static str>],
    ) -> Result<Vec<()>, Unavailable> {
        for sql in commands.concat() {
            server.execute(sql, &[]).await?;
        }
        Ok(vec![(); commands.len()])
    }
}

/// A draft, an open, a paid and a tombstone, as the file's tests have them.
const ROWS: &str =
    "INSERT INTO invoice (invoice_id, revision, state, document_type, series, sequence,
        party_id, reference, metadata, currency, total, payable, amount_paid, amount_credited,
        credited_after, credit_notes, create_time, finalize_time, paid_time, void_time,
        void_reason, content) VALUES
    ('draft', 1, 'draft', 'invoice', 'INV', NULL, '', '', '{}', 'GBP', 100, 100, 0, 0, 0, '[]',
     1, NULL, NULL, NULL, '', '{}'),
    ('open', 2, 'open', 'invoice', 'INV', 1, '', '', '{}', 'GBP', 100, 100, 40, 0, 0, '[]',
     1, 2, NULL, NULL, '', '{}'),
    ('paid', 3, 'paid', 'credit_note', 'CRN', 7, '', '', '{}', 'GBP', 100, 100, 100, 0, 0, '[]',
     1, 2, 3, NULL, '', '{}'),
    ('tombstone', 1, 'void', NULL, NULL, NULL, '', '', '{}', NULL, 0, 0, 0, 0, 0, '[]',
     NULL, NULL, NULL, 1, 'why', NULL)";

/// And what is beside the invoices.
const BESIDE: &[&str] = &[
    "INSERT INTO payment VALUES ('open', 2, 0, '', 1)",
    "INSERT INTO payment VALUES ('open', 2, -1, '', 1)",
    "INSERT INTO payment VALUES ('nobody', 2, 1, '', 1)",
    "INSERT INTO series VALUES ('X', -1)",
    "INSERT INTO request VALUES ('destroy', 'r', '')",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_refuses_what_no_call_leads_to() {
    let Some(url) = ::store::testing::postgres().await else {
        return;
    };
    let schema = "invoice".to_owned();
    let store = Store::<Raw>::open(&Location::Server { url, schema }).await;
    let store = store.unwrap();
    store.execute(vec![ROWS]).await.unwrap();
    let changes = REFUSED.iter().map(|change| {
        let change = change.replace("metadata = 'x'", "metadata = NULL");
        format!("UPDATE invoice {}", change.replace("'x'", "NULL"))
    });
    let beside = BESIDE.iter().map(|sql| (*sql).to_owned());
    for sql in changes.chain(beside) {
        let sql: &'static str = sql.leak();
        let refused = store.execute(vec![sql]).await.unwrap_err();
        let mut said = refused.to_string();
        let mut next = refused.source();
        while let Some(error) = next {
            said = format!("{said}: {error}");
            next = error.source();
        }
        assert!(said.contains("constraint"), "{sql}: {said}");
    }
    // The same way in, with what keeps the rules.
    let pay = "UPDATE invoice SET amount_paid = 100, state = 'paid', paid_time = 3
               WHERE invoice_id = 'open'";
    store.execute(vec![pay]).await.unwrap();
}
