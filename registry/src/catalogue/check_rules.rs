//! What the definition of a check must look like.

use std::time::Duration;

use crate::catalogue::{
    CheckDefinition, CheckKind, Status, Tls, Violation,
    limits::*,
    validate::{check_address, check_chars},
};

/// A check as it came. What is unset takes its default.
#[derive(Debug, Clone, Default)]
pub(crate) struct CandidateCheck {
    /// Empty: the word for its kind.
    pub(crate) check_id: String,
    pub(crate) name: String,
    pub(crate) notes: String,
    /// Unset: gRPC health of the whole server.
    pub(crate) kind: Option<CheckKind>,
    pub(crate) interval_nanos: Option<i128>,
    pub(crate) timeout_nanos: Option<i128>,
    /// 0: 1.
    pub(crate) success_before_passing: u32,
    /// 0: as many as before critical (Consul's default).
    pub(crate) failures_before_warning: u32,
    /// 0: 1.
    pub(crate) failures_before_critical: u32,
    pub(crate) deregister_critical_after_nanos: Option<i128>,
    pub(crate) initial: Option<Status>,
    /// Set: TLS is spoken, by kinds that can. An HTTP check does by its URL's scheme; this is how.
    pub(crate) tls: Option<Tls>,
    /// Counts for nobody, and is only shown.
    pub(crate) detached: bool,
}

/// The rules for one check, and where violations go.
#[derive(Debug)]
pub(crate) struct CheckRules<'a> {
    field: &'a str,
    found: &'a mut Vec<Violation>,
}

impl<'a> CheckRules<'a> {
    /// For the check in `field`.
    pub(crate) fn new(field: &'a str, found: &'a mut Vec<Violation>) -> Self {
        Self { field, found }
    }

    /// The definition; nothing when something is wrong with it.
    pub(crate) fn validate(
        &mut self,
        check: CandidateCheck,
        has_port: bool,
    ) -> Option<CheckDefinition> {
        let before = self.found.len();
        let kind = check.kind.unwrap_or(CheckKind::Grpc {
            target: None,
            service: String::new(),
        });
        self.kind(&kind, has_port);
        let check_id = if check.check_id.is_empty() {
            kind.word().to_owned()
        } else {
            check.check_id
        };
        self.text("check_id", &check_id, CHECK_TEXT_CHARS_MAX);
        self.text("name", &check.name, CHECK_TEXT_CHARS_MAX);
        self.text("notes", &check.notes, CHECK_TEXT_CHARS_MAX);
        let (interval, timeout) = self.times(check.interval_nanos, check.timeout_nanos);
        let critical = check.failures_before_critical.max(1);
        let warning = match check.failures_before_warning {
            0 => critical,
            warning => warning,
        };
        let passing = check.success_before_passing.max(1);
        for (field, threshold) in [
            ("success_before_passing", passing),
            ("failures_before_warning", warning),
            ("failures_before_critical", critical),
        ] {
            if threshold > THRESHOLD_MAX {
                self.wrong(field, format!("must be at most {THRESHOLD_MAX}"));
            }
        }
        if warning > critical {
            let rule = format!("must be at most failures_before_critical, {critical}");
            self.wrong("failures_before_warning", rule);
        }
        let reap = check.deregister_critical_after_nanos;
        let reap = reap.map(|nanos| {
            self.within(
                "deregister_critical_after",
                nanos,
                Duration::from_nanos(1),
                REAP_MAX,
            )
        });
        // What is not run has no times: two that differ in them alone are the same.
        let run = matches!(
            kind,
            CheckKind::Grpc { .. } | CheckKind::Http { .. } | CheckKind::Tcp { .. }
        );
        let (interval, timeout) = (interval.filter(|_| run), timeout.filter(|_| run));
        let tls = self.tls(&kind, check.tls);
        (self.found.len() == before).then(|| CheckDefinition {
            check_id,
            name: check.name,
            notes: check.notes,
            kind,
            interval: interval.unwrap_or(INTERVAL_DEFAULT),
            timeout: timeout.unwrap_or(TIMEOUT_DEFAULT),
            success_before_passing: passing,
            failures_before_warning: warning,
            failures_before_critical: critical,
            deregister_critical_after: reap.flatten(),
            initial: check.initial,
            tls,
            detached: check.detached,
        })
    }

    /// Notes what is wrong with a field of the check.
    pub(crate) fn wrong(&mut self, field: &str, description: impl Into<String>) {
        let field = format!("{}.{field}", self.field);
        self.found.push(Violation::new(field, description));
    }

    fn kind(&mut self, kind: &CheckKind, has_port: bool) {
        match kind {
            CheckKind::Grpc { target, service } => {
                self.text("grpc.service", service, CHECK_SERVICE_CHARS_MAX);
                self.target("grpc.target", target.as_deref(), has_port);
            }
            CheckKind::Tcp { target } => self.target("tcp.target", target.as_deref(), has_port),
            CheckKind::Http {
                url,
                method,
                headers,
                body,
                ..
            } => self.http(url, method, headers, body),
            CheckKind::Ttl { ttl } => {
                if !(TTL_MIN..=TTL_MAX).contains(ttl) {
                    self.wrong("ttl", format!("must be {TTL_MIN:?} to {TTL_MAX:?}"));
                }
            }
            CheckKind::Alias { node, instance_id } => {
                self.text("alias.node", node, NODE_CHARS_MAX);
                self.text("alias.instance_id", instance_id, INSTANCE_ID_CHARS_MAX);
            }
            CheckKind::Reported | CheckKind::Standing => {}
        }
    }

    fn http(&mut self, url: &str, method: &str, headers: &[(String, String)], body: &str) {
        let rest = url
            .strip_prefix("http://")
            .or_else(|| url.strip_prefix("https://"));
        if !rest.is_some_and(is_host) || url.len() > URL_CHARS_MAX {
            let rule =
                format!("must be an http or https URL of at most {URL_CHARS_MAX} characters");
            self.wrong("http.url", rule);
        }
        if !is_token(method) {
            self.wrong("http.method", "must be the name of an HTTP method");
        }
        if headers.len() > HEADERS_MAX {
            self.wrong("http.headers", format!("must be at most {HEADERS_MAX}"));
        }
        for (name, value) in headers.iter().take(HEADERS_MAX) {
            let plain = |c: char| !c.is_control() || c == '\t';
            if !is_token(name) || value.len() > BODY_BYTES_MAX || !value.chars().all(plain) {
                self.wrong(
                    "http.headers",
                    "must be valid names and values of HTTP headers",
                );
                break;
            }
        }
        if body.len() > BODY_BYTES_MAX {
            self.wrong(
                "http.body",
                format!("must be at most {BODY_BYTES_MAX} bytes"),
            );
        }
    }

    /// How TLS is spoken: by no kind that cannot, by an HTTP check exactly when its URL says so.
    fn tls(&mut self, kind: &CheckKind, tls: Option<Tls>) -> Option<Tls> {
        let tls = match kind {
            CheckKind::Grpc { .. } | CheckKind::Tcp { .. } => tls?,
            CheckKind::Http { url, .. } if url.starts_with("https://") => tls.unwrap_or_default(),
            _ => return None,
        };
        let name = &tls.server_name;
        if !name.is_empty() && check_address("", name).is_some() {
            self.wrong("tls.server_name", "must be a DNS name or an IP address");
        }
        Some(tls)
    }

    fn target(&mut self, field: &str, target: Option<&str>, has_port: bool) {
        match target {
            Some(target) if !is_host_and_port(target) => self.wrong(field, "must be HOST:PORT"),
            None if !has_port => self.wrong(field, "is required when there is no port to check"),
            _ => {}
        }
    }

    fn times(
        &mut self,
        interval: Option<i128>,
        timeout: Option<i128>,
    ) -> (Option<Duration>, Option<Duration>) {
        let interval = match interval {
            None => Some(INTERVAL_DEFAULT),
            Some(nanos) => self.within("interval", nanos, INTERVAL_MIN, INTERVAL_MAX),
        };
        let timeout = timeout.map(|nanos| self.within("timeout", nanos, TIMEOUT_MIN, TIMEOUT_MAX));
        let Some(interval) = interval else {
            return (None, None);
        };
        let timeout = match timeout {
            None => Some(TIMEOUT_DEFAULT.min(interval)),
            Some(timeout) => timeout,
        };
        if timeout.is_some_and(|timeout| timeout > interval) {
            self.wrong(
                "timeout",
                format!("must be at most the interval, {interval:?}"),
            );
        }
        (Some(interval), timeout)
    }

    fn text(&mut self, field: &str, text: &str, most: usize) {
        let field = format!("{}.{field}", self.field);
        self.found.extend(check_chars(field, text, 0, most));
    }

    fn within(
        &mut self,
        field: &str,
        nanos: i128,
        min: Duration,
        max: Duration,
    ) -> Option<Duration> {
        let duration = u64::try_from(nanos)
            .ok()
            .map(Duration::from_nanos)
            .filter(|duration| (min..=max).contains(duration));
        if duration.is_none() {
            self.wrong(field, format!("must be {min:?} to {max:?}"));
        }
        duration
    }
}

/// Whether what follows a URL's scheme begins with a host.
fn is_host(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_graphic();
    !authority.is_empty() && !authority.starts_with(':') && rest.chars().all(plain)
}

fn is_host_and_port(target: &str) -> bool {
    let Some((host, port)) = target.rsplit_once(':') else {
        return false;
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let graphic = host.chars().all(|c| c.is_ascii_graphic());
    !host.is_empty()
        && host.len() <= ADDRESS_CHARS_MAX
        && graphic
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Whether it is a token of HTTP's grammar (RFC 9110 §5.6.2), and not a long one.
fn is_token(word: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    (1..=CHECK_TEXT_CHARS_MAX).contains(&word.len()) && word.chars().all(allowed)
}
