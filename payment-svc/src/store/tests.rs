//! What becomes of a store of an earlier version when this one opens it.

use store::{
    Location,
    rusqlite::{Connection, params},
};

use super::*;
use crate::{
    domain::{Accept, Accepted, RefundRefusal, Saved, Step},
    saga::testing::{encoded, payment, refund},
};

/// A file of the first schema, with a payment in each of its states, of a worker that is gone.
fn first_schema(path: &std::path::Path) {
    let file = Connection::open(path).unwrap();
    file.execute_batch(include_str!("schema/sqlite_1.sql"))
        .unwrap();
    file.pragma_update(None, "user_version", 1).unwrap();
    for state in 1..=7_i64 {
        let id = format!("p{state}");
        let failed = (state > 4).then_some("REFUSED");
        file.execute(
            "INSERT INTO payment (payment_id, request, reference, state, failure_step,
                 failure_reason, failure_message, version, worker, create_micros, update_micros)
             VALUES (?1, ?2, 'r', ?3, ?4, ?5, ?6, ?7, 'w0', ?8, ?9)",
            params![
                id,
                encoded(&payment(&id)),
                state,
                failed.map(|_| "ledger"),
                failed,
                failed.map(|_| "why"),
                state + 2,
                1_000 * state,
                1_000 * state + 1,
            ],
        )
        .unwrap();
    }
    file.execute("INSERT INTO worker VALUES ('w0', 99)", [])
        .unwrap();
}

/// What a worker asks that has just been asked for this.
fn accept(body: Body) -> Command {
    Command::Accept(Box::new(Accept {
        request: encoded(&body),
        body,
        worker: "w1".to_owned(),
        now: 1,
    }))
}

/// A schema of its own on PostgreSQL, where there is one, opened by two at once.
async fn by_two_on_postgresql() -> Option<(Location, Store, Store)> {
    let location = Location::Server {
        url: store::testing::postgres().await?,
        schema: "payment".to_owned(),
    };
    let (one, two) = tokio::join!(Store::open(&location), Store::open(&location));
    Some((location, one.unwrap(), two.unwrap()))
}

async fn open(path: &std::path::Path) -> Store {
    Store::open(&Location::File(path.to_owned())).await.unwrap()
}

#[tokio::test]
async fn a_file_of_the_first_schema_keeps_all_that_it_held_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("payment.db");
    first_schema(&path);
    let store = open(&path).await;
    let found = store.list(Filter::default(), i64::MAX, 100).await.unwrap();
    let states: Vec<_> = found.iter().rev().map(|(_, p)| p.state as i64).collect();
    assert_eq!(states, [1, 2, 3, 4, 5, 6, 7]);
    for (place, (_, was)) in (1..).zip(found.into_iter().rev()) {
        let Body::Payment(intent) = payment(&format!("p{place}")) else {
            unreachable!()
        };
        assert_eq!(was.intent, intent);
        assert_eq!(was.version, place + 2);
        assert_eq!(
            (was.create_micros, was.update_micros),
            (1_000 * place, 1_000 * place + 1)
        );
        assert_eq!(was.failure.is_some(), place > 4);
        // What it did was not noted: whatever is next may have been done.
        if let Some(step) = was.state.step() {
            assert!(was.journal.is_exposed(step), "{:?}", was.state);
        }
        // The same request is the same payment, and another is refused.
        let asked_as = |request: Vec<u8>| {
            Command::Accept(Box::new(Accept {
                request,
                body: payment(&was.intent.id),
                worker: "w1".to_owned(),
                now: 9_000,
            }))
        };
        let id = was.intent.id.clone();
        let again = asked_as(encoded(&payment(&id)));
        assert!(matches!(
            store.write(again).await.unwrap(),
            Outcome::Accepted(Accepted::Known(known)) if *known == was
        ));
        let other = asked_as(encoded(&payment("other")));
        assert!(matches!(
            store.write(other).await.unwrap(),
            Outcome::Accepted(Accepted::Differs(_))
        ));
    }
    // Its worker is not known any more, so what is unfinished is free, and is fenced by being taken.
    let beat = Command::Beat {
        worker: "w1".to_owned(),
    };
    store.write(beat).await.unwrap();
    assert!(store.anything_free().await.unwrap());
    let take = Command::TakeOver {
        most: 100,
        worker: "w1".to_owned(),
        now: 10_000,
    };
    let Outcome::Taken(taken) = store.write(take).await.unwrap() else {
        panic!("not taken")
    };
    assert_eq!(taken.len(), 4);
    assert!(!store.anything_free().await.unwrap());
    let figures = store.figures(5_000_000_000).await.unwrap();
    assert!(figures.compensating_age_seconds > 0, "{figures:?}");
    assert!(figures.recorded_age_seconds > 0, "{figures:?}");
    // And a payment of then can be paid back now.
    let refund = refund("refund", "p4", None);
    let accepted = store.write(accept(refund)).await.unwrap();
    let Outcome::Accepted(Accepted::Mine(refund)) = accepted else {
        panic!("not accepted")
    };
    assert_eq!(refund.intent.amount.minor(), 100);
    drop(store);
    // Opened once more it is as it was.
    let store = open(&path).await;
    let found = store.get("refund".to_owned()).await.unwrap().unwrap();
    assert_eq!(found, *refund);
}

/// Opened by two at once and again later, it is made once and keeps what it holds.
#[tokio::test]
async fn a_schema_on_postgresql_is_made_once_and_kept() {
    let Some((location, one, two)) = by_two_on_postgresql().await else {
        return;
    };
    let accepted = one.write(accept(payment("p"))).await.unwrap();
    let Outcome::Accepted(Accepted::Mine(mut accepted)) = accepted else {
        panic!("not accepted")
    };
    drop(one);
    let three = Store::open(&location).await.unwrap();
    for store in [&two, &three] {
        let found = store.get("p".to_owned()).await.unwrap();
        assert_eq!(found.as_ref(), Some(&*accepted));
    }
    accepted.journal.begin(Step::Document, 5);
    let save = Command::Save {
        payment: accepted,
        now: 5,
    };
    let saved = three.write(save).await.unwrap();
    assert!(matches!(saved, Outcome::Saved(Saved::Yes(_))));
}

/// Two processes that are asked for the same refund at once: each finds the payment, the one that
/// waits sees what the other made, and none is told that the store cannot be used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_refund_asked_of_two_at_once_is_made_once_and_known() {
    let Some((_, one, two)) = by_two_on_postgresql().await else {
        return;
    };
    for nth in 0..100 {
        let id = format!("p{nth}");
        let accepted = one.write(accept(payment(&id))).await.unwrap();
        let Outcome::Accepted(Accepted::Mine(mut paid)) = accepted else {
            panic!("not accepted")
        };
        paid.state = State::Completed;
        one.write(Command::Save {
            payment: paid,
            now: 2,
        })
        .await
        .unwrap();
        let asked = || accept(refund(&format!("r{nth}"), &id, None));
        let (first, second) = tokio::join!(one.write(asked()), two.write(asked()));
        let both = (first.unwrap(), second.unwrap());
        let (Outcome::Accepted(first), Outcome::Accepted(second)) = both else {
            panic!("not accepted")
        };
        let made = match (first, second) {
            (Accepted::Mine(made), Accepted::Known(known))
            | (Accepted::Known(known), Accepted::Mine(made)) => (made, known),
            other => panic!("{other:?}"),
        };
        assert_eq!(made.0, made.1);
    }
}

/// A refund that was refused is refused for ever, by every process: a late copy of its request comes
/// when there is something left again.
#[tokio::test]
async fn a_refund_that_was_refused_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut places = vec![Location::File(folder.path().join("payment.db"))];
    places.extend(by_two_on_postgresql().await.map(|(location, ..)| location));
    for place in places {
        let store = Store::open(&place).await.unwrap();
        let asked = || accept(refund("r", "p", None));
        let refused = |outcome: Outcome| match outcome {
            Outcome::Accepted(Accepted::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        };
        let first = refused(store.write(asked()).await.unwrap());
        assert_eq!(first, RefundRefusal::NotFound);
        let accepted = store.write(accept(payment("p"))).await.unwrap();
        let Outcome::Accepted(Accepted::Mine(mut paid)) = accepted else {
            panic!("not accepted")
        };
        paid.state = State::Completed;
        let save = Command::Save {
            payment: paid,
            now: 2,
        };
        store.write(save).await.unwrap();
        drop(store);
        let later = Store::open(&place).await.unwrap();
        assert_eq!(refused(later.write(asked()).await.unwrap()), first);
        let other = later.write(accept(refund("other", "p", None))).await;
        assert!(matches!(
            other.unwrap(),
            Outcome::Accepted(Accepted::Mine(_))
        ));
    }
}
