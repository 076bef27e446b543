//! `muslin router-config`: what the router beside the nodes has to be told. Changes nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use muslin_cluster::{ApiSource, ClusterState, Effect, connect, load_folder};
use muslin_node_plan::{RouterRequest, Secrets, router_plan};

use super::output::write_line;
use super::say;
use crate::cli::RouterConfigArgs;
use crate::router_config::{Router, configuration};

/// Longest wait for the API server.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(args: &RouterConfigArgs) -> anyhow::Result<()> {
    let state = state(args).await?;
    for problem in state.problems.iter().filter(|problem| problem.effect != Effect::Advice) {
        say(&problem.to_string());
    }
    let request = RouterRequest {
        peers: args.peer.clone(),
        asn: args.asn,
        router_id: args.router_id,
        listen: args.listen.clone(),
        exact: args.exact,
        max_prefixes: args.max_prefixes,
        secrets: if args.show_secrets { Secrets::Shown } else { Secrets::Hidden },
    };
    let plan = router_plan(&state, &request)?;
    let router = Router { interfaces: args.interface.clone(), release: args.release };
    write_line(configuration(args.daemon, &plan, &router)?.trim_end())
}

async fn state(args: &RouterConfigArgs) -> anyhow::Result<Arc<ClusterState>> {
    if let Some(folder) = &args.state {
        return Ok(Arc::new(load_folder(folder).with_context(|| folder.display().to_string())?));
    }
    of_cluster(args.kubeconfig.as_deref()).await
}

/// The state as an agent sees it, for no node: of Secrets it has none.
async fn of_cluster(kubeconfig: Option<&Path>) -> anyhow::Result<Arc<ClusterState>> {
    let client = connect(kubeconfig).await?;
    let source = ApiSource::watch(&client, "", None);
    let mut state = source.state();
    let known = tokio::time::timeout(PATIENCE, state.wait_for(|state| !state.nodes.is_empty())).await;
    match known {
        Ok(state) => Ok(state.context("the cluster's state is no longer followed")?.clone()),
        Err(_) => bail!(
            "the API server has not told of any node for {} s: is it reachable, and may this account list nodes and Muslin's resources?",
            PATIENCE.as_secs()
        ),
    }
}
