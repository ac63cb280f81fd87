//! `mizan payments`: looked at, retried, cancelled, refused.

use std::net::TcpListener;

use mizan_contracts::payment::v1::{
    ListPaymentsRequest, PaymentState, payment_service_client::PaymentServiceClient,
};

use crate::world::World;

/// A world in which payments park: nobody makes invoices.
async fn with_parked(ids: &[&str]) -> (World, crate::world::Server) {
    let world = World::new().await;
    let payment = world.payment(2).await;
    // Commands do not wait until somebody is there, as this does.
    let mut client = PaymentServiceClient::new(world.channel("payment"));
    let all = ListPaymentsRequest::default();
    client.list_payments(all).await.unwrap();
    for id in ids {
        let mut pay = world.pay(id, "12.34", "ref");
        pay.request.asynchronous = true;
        pay.send().await.unwrap();
    }
    for id in ids {
        world.reaches(id, PaymentState::NeedsAttention).await;
    }
    (world, payment)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_payment_is_found_shown_and_goes_on_once_what_kept_it_is_mended() {
    let (world, _payment) = with_parked(&["p1"]).await;
    let list = world.run(&["payments", "list"]).await;
    assert_eq!(list.code(), Some(0), "{}", list.err());
    let text = list.out();
    assert!(text.starts_with("1 payment needs attention"), "{text}");
    assert!(text.contains("invoice: NO_INSTANCES"), "{text}");

    let show = world.run(&["payments", "show", "p1"]).await;
    let page = show.out();
    assert!(
        page.contains("NEEDS_ATTENTION, parked in ACCEPTED"),
        "{page}"
    );
    assert!(page.contains("mizan payments retry p1"), "{page}");
    let tries: Vec<&str> = page
        .lines()
        .filter(|l| l.contains("NOT_EXECUTED"))
        .collect();
    assert_eq!(tries.len(), 2, "{page}");
    let json = world
        .run(&["payments", "show", "p1", "--json"])
        .await
        .json();
    assert_eq!(json["steps"][0]["attempts"], 2);
    assert_eq!(json["attention"]["reason"], "NO_INSTANCES");

    let _mended = [world.invoice().await, world.accounting().await];
    // The service may not have found them yet: then it parks again, and a person asks again.
    let completed = async || {
        world.run(&["payments", "retry", "p1"]).await;
        let json = world
            .run(&["payments", "show", "p1", "--json"])
            .await
            .json();
        (json["state"] == "COMPLETED").then_some(())
    };
    crate::world::until(completed).await;
    let done = world.run(&["payments", "list"]).await.out();
    assert!(
        !done.contains("attention") && done.contains("COMPLETED"),
        "{done}"
    );
    let again = world.run(&["payments", "retry", "p1"]).await;
    assert_eq!(again.code(), Some(3));
    assert!(
        again.err().contains("PAYMENT_NOT_PARKED"),
        "{}",
        again.err()
    );
    let late = world.run(&["payments", "cancel", "p1"]).await;
    assert_eq!(late.code(), Some(3));
    assert!(
        late.err().contains("PAYMENT_NOT_CANCELLABLE"),
        "{}",
        late.err()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_filtered_and_paged_and_decisions_count_once() {
    let (world, _payment) = with_parked(&["p1", "p2", "p3"]).await;
    let reason = "not ours";
    let cancel = [
        "payments",
        "cancel",
        "p1",
        "--reason",
        reason,
        "--request-id",
        "d1",
        "--json",
    ];
    let first = world.run(&cancel).await;
    assert_eq!(first.code(), Some(0), "{}", first.err());
    let state = &first.json()[0]["payment"]["state"];
    assert!(state == "FAILED" || state == "COMPENSATING", "{state}");
    // The same decision again: answered, not refused.
    assert_eq!(world.run(&cancel).await.code(), Some(0));

    let list = async |args: &[&str]| {
        let all = [&["payments", "list", "--json"], args].concat();
        world.run(&all).await.json()
    };
    let ids = |page: &serde_json::Value| -> Vec<String> {
        let payments = page["payments"].as_array().unwrap().iter();
        payments
            .map(|p| p["payment_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = list(&[]).await;
    assert_eq!(ids(&all), ["p3", "p2", "p1"]);
    assert_eq!(ids(&all["needs_attention"]), ["p3", "p2"]);
    let parked = list(&["--state", "needs-attention"]).await;
    assert_eq!(ids(&parked), ["p3", "p2"]);
    assert!(parked.get("needs_attention").is_none());
    let page = list(&["--page-size", "2"]).await;
    assert_eq!(ids(&page), ["p3", "p2"]);
    let token = page["next_page_token"].as_str().unwrap();
    let rest = list(&["--page-size", "2", "--page-token", token]).await;
    assert_eq!(
        (ids(&rest), &rest["next_page_token"]),
        (vec!["p1".to_owned()], &"".into())
    );
    let since = all["payments"][0]["create_time"].as_str().unwrap();
    assert_eq!(ids(&list(&["--since", since]).await), ["p3"]);
    assert_eq!(ids(&list(&["--until", since]).await), ["p2", "p1"]);
    assert!(ids(&list(&["--reference", "another"]).await).is_empty());

    // Of several, those that can be done are done, and each other is told.
    let some = world
        .run(&["payments", "cancel", "p2", "no-such", "--json"])
        .await;
    assert_eq!(some.code(), Some(3));
    assert_eq!(some.json()[1]["error"]["reason"], "PAYMENT_NOT_FOUND");
    assert!(
        some.err().contains("1 of 2 could not be done"),
        "{}",
        some.err()
    );
    let all = world.run(&["payments", "retry", "--all", "--json"]).await;
    assert_eq!(all.json()[0]["payment_id"], "p3", "{}", all.err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_one_line_and_a_code_of_its_own() {
    let (world, _payment) = with_parked(&[]).await;
    for (args, code, word) in [
        (&["show", "no-such"][..], 3, "PAYMENT_NOT_FOUND"),
        (&["show", "no such"], 3, "payment_id"),
        (&["retry", "no-such"], 3, "PAYMENT_NOT_FOUND"),
        (&["cancel", "no such"], 3, "payment_id"),
        (&["list", "--page-token", "zzz"], 3, "page_token"),
        (&["list", "--state", "lost"], 2, "needs-attention"),
        (&["list", "--since", "yesterday"], 2, "2026-11-25"),
        (&["list", "--page-size", "0"], 2, "1..=1000"),
        (&["retry"], 2, "ID"),
        (&["retry", "--all", "p1"], 2, "--all"),
    ] {
        let told = world.run(&[&["payments"], args].concat()).await;
        assert_eq!(told.code(), Some(code), "{args:?}: {}", told.err());
        assert!(told.err().contains(word), "{args:?}: {}", told.err());
    }
    let none = world.run(&["payments", "retry", "--all"]).await;
    assert_eq!(
        (none.code(), &*none.out()),
        (Some(0), "no payment needs attention\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_registry_or_a_service_the_command_says_so() {
    let world = World::new().await;
    let list = world.run(&["payments", "list", "--timeout", "10"]).await;
    assert_eq!(list.code(), Some(1));
    assert!(
        list.err().contains("no instance of payment"),
        "{}",
        list.err()
    );

    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nowhere.local_addr().unwrap().to_string();
    drop(nowhere);
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_mizan"))
        .args(["payments", "show", "p1"])
        .env("MIZAN_REGISTRY", &address)
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains(&address) && text.contains("no registry answers"),
        "{text}"
    );
}
