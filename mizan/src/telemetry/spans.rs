//! Spans of calls and attempts, named by gRFC A72.
//!
//! A span's name is fixed when the program is compiled; the name that A72 asks for, with the
//! method in it, is in the field `otel.name`, where tracing-opentelemetry looks for it. A filter
//! that turns a span off costs one load: its fields are not even made. The client's spans are at
//! DEBUG, because at INFO they would double the cost of a call for everyone who logs; the server's
//! is at INFO, so that the handler's lines carry the trace.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tracing::{Span, field};

use super::TraceContext;

/// A whole call of a client.
pub(crate) fn sent(path: &str, trace: &TraceContext) -> Span {
    tracing::debug_span!(
        "Sent",
        otel.name = %Named("Sent", path),
        otel.kind = "client",
        trace_id = %trace.trace_id_hex(),
        span_id = %trace.span_id_hex(),
        grpc.status = field::Empty,
    )
}

/// One attempt of it, after `previous` others.
pub(crate) fn attempt(path: &str, trace: &TraceContext, previous: u32, transparent: bool) -> Span {
    tracing::debug_span!(
        "Attempt",
        otel.name = %Named("Attempt", path),
        span_id = %trace.span_id_hex(),
        previous_rpc_attempts = previous,
        transparent_retry = transparent,
        grpc.status = field::Empty,
    )
}

/// A call that a server handles.
pub(crate) fn recv(path: &str, trace: &TraceContext, request_id: &str) -> Span {
    tracing::info_span!(
        "Recv",
        otel.name = %Named("Recv", path),
        otel.kind = "server",
        trace_id = %trace.trace_id_hex(),
        span_id = %trace.span_id_hex(),
        request_id,
        grpc.status = field::Empty,
    )
}

/// Notes in a span how it ended.
pub(crate) fn ended(span: &Span, code: tonic::Code) {
    span.record("grpc.status", super::metrics::status_name(code));
}

/// `Sent.package.Service/Method`, written straight to where it goes.
struct Named<'a>(&'static str, &'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(kind, path) = self;
        write!(f, "{kind}.{}", path.strip_prefix('/').unwrap_or(path))
    }
}

/// Runs `work` in a span, as tracing's `instrument` does, but where it stands: a call's future is
/// large, and every layer that took it by value would copy it.
pub(crate) struct Within<'a, F>(&'a Span, Pin<&'a mut F>);

/// See [`Within`].
pub(crate) fn within<'a, F>(span: &'a Span, work: Pin<&'a mut F>) -> Within<'a, F> {
    Within(span, work)
}

impl<F: Future> Future for Within<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Self(span, work) = &mut *self;
        let _entered = span.enter();
        work.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use tonic::Code;
    use tracing::{Level, level_filters::LevelFilter};
    use tracing_subscriber::{fmt::MakeWriter, prelude::*};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn spans_carry_the_names_of_a72_and_their_trace() {
        let lines = Lines::default();
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .with_writer(lines.clone());
        let _guard = tracing_subscriber::registry().with(layer).set_default();
        let trace = TraceContext::root();
        let span = sent("/a.B/C", &trace);
        span.in_scope(|| attempt("/a.B/C", &trace, 2, true).in_scope(|| tracing::info!("here")));
        recv("/a.B/C", &trace, "r-1").in_scope(|| tracing::info!("there"));
        ended(&span, Code::Ok);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        for part in [
            r#""otel.name":"Sent.a.B/C""#,
            r#""otel.name":"Attempt.a.B/C""#,
            r#""otel.name":"Recv.a.B/C""#,
            r#""previous_rpc_attempts":2"#,
            r#""request_id":"r-1""#,
            &trace.trace_id(),
        ] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }

    #[test]
    fn a_span_that_is_off_is_nothing() {
        let trace = TraceContext::root();
        let off = |level: Level| {
            let layer = tracing_subscriber::fmt::layer().with_writer(Lines::default());
            let layer = layer.with_filter(LevelFilter::from_level(level));
            let _guard = tracing_subscriber::registry().with(layer).set_default();
            [
                sent("/a.B/C", &trace).is_disabled(),
                attempt("/a.B/C", &trace, 0, false).is_disabled(),
                recv("/a.B/C", &trace, "r-1").is_disabled(),
            ]
        };
        assert_eq!(off(Level::DEBUG), [false, false, false]);
        assert_eq!(off(Level::INFO), [true, true, false]);
        assert_eq!(off(Level::WARN), [true, true, true]);
    }
}
