//! Desired routes into the Linux kernel, and the kernel's own view: reconcile, audit, never touch foreign routes.

mod config;
mod dump;
mod mirror;
mod monitor;
mod path;
mod programmer;
mod reconcile;
mod route;
mod socket;
mod status;
mod view;
mod wire;
mod writer;

pub use config::{NextHopObjects, ProgrammerConfig, Resilience};
pub use programmer::{Programmer, StartError, Stopped};
pub use route::{DesiredRoute, NextHop, RouteChange, RouteKind};
pub use status::{
    Adopted, Clash, ClashEffect, Counters, ProgrammerEvent, Refusal, Refused, RouteReport, RouteState, Status,
};
pub use view::{
    Address, DefaultGateway, ForeignHop, ForeignKind, ForeignRoute, KernelView, Link, Resolved, Router,
};
pub use wire::refusal::KernelRefusal;
