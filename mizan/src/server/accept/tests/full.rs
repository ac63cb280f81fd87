//! A server that has as many connections, or files, as there may be.

use super::*;

/// A listener to which clients come as a test says.
#[derive(Debug)]
struct Doors(tokio::sync::Mutex<tokio::sync::mpsc::UnboundedReceiver<io::Result<DuplexStream>>>);

impl crate::server::Accept for Doors {
    fn accept(&self) -> crate::server::Accepting<'_> {
        Box::pin(async move {
            match self.0.lock().await.recv().await {
                Some(stream) => stream.map(Accepted::new),
                None => std::future::pending().await,
            }
        })
    }
}

type Door = tokio::sync::mpsc::UnboundedSender<io::Result<DuplexStream>>;

/// A server that takes so many connections, answers "/t" at once and "/hold" never; and how clients come
/// to it.
fn full_at(
    max: usize,
) -> (
    impl Fn(Vec<u8>) -> DuplexStream,
    Arc<Calls>,
    Door,
    impl Drop,
) {
    server_of(Limits {
        connections_max: max,
        ..Limits::default()
    })
}

/// The same with these limits; "/read" it answers when it has the whole request.
fn server_of(
    limits: Limits,
) -> (
    impl Fn(Vec<u8>) -> DuplexStream,
    Arc<Calls>,
    Door,
    impl Drop,
) {
    let read = |body: axum::body::Bytes| std::future::ready(body.len().to_string());
    let services = axum::Router::new()
        .route("/read", axum::routing::post(read))
        .route("/hold", axum::routing::post(std::future::pending::<()>))
        .fallback(|| std::future::ready(()));
    let closing = CancellationToken::new();
    let calls = Arc::new(calls(services, &limits, &closing));
    let (door, doors) = tokio::sync::mpsc::unbounded_channel();
    let listener = Listener::new(Doors(tokio::sync::Mutex::new(doors)));
    let accepting = accept(listener, calls.clone(), Settings::of(limits), closing);
    let accepting = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(accepting));
    let other = door.clone();
    let come = move |bytes: Vec<u8>| {
        let (client, server) = duplex(1 << 20);
        door.send(Ok(server)).unwrap();
        let (reading, mut writing) = tokio::io::split(client);
        // There is room for all of it.
        let said = futures_util::FutureExt::now_or_never(writing.write_all(&bytes));
        said.unwrap().unwrap();
        reading.unsplit(writing)
    };
    (come, calls, other, accepting)
}

fn asks(path: &str) -> Vec<u8> {
    [
        frame::preface(),
        frame::acknowledged(),
        frame::call_of(path, 1, true),
    ]
    .concat()
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_newcomers_is_served_by_a_full_server_whose_clients_are_idle_and_silent() {
    const MAX: usize = 100;
    let (come, calls, _door, _accepting) = full_at(MAX);
    let _idle: Vec<_> = (0..MAX).map(|_| come(frame::preface())).collect();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(calls.load().connections(), MAX);
    // At once, and more than may be above the bound while others leave.
    for burst in [40, LEAVING_MAX + 20] {
        let mut newcomers: Vec<_> = (0..burst).map(|_| come(asks("/t"))).collect();
        for newcomer in &mut newcomers {
            assert_eq!(answer(newcomer).await.0, frame::HEADERS);
        }
        sleep(Duration::from_secs(2)).await;
        assert!(calls.load().connections() <= MAX);
    }
}

#[tokio::test(start_paused = true)]
async fn where_each_connection_carries_a_call_a_newcomer_is_told_at_once() {
    let (come, calls, _door, _accepting) = full_at(20);
    let mut busy: Vec<_> = (0..20).map(|_| come(asks("/hold"))).collect();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(calls.load().calls(), 20);
    let (start, mut newcomer) = (Instant::now(), come(asks("/t")));
    let mut heard = Vec::new();
    let _ = newcomer.read_to_end(&mut heard).await;
    assert!(heard.is_empty() && start.elapsed() < Duration::from_millis(100));
    // One goes, and there is room again.
    drop(busy.pop());
    sleep(Duration::from_millis(100)).await;
    assert_eq!(answer(&mut come(asks("/t"))).await.0, frame::HEADERS);
}

#[tokio::test(start_paused = true)]
async fn where_the_system_has_no_file_for_a_newcomer_idle_ones_give_theirs_back() {
    const MAX: usize = 64;
    let (come, calls, door, _accepting) = full_at(MAX);
    let _idle: Vec<_> = (0..20).map(|_| come(frame::preface())).collect();
    let _busy = come(asks("/hold"));
    sleep(Duration::from_millis(100)).await;
    assert_eq!(calls.load().connections(), 21);
    door.send(Err(io::Error::other("too many open files")))
        .unwrap();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(calls.load().connections(), 21 - few(MAX));
    // Whatever else comes is served.
    assert_eq!(answer(&mut come(asks("/t"))).await.0, frame::HEADERS);
}

#[tokio::test(start_paused = true)]
async fn calls_whose_message_never_comes_hold_no_place_whatever_time_they_say() {
    const PLACES: usize = 4;
    let limits = Limits {
        calls_max: PLACES,
        ..Limits::default()
    };
    let (come, calls, _door, _accepting) = server_of(limits);
    let unfinished = |connection: usize| {
        let patient = [("grpc-timeout", "99999999H")];
        let call = frame::call_with("/read", 1, false, &patient);
        // A byte of the message, or none.
        let byte = frame::data(1, &[0]);
        let byte = if connection.is_multiple_of(2) {
            byte
        } else {
            Vec::new()
        };
        come([frame::preface(), frame::acknowledged(), call, byte].concat())
    };
    let _unfinished: Vec<_> = (0..PLACES).map(unfinished).collect();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(calls.load().taken(), PLACES);
    sleep(Duration::from_secs(10)).await;
    assert_eq!((calls.load().taken(), calls.load().calls()), (0, PLACES));
    assert!(!calls.load().is_full());
    assert_eq!(answer(&mut come(asks("/t"))).await.0, frame::HEADERS);
}
