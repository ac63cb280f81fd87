//! A long soak: millions of calls of every kind that ends badly or early, and whether anything is left
//! of them.
//!
//! Client and servers are in one process, so that one look sees both sides. The calls are made in
//! twenty parts; after each, when all of them have ended, what is still held is counted: nothing may
//! grow from part to part, and no innocent call may fail.

use std::{
    fs,
    io::Write,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Response, uri::PathAndQuery};
use mizan::{
    Channel, Server,
    telemetry::metrics::{Format, Registry},
};
use tokio::{net::TcpListener, runtime::Handle, task::JoinSet, time::sleep};
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, body::Body, client::Grpc, server::NamedService};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::{
    Error,
    echo::{Payload, payload},
    table::Table,
};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many calls in all.
    pub calls: u64,
    /// How many callers at once.
    pub concurrency: u64,
}

const PARTS: u64 = 20;

/// The part after which what grows is a leak: caches, pools and the allocator have warmed up.
const WARM: usize = 3;

/// How many messages a stream has.
const MESSAGES: usize = 20;

/// How long both sides have to let go of what ended.
const SETTLING: Duration = Duration::from_secs(2);

/// Hedged after 4 ms; the callee takes 2 to 8.
const CONFIG: &str = r#"{"methodConfig": [{
    "name": [{"service": "mizan.bench.Soak", "method": "Hedged"}],
    "hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "0.004s"}
}]}"#;

type Answers = Pin<Box<dyn Stream<Item = Result<Payload, Status>> + Send>>;

/// Answers at once, late, or by a stream.
#[derive(Debug, Clone, Copy)]
struct Soaked;

impl NamedService for Soaked {
    const NAME: &'static str = "mizan.bench.Soak";
}

impl tower::Service<http::Request<Body>> for Soaked {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Payload, Payload>::default());
            let path = request.uri().path();
            if path.ends_with("Flow") {
                let flow = service_fn(|request: Request<Payload>| async move {
                    let one = request.into_inner();
                    let all = tokio_stream::iter(std::iter::repeat_n(one, MESSAGES)).map(Ok);
                    let answers: Answers = Box::pin(all);
                    Ok(tonic::Response::new(answers))
                });
                return Ok(grpc.server_streaming(flow, request).await);
            }
            let late = !path.ends_with("Unary");
            let answer = service_fn(move |request: Request<Payload>| async move {
                if late {
                    let bytes = u64::try_from(request.get_ref().body.len()).unwrap_or_default();
                    sleep(Duration::from_millis(2 + bytes % 7)).await;
                }
                Ok(tonic::Response::new(request.into_inner()))
            });
            Ok(grpc.unary(answer, request).await)
        })
    }
}

/// What is held at one moment, on both sides.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    memory_mib: u64,
    tasks: u64,
    files: u64,
    connections: u64,
    streams: u64,
    waiting: u64,
    server_connections: u64,
    server_calls: u64,
    server_permits: u64,
}

impl Held {
    fn now(channel: &Channel) -> Self {
        let stats = channel.stats();
        let page = Registry::global().render(Format::Prometheus);
        let shown = |name: &str| {
            let value = page.lines().find_map(|line| line.strip_prefix(name));
            value
                .and_then(|value| value.trim().parse().ok())
                .unwrap_or_default()
        };
        let files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let streams: u32 = stats.instances.iter().map(|i| i.in_flight).sum();
        Self {
            memory_mib: resident() >> 20,
            tasks: number(Handle::current().metrics().num_alive_tasks()),
            files: number(files),
            connections: stats.connections,
            streams: streams.into(),
            waiting: stats.waiting_for_stream.into(),
            server_connections: shown("mizan_server_connections "),
            server_calls: shown("mizan_server_calls_open "),
            server_permits: shown("mizan_server_calls_admitted "),
        }
    }

    /// What was let go of at the end of a part, or `SETTLING` later.
    async fn settled(channel: &Channel) -> Self {
        let step = SETTLING / 40;
        for _ in 0..40 {
            let now = Self::now(channel);
            if now.streams + now.waiting + now.server_calls + now.server_permits == 0 {
                return now;
            }
            sleep(step).await;
        }
        Self::now(channel)
    }

    fn row(self) -> Vec<String> {
        [
            self.memory_mib,
            self.tasks,
            self.files,
            self.connections,
            self.streams,
            self.waiting,
            self.server_connections,
            self.server_calls,
            self.server_permits,
        ]
        .map(|number| number.to_string())
        .to_vec()
    }

    /// What is wrong with it, compared with an earlier one.
    fn grown(self, before: Self) -> Option<String> {
        // A connection that was opened because another was busy has tasks and files of its own.
        let more = self.connections.saturating_sub(before.connections);
        let rules = [
            ("streams", self.streams, 0),
            ("calls that wait", self.waiting, 0),
            ("calls on the servers", self.server_calls, 0),
            ("permits on the servers", self.server_permits, 0),
            ("tasks", self.tasks, before.tasks + 8 * more + 16),
            ("open files", self.files, before.files + 2 * more + 8),
            ("connections", self.connections, before.connections.max(8)),
            (
                "MiB of memory",
                self.memory_mib,
                before.memory_mib + before.memory_mib / 4 + 16,
            ),
        ];
        let broken = rules.into_iter().find(|(_, now, most)| now > most);
        broken.map(|(what, now, most)| format!("{now} {what}, at most {most} were expected"))
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The memory that this process has, in bytes.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1);
    let pages = pages.and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * number(rustix::param::page_size())
}

/// Calls that went as they should, and that did not.
#[derive(Debug, Default)]
struct Tally {
    well: AtomicU64,
    given_up: AtomicU64,
    late: AtomicU64,
    badly: AtomicU64,
}

impl Tally {
    fn note(&self, expected: bool) {
        let count = if expected { &self.well } else { &self.badly };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// One call; which kind is by its number. Of ten, two are late, two are given up and one leaves its
/// stream: half end badly.
async fn one(number: u64, client: &mut Grpc<Channel>, tally: &Tally) {
    let message = || Request::new(payload());
    let codec = ProstCodec::<Payload, Payload>::default;
    let path = |name| PathAndQuery::from_static(name);
    match number % 10 {
        4 | 5 => {
            let mut request = message();
            request.set_timeout(Duration::from_millis(3));
            let path = path("/mizan.bench.Soak/Late");
            match client.unary(request, path, codec()).await {
                Err(status) if status.code() == tonic::Code::DeadlineExceeded => {
                    tally.late.fetch_add(1, Ordering::Relaxed);
                }
                ended => tally.note(ended.is_ok()),
            }
        }
        3 | 6 => {
            let path = path("/mizan.bench.Soak/Late");
            tokio::select! {
                ended = client.unary(message(), path, codec()) => tally.note(ended.is_ok()),
                () = sleep(Duration::from_millis(1)) => {
                    tally.given_up.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        kind @ (7 | 8) => {
            let path = path("/mizan.bench.Soak/Flow");
            let begun = client.server_streaming(message(), path, codec()).await;
            let Ok(answers) = begun else {
                return tally.note(false);
            };
            let mut answers = answers.into_inner();
            let mut seen = 0;
            while let Ok(Some(_)) = answers.message().await {
                seen += 1;
                if kind == 7 {
                    break;
                }
            }
            tally.note(seen == if kind == 7 { 1 } else { MESSAGES });
        }
        9 => {
            let path = path("/mizan.bench.Soak/Hedged");
            tally.note(client.unary(message(), path, codec()).await.is_ok());
        }
        _ => {
            let path = path("/mizan.bench.Soak/Unary");
            tally.note(client.unary(message(), path, codec()).await.is_ok());
        }
    }
}

/// Makes so many calls, so many at once, and waits until all have ended.
async fn part(calls: u64, plan: Plan, channel: &Channel, tally: &Arc<Tally>) -> Result<(), Error> {
    let next = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..plan.concurrency {
        let (next, tally) = (next.clone(), tally.clone());
        let mut client = Grpc::new(channel.clone());
        callers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= calls {
                    return;
                }
                one(number, &mut client, &tally).await;
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended?;
    }
    Ok(())
}

/// Makes the calls and prints the table and whether it is as it should be, which is answered too.
///
/// # Errors
/// A server that cannot listen, or a place that cannot be written to.
pub async fn run(plan: Plan, output: &mut impl Write) -> Result<bool, Error> {
    let stop = CancellationToken::new();
    let mut addresses = Vec::new();
    let mut servers = JoinSet::new();
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        addresses.push(listener.local_addr()?.to_string());
        let server = Server::builder("soak").unregistered().add_service(Soaked);
        servers.spawn(server.serve(listener, stop.clone().cancelled_owned()));
    }
    let channel = Channel::builder("soak")
        .fixed(addresses)
        .service_config(CONFIG)?
        .no_breaker()
        .connect()?;
    let tally = Arc::new(Tally::default());
    let heads = [
        "calls",
        "MiB",
        "tasks",
        "files",
        "connections",
        "streams",
        "waiting",
        "server connections",
        "server calls",
        "server permits",
    ];
    let mut table = Table::new(&heads);
    let (mut held, mut made) = (Vec::new(), 0);
    for _ in 0..PARTS {
        let calls = plan.calls / PARTS;
        part(calls, plan, &channel, &tally).await?;
        made += calls;
        let now = Held::settled(&channel).await;
        table.row([vec![made.to_string()], now.row()].concat());
        // As it goes: it may take an hour.
        writeln!(output, "{made}: {now:?}")?;
        held.push(now);
    }
    writeln!(output, "\n{}", table.render())?;
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let stats = channel.stats();
    writeln!(
        output,
        "{} went well, {} were given up, {} were late, {} failed; {} hedges",
        count(&tally.well),
        count(&tally.given_up),
        count(&tally.late),
        count(&tally.badly),
        stats.hedges
    )?;
    let warm = held.get(WARM).copied().unwrap_or_default();
    let grown = held.iter().skip(WARM).find_map(|held| held.grown(warm));
    let lost = match count(&tally.badly) {
        0 => None,
        lost => Some(format!("{lost} calls failed that had no reason to")),
    };
    let wrong = grown.or(lost);
    match &wrong {
        None => writeln!(
            output,
            "right: nothing is left of them, and no innocent call failed"
        )?,
        Some(what) => writeln!(output, "wrong: {what}")?,
    }
    stop.cancel();
    while let Some(ended) = servers.join_next().await {
        ended??;
    }
    Ok(wrong.is_none())
}
