//! A session's times: timers, and how long routes outlive it.

use std::time::Duration;

use super::BgpPeerSpec;
use crate::problem::Fault;
use crate::resources::fields::TimeSpan;

/// Graceful restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::resources::rules::GRACEFUL_RESTART))]
pub struct GracefulRestart {
    /// Whether routes outlive a restart; `true` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How long the peer keeps our routes, at most 4095 seconds; `120s` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_time: Option<TimeSpan>,
    /// Long-lived graceful restart (RFC 9494): how long routes stay as last resort after the restart time, on
    /// either side, at most 16777215 seconds; they go with the restart time if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_lived_stale_time: Option<TimeSpan>,
}

impl GracefulRestart {
    pub(crate) fn check(self, field: &str, faults: &mut Vec<Fault>) {
        let mut fault = |name: &str, message: &str, remedy: &str| {
            faults.push(Fault::new(format!("{field}.{name}"), message, remedy));
        };
        if self.restart_time.is_some_and(|time| !(1..=4095).contains(&time.0.as_secs())) {
            fault("restartTime", "found a time that RFC 4724 cannot carry", "write 1s to 4095s");
        }
        let Some(stale_time) = self.long_lived_stale_time else { return };
        if !(1..1 << 24).contains(&stale_time.0.as_secs()) {
            fault(
                "longLivedStaleTime",
                "found a time that RFC 9494 cannot carry",
                "write 1s to 16777215s, or leave it out",
            );
        }
        if self.enabled == Some(false) {
            fault(
                "longLivedStaleTime",
                "there is no graceful restart that it could follow",
                "leave it out, or set `enabled: true`",
            );
        }
    }
}

/// RFC 4271 §4.2: zero, or at least three seconds; whole seconds in sixteen bits.
pub(crate) fn check_hold_time(field: &str, TimeSpan(time): TimeSpan, faults: &mut Vec<Fault>) {
    let whole = time.subsec_nanos() == 0;
    let fits = time.is_zero() || (3..=u64::from(u16::MAX)).contains(&time.as_secs());
    if !(whole && fits) {
        let found = format!("found {}", TimeSpan(time));
        faults.push(Fault::new(field, found, "write 0, or whole seconds from 3s to 65535s"));
    }
}

/// RFC 4271 §4.4: at most one a second, at least three in a hold time.
fn check_keepalive_time(TimeSpan(keepalive): TimeSpan, hold_time: Option<TimeSpan>, faults: &mut Vec<Fault>) {
    let hold_time = hold_time.map_or(Duration::from_secs(90), |time| time.0);
    let (found, remedy) = if hold_time.is_zero() {
        (
            "found a pause, but with a hold time of 0 there are no KEEPALIVEs".to_owned(),
            "leave it out".to_owned(),
        )
    } else if keepalive < Duration::from_secs(1) || keepalive > hold_time / 3 {
        let longest = TimeSpan(hold_time / 3);
        (format!("found {}", TimeSpan(keepalive)), format!("write 1s to {longest}, a third of the hold time"))
    } else {
        return;
    };
    faults.push(Fault::new(".spec.keepaliveTime", found, remedy));
}

impl BgpPeerSpec {
    pub(super) fn check_times(&self, faults: &mut Vec<Fault>) {
        for (time, field) in
            [(self.connect_retry, ".spec.connectRetry"), (self.tcp_user_timeout, ".spec.tcpUserTimeout")]
        {
            if time.is_some_and(|time| time.0 < Duration::from_secs(1)) {
                faults.push(Fault::new(field, "found less than a second", "write 1s or more"));
            }
        }
        if let Some(restart) = self.graceful_restart {
            restart.check(".spec.gracefulRestart", faults);
        }
        if let Some(hold_time) = self.hold_time {
            check_hold_time(".spec.holdTime", hold_time, faults);
        }
        if let Some(keepalive) = self.keepalive_time {
            check_keepalive_time(keepalive, self.hold_time, faults);
        }
        let hold_time = self.hold_time.map_or(Duration::from_secs(90), |time| time.0);
        if let Some(time) = self.send_hold_time.filter(|time| time.0 < hold_time.max(Duration::from_secs(3)))
        {
            let remedy =
                format!("write the hold time, {}, or more", TimeSpan(hold_time.max(Duration::from_secs(3))));
            faults.push(Fault::new(".spec.sendHoldTime", format!("found {time}"), remedy));
        }
    }
}
