//! What the registry shows of itself.

use std::{collections::BTreeSet, time::Duration};

use mizan_contracts::registry::v1::{
    InstanceStatus, NoCheck, ReportCheckRequest, TtlCheck, health_check::Kind,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    support::{Registry, Watch, checked, register, soon},
    target::Checked,
};

pub(crate) async fn page(registry: &Registry) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(registry.authority()).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    soon(exchange).await
}

/// The names of our own metrics that a page declares.
fn names(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = types.filter_map(|line| line.split(' ').next());
    names
        .filter(|name| name.starts_with("mizan_registry_"))
        .map(str::to_owned)
        .collect()
}

/// The answers that watchers were told so far, by API.
fn wakes(page: &str) -> Vec<String> {
    let lines = page.lines();
    let wakes = lines.filter(|line| line.starts_with("mizan_registry_wakes_total"));
    wakes.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_thousand_writes_elsewhere_and_a_thousand_outputs_wake_nobody() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let mut watched = checked("a", 1, None, Duration::from_secs(10));
    let ttl = |seconds| TtlCheck {
        ttl: Duration::from_secs(seconds).try_into().ok(),
    };
    watched.check.as_mut().unwrap().kind = Some(Kind::Ttl(ttl(3_600)));
    let service = watched.service.clone();
    register(&mut client, watched).await;
    let report = |n: usize| ReportCheckRequest {
        instance_id: "a".to_owned(),
        status: InstanceStatus::Passing.into(),
        check_id: "ttl".to_owned(),
        output: format!("run {n}"),
        ..ReportCheckRequest::default()
    };
    client.report_check(report(0)).await.unwrap();
    let mut watch = Watch::open(&mut client, &[&service], true).await;
    watch.until_passing().await;
    let before = wakes(&page(&registry).await);
    for n in 0..1_000 {
        let mut other = checked("b", 1, None, Duration::from_secs(10));
        "other".clone_into(&mut other.service);
        other.check.as_mut().unwrap().kind = Some(Kind::None(NoCheck {}));
        other.tags = vec![format!("v{n}")];
        register(&mut client, other).await;
        client.report_check(report(1 + n)).await.unwrap();
    }
    assert_eq!(wakes(&page(&registry).await), before);
    // And it was no deaf one that slept through all of it.
    let mut last = report(0);
    last.status = InstanceStatus::Critical.into();
    client.report_check(last).await.unwrap();
    watch.until_critical("run 0").await;
    registry.stop().await;
}

#[tokio::test]
async fn the_page_shows_what_the_documentation_lists_and_counts() {
    let data = tempfile::tempdir().unwrap();
    let registry = Registry::keeping(data.path()).await;
    let mut client = registry.client().await;
    let target = Checked::start().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    let interval = Duration::from_millis(100);
    register(&mut client, checked("a", target.port, None, interval)).await;
    watch.until_passing().await;
    let page = page(&registry).await;
    for line in [
        "mizan_registry_services 1",
        "mizan_registry_nodes 1",
        "mizan_registry_instances{status=\"passing\"} 1",
        "mizan_registry_instances{status=\"critical\"} 0",
        "mizan_registry_checks{kind=\"grpc\",status=\"passing\"} 1",
        "mizan_registry_watchers{api=\"grpc\"} 1",
        "mizan_registry_watchers{api=\"consul\"} 0",
    ] {
        assert!(page.lines().any(|held| held == line), "no {line} in {page}");
    }
    let documented = include_str!("../../../docs/REGISTRY.md");
    let rows = documented
        .lines()
        .filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<_> = rows
        .filter_map(|row| row.split('`').next())
        .filter(|name| name.starts_with("mizan_registry_"))
        .map(str::to_owned)
        .collect();
    assert_eq!(
        names(&page),
        documented,
        "docs/REGISTRY.md lists the metrics"
    );
    registry.stop().await;
}
