//! When the file cannot be used.

use std::{fs, time::Duration};

use invoice_svc::Config;
use mizan::{args::ServerArgs, status};
use store::rusqlite::Connection;
use tokio::net::TcpListener;
use tonic::Code;

use crate::file::harness::*;

#[tokio::test]
async fn an_unusable_file_is_unavailable_and_leaves_nothing_half_done() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let open = open(&client, "i-1").await;
    let file = Connection::open(fresh.folder().join("invoice.db")).unwrap();
    // The last statement of a payment fails, and so must the payment as a whole.
    file.execute_batch("ALTER TABLE payment RENAME TO away")
        .unwrap();
    let answer = pay(&client, paying("p", "i-1", pounds(100, 0))).await;
    let refused = answer.clone().unwrap_err();
    let unavailable = (Code::Unavailable, "STORE_UNAVAILABLE".to_owned());
    assert_eq!(refusal(answer), unavailable);
    assert_eq!(status::retry_after(&refused), Some(Duration::from_secs(1)));
    assert_eq!(get(&client, "i-1").await.unwrap(), open);

    file.execute_batch("ALTER TABLE away RENAME TO payment")
        .unwrap();
    let paid = pay(&client, paying("p", "i-1", pounds(100, 0))).await;
    assert_eq!(
        paid.unwrap().amount_due,
        pounds(0, 0),
        "the same request may be sent again"
    );
    let kept = "SELECT sum(amount) FROM payment";
    let kept: i64 = file.query_row(kept, [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 10_000);
    fresh.server.stop().await;
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("a-file");
    fs::write(&data, "").unwrap();
    let config = Config {
        data: data.clone(),
        database_url: None,
        server: ServerArgs::with_registry(Vec::new()),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ended = invoice_svc::serve(listener, config, std::future::pending()).await;
    let message = ended.unwrap_err().to_string();
    assert!(message.contains(&data.display().to_string()), "{message}");
}
