//! What many checks cost: a figure, not a test. Run it by hand:
//! `cargo test -p registry --test registry -- --ignored --nocapture ten_thousand`.

use std::{fs, sync::mpsc, thread, time::Duration};

use mizan_contracts::registry::v1::{HttpCheck, TcpCheck, health_check::Kind};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{Registry, checked, register};

const CHECKS: usize = 10_000;
const INTERVAL: Duration = Duration::from_secs(10);

/// Processor time that this thread took.
fn own_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = stat.split(' ').next().unwrap().parse().unwrap();
    Duration::from_nanos(nanos)
}

/// A server on a thread of its own that answers every request on every loopback address.
fn serve() -> u16 {
    let (tell, port) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
            tell.send(listener.local_addr().unwrap().port()).unwrap();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut head = [0; 1024];
                    if matches!(stream.read(&mut head).await, Ok(1..)) {
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                        let _ = stream.write_all(answer).await;
                    }
                });
            }
        });
    });
    port.recv().unwrap()
}

#[tokio::test]
#[ignore = "a figure: takes half a minute"]
async fn ten_thousand_checks_on_one_core() {
    let port = serve();
    for http in [false, true] {
        let registry = Registry::start().await;
        let mut client = registry.client().await;
        for n in 0..CHECKS {
            // Many addresses: ports of closed connections are not free at once.
            let host = format!("127.0.{}.{}", n % 50, 1 + n % 200);
            let kind = if http {
                Kind::Http(HttpCheck {
                    url: format!("http://{host}:{port}/health"),
                    ..HttpCheck::default()
                })
            } else {
                Kind::Tcp(TcpCheck::default())
            };
            let mut instance = checked(&format!("i{n}"), port, Some(kind), INTERVAL);
            (instance.address, instance.service) = (host, format!("s{}", n / 100));
            register(&mut client, instance).await;
        }
        tokio::time::sleep(INTERVAL).await;
        let before = own_time();
        tokio::time::sleep(INTERVAL).await;
        let took = own_time() - before;
        let request = mizan_contracts::registry::v1::ListServicesRequest {
            page_size: 1000,
            ..Default::default()
        };
        let services = client
            .list_services(request)
            .await
            .unwrap()
            .into_inner()
            .services;
        let passing: u32 = services.iter().map(|service| service.passing).sum();
        println!("http: {http}; passing: {passing}; processor time in {INTERVAL:?}: {took:?}");
        registry.stop().await;
    }
}
