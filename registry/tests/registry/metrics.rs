//! What the registry shows of itself.

use std::collections::BTreeSet;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    support::{Registry, Watch, checked, register, soon},
    target::Checked,
};

async fn page(registry: &Registry) -> String {
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

#[tokio::test]
async fn the_page_shows_what_the_documentation_lists_and_counts() {
    let data = tempfile::tempdir().unwrap();
    let registry = Registry::keeping(data.path()).await;
    let mut client = registry.client().await;
    let target = Checked::start().await;
    let mut watch = Watch::open(&mut client, &["invoice"], true).await;
    let interval = std::time::Duration::from_millis(100);
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
