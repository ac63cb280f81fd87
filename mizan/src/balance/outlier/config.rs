//! The knobs of outlier detection, with the defaults and the rules of gRFC A50.

use std::time::Duration;

use serde_json::Value;

use crate::balance::policy::json::Fields;

/// When an instance is ejected and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How often instances are judged, by what ended since. Default 10 s: long enough to see the
    /// calls that a judgement needs.
    pub interval: Duration,
    /// How long an instance is ejected for the first time; n times as long for the n-th. Default
    /// 30 s.
    pub base_ejection_time: Duration,
    /// The longest that an instance is ejected, unless the base is longer. Default 300 s, so that
    /// an instance which was bad for hours is tried again soon after it is well.
    pub max_ejection_time: Duration,
    /// No instance is ejected while so many percent of them already are, 0 to 100. Default 10,
    /// which means one of up to ten; 0 ejects none.
    pub max_ejection_percent: u32,
    /// Judges by the others' success rates; `None` does not.
    pub success_rate: Option<SuccessRate>,
    /// Judges by a fixed limit; `None` does not.
    pub failure_percentage: Option<FailurePercentage>,
}

/// Ejects instances whose success rate is far below the average.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuccessRate {
    /// How many thousandths of the standard deviation below the average are too far. Default 1900:
    /// in a normal distribution, 3 % of the instances.
    pub stdev_factor: u32,
    /// In how many percent of the cases an instance is really ejected, 0 to 100; less than 100 is
    /// for trying it out. Default 100.
    pub enforcement_percentage: u32,
    /// How many instances must have enough calls, or nobody is judged. Default 5: a deviation
    /// of fewer means little.
    pub minimum_hosts: u32,
    /// How many calls in an interval are enough. Default 100.
    pub request_volume: u32,
}

/// Ejects instances of which too many calls fail, whatever the others do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailurePercentage {
    /// More failures than this, in percent of the calls, are too many, 0 to 100. Default 85. (gRFC
    /// A50 says "more" where it describes the algorithm and "as many" where it describes the
    /// field; this is the former, as in gRPC's own clients.)
    pub threshold: u32,
    /// In how many percent of the cases an instance is really ejected, 0 to 100; less than 100 is
    /// for trying it out. Default 100.
    pub enforcement_percentage: u32,
    /// How many instances must have enough calls, or nobody is judged. Default 5.
    pub minimum_hosts: u32,
    /// How many calls in an interval are enough. Default 50.
    pub request_volume: u32,
}

/// The shortest pause between sweeps: gRFC A50 allows an interval of 0, which would never pause.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// Both ways of judging, with the defaults of gRFC A50.
impl Default for Config {
    fn default() -> Self {
        Self {
            success_rate: Some(SuccessRate::default()),
            failure_percentage: Some(FailurePercentage::default()),
            ..Self::off()
        }
    }
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self {
            stdev_factor: 1900,
            enforcement_percentage: 100,
            minimum_hosts: 5,
            request_volume: 100,
        }
    }
}

impl Default for FailurePercentage {
    fn default() -> Self {
        Self {
            threshold: 85,
            enforcement_percentage: 100,
            minimum_hosts: 5,
            request_volume: 50,
        }
    }
}

impl Config {
    /// Judges nobody.
    #[must_use]
    pub fn off() -> Self {
        Self {
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_percent: 10,
            success_rate: None,
            failure_percentage: None,
        }
    }

    /// Whether anybody is judged at all; if not, no sweeps are needed.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.success_rate.is_some() || self.failure_percentage.is_some()
    }

    /// How long to wait between two sweeps: the interval, but at least 10 ms.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.interval.max(PAUSE_MIN)
    }

    /// How long the `multiplier`-th ejection in a row lasts.
    pub(super) fn ejection_time(&self, multiplier: u32) -> Duration {
        let longest = self.base_ejection_time.max(self.max_ejection_time);
        self.base_ejection_time
            .saturating_mul(multiplier)
            .min(longest)
    }

    /// From the JSON of a gRPC service config (`OutlierDetectionLoadBalancingConfig` of gRFC A50).
    /// As there, an algorithm is on only if its message is there; `childPolicy` is not looked at.
    ///
    /// # Errors
    /// Says what is wrong when a known field has a wrong type or is out of bounds. Unknown fields
    /// are ignored.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        let fields = Fields::of("outlierDetection", value)?;
        let default = Self::off();
        let base = fields.duration("baseEjectionTime")?;
        let max = fields.duration("maxEjectionTime")?;
        let percent = fields.percent("maxEjectionPercent")?;
        let success_rate = fields.get("successRateEjection");
        let failure_percentage = fields.get("failurePercentageEjection");
        Ok(Self {
            interval: fields.duration("interval")?.unwrap_or(default.interval),
            base_ejection_time: base.unwrap_or(default.base_ejection_time),
            max_ejection_time: max.unwrap_or(default.max_ejection_time),
            max_ejection_percent: percent.unwrap_or(default.max_ejection_percent),
            success_rate: success_rate.map(SuccessRate::from_json).transpose()?,
            failure_percentage: failure_percentage
                .map(FailurePercentage::from_json)
                .transpose()?,
        })
    }
}

impl SuccessRate {
    fn from_json(value: &Value) -> Result<Self, String> {
        let fields = Fields::of("successRateEjection", value)?;
        let default = Self::default();
        let factor = fields.u32("stdevFactor")?;
        let enforcement = fields.percent("enforcementPercentage")?;
        let hosts = fields.u32("minimumHosts")?;
        let volume = fields.u32("requestVolume")?;
        Ok(Self {
            stdev_factor: factor.unwrap_or(default.stdev_factor),
            enforcement_percentage: enforcement.unwrap_or(default.enforcement_percentage),
            minimum_hosts: hosts.unwrap_or(default.minimum_hosts),
            request_volume: volume.unwrap_or(default.request_volume),
        })
    }
}

impl FailurePercentage {
    fn from_json(value: &Value) -> Result<Self, String> {
        let fields = Fields::of("failurePercentageEjection", value)?;
        let default = Self::default();
        let threshold = fields.percent("threshold")?;
        let enforcement = fields.percent("enforcementPercentage")?;
        let hosts = fields.u32("minimumHosts")?;
        let volume = fields.u32("requestVolume")?;
        Ok(Self {
            threshold: threshold.unwrap_or(default.threshold),
            enforcement_percentage: enforcement.unwrap_or(default.enforcement_percentage),
            minimum_hosts: hosts.unwrap_or(default.minimum_hosts),
            request_volume: volume.unwrap_or(default.request_volume),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn without_algorithms_nobody_is_judged() {
        for nothing in [json!({}), Value::Null, json!({"childPolicy": 7})] {
            let config = Config::from_json(&nothing).unwrap();
            assert_eq!(config, Config::off());
            assert!(!config.is_on());
        }
    }

    #[test]
    fn empty_messages_mean_the_defaults() {
        let both = json!({"successRateEjection": {}, "failurePercentageEjection": {}});
        let config = Config::from_json(&both).unwrap();
        assert_eq!(config, Config::default());
        assert!(config.is_on());
    }

    #[test]
    fn every_field_is_read() {
        let config = Config::from_json(&json!({
            "interval": "1s", "baseEjectionTime": "2.5s", "maxEjectionTime": "3s",
            "maxEjectionPercent": 4,
            "successRateEjection": {"stdevFactor": 5, "enforcementPercentage": 6,
                "minimumHosts": 7, "requestVolume": 8},
            "failurePercentageEjection": {"threshold": 9, "enforcementPercentage": 10,
                "minimumHosts": 11, "requestVolume": 12},
        }));
        let expected = Config {
            interval: Duration::from_secs(1),
            base_ejection_time: Duration::from_millis(2500),
            max_ejection_time: Duration::from_secs(3),
            max_ejection_percent: 4,
            success_rate: Some(SuccessRate {
                stdev_factor: 5,
                enforcement_percentage: 6,
                minimum_hosts: 7,
                request_volume: 8,
            }),
            failure_percentage: Some(FailurePercentage {
                threshold: 9,
                enforcement_percentage: 10,
                minimum_hosts: 11,
                request_volume: 12,
            }),
        };
        assert_eq!(config, Ok(expected));
    }

    #[test]
    fn what_a50_forbids_is_refused() {
        for bad in [
            json!({"interval": "-1s"}),
            json!({"interval": 10}),
            json!({"baseEjectionTime": "30"}),
            json!({"maxEjectionTime": "315576000001s"}),
            json!({"maxEjectionPercent": 101}),
            json!({"maxEjectionPercent": -1}),
            json!({"successRateEjection": {"enforcementPercentage": 101}}),
            json!({"successRateEjection": []}),
            json!({"failurePercentageEjection": {"threshold": 101}}),
            json!({"failurePercentageEjection": {"enforcementPercentage": 101}}),
            json!([]),
        ] {
            assert!(Config::from_json(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_ejection_lasts_a_multiple_of_the_base_up_to_a_limit() {
        let seconds = Duration::from_secs;
        let config = Config::default();
        assert_eq!(config.ejection_time(1), seconds(30));
        assert_eq!(config.ejection_time(3), seconds(90));
        assert_eq!(config.ejection_time(11), seconds(300));
        assert_eq!(config.ejection_time(u32::MAX), seconds(300));
        let long = Config {
            base_ejection_time: seconds(400),
            ..config
        };
        assert_eq!(long.ejection_time(1), seconds(400), "the base, if longer");
        assert_eq!(long.ejection_time(2), seconds(400));
    }

    #[test]
    fn an_interval_of_nothing_still_pauses() {
        let config = Config::from_json(&json!({"interval": "0s"})).unwrap();
        assert_eq!(config.pause(), PAUSE_MIN);
    }
}
