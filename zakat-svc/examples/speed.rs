//! How long an assessment takes: in this process, over gRPC, and in a batch, beside `zakat-core`.
//!
//! Run by hand, in release: `cargo run --release -p zakat-svc --example speed`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement: it prints, and whatever fails ends it"
)]

use std::time::{Duration, Instant};

use mizan::{Connection, args::ServerArgs};
use mizan_contracts::{
    r#type::v1::Money,
    zakat::v1::{
        AssessBatchRequest, AssessRequest, AssessmentView, Asset, Cash, Date, Hawl, Metal,
        MetalHolding, MetalPrice, MetalUse, TradeGoods, asset::Kind, hawl::Known,
        metal_holding::Purity, zakat_service_client::ZakatServiceClient,
    },
};
use rust_decimal::Decimal;
use tokio::{net::TcpListener, sync::oneshot};
use zakat_core::prelude::{BusinessZakat, PreciousMetals, ZakatConfig, ZakatPortfolio};
use zakat_svc::{Assessor, Config};

const ASSETS: i64 = 100;
const BATCH: usize = 100_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    println!("{ASSETS} assets, a third each of gold, cash and goods of trade\n");
    let assessor = Assessor::new().unwrap();
    peer(&assessor);
    for (name, view, languages) in views() {
        let request = portfolio(view, languages);
        let took = per_call(500, || {
            std::hint::black_box(assessor.assess(&request).unwrap());
        });
        println!("Assess in this process, {name:<28} {took:>9.1?}");
    }
    runtime.block_on(over_the_wire());
}

/// Nothing, sentences in one language, everything.
fn views() -> [(&'static str, AssessmentView, Vec<String>); 3] {
    [
        ("summary", AssessmentView::Summary, Vec::new()),
        (
            "full, one language",
            AssessmentView::Full,
            vec!["en".to_owned()],
        ),
        ("full, three languages", AssessmentView::Full, Vec::new()),
    ]
}

/// The shortest of ten rounds, divided by the calls of a round: what it takes when nobody disturbs.
fn per_call(calls: u32, mut call: impl FnMut()) -> Duration {
    let rounds = (0..10).map(|_| {
        let began = Instant::now();
        (0..calls).for_each(|_| call());
        began.elapsed() / calls
    });
    rounds.min().unwrap()
}

fn usd(units: i64) -> Option<Money> {
    Some(Money {
        currency_code: "USD".to_owned(),
        units,
        nanos: 250_000_000,
    })
}

fn portfolio(view: AssessmentView, languages: Vec<String>) -> AssessRequest {
    let asset = |index: i64| {
        let kind = match index % 3 {
            0 => Kind::Metal(MetalHolding {
                metal: Metal::Gold.into(),
                weight_grams: format!("{}.125", index + 1),
                purity: Some(Purity::Karat(22)),
                r#use: MetalUse::Savings.into(),
            }),
            1 => Kind::Cash(Cash {
                amount: usd(1000 + index),
            }),
            _ => Kind::TradeGoods(TradeGoods {
                market_value: usd(2000 + index),
            }),
        };
        Asset {
            asset_id: format!("asset {index}"),
            kind: Some(kind),
        }
    };
    AssessRequest {
        policy_id: "majority-gold-85".to_owned(),
        valuation_date: Some(Date {
            year: 2026,
            month: 3,
            day: 1,
        }),
        currency_code: "USD".to_owned(),
        prices: vec![MetalPrice {
            metal: Metal::Gold.into(),
            price_per_gram: "100.5".to_owned(),
        }],
        assets: (0..ASSETS).map(asset).collect(),
        hawl: Some(Hawl {
            known: Some(Known::Complete(true)),
        }),
        view: view.into(),
        languages,
        ..AssessRequest::default()
    }
}

fn peer(assessor: &Assessor) {
    // It asks for the price of silver even where gold alone decides.
    let config = ZakatConfig::hanbali("100.5").with_silver_price(1);
    let mut portfolio = ZakatPortfolio::new();
    for index in 0..ASSETS {
        portfolio = match index % 3 {
            0 => portfolio.add(
                PreciousMetals::gold(format!("{}.125", index + 1))
                    .purity(22)
                    .hawl(true),
            ),
            1 => portfolio.add(BusinessZakat::cash_only(format!("{}.25", 1000 + index)).hawl(true)),
            _ => {
                let goods = BusinessZakat::simple(0, format!("{}.25", 2000 + index));
                portfolio.add(goods.hawl(true))
            }
        };
    }
    let result = portfolio.calculate_total(&config);
    assert!(result.is_clean());
    // The same answer to the same question, or the comparison is of two things.
    let request = self::portfolio(AssessmentView::Summary, Vec::new());
    let ours = assessor.assess(&request).unwrap().total_due;
    let ours = Money::read(ours.as_ref()).unwrap().to_decimal();
    let ours: Decimal = ours.parse().unwrap();
    let theirs = result.total_zakat_due;
    assert!(
        (ours - theirs).abs() <= Decimal::new(1, 2),
        "{ours} and {theirs}"
    );
    let took = per_call(500, || {
        std::hint::black_box(portfolio.calculate_total(&config));
    });
    println!("zakat-core's portfolio, traced in keys and English     {took:>9.1?}");
}

async fn over_the_wire() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let config = Config {
        server: ServerArgs::with_registry(Vec::new()),
        policies: None,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(zakat_svc::serve(listener, config, async move {
        let _ = stopped.await;
    }));
    let connection = Connection::open(&authority, Duration::from_secs(5))
        .await
        .unwrap();
    let mut client = ZakatServiceClient::new(connection);
    for (name, view, languages) in views() {
        let request = portfolio(view, languages);
        let mut best = Duration::MAX;
        for _ in 0..10 {
            let began = Instant::now();
            for _ in 0..100 {
                client.assess(request.clone()).await.unwrap();
            }
            best = best.min(began.elapsed() / 100);
        }
        println!("Assess over gRPC, one at a time, {name:<22} {best:>9.1?}");
    }
    batch(&mut client).await;
    let _ = stop.send(());
    serving.await.unwrap().unwrap();
}

/// A household each: cash, gold and goods.
async fn batch(client: &mut ZakatServiceClient<Connection>) {
    let mut household = portfolio(AssessmentView::Summary, Vec::new());
    household.assets.truncate(3);
    let requests = (0..BATCH).map(move |index| AssessBatchRequest {
        item_id: index.to_string(),
        request: Some(household.clone()),
    });
    let began = Instant::now();
    let requests = futures_util::stream::iter(requests);
    let mut answers = client.assess_batch(requests).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.item_id, count.to_string());
        count += 1;
    }
    let took = began.elapsed();
    assert_eq!(count, BATCH);
    println!("\n{BATCH} assessments of 3 assets by one AssessBatch       {took:>9.1?}");
    println!("client and server share this process's two threads");
}
