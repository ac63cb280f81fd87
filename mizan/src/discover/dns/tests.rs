//! Looking up again and again: against a script on a paused clock, and against a real DNS server.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use hickory_resolver::{
    Resolver,
    config::{NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::{
        op::{Message, OpCode, ResponseCode},
        rr::{Name, RData, Record, RecordType, rdata::SRV},
    },
};
use parking_lot::Mutex;
use tokio::{net::UdpSocket, sync::watch, task::AbortHandle, time::advance};

use super::{
    resolver::Asking,
    state::{Looked, Records, Service},
    *,
};
use crate::discover::{Discovery, Known, SourceState, channel};

/// Answers A by what was set last; notes how often it was asked.
#[derive(Clone)]
struct Scripted {
    answer: Arc<Mutex<Looked<IpAddr>>>,
    asked: Arc<watch::Sender<usize>>,
}

impl Scripted {
    fn new(answer: Looked<IpAddr>) -> Self {
        Self {
            answer: Arc::new(Mutex::new(answer)),
            asked: Arc::default(),
        }
    }

    fn set(&self, answer: Looked<IpAddr>) {
        *self.answer.lock() = answer;
    }

    /// Follows a name by this script.
    fn start(&self, dns: Dns) -> Discovery {
        let (updates, discovery) = channel();
        let scripted = self.clone();
        let made = move || -> Result<Box<dyn Resolve>, Failure> { Ok(Box::new(scripted.clone())) };
        tokio::spawn(follow(dns, "s".to_owned(), updates, made));
        discovery
    }

    /// Waits until it was asked this often, without passing that.
    async fn asked(&self, times: usize) {
        let mut asked = self.asked.subscribe();
        let asked = *asked.wait_for(|asked| *asked >= times).await.unwrap();
        assert_eq!(asked, times);
        // Until what came of it is told, which takes no time.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}

impl Resolve for Scripted {
    fn v4<'a>(&'a self, _: &'a str) -> Asking<'a, IpAddr> {
        self.asked.send_modify(|asked| *asked += 1);
        Box::pin(std::future::ready(self.answer.lock().clone()))
    }

    fn v6<'a>(&'a self, _: &'a str) -> Asking<'a, IpAddr> {
        let failed = self.answer.lock().clone().err();
        let none = Records {
            records: Vec::new(),
            ttl: None,
        };
        Box::pin(std::future::ready(failed.map_or(Ok(none), Err)))
    }

    fn services<'a>(&'a self, _: &'a str) -> Asking<'a, Service> {
        unreachable!("no script asks for services")
    }
}

fn found(ips: &[&str], ttl: u64) -> Looked<IpAddr> {
    Ok(Records {
        records: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
        ttl: Some(Duration::from_secs(ttl)),
    })
}

fn failed(reason: &str) -> Looked<IpAddr> {
    Err(Failure(reason.to_owned()))
}

fn instances(authorities: &[&str]) -> Known {
    let endpoints = authorities.iter().map(|&a| Endpoint::new(a).unwrap());
    Known::Instances(endpoints.collect())
}

fn known(discovery: &Discovery) -> Known {
    discovery.known().borrow().clone()
}

const SECOND: Duration = Duration::from_secs(1);

fn name() -> Dns {
    Dns::addresses("invoice.example", 7).unwrap()
}

#[test]
fn settings_without_sense_are_refused() {
    assert!(Dns::addresses("a", 0).is_err());
    assert!(Dns::addresses("a b", 1).is_err());
    assert!(Dns::services("").is_err());
    assert!(Dns::services("::1").is_err());
    assert!(Dns::addresses("::1", 1).is_ok());
    assert!(name().every(Duration::from_millis(999)).is_err());
}

#[tokio::test(start_paused = true)]
async fn an_ip_address_stands_for_itself() {
    let script = Scripted::new(failed("never asked"));
    let discovery = script.start(Dns::addresses("::1", 7).unwrap());
    discovery.known().changed().await.unwrap();
    assert_eq!(known(&discovery), instances(&["[::1]:7"]));
    assert_eq!(*script.asked.borrow(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_name_is_looked_up_again_at_its_interval_and_only_changes_wake() {
    let script = Scripted::new(found(&["10.0.0.2", "10.0.0.1"], 1));
    let discovery = script.start(name());
    script.asked(1).await;
    assert_eq!(known(&discovery), instances(&["10.0.0.1:7", "10.0.0.2:7"]));
    let mut slot = discovery.known();
    slot.mark_unchanged();
    script.set(found(&["10.0.0.1", "10.0.0.2"], 1));
    advance(INTERVAL - Duration::from_millis(1)).await;
    script.asked(1).await;
    advance(Duration::from_millis(1)).await;
    script.asked(2).await;
    assert!(!slot.has_changed().unwrap());
    script.set(found(&["10.0.0.3"], 1));
    advance(INTERVAL).await;
    script.asked(3).await;
    assert_eq!(known(&discovery), instances(&["10.0.0.3:7"]));
}

#[tokio::test(start_paused = true)]
async fn by_ttl_the_records_say_when() {
    let script = Scripted::new(found(&["10.0.0.1"], 0));
    let discovery = script.start(name().by_ttl());
    script.asked(1).await;
    script.set(found(&["10.0.0.1"], 86_400));
    advance(SECOND).await;
    script.asked(2).await;
    advance(Duration::from_secs(299)).await;
    script.asked(2).await;
    advance(SECOND).await;
    script.asked(3).await;
    drop(discovery);
}

#[tokio::test(start_paused = true)]
async fn a_failure_keeps_what_is_known_and_is_tried_again_with_growing_pauses() {
    let script = Scripted::new(found(&["10.0.0.1"], 1));
    let discovery = script.start(name().every(SECOND).unwrap());
    script.asked(1).await;
    script.set(failed("there is no such name"));
    advance(SECOND).await;
    script.asked(2).await;
    assert_eq!(known(&discovery), instances(&["10.0.0.1:7"]));
    assert_eq!(discovery.status().state, SourceState::Lost);
    // 1 s and 2 s, ±20 %.
    for (tries, pause) in [(2, SECOND), (3, SECOND * 2)] {
        advance(pause * 4 / 5 - Duration::from_millis(1)).await;
        script.asked(tries).await;
        advance(pause * 2 / 5 + Duration::from_millis(1)).await;
        script.asked(tries + 1).await;
    }
    assert!(discovery.status().age > Some(SECOND * 3));
    script.set(found(&["10.0.0.2"], 1));
    advance(SECOND * 5).await;
    script.asked(5).await;
    assert_eq!(known(&discovery), instances(&["10.0.0.2:7"]));
    assert_eq!(discovery.status().age, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn with_nothing_known_a_failure_is_told() {
    let script = Scripted::new(failed("there is no such name"));
    let discovery = script.start(name());
    script.asked(1).await;
    let reason = "DNS name invoice.example: there is no such name";
    assert_eq!(known(&discovery), Known::Unreachable(reason.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn who_wants_it_sooner_gets_it_once_a_second() {
    let script = Scripted::new(found(&["10.0.0.1"], 1));
    let discovery = script.start(name());
    script.asked(1).await;
    discovery.refresh();
    discovery.refresh();
    advance(Duration::from_millis(999)).await;
    script.asked(1).await;
    advance(Duration::from_millis(1)).await;
    script.asked(2).await;
    advance(SECOND * 20).await;
    script.asked(2).await;
    discovery.refresh();
    script.asked(3).await;
}

type Zone = BTreeMap<(String, RecordType), Vec<RData>>;

/// A DNS server on a port of its own; its zone can be changed.
struct Server {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    task: AbortHandle,
}

impl Server {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone: Arc<Mutex<Zone>> = Arc::default();
        let answers = zone.clone();
        let task = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
                let asked = Message::from_vec(&buffer[..len]).unwrap();
                let answer = Self::answer(&asked, &answers.lock());
                let bytes = answer.to_vec().unwrap();
                socket.send_to(&bytes, from).await.unwrap();
            }
        });
        let task = task.abort_handle();
        Self {
            address,
            zone,
            task,
        }
    }

    fn answer(asked: &Message, zone: &Zone) -> Message {
        let query = asked.queries[0].clone();
        let mut answer = Message::response(asked.metadata.id, OpCode::Query);
        let name = query.name().to_ascii().to_lowercase();
        if !zone.keys().any(|(known, _)| *known == name) {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        let data = zone.get(&(name, query.query_type())).cloned();
        for data in data.unwrap_or_default() {
            answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
        }
        answer.add_query(query);
        answer
    }

    fn set(&self, name: &str, kind: RecordType, data: impl IntoIterator<Item = RData>) {
        let key = (name.to_owned(), kind);
        self.zone.lock().insert(key, data.into_iter().collect());
    }

    /// Follows a name by asking this server alone.
    fn follow(&self, dns: Dns) -> Discovery {
        let address = self.address;
        let made = move || -> Result<Box<dyn Resolve>, Failure> {
            let mut server = NameServerConfig::udp(address.ip());
            for connection in &mut server.connections {
                connection.port = address.port();
            }
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            let provider = TokioRuntimeProvider::default();
            let system = System::by(Resolver::builder_with_config(config, provider))?;
            Ok(Box::new(system))
        };
        let (updates, discovery) = channel();
        tokio::spawn(follow(dns, "s".to_owned(), updates, made));
        discovery
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until this is known, asking all the while for another look.
async fn until(discovery: &Discovery, expected: &Known) {
    let mut slot = discovery.known();
    let seen = slot.wait_for(|known| {
        discovery.refresh();
        known == expected
    });
    let seen = timeout(Duration::from_secs(20), seen).await;
    assert!(
        seen.is_ok(),
        "{:?} instead of {expected:?}",
        known(discovery)
    );
}

#[tokio::test]
async fn a_real_server_is_followed_through_its_changes() {
    let server = Server::start().await;
    let a = |ip: &str| RData::A(ip.parse::<std::net::Ipv4Addr>().unwrap().into());
    let aaaa = RData::AAAA(std::net::Ipv6Addr::LOCALHOST.into());
    server.set("i.example.", RecordType::A, [a("10.0.0.2"), a("10.0.0.1")]);
    let dns = Dns::addresses("i.example.", 7).unwrap();
    let discovery = server.follow(dns);
    // Only A is there: a missing kind of record is no failure.
    until(&discovery, &instances(&["10.0.0.1:7", "10.0.0.2:7"])).await;
    server.set("i.example.", RecordType::AAAA, [aaaa]);
    server.set("i.example.", RecordType::A, [a("10.0.0.3")]);
    discovery.refresh();
    until(&discovery, &instances(&["10.0.0.3:7", "[::1]:7"])).await;
    // The name is gone: what is known stays, and the source is lost.
    server.zone.lock().clear();
    discovery.refresh();
    timeout(Duration::from_secs(20), async {
        while discovery.status().state != SourceState::Lost {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(known(&discovery), instances(&["10.0.0.3:7", "[::1]:7"]));
    let failure = discovery.status().failure;
    assert_eq!(
        failure.as_deref(),
        Some("DNS name i.example.: there is no such name")
    );
}

#[tokio::test]
async fn services_of_a_real_server_have_weights_and_a_priority() {
    let server = Server::start().await;
    let srv = |priority, weight, port, target: &str| {
        let target = Name::from_ascii(target).unwrap();
        RData::SRV(SRV::new(priority, weight, port, target))
    };
    let records = [
        srv(1, 30, 7001, "b.example."),
        srv(1, 10, 7001, "a.example."),
        srv(2, 99, 7001, "backup.example."),
    ];
    server.set("_i._tcp.example.", RecordType::SRV, records);
    let discovery = server.follow(Dns::services("_i._tcp.example.").unwrap());
    let weighed = |authority: &str, weight| Endpoint::new(authority).unwrap().with_weight(weight);
    let expected = [weighed("a.example:7001", 10), weighed("b.example:7001", 30)];
    until(&discovery, &Known::Instances(expected.into())).await;
    let records = [srv(2, 99, 7001, "backup.example.")];
    server.set("_i._tcp.example.", RecordType::SRV, records);
    discovery.refresh();
    let expected = [weighed("backup.example:7001", 99)];
    until(&discovery, &Known::Instances(expected.into())).await;
}
