//! What holds for which method.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    deadline::Patience,
    retry,
    service_config::{MethodConfig, Name},
};

/// What holds for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MethodSettings {
    pub(super) patience: Patience,
    pub(super) wait_for_ready: bool,
    /// Of each attempt, whatever the policy; before the policy's own.
    pub(super) attempt_timeout: Option<Duration>,
    pub(super) retry: retry::Policy,
    /// Whether somebody chose that policy, for what a contract leaves open.
    pub(super) retry_chosen: bool,
    /// The largest message that is sent or taken, in bytes; `None`: no limit of the channel's.
    pub(super) request_bytes_max: Option<u32>,
    pub(super) response_bytes_max: Option<u32>,
}

/// The settings of every method: what was set when building, and above it a service config.
#[derive(Debug)]
pub(super) struct Settings {
    default: Arc<MethodSettings>,
    /// By `package.Service`.
    services: HashMap<String, Arc<MethodSettings>>,
    /// By path, `/package.Service/Method`.
    methods: HashMap<String, Arc<MethodSettings>>,
}

impl Settings {
    pub(super) fn new(built: &MethodSettings, configs: &[MethodConfig]) -> Self {
        let mut settings = Self {
            default: Arc::new(built.clone()),
            services: HashMap::new(),
            methods: HashMap::new(),
        };
        for config in configs {
            let merged = Arc::new(merged(built, config));
            for name in &config.names {
                let merged = merged.clone();
                match name {
                    Name::Default => settings.default = merged,
                    Name::Service(service) => {
                        settings.services.insert(service.clone(), merged);
                    }
                    Name::Method(path) => {
                        settings.methods.insert(path.clone(), merged);
                    }
                }
            }
        }
        settings
    }

    /// The most exact entry for a path, by gRPC's rule: method, service, default.
    pub(super) fn of(&self, path: &str) -> &Arc<MethodSettings> {
        if self.methods.is_empty() && self.services.is_empty() {
            return &self.default;
        }
        let service = || {
            path.strip_prefix('/')?
                .rsplit_once('/')
                .map(|(service, _)| service)
        };
        self.methods
            .get(path)
            .or_else(|| self.services.get(service()?))
            .unwrap_or(&self.default)
    }
}

fn merged(built: &MethodSettings, config: &MethodConfig) -> MethodSettings {
    MethodSettings {
        patience: config.timeout.map_or(built.patience, Patience::Most),
        wait_for_ready: config.wait_for_ready.unwrap_or(built.wait_for_ready),
        attempt_timeout: config.attempt_timeout.or(built.attempt_timeout),
        retry: config.retry.unwrap_or(built.retry),
        retry_chosen: config.retry.is_some() || built.retry_chosen,
        request_bytes_max: config.request_bytes_max.or(built.request_bytes_max),
        response_bytes_max: config.response_bytes_max.or(built.response_bytes_max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service_config::ServiceConfig;

    #[test]
    fn the_most_exact_name_holds() {
        let built = MethodSettings {
            patience: Patience::Built(Duration::from_secs(5)),
            wait_for_ready: false,
            attempt_timeout: Some(Duration::from_millis(200)),
            retry: retry::Policy::default(),
            retry_chosen: false,
            request_bytes_max: None,
            response_bytes_max: None,
        };
        let config = ServiceConfig::parse(
            r#"{"methodConfig": [
                {"name": [{"service": "a.B", "method": "C"}], "timeout": "1s",
                 "hedgingPolicy": {"maxAttempts": 2}},
                {"name": [{"service": "a.B"}], "timeout": "2s", "mizan": {"attemptTimeout": "1s"}},
                {"name": [{}], "waitForReady": true}
            ]}"#,
        );
        let settings = Settings::new(&built, &config.unwrap().methods);
        let seconds = |path| match settings.of(path).patience {
            Patience::Built(time) | Patience::Most(time) => time.as_secs(),
            other => panic!("{other:?}"),
        };
        assert!(settings.of("/a.B/C").retry_chosen && !settings.of("/a.B/D").retry_chosen);
        assert_eq!(seconds("/a.B/C"), 1);
        assert_eq!(seconds("/a.B/D"), 2);
        assert_eq!(seconds("/a.C/C"), 5);
        let attempt = |path| settings.of(path).attempt_timeout.unwrap().as_millis();
        assert_eq!(
            attempt("/a.B/C"),
            200,
            "another policy leaves it as it was built"
        );
        assert_eq!(attempt("/a.B/D"), 1000);
        assert!(settings.of("/a.C/C").wait_for_ready);
        assert!(
            !settings.of("/a.B/C").wait_for_ready,
            "entries do not add up"
        );
        assert_eq!(seconds("nonsense"), 5);
        assert_eq!(
            Settings::new(&built, &[]).of("/a.B/C").patience,
            built.patience
        );
    }
}
