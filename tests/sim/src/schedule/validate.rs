//! Whether a schedule is one that a world can run: what a person wrote by hand may not be. Pure.
//!
//! May import: serde_json, to show a fault as it was written. Deliberately absent: reading files and flags (`input`).

use std::ops::RangeInclusive;

use super::{Kind, Schedule};

/// Sizes of a cluster.
pub const REPLICAS: [u8; 4] = [1, 3, 5, 7];
/// Lengths of a safety phase, in simulated seconds.
pub const SECONDS: RangeInclusive<u32> = 1..=100_000;

const CLIENTS: RangeInclusive<u64> = 1..=16;
/// As many as a cluster can have.
const PODS: RangeInclusive<u64> = 0..=6;
/// The pods', the clients' and the operator's.
const HOSTS: RangeInclusive<u64> = 0..=8;
const PER_MILLE: RangeInclusive<u64> = 0..=1_000;
const CLOCK_PER_MILLE: RangeInclusive<u64> = 100..=10_000;
const DURATION_MS: RangeInclusive<u64> = 0..=600_000;
const DELAY_MS: RangeInclusive<u64> = 0..=60_000;
/// A generated row of faults (`generate`'s crash loop) may go on after the end, where it changes nothing.
const AFTER_THE_END_MS: u64 = 60_000;

impl Schedule {
    /// Whether a world can run it.
    ///
    /// # Errors
    /// The first thing that is wrong, as the file calls it, with what is allowed.
    pub fn validate(&self) -> Result<(), String> {
        check_replicas(self.replicas)?;
        check("clients", self.clients.into(), &CLIENTS)?;
        let seconds = u64::from(*SECONDS.start())..=u64::from(*SECONDS.end());
        check("seconds", self.seconds.into(), &seconds)?;
        let end_ms = u64::from(self.seconds) * 1_000 + AFTER_THE_END_MS;
        let mut before_ms = 0;
        for (number, fault) in self.faults.iter().enumerate() {
            let wrong = if fault.at_ms < before_ms {
                Err(format!(
                    "at_ms is {}: at least {before_ms}, the time of the one before it, is allowed",
                    fault.at_ms
                ))
            } else if fault.at_ms > end_ms {
                let end = format!("the run's {} s and a minute", self.seconds);
                Err(format!("at_ms is {}: at most {end_ms}, {end}, is allowed", fault.at_ms))
            } else {
                fault.kind.validate()
            };
            wrong.map_err(|what| {
                let kind =
                    serde_json::to_string(&fault.kind).unwrap_or_else(|_| fault.kind.name().to_owned());
                format!("fault {} of {}, {kind}: {what}", number + 1, self.faults.len())
            })?;
            before_ms = fault.at_ms;
        }
        Ok(())
    }

    /// Takes away the faults that come after its end, where they change nothing: of a run that was made shorter, any.
    pub fn drop_late_faults(&mut self) {
        let end_ms = u64::from(self.seconds) * 1_000;
        self.faults.retain(|fault| fault.at_ms <= end_ms);
    }
}

fn check_replicas(replicas: u8) -> Result<(), String> {
    if REPLICAS.contains(&replicas) {
        return Ok(());
    }
    Err(format!("replicas is {replicas}: 1, 3, 5 or 7 is allowed"))
}

fn check(field: &str, value: u64, allowed: &RangeInclusive<u64>) -> Result<(), String> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(format!("{field} is {value}: {} to {} is allowed", allowed.start(), allowed.end()))
}

impl Kind {
    fn validate(&self) -> Result<(), String> {
        let pod = |pod: &u8| check("pod", u64::from(*pod), &PODS);
        let duration = |ms: &u32| check("ms", u64::from(*ms), &DURATION_MS);
        match self {
            Self::Kill { pod: at }
            | Self::PowerCut { pod: at }
            | Self::Fuse { pod: at, .. }
            | Self::FuseAtStart { pod: at, .. }
            | Self::TornWrites { pod: at, .. }
            | Self::Wipe { pod: at }
            | Self::FailedSync { pod: at }
            | Self::FailedRead { pod: at }
            | Self::Rot { pod: at }
            | Self::MisplacedWrite { pod: at }
            | Self::Snapshot { pod: at }
            | Self::Move { pod: at }
            | Self::FalseAlarm { pod: at } => pod(at),
            Self::Pause { pod: at, ms }
            | Self::SlowDisk { pod: at, ms, .. }
            | Self::FullDisk { pod: at, ms }
            | Self::SlowApplier { pod: at, ms } => pod(at).and_then(|()| duration(ms)),
            Self::ClockDrift { pod: at, per_mille, ms } => {
                pod(at)?;
                check("perMille", u64::from(*per_mille), &CLOCK_PER_MILLE)?;
                duration(ms)
            }
            Self::Transfer { to } => check("to", u64::from(*to), &PODS),
            // From one to itself nothing is lost: such a fault does not count, and harms nothing.
            Self::OneWay { from, to, ms } => {
                check("from", u64::from(*from), &HOSTS)?;
                check("to", u64::from(*to), &HOSTS)?;
                duration(ms)
            }
            Self::Partition { side, ms } => {
                side.iter().try_for_each(|host| check("side", u64::from(*host), &HOSTS))?;
                duration(ms)
            }
            Self::Lossy { drop, duplicate, late, ms } => {
                for (field, value) in [("drop", drop), ("duplicate", duplicate), ("late", late)] {
                    check(field, u64::from(*value), &PER_MILLE)?;
                }
                duration(ms)
            }
            Self::Scale { replicas } => check_replicas(*replicas),
            Self::SlowOperator { delay_ms, ms } => {
                check("delayMs", u64::from(*delay_ms), &DELAY_MS)?;
                duration(ms)
            }
            Self::SlowNetwork { ms, .. } | Self::TwoOperators { ms } => duration(ms),
            Self::PowerCutAll | Self::OperatorCrash | Self::ForgetRegister | Self::Roll => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Shape, schedule};
    use crate::schedule::Fault;

    fn read(text: &str) -> Schedule {
        serde_json::from_str(text).unwrap()
    }

    fn with_faults(faults: &str) -> Schedule {
        read(&format!(r#"{{"seed":1,"replicas":3,"clients":2,"seconds":60,"faults":[{faults}]}}"#))
    }

    #[test]
    fn no_generated_schedule_is_refused() {
        for seconds in [1, 60, 300, 860] {
            for seed in 1..=200 {
                for replicas in [None, Some(1), Some(7)] {
                    let generated = schedule(seed, Shape { seconds, replicas });
                    assert_eq!(generated.validate(), Ok(()), "seed {seed}, {seconds} s, {replicas:?}");
                }
            }
        }
    }

    #[test]
    fn a_run_that_was_made_shorter_is_not_refused_without_its_late_faults() {
        for seed in 1..=200 {
            let mut shorter = schedule(seed, Shape { seconds: 300, replicas: None });
            shorter.seconds = 7;
            shorter.drop_late_faults();
            assert_eq!(shorter.validate(), Ok(()), "seed {seed}");
        }
        let mut late = with_faults(r#"{"at_ms":60000,"kind":"roll"},{"at_ms":60001,"kind":"roll"}"#);
        late.drop_late_faults();
        assert_eq!(late.faults.len(), 1);
    }

    #[test]
    fn the_sizes_of_a_run_have_bounds() {
        let sizes = |replicas: u8, clients: u8, seconds: u32| Schedule {
            replicas,
            clients,
            seconds,
            ..with_faults("")
        };
        for allowed in [sizes(1, 1, 1), sizes(3, 16, 860), sizes(7, 2, 100_000)] {
            assert_eq!(allowed.validate(), Ok(()));
        }
        for (refused, says) in [
            (sizes(0, 1, 1), "replicas is 0: 1, 3, 5 or 7 is allowed"),
            (sizes(4, 1, 1), "replicas is 4: 1, 3, 5 or 7 is allowed"),
            (sizes(255, 1, 1), "replicas is 255: 1, 3, 5 or 7 is allowed"),
            (sizes(3, 0, 1), "clients is 0: 1 to 16 is allowed"),
            (sizes(3, 17, 1), "clients is 17: 1 to 16 is allowed"),
            (sizes(3, 1, 0), "seconds is 0: 1 to 100000 is allowed"),
            (sizes(3, 1, u32::MAX), "seconds is 4294967295: 1 to 100000 is allowed"),
        ] {
            assert_eq!(refused.validate(), Err(says.to_owned()));
        }
    }

    #[test]
    fn what_a_fault_says_has_bounds() {
        for (kind, says) in [
            (r#"{"kill":{"pod":6}}"#, ""),
            (r#"{"kill":{"pod":7}}"#, "pod is 7: 0 to 6 is allowed"),
            (r#"{"fuse":{"pod":255,"changes":0,"power":true}}"#, "pod is 255: 0 to 6 is allowed"),
            (r#"{"pause":{"pod":9,"ms":1}}"#, "pod is 9: 0 to 6 is allowed"),
            (r#"{"pause":{"pod":0,"ms":600001}}"#, "ms is 600001: 0 to 600000 is allowed"),
            (r#"{"transfer":{"to":7}}"#, "to is 7: 0 to 6 is allowed"),
            (r#"{"partition":{"side":[],"ms":600000}}"#, ""),
            (r#"{"partition":{"side":[0,8],"ms":5}}"#, ""),
            (r#"{"partition":{"side":[0,9],"ms":5}}"#, "side is 9: 0 to 8 is allowed"),
            (r#"{"oneWay":{"from":8,"to":8,"ms":5}}"#, ""),
            (r#"{"oneWay":{"from":9,"to":8,"ms":5}}"#, "from is 9: 0 to 8 is allowed"),
            (r#"{"oneWay":{"from":0,"to":9,"ms":5}}"#, "to is 9: 0 to 8 is allowed"),
            (r#"{"lossy":{"drop":1000,"duplicate":1000,"late":1000,"ms":5}}"#, ""),
            (
                r#"{"lossy":{"drop":0,"duplicate":1001,"late":0,"ms":5}}"#,
                "duplicate is 1001: 0 to 1000 is allowed",
            ),
            (r#"{"clockDrift":{"pod":0,"perMille":99,"ms":5}}"#, "perMille is 99: 100 to 10000 is allowed"),
            (r#"{"clockDrift":{"pod":0,"perMille":10000,"ms":5}}"#, ""),
            (r#"{"scale":{"replicas":2}}"#, "replicas is 2: 1, 3, 5 or 7 is allowed"),
            (r#"{"slowOperator":{"delayMs":60001,"ms":5}}"#, "delayMs is 60001: 0 to 60000 is allowed"),
            (r#"{"twoOperators":{"ms":4294967295}}"#, "ms is 4294967295: 0 to 600000 is allowed"),
            (r#""roll""#, ""),
        ] {
            let told = with_faults(&format!(r#"{{"at_ms":0,"kind":"roll"}},{{"at_ms":0,"kind":{kind}}}"#))
                .validate();
            let due = if says.is_empty() { Ok(()) } else { Err(format!("fault 2 of 2, {kind}: {says}")) };
            assert_eq!(told, due);
        }
    }

    #[test]
    fn faults_come_in_order_and_before_the_run_has_ended() {
        let at = |times: &[u64]| {
            let faults = times.iter().map(|at_ms| Fault { at_ms: *at_ms, kind: Kind::Roll }).collect();
            Schedule { faults, ..with_faults("") }
        };
        assert_eq!(at(&[0, 5, 5, 60_000, 120_000]).validate(), Ok(()));
        let order =
            r#"fault 3 of 3, "roll": at_ms is 4: at least 5, the time of the one before it, is allowed"#;
        assert_eq!(at(&[0, 5, 4]).validate(), Err(order.to_owned()));
        for late in [120_001, u64::MAX] {
            let says = format!(
                r#"fault 2 of 2, "roll": at_ms is {late}: at most 120000, the run's 60 s and a minute, is allowed"#
            );
            assert_eq!(at(&[0, late]).validate(), Err(says));
        }
    }
}
