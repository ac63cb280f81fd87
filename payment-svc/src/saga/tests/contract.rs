//! The peers of the other tests against the real ones: the same script of calls, the same answers
//! and the same documents at the end. What the saga relies on is here: a void leaves a tombstone
//! that refuses a late create, an issued credit note can be voided until it is settled, an id is done
//! once, the ledger remembers what it refused.

use std::{collections::BTreeMap, future::Future, time::Duration};

use mizan::{args::ServerArgs, status::reason};
use mizan_contracts::invoice::v1::{GetInvoiceRequest, InvoiceState};
use store::Location;
use tokio::{net::TcpListener, task::JoinSet};
use tonic::{Code, Status};

use super::{
    rig::payment,
    world::{Document, World},
};
use crate::{
    Config,
    domain::{Body, Intent, Payment, Step},
    saga::{Outside as _, Peers, outside::Call, table},
};

/// The real peers, in this process.
struct Real {
    peers: Peers,
    _servers: JoinSet<()>,
    _folder: tempfile::TempDir,
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

impl Real {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut servers = JoinSet::new();
        let (at, registry) = listener().await;
        let never = std::future::pending::<()>;
        servers.spawn(async move {
            let config = registry::Config::default();
            registry::serve(at, config, never()).await.unwrap();
        });
        let server = ServerArgs::with_registry(vec![registry]);
        let (invoice, data) = (listener().await.0, folder.path().to_owned());
        let config = invoice_svc::Config {
            database_url: None,
            data: data.clone(),
            server: server.clone(),
        };
        servers.spawn(async move {
            invoice_svc::serve(invoice, config, never()).await.unwrap();
        });
        let accounting = listener().await.0;
        let config = accounting_svc::Config {
            database_url: None,
            data: data.clone(),
            server: server.clone(),
        };
        servers.spawn(async move {
            let served = accounting_svc::serve(accounting, config, never());
            served.await.unwrap();
        });
        let store = Location::File(data.join("payment.db"));
        let store = crate::store::Store::open(&store).await.unwrap();
        let peers = crate::peers(&Config::new(data, server), store).unwrap();
        Self {
            peers,
            _servers: servers,
            _folder: folder,
        }
    }

    /// The answer; those that were not reached yet are asked again.
    async fn ask(&self, call: &Call) -> Result<(), Status> {
        reached(async || self.peers.call(call.clone()).await).await
    }

    async fn document(&self, id: &str) -> Option<InvoiceState> {
        let get = async || {
            let request = GetInvoiceRequest {
                invoice_id: id.to_owned(),
            };
            self.peers.invoices.clone().get_invoice(request).await
        };
        let found = reached(get).await.ok()?;
        Some(found.into_inner().state())
    }
}

async fn reached<T, F>(ask: impl Fn() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let asking = async {
        loop {
            ticks.tick().await;
            match ask().await {
                Err(status) if status.code() == Code::Unavailable => {}
                answer => return answer,
            }
        }
    };
    let patience = Duration::from_secs(60);
    let answer = tokio::time::timeout(patience, asking);
    answer.await.expect("it never answered")
}

fn told(answer: Result<(), Status>) -> String {
    match answer {
        Ok(()) => "OK".to_owned(),
        Err(status) => format!(
            "{:?} {}",
            status.code(),
            reason(&status).unwrap_or_else(|| status.message().to_owned())
        ),
    }
}

/// A payment of a pound, or a refund of `minor` of it.
fn intent(id: &str) -> Intent {
    match payment(id) {
        Body::Payment(intent) => intent,
        Body::Refund(_) => unreachable!(),
    }
}

fn refund(id: &str, of: &str, minor: i128) -> Intent {
    let paid = intent(of);
    Intent {
        amount: money::Money::from_minor(minor, paid.amount.currency()),
        expense_account: paid.expense_account(),
        cash_account: paid.cash_account(),
        direction: crate::domain::Direction::Refund,
        refund_of: Some(of.to_owned()),
        ..intent(id)
    }
}

/// The call of a step that is the `nth` of it.
fn call(intent: &Intent, step: Step, nth: usize) -> Call {
    let payment = Payment::accepted(intent.clone(), 1);
    let calls = table::calls(&payment, step).unwrap();
    calls.into_iter().nth(nth).unwrap()
}

/// The same call by another request.
fn by_another(mut call: Call) -> Call {
    let other = |id: &mut String| id.push_str("-another");
    match &mut call {
        Call::FinalizeInvoice(r) => other(&mut r.request_id),
        Call::RecordInvoicePayment(r) => other(&mut r.request_id),
        Call::VoidInvoice(r) => other(&mut r.request_id),
        call => panic!("{call:?}"),
    }
    call
}

/// Another request by the same id.
fn changed(mut call: Call) -> Call {
    match &mut call {
        Call::CreateInvoice(r) => r.reference.push('!'),
        Call::CreateCreditNote(r) => r.reference.push('!'),
        Call::RecordTransaction(r) => r.reference.push('!'),
        call => panic!("{call:?}"),
    }
    call
}

/// What the saga may come to ask, in the order and out of it.
fn script() -> Vec<(&'static str, Call)> {
    let create = |i: &Intent| call(i, Step::Document, 0);
    let finalize = |i: &Intent| call(i, Step::Document, 1);
    let account = |i: &Intent, nth| call(i, Step::Ledger, nth);
    let record = |i: &Intent| call(i, Step::Ledger, if i.refund_of.is_some() { 0 } else { 2 });
    let settle = |i: &Intent| call(i, Step::Settle, 0);
    let void = |i: &Intent| call(i, Step::Void, 0);
    let (a, b, c, d, e, f) = (
        intent("a"),
        intent("b"),
        intent("c"),
        intent("d"),
        intent("e"),
        intent("f"),
    );
    let (r1, r2, r3) = (
        refund("r1", "a", 30),
        refund("r2", "a", 80),
        refund("r3", "a", 10),
    );
    vec![
        ("a create", create(&a)),
        ("a create again", create(&a)),
        ("a create, changed", changed(create(&a))),
        ("a finalize", finalize(&a)),
        ("a finalize again", finalize(&a)),
        ("a finalize by another", by_another(finalize(&a))),
        ("f record without accounts", record(&f)),
        ("expense account", account(&a, 0)),
        ("cash account", account(&a, 1)),
        ("cash account again", account(&a, 1)),
        ("f record again: refused for ever", record(&f)),
        ("a record", record(&a)),
        ("a record again", record(&a)),
        ("a record, changed", changed(record(&a))),
        ("a settle", settle(&a)),
        ("a settle again", settle(&a)),
        ("a settle by another", by_another(settle(&a))),
        ("a void: it is paid", void(&a)),
        ("a finalize, late", finalize(&a)),
        ("b void before its create", void(&b)),
        ("b void again", void(&b)),
        ("b void by another", by_another(void(&b))),
        ("b create, late", create(&b)),
        ("b finalize, late", finalize(&b)),
        ("b settle", settle(&b)),
        ("c create", create(&c)),
        ("c settle a draft", settle(&c)),
        ("c void a draft", void(&c)),
        ("c create, late", create(&c)),
        ("c finalize after the void", finalize(&c)),
        ("d create", create(&d)),
        ("d finalize", finalize(&d)),
        ("d void", void(&d)),
        ("d void by another", by_another(void(&d))),
        ("d finalize, late", finalize(&d)),
        ("d settle after the void", settle(&d)),
        ("e finalize what is not there", finalize(&e)),
        ("e settle what is not there", settle(&e)),
        ("r1 credit note", create(&r1)),
        ("r1 credit note again", create(&r1)),
        ("r1 credit note, changed", changed(create(&r1))),
        ("r2 credit note: too much", create(&r2)),
        ("r1 void the issued note", void(&r1)),
        ("r1 void again", void(&r1)),
        ("r1 credit note, late", create(&r1)),
        ("r1 settle after the void", settle(&r1)),
        ("r2 credit note: room again", create(&r2)),
        ("r2 record", record(&r2)),
        ("r2 settle", settle(&r2)),
        ("r2 settle again", settle(&r2)),
        ("r2 void what was paid back", void(&r2)),
        ("r3 void before its create", void(&r3)),
        ("r3 credit note, late", create(&r3)),
        (
            "credit note of what is not there",
            create(&refund("r4", "e", 1)),
        ),
        ("credit note of a void one", create(&refund("r5", "d", 1))),
        ("credit note of a tombstone", create(&refund("r6", "b", 1))),
        ("f create", create(&f)),
        ("credit note of a draft", create(&refund("r7", "f", 1))),
        ("a void: it has notes", by_another(void(&a))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_peers_of_these_tests_answer_as_the_real_ones_do() {
    let real = Real::start().await;
    let mut fake = World::default();
    let mut differences = Vec::new();
    let mut answers = BTreeMap::new();
    for (what, call) in script() {
        let (fake, real) = (told(fake.deliver(&call)), told(real.ask(&call).await));
        if fake != real {
            differences.push(format!("{what}: {fake} here, {real} in truth"));
        }
        answers.insert(what, real);
    }
    assert!(differences.is_empty(), "{differences:#?}");
    for (id, document) in &fake.documents {
        let expected = match document {
            Document::Draft => Some(InvoiceState::Draft),
            Document::Open => Some(InvoiceState::Open),
            Document::Paid => Some(InvoiceState::Paid),
            Document::Void => Some(InvoiceState::Void),
            Document::Tombstone => continue,
        };
        assert_eq!(real.document(id).await, expected, "{id}");
    }
    // What the saga cannot do without, whatever both agree on.
    for (what, answer) in [
        ("b void before its create", "OK"),
        ("b create, late", "FailedPrecondition INVOICE_VOIDED"),
        ("r1 void the issued note", "OK"),
        ("r3 void before its create", "OK"),
        ("r3 credit note, late", "FailedPrecondition INVOICE_VOIDED"),
        (
            "f record again: refused for ever",
            "FailedPrecondition ACCOUNT_NOT_FOUND",
        ),
        (
            "r2 credit note: too much",
            "FailedPrecondition CREDIT_EXCEEDS_INVOICE",
        ),
    ] {
        assert_eq!(answers[what], answer, "{what}");
    }
}
