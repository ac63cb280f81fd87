//! OpenMetrics to Prometheus' older text format, line by line.
//!
//! The two differ in what is said of a counter (its type line names the sample, `_total` and all),
//! and in what the older one does not know: units, exemplars, the end mark, and the types
//! `unknown` and `info`.

use std::fmt::Write as _;

/// A page in the text format 0.0.4.
pub(super) fn prometheus(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    // What is said of a metric depends on its type, which comes after.
    let mut help: Option<&str> = None;
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = Some(rest);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "unknown"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            let said = help.take().and_then(|help| help.split_once(' '));
            if let Some((_, said)) = said {
                let _ = writeln!(text, "# HELP {name}{suffix} {said}");
            }
            let _ = writeln!(text, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') {
            let _ = writeln!(text, "{}", without_exemplar(line));
        }
    }
    text
}

/// A sample without the `# {…} …` that may follow its value. A `#` in a label's value is not it.
fn without_exemplar(line: &str) -> &str {
    let mut quoted = false;
    let mut escaped = false;
    for (index, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'#' if !quoted => return line.get(..index).unwrap_or(line).trim_end(),
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counters_are_named_whole_and_the_rest_is_left_out() {
        let page = "# HELP calls Calls.\n# TYPE calls counter\ncalls_total{a=\"# {\\\"\"} 1 # {id=\"x\"} 1.0\n\
                    # HELP size_bytes Size.\n# TYPE size_bytes gauge\n# UNIT size_bytes bytes\nsize_bytes 2\n# EOF\n";
        let text = "# HELP calls_total Calls.\n# TYPE calls_total counter\ncalls_total{a=\"# {\\\"\"} 1\n\
                    # HELP size_bytes Size.\n# TYPE size_bytes gauge\nsize_bytes 2\n";
        assert_eq!(prometheus(page), text);
    }

    proptest! {
        #[test]
        fn no_page_panics(page in "(\\PC{0,40}\n){0,8}") {
            let _ = prometheus(&page);
        }
    }
}
