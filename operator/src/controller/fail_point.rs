//! Places where a test may end the operator, as if it had been killed there.
//!
//! Only with the feature `fail-points`; else nothing is left of them. Which place: `FAILPOINTS="step-taken=return"`.

/// Ends the process here, if this place is the one that was asked for.
pub(super) fn reached(place: &'static str) {
    #[cfg(feature = "fail-points")]
    fail::fail_point!(place, |_| {
        tracing::warn!(place, "ending here, as a test asked for");
        std::process::abort()
    });
    #[cfg(not(feature = "fail-points"))]
    let _ = place;
}

/// Reads which places are asked for; they are while this is held.
#[cfg(feature = "fail-points")]
pub(super) fn read() -> fail::FailScenario<'static> {
    fail::FailScenario::setup()
}
