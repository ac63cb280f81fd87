//! Instances on one store whose clocks differ: dates run with the numbers all the same.

use ::store::Location;

use super::*;
use crate::domain::{
    Action, CreditNote, Invoice, Part, Payment, Request,
    samples::{hundred, pounds},
};

/// Two instances on the store.
struct Two([Invoices; 2]);

impl Two {
    async fn open(location: &Location) -> Self {
        let [ahead, behind] = [
            Invoices::open(location).await,
            Invoices::open(location).await,
        ];
        Self([ahead.unwrap(), behind.unwrap()])
    }

    /// What one of them makes of a command, at its time.
    async fn ask(
        &self,
        instance: usize,
        at: i64,
        id: &str,
        request: &str,
        action: Action,
    ) -> Invoice {
        let request = Request {
            request_id: request.to_owned(),
            invoice_id: id.to_owned(),
            etag: String::new(),
            body: Vec::new(),
            now: Micros(at),
        };
        let done = self.0[instance].execute(Command { request, action });
        done.await.unwrap().invoice().unwrap()
    }

    async fn finalized(&self, instance: usize, at: i64, id: &str) -> Invoice {
        let draft = Action::Create(Box::new(hundred(DocumentType::Invoice)));
        self.ask(instance, 1, id, id, draft).await;
        self.ask(instance, at, id, id, Action::Finalize).await
    }
}

/// The first is ahead, at 100; the second is behind, at 50.
async fn dates_run_with_the_numbers(location: &Location) {
    let two = Two::open(location).await;
    let first = two.finalized(0, 100, "a").await;
    let second = two.finalized(1, 50, "b").await;
    assert_eq!((first.sequence, second.sequence), (Some(1), Some(2)));
    assert_eq!(first.times.finalize, Some(Micros(100)));
    assert_eq!(
        second.times.finalize,
        Some(Micros(100)),
        "not before the first"
    );
    let third = two.finalized(1, 120, "c").await;
    assert_eq!(third.times.finalize, Some(Micros(120)));

    let all = Action::Pay(Payment::new(pounds(10_000)).unwrap(), String::new());
    let paid = two.ask(1, 60, "c", "p", all).await;
    assert_eq!(
        paid.times.paid,
        Some(Micros(120)),
        "not before it was finalized"
    );

    let credit = || {
        Action::Credit(Box::new(CreditNote {
            part: Part::Amount(Payment::new(pounds(1)).unwrap()),
            reason: String::new(),
            series: "CRN".to_owned(),
            reference: String::new(),
            metadata: BTreeMap::new(),
        }))
    };
    let note = two.ask(1, 70, "c", "n1", credit()).await;
    assert_eq!(
        note.times.finalize,
        Some(Micros(120)),
        "nor before its invoice"
    );
    let note = two.ask(1, 70, "a", "n2", credit()).await;
    assert_eq!(
        note.times.finalize,
        Some(Micros(120)),
        "nor before the note before"
    );
    let reason = String::new();
    let void = Action::Void {
        reason,
        allow_missing: false,
    };
    let void = two.ask(1, 80, "b", "v", void).await;
    assert_eq!(void.times.void, Some(Micros(100)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dates_run_with_the_numbers_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    dates_run_with_the_numbers(&Location::File(folder.path().join("invoice.db"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dates_run_with_the_numbers_on_a_server() {
    let Some(url) = ::store::testing::postgres().await else {
        return;
    };
    let schema = "invoice".to_owned();
    dates_run_with_the_numbers(&Location::Server { url, schema }).await;
}
