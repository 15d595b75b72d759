//! The scenarios, in the order in which they run.

mod bad_input;
mod certificates;
mod crashes;
mod lost_node;
mod many;
mod replace;
mod rest;
mod roll;
mod scale;
mod story;
mod upgrade;

use std::future::Future;
use std::pin::Pin;

use anyhow::Result;

use crate::kubectl::Kubectl;
use crate::{Outcome, World};

type Running<'a> = Pin<Box<dyn Future<Output = Result<Outcome>> + 'a>>;

/// One of them.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: for<'a> fn(&'a World, &'a Kubectl) -> Running<'a>,
}

macro_rules! scenario {
    ($module:ident, $name:literal, $about:literal) => {
        Scenario { name: $name, about: $about, run: |world, kubectl| Box::pin($module::run(world, kubectl)) }
    };
}

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    vec![
        scenario!(
            story,
            "story",
            "the example is founded, serves stock etcdctl, and survives its leader's death twice"
        ),
        scenario!(
            scale,
            "scale",
            "3 → 5 → 3, with the operator killed on the way; 5 without room, taken back"
        ),
        scenario!(
            replace,
            "replace",
            "a lost volume is replaced under a new id; no second cluster, whatever is lost"
        ),
        scenario!(roll, "roll", "a changed image rolls leader last; a node is drained"),
        scenario!(bad_input, "bad-input", "what is wrong is said, with the fix, and hurts nobody else"),
        scenario!(
            certificates,
            "certificates",
            "who may ask a member what; an authority is replaced without a restart"
        ),
        scenario!(
            crashes,
            "crashes",
            "the operator dies at every boundary of every step, and the next one goes on"
        ),
        scenario!(upgrade, "upgrade", "the chart is upgraded, rolled back, uninstalled and installed again"),
        scenario!(lost_node, "lost-node", "a node is cut off for good, and its member replaced elsewhere"),
        scenario!(rest, "rest", "at rest nothing is written, and the operator was never denied anything"),
        scenario!(
            many,
            "many",
            "500 RaftClusters (--many) whose pods never run: what they cost the operator and the API server"
        ),
    ]
}
