//! What becomes of a request that arrives.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::{server::record::code_of, telemetry::TraceContext, telemetry::metrics::Registry};

fn calls(services: axum::Router, limits: &Limits) -> Calls {
    let routers = Routers {
        services: Wrapped::Bare(services),
        health: axum::Router::new(),
        pages: axum::Router::new(),
        web: false,
        names: Arc::default(),
    };
    let metrics = Registry::new().server();
    let closing = CancellationToken::new();
    let times = HandlerTimes::new(limits.handler_timeout);
    Calls::new(routers, limits, times, Origins::default(), metrics, closing)
}

fn connection(calls: &Calls) -> Arc<ConnectionLoad> {
    Arc::new(ConnectionLoad::new(calls.load().clone(), 1 << 20))
}

fn request(path: &str) -> Request<Body> {
    let request = Request::post(path)
        .version(Version::HTTP_2)
        .header(CONTENT_TYPE, "application/grpc");
    request.body(Body::empty()).unwrap()
}

#[test]
fn calls_that_wait_for_their_turn_are_load_already() {
    let limits = Limits {
        calls_max: 2,
        ..Limits::default()
    };
    let calls = calls(axum::Router::new(), &limits);
    let connection = connection(&calls);
    let arrive = |path| calls.arrive(&request(path), &connection);
    let is_shed = |arrival: &Arrival| {
        assert_eq!(arrival.kind, Kind::Call);
        arrival.way.life.is_shed()
    };
    // None of them has been polled.
    let waiting = [arrive("/a.A/B"), arrive("/a.A/B")];
    assert!(!waiting.iter().any(is_shed));
    assert!(is_shed(&arrive("/a.A/B")));
    // Somebody's service may have a name that begins like ours.
    for other in [
        "/grpc.testing.TestService/Check",
        "/grpc.health.v1.Healthy/Check",
    ] {
        assert!(is_shed(&arrive(other)), "{other}");
    }
    for ours in [
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ] {
        assert_eq!(arrive(ours).kind, Kind::Infrastructure, "{ours}");
    }
    let page = Request::get("/metrics").body(()).unwrap();
    assert_eq!(calls.arrive(&page, &connection).kind, Kind::Http);
    drop(waiting);
    assert!(!is_shed(&arrive("/a.A/B")));
    assert_eq!((calls.load().taken(), calls.load().held()), (0, 0));
}

#[test]
fn only_grpc_by_grpc_is_a_call() {
    let built = |method: Method, version, content_type: Option<&str>| {
        let mut request = Request::builder()
            .method(method)
            .version(version)
            .uri("/a.A/B");
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        is_call(&request.body(()).unwrap())
    };
    for content_type in [
        "application/grpc",
        "application/grpc+proto",
        "Application/GRPC; x=y",
    ] {
        assert!(built(Method::POST, Version::HTTP_2, Some(content_type)));
        assert!(!built(Method::POST, Version::HTTP_11, Some(content_type)));
        assert!(!built(Method::GET, Version::HTTP_2, Some(content_type)));
    }
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/json",
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpcx",
        "text/plain; application/grpc",
        "",
    ] {
        let call = built(Method::POST, Version::HTTP_2, Some(content_type));
        assert!(!call, "{content_type}");
    }
    assert!(!built(Method::POST, Version::HTTP_2, None));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_turn_comes_too_late_is_not_handled() {
    let handled = Arc::new(AtomicU32::new(0));
    let counted = handled.clone();
    let router = axum::Router::new().fallback(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(())
    });
    let calls = calls(router, &Limits::default());
    let until = Instant::now() + Duration::from_secs(1);
    let answer = async || {
        let context = CallContext::new(Some(until), TraceContext::root());
        let answer = calls.answer(request("/a.A/B"), false, &context).await;
        code_of(answer.headers())
    };
    assert_eq!((answer().await, handled.load(Ordering::SeqCst)), (None, 1));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(answer().await, Some(Code::DeadlineExceeded));
    assert_eq!(handled.load(Ordering::SeqCst), 1);
}
