//! The plan of either role.

use std::collections::BTreeSet;
use std::time::Instant;

use ipnet::IpNet;
use muslin_bgp_speaker::config::SpeakerConfig;
use muslin_cluster::{ClusterState, Problem};
use muslin_node_plan::{
    Caused, Discovery, KernelFacts, Lingering, NodePlan, SpeakerPlan, plan, plan_holding, speaker_plan,
};

use super::Role;

/// What a daemon is to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Plan {
    /// A node.
    Node(Box<NodePlan>),
    /// A stand-alone speaker.
    Speaker(Box<SpeakerPlan>),
}

impl Plan {
    /// The plan for the role; none while the state lacks its Node object: a node that nobody knows must not
    /// withdraw what it announced before.
    pub(crate) fn of(role: &Role, state: &ClusterState, facts: &KernelFacts) -> Option<Self> {
        match role {
            Role::Node(node) if !state.nodes.contains_key(node.name.as_str()) => None,
            Role::Node(node) => Some(Self::Node(Box::new(plan(state, facts, &node.name)))),
            Role::Speaker(_) => Some(Self::Speaker(Box::new(speaker_plan(state, facts)))),
        }
    }

    /// As [`of`](Self::of), `before` being the plan that is in force; what of it may not go at once stays.
    pub(crate) fn after(
        before: Option<&Self>,
        lingering: &mut Lingering,
        role: &Role,
        state: &ClusterState,
        facts: &KernelFacts,
    ) -> Option<Self> {
        let plan = Self::of(role, state, facts)?;
        let Self::Node(new) = &plan else { return Some(plan) };
        let announced: BTreeSet<IpNet> = match before {
            Some(Self::Node(before)) => before.service_ranges.iter().map(|range| range.value).collect(),
            Some(Self::Speaker(_)) | None => BTreeSet::new(),
        };
        let held =
            lingering.held(Instant::now(), &new.ending, &new.relieved, |prefix| announced.contains(prefix));
        if held.is_empty() {
            return Some(plan);
        }
        Some(Self::Node(Box::new(plan_holding(state, facts, &new.node, &held))))
    }

    /// The speaker's part.
    pub(crate) fn speaker(&self) -> &SpeakerConfig {
        match self {
            Self::Node(plan) => &plan.speaker,
            Self::Speaker(plan) => &plan.speaker,
        }
    }

    /// Where peers are looked for.
    pub(crate) fn discovery(&self) -> &Discovery {
        match self {
            Self::Node(plan) => &plan.discovery,
            Self::Speaker(plan) => &plan.discovery,
        }
    }

    /// What is wrong with the state.
    pub(crate) fn problems(&self) -> &[Problem] {
        match self {
            Self::Node(plan) => &plan.problems,
            Self::Speaker(plan) => &plan.problems,
        }
    }

    /// Blocks whose unused addresses lead nowhere.
    pub(crate) fn blackholes(&self) -> &[Caused<IpNet>] {
        match self {
            Self::Node(plan) => &plan.blackholes,
            Self::Speaker(_) => &[],
        }
    }
}
