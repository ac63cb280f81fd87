//! What attackers do. Each is bounded by its time, and answers how often it did it; the error says
//! what it got that it ought not to get.

use std::{
    collections::HashSet,
    io::{ErrorKind, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use mizan::Connection;
use mizan_contracts::registry::v1::{
    HealthCheck, Instance, NoCheck, RegisterRequest, health_check::Kind,
    registry_service_client::RegistryServiceClient,
};

use super::wire::{
    DATA, HEADERS, RST_STREAM, abrupt, begun, call, call_off, connect, frame, get, plain, preface,
    read_for, streams,
};

/// One attack.
pub(super) struct Attack {
    pub(super) name: &'static str,
    /// What it does, in a few words.
    pub(super) what: &'static str,
    /// The process, by its name in the table of `mizan up`.
    pub(super) target: &'static str,
    /// How much more memory the process may take, in MiB.
    pub(super) memory_mib: u64,
    pub(super) run: fn(&str, Duration) -> Result<u64, String>,
}

/// All of them.
pub(super) const ALL: &[Attack] = &[
    Attack {
        name: "cut",
        what: "connections cut with 300 calls just sent",
        target: "accounting-1",
        memory_mib: 128,
        run: cut,
    },
    Attack {
        name: "reset",
        what: "calls called off as soon as they are sent, without end",
        target: "accounting-1",
        memory_mib: 128,
        run: reset,
    },
    Attack {
        name: "unfinished",
        what: "calls whose message never comes",
        target: "accounting-1",
        memory_mib: 128,
        run: unfinished,
    },
    Attack {
        name: "page",
        what: "payments asked for as a web page can: HTTP/1.1, text/plain",
        target: "payment-1",
        memory_mib: 64,
        run: page,
    },
    Attack {
        name: "unread",
        what: "300 lists of 8 MB on a connection that reads none of them",
        target: "registry",
        memory_mib: 160,
        run: unread,
    },
    Attack {
        name: "unreadpage",
        what: "pages of 10 MB by HTTP/1.1 that nobody reads",
        target: "registry",
        memory_mib: 640,
        run: unread_page,
    },
    Attack {
        name: "filter",
        what: "filters of the dearest patterns over the largest service",
        target: "registry",
        memory_mib: 256,
        run: filter,
    },
    Attack {
        name: "garbage",
        what: "bytes that are no protocol",
        target: "accounting-1",
        memory_mib: 64,
        run: garbage,
    },
    Attack {
        name: "upload",
        what: "bodies of 500 KB by HTTP/1.1 of which the second half never comes",
        target: "registry",
        memory_mib: 128,
        run: upload,
    },
    Attack {
        name: "window",
        what: "calls that send on after their request, much and in tiny messages, on one connection",
        target: "registry",
        memory_mib: 96,
        run: window,
    },
];

const LIST_ACCOUNTS: &str = "/mizan.accounting.v1.AccountingService/ListAccounts";
const LIST_INSTANCES: &str = "/mizan.registry.v1.RegistryService/ListInstances";
const WATCH_INSTANCES: &str = "/mizan.registry.v1.RegistryService/WatchInstances";
const LIST_SERVICES: &str = "/mizan.registry.v1.RegistryService/ListServices";
const PROCESS_PAYMENT: &str = "/mizan.payment.v1.PaymentService/ProcessPayment";

/// The service with large answers.
const BIG: &str = "big";

/// Instances of it, each as large as one may be.
const BIG_INSTANCES: u32 = 300;

/// Registers a service whose list is about 10 MB.
pub(super) async fn prepare(registry: &str) {
    let connection = Connection::open(registry, Duration::from_secs(5))
        .await
        .unwrap();
    let mut client = RegistryServiceClient::new(connection);
    for number in 0..BIG_INSTANCES {
        let text = |salt: u32| -> String {
            let mut bits = fastrand::Rng::with_seed((u64::from(number) << 32) | u64::from(salt));
            (0..500)
                .map(|_| if bits.bool() { 'a' } else { 'b' })
                .collect()
        };
        let request = RegisterRequest {
            instance: Some(Instance {
                instance_id: format!("{BIG}-{number}"),
                service: BIG.to_owned(),
                address: "127.0.0.1".to_owned(),
                port: 1,
                metadata: (0..64).map(|key| (format!("k{key}"), text(key))).collect(),
                check: Some(HealthCheck {
                    kind: Some(Kind::None(NoCheck {})),
                    ..HealthCheck::default()
                }),
                ..Instance::default()
            }),
            ..RegisterRequest::default()
        };
        client.register(request).await.unwrap();
    }
}

/// Does something again and again until the time is over. What an attacker's own sockets say is no
/// matter: the server may cut them.
fn again(time: Duration, mut once: impl FnMut(u64) -> std::io::Result<u64>) -> u64 {
    let (end, mut done) = (Instant::now() + time, 0);
    while Instant::now() < end {
        done += once(done).unwrap_or(0);
    }
    done
}

fn cut(address: &str, time: Duration) -> Result<u64, String> {
    let mut bytes = preface(None);
    for stream in streams().take(300) {
        bytes.extend(call(stream, LIST_ACCOUNTS, &[]));
    }
    Ok(again(time, |done| {
        let mut stream = abrupt(address)?;
        stream.write_all(&bytes)?;
        // At every moment of what the server does with them.
        let moment = Instant::now() + Duration::from_micros(done % 400 * 10);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        Ok(1)
    }))
}

fn reset(address: &str, time: Duration) -> Result<u64, String> {
    let end = Instant::now() + time;
    Ok(again(time, |_| {
        let mut stream = connect(address)?;
        stream.write_all(&preface(None))?;
        let (mut numbers, mut done) = (streams(), 0);
        while Instant::now() < end {
            let mut bytes = Vec::new();
            for number in numbers.by_ref().take(50) {
                bytes.extend(begun(number, LIST_ACCOUNTS));
                bytes.extend(call_off(number));
            }
            if stream.write_all(&bytes).is_err() {
                break;
            }
            done += 50;
        }
        Ok(done)
    }))
}

fn unfinished(address: &str, time: Duration) -> Result<u64, String> {
    let mut held = Vec::new();
    // Two connections: together they ask for twice the places there are.
    for _ in 0..2 {
        let mut stream = connect(address).map_err(|error| error.to_string())?;
        let mut bytes = preface(None);
        for number in streams().take(400) {
            bytes.extend(begun(number, LIST_ACCOUNTS));
            bytes.extend(frame(DATA, 0, number, &[0, 0]));
        }
        stream
            .write_all(&bytes)
            .map_err(|error| error.to_string())?;
        held.push(stream);
    }
    for stream in &mut held {
        let _ = read_for(stream, time / 2, |_, _| ());
    }
    Ok(800)
}

fn page(address: &str, time: Duration) -> Result<u64, String> {
    let mut got = None;
    let done = again(time, |done| {
        // An amount of 13 GBP for Mallory, as protobuf has it.
        let id = format!("page-{done}");
        let mut message = vec![0x0a, u8::try_from(id.len()).unwrap_or(0)];
        message.extend(id.as_bytes());
        message.extend(b"\x12\x07\x0a\x03GBP\x10\x0d\x1a\x09\x0a\x07Mallory");
        let mut body = vec![0, 0, 0, 0];
        body.push(u8::try_from(message.len()).unwrap_or(0));
        body.extend(message);
        let origin =
            "host: localhost\r\norigin: http://evil.example\r\ncontent-type: text/plain\r\n";
        let request = format!("POST {PROCESS_PAYMENT} HTTP/1.1\r\n{origin}");
        let answer = plain(address, &request, &body)?;
        if !answer.starts_with("HTTP/1.1 4") {
            got.get_or_insert(answer);
        }
        Ok(1)
    });
    got.map_or(Ok(done), Err)
}

fn unread(address: &str, time: Duration) -> Result<u64, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut stream = connect(address).map_err(failed)?;
    stream.write_all(&preface(Some(0))).map_err(failed)?;
    let mut message = vec![0x0a, 3];
    message.extend(BIG.as_bytes());
    for number in streams().take(300) {
        let bytes = call(number, LIST_INSTANCES, &message);
        stream.write_all(&bytes).map_err(failed)?;
    }
    let mut answered = false;
    let stands = read_for(&mut stream, time, |kind, _| {
        // Told, waiting, or given up: all of it is an answer.
        answered |= kind == HEADERS || kind == RST_STREAM;
    });
    if stands.unwrap_or(false) && !answered {
        return Err("nothing was answered at all".to_owned());
    }
    Ok(300)
}

fn unread_page(address: &str, time: Duration) -> Result<u64, String> {
    let mut held: Vec<TcpStream> = Vec::new();
    let request = format!("GET /v1/health/service/{BIG} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let end = Instant::now() + time;
    while Instant::now() < end && held.len() < 100 {
        let asked = connect(address).and_then(|mut stream| {
            stream.write_all(request.as_bytes())?;
            Ok(stream)
        });
        match asked {
            Ok(stream) => held.push(stream),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                return Err(error.to_string());
            }
            Err(_) => {}
        }
    }
    while Instant::now() < end {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Ok(u64::try_from(held.len()).unwrap_or(0))
}

fn filter(address: &str, time: Duration) -> Result<u64, String> {
    let patterns = (0..180).map(|key| {
        format!(
            "ServiceMeta.k{}+matches+%60a%5Bab%5D%7B200%7D%5B%5Eab%5D%60",
            key % 64
        )
    });
    let patterns: Vec<_> = patterns.collect();
    // More than an expression may have, and as much as one may.
    let paths = [180, 24].map(|count| {
        let filter = patterns[..count].join("+or+");
        format!("/v1/catalog/service/{BIG}?filter={filter}")
    });
    let asking: Vec<_> = (0..4)
        .map(|number| {
            let (address, path) = (address.to_owned(), paths[number % 2].clone());
            std::thread::spawn(move || again(time, |_| get(&address, &path).map(|_| 1)))
        })
        .collect();
    Ok(asking
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum())
}

fn garbage(address: &str, time: Duration) -> Result<u64, String> {
    let mut random = fastrand::Rng::with_seed(1);
    Ok(again(time, |done| {
        let mut stream = connect(address)?;
        let mut bytes = if done % 2 == 0 {
            preface(None)
        } else {
            Vec::new()
        };
        bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(2000));
        stream.write_all(&bytes)?;
        Ok(1)
    }))
}

fn upload(address: &str, time: Duration) -> Result<u64, String> {
    let head = "PUT /v1/agent/service/register HTTP/1.1\r\nhost: localhost\r\ncontent-length: 500000\r\n\r\n";
    let half = vec![b' '; 250_000];
    let mut held: Vec<TcpStream> = Vec::new();
    let end = Instant::now() + time;
    while Instant::now() < end && held.len() < 300 {
        let begun = connect(address).and_then(|mut stream| {
            stream.write_all(head.as_bytes())?;
            stream.write_all(&half)?;
            Ok(stream)
        });
        // One that was turned away is an answer, too.
        held.extend(begun.ok());
    }
    while Instant::now() < end {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Ok(u64::try_from(held.len()).unwrap_or(0))
}

fn window(address: &str, time: Duration) -> Result<u64, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut stream = connect(address).map_err(failed)?;
    stream.write_all(&preface(None)).map_err(failed)?;
    // Its SETTINGS say how much a stream may send.
    read_for(&mut stream, time / 8, |_, _| ()).map_err(failed)?;
    let mut numbers = streams();
    let mut request = vec![0, 0, 0, 0, 5, 0x0a, 3];
    request.extend(BIG.as_bytes());
    // A message of 200 KB, and 20,000 without anything in them.
    let mut large = vec![0, 0, 3, 0x0d, 0x40];
    large.resize(200_000, 0);
    for number in numbers.by_ref().take(60) {
        let mut bytes = begun(number, WATCH_INSTANCES);
        bytes.extend(frame(DATA, 0, number, &request));
        if number == 1 {
            for _ in 0..20_000 {
                bytes.extend(frame(DATA, 0, number, &[0; 5]));
            }
        } else {
            for part in large.chunks(16 << 10) {
                bytes.extend(frame(DATA, 0, number, part));
            }
        }
        stream.write_all(&bytes).map_err(failed)?;
    }
    // Who shares the connection with them is answered.
    let beside: Vec<_> = numbers.take(10).collect();
    for number in &beside {
        stream
            .write_all(&call(*number, LIST_SERVICES, &[]))
            .map_err(failed)?;
    }
    let mut answered = HashSet::new();
    let stands = read_for(&mut stream, time / 2, |kind, number| {
        if kind == HEADERS && beside.contains(&number) {
            answered.insert(number);
        }
    });
    if !stands.map_err(failed)? || answered.len() < beside.len() {
        let answered = answered.len();
        return Err(format!("{answered} of 10 calls beside them were answered"));
    }
    Ok(60)
}
