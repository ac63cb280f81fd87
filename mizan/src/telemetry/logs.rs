//! Where log lines go: standard error, JSON for machines, text for people.

use std::{
    fmt::Debug,
    io::{self, IsTerminal as _},
};

use tracing::{field, span};
use tracing_subscriber::{
    EnvFilter,
    field::RecordFields,
    fmt::{
        self, FormatFields, FormattedFields,
        format::{JsonFields, Writer},
    },
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::args::{LogFormat, ProcessArgs};

/// Starts logging for the whole process; a second call changes nothing. A filter that cannot be
/// read is refused.
pub(crate) fn init(args: &ProcessArgs) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(&args.log)?;
    let terminal = io::stderr().is_terminal();
    let pretty = match args.log_format {
        LogFormat::Auto => terminal,
        LogFormat::Json => false,
        LogFormat::Pretty => true,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let outcome = if pretty {
        let lines = fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(terminal)
            .with_target(false);
        registry.with(lines).try_init()
    } else {
        let lines = fmt::layer()
            .json()
            .flatten_event(true)
            .fmt_fields(SpanFields(JsonFields::new()))
            .with_writer(io::stderr);
        registry.with(lines).try_init()
    };
    // Tests start many servers in one process; the first one's logging stands.
    let _ = outcome;
    Ok(())
}

/// The fields of a span as JSON, without how it ended. To add that one means to read all of them and
/// to write them anew, for every call; and the one line that follows says it itself.
#[derive(Debug)]
struct SpanFields(JsonFields);

impl<'a> FormatFields<'a> for SpanFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'a>, fields: R) -> std::fmt::Result {
        self.0.format_fields(writer, fields)
    }

    fn add_fields(
        &self,
        current: &'a mut FormattedFields<Self>,
        fields: &span::Record<'_>,
    ) -> std::fmt::Result {
        let mut others = Others(false);
        fields.record(&mut others);
        if !others.0 {
            return Ok(());
        }
        let mut json = FormattedFields::<JsonFields>::new(std::mem::take(&mut current.fields));
        let added = self.0.add_fields(&mut json, fields);
        current.fields = json.fields;
        added
    }
}

/// Whether there are fields other than the status.
struct Others(bool);

impl field::Visit for Others {
    fn record_debug(&mut self, field: &field::Field, _: &dyn Debug) {
        self.0 |= field.name() != "grpc.status";
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::registry::LookupSpan as _;

    use super::*;

    #[test]
    fn a_span_keeps_what_is_added_but_for_the_status() {
        let registry = tracing_subscriber::registry().with(
            fmt::layer()
                .json()
                .fmt_fields(SpanFields(JsonFields::new()))
                .with_writer(io::sink),
        );
        let dispatch = tracing::Dispatch::new(registry);
        let fields = tracing::dispatcher::with_default(&dispatch, || {
            let span =
                tracing::info_span!("s", a = 1, b = field::Empty, grpc.status = field::Empty);
            span.record("grpc.status", "OK");
            span.record("b", "two");
            let id = span.id().unwrap();
            let registry = dispatch
                .downcast_ref::<tracing_subscriber::Registry>()
                .unwrap();
            let data = registry.span(&id).unwrap();
            let extensions = data.extensions();
            let fields = extensions.get::<FormattedFields<SpanFields>>().unwrap();
            fields.fields.clone()
        });
        assert_eq!(fields, r#"{"a":1,"b":"two"}"#);
    }
}
