//! Lists: order, filters, pages.

use mizan_contracts::invoice::v1::{
    Adjustment, CreateInvoiceRequest, InvoiceOrder, InvoiceState, ListInvoicesRequest,
    VoidInvoiceRequest,
};
use tonic::Code;

use super::harness::*;

/// Seven drafts i0 to i6; the even ones have the reference "even", i2 and i3 are open.
async fn seven(client: &Client) {
    for n in 0..7 {
        let mut request = hundred(&format!("i{n}"));
        request.reference = if n % 2 == 0 { "even" } else { "" }.to_owned();
        create(client, request).await.unwrap();
    }
    for id in ["i2", "i3"] {
        finalize(client, finalizing(id, id)).await.unwrap();
    }
}

fn filtered(state: InvoiceState, reference: &str) -> ListInvoicesRequest {
    ListInvoicesRequest {
        state: state.into(),
        reference: reference.to_owned(),
        ..ListInvoicesRequest::default()
    }
}

/// Pages through the list and returns the ids page by page.
async fn pages(client: &Client, mut request: ListInvoicesRequest) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    loop {
        let (ids, next) = page(client, request.clone()).await.unwrap();
        pages.push(ids);
        if next.is_empty() {
            return pages;
        }
        request.page_token = next;
    }
}

#[tokio::test]
async fn filters_and_pages_leave_nothing_out_and_show_nothing_twice() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    seven(&client).await;
    let all = InvoiceState::Unspecified;
    for (filter, expected) in [
        (
            filtered(all, ""),
            vec!["i6", "i5", "i4", "i3", "i2", "i1", "i0"],
        ),
        (filtered(InvoiceState::Open, ""), vec!["i3", "i2"]),
        (filtered(all, "even"), vec!["i6", "i4", "i2", "i0"]),
        (
            filtered(InvoiceState::Draft, "even"),
            vec!["i6", "i4", "i0"],
        ),
        (filtered(InvoiceState::Paid, ""), vec![]),
        (filtered(all, "odd"), vec![]),
    ] {
        for page_size in [0, 1, 2, 3, 7, 1000, i32::MAX] {
            let request = ListInvoicesRequest {
                page_size,
                ..filter.clone()
            };
            let pages = pages(&client, request).await;
            let most = if page_size == 0 {
                50
            } else {
                usize::try_from(page_size).unwrap()
            };
            assert!(pages.iter().all(|page| page.len() <= most));
            assert_eq!(
                pages.len(),
                expected.len().div_ceil(most).max(1),
                "no empty last page"
            );
            assert_eq!(pages.concat(), expected, "{filter:?} by {page_size}");
        }
    }
    fresh.server.stop().await;
}

#[tokio::test]
async fn invoices_that_come_between_two_pages_do_not_shift_them() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    seven(&client).await;
    let request = ListInvoicesRequest {
        page_size: 4,
        ..ListInvoicesRequest::default()
    };
    let (_, page_token) = page(&client, request.clone()).await.unwrap();
    create(&client, hundred("late")).await.unwrap();
    let (ids, next) = page(
        &client,
        ListInvoicesRequest {
            page_token,
            ..request
        },
    )
    .await
    .unwrap();
    assert_eq!(
        (ids, next),
        (
            vec!["i2".to_owned(), "i1".to_owned(), "i0".to_owned()],
            String::new()
        )
    );
    fresh.server.stop().await;
}

#[tokio::test]
async fn fifty_is_the_default_and_a_thousand_the_most() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let creating = (0..1_001).map(|n| {
        let client = client.clone();
        tokio::spawn(async move { create(&client, hundred(&format!("i{n}"))).await })
    });
    for created in creating.collect::<Vec<_>>() {
        created.await.unwrap().unwrap();
    }
    let sized = |page_size| ListInvoicesRequest {
        page_size,
        ..ListInvoicesRequest::default()
    };
    assert_eq!(page(&client, sized(0)).await.unwrap().0.len(), 50);
    let (ids, next) = page(&client, sized(2_000)).await.unwrap();
    assert_eq!((ids.len(), next.is_empty()), (1_000, false));
    fresh.server.stop().await;
}

/// The ids of as many, in pages of as many as fit, in both orders.
async fn paged_by_bytes(client: &Client, huge: impl Fn(&str) -> CreateInvoiceRequest, count: usize) {
    let ids: Vec<_> = (0..count).map(|n| format!("i{n}")).collect();
    for id in &ids {
        create(client, huge(id)).await.unwrap();
    }
    for order in [InvoiceOrder::OldestFirst, InvoiceOrder::NewestFirst] {
        let request = ListInvoicesRequest {
            page_size: 1000,
            order: order.into(),
            ..ListInvoicesRequest::default()
        };
        // A page of more than 4 MiB would not be received.
        let pages = pages(client, request).await;
        assert_eq!(pages.len(), 2, "{pages:?}");
        let mut listed = pages.concat();
        if order == InvoiceOrder::NewestFirst {
            listed.reverse();
        }
        assert_eq!(listed, ids);
    }
}

#[tokio::test]
async fn a_page_of_huge_invoices_stays_within_a_message() {
    let fresh = Fresh::start().await;
    // A thousand lines are about 100 KB, fifty such 5 MB: what one page of the default size had.
    let huge = |id: &str| CreateInvoiceRequest {
        lines: vec![line(&"x".repeat(50), 1, pounds(1, 0)); 1_000],
        ..hundred(id)
    };
    paged_by_bytes(&fresh.client(), huge, 50).await;
    fresh.server.stop().await;
}

#[tokio::test]
async fn a_page_of_invoices_that_are_larger_in_the_answer_stays_within_a_message() {
    let fresh = Fresh::start().await;
    // What a percentage comes to is worked out: five take 3.0 MB in the store, 4.3 MB in a message.
    let percent = Adjustment {
        percent: "1".to_owned(),
        ..Adjustment::default()
    };
    let mut adjusted = line("l", 1, pounds(90_000_000_001_234, 0));
    adjusted.allowances = vec![percent.clone(); 16];
    adjusted.charges = vec![percent; 16];
    let huge = |id: &str| CreateInvoiceRequest {
        lines: vec![adjusted.clone(); 1_000],
        ..hundred(id)
    };
    paged_by_bytes(&fresh.client(), huge, 5).await;
    fresh.server.stop().await;
}

#[tokio::test]
async fn an_invoice_that_is_more_than_a_page_has_one_of_its_own() {
    let fresh = Fresh::start().await;
    let reasoned = Adjustment {
        amount: pounds(0, 1),
        reason: "r".repeat(200),
        ..Adjustment::default()
    };
    let mut adjusted = line("l", 1, pounds(1, 0));
    adjusted.allowances = vec![reasoned; 16];
    let huge = |id: &str| CreateInvoiceRequest {
        lines: vec![adjusted.clone(); 1_000],
        ..hundred(id)
    };
    paged_by_bytes(&fresh.client(), huge, 2).await;
    fresh.server.stop().await;
}

#[tokio::test]
async fn a_tombstone_is_listed_among_the_void() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    let request = VoidInvoiceRequest {
        allow_missing: true,
        ..voiding("v", "never")
    };
    void(&client, request).await.unwrap();
    let (ids, _) = page(&client, filtered(InvoiceState::Void, ""))
        .await
        .unwrap();
    assert_eq!(ids, ["never"]);
    fresh.server.stop().await;
}

#[tokio::test]
async fn bad_pages_and_filters_are_told_by_field() {
    let fresh = Fresh::start().await;
    let client = fresh.client();
    seven(&client).await;
    let first = ListInvoicesRequest {
        page_size: 2,
        ..filtered(InvoiceState::Unspecified, "even")
    };
    let (_, page_token) = page(&client, first.clone()).await.unwrap();
    let good = ListInvoicesRequest {
        page_token,
        ..first
    };
    for (field, bad) in [
        (
            "page_size",
            ListInvoicesRequest {
                page_size: -1,
                ..good.clone()
            },
        ),
        (
            "page_token",
            ListInvoicesRequest {
                page_token: "x".to_owned(),
                ..good.clone()
            },
        ),
        (
            "page_token",
            ListInvoicesRequest {
                reference: String::new(),
                ..good.clone()
            },
        ),
        (
            "page_token",
            ListInvoicesRequest {
                state: 1,
                ..good.clone()
            },
        ),
        (
            "state",
            ListInvoicesRequest {
                state: 99,
                ..filtered(InvoiceState::Unspecified, "")
            },
        ),
        (
            "reference",
            filtered(InvoiceState::Unspecified, &"r".repeat(257)),
        ),
    ] {
        let answer = page(&client, bad).await;
        assert_eq!(
            answer.as_ref().unwrap_err().code(),
            Code::InvalidArgument,
            "{field}"
        );
        assert_eq!(fields(answer), [field]);
    }
    fresh.server.stop().await;
}
