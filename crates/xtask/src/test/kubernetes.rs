//! The Kubernetes tier: the product, as its users get it, on a real control plane with real nodes.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use super::ahead::Ahead;
use super::{NEEDS_HELM, Tier, integration_tests};
use crate::image;
use crate::packages::{self, BIRD, CNI_PLUGINS, ETCD, FAKETIME, FRR, NFTABLES, Package};
use crate::shell::{self, Count, Enter, cargo};

const PACKAGES: [Package; 13] = [
    // Kubernetes' own tests call these in pods.
    Package { name: "bind9-dnsutils", file: "/usr/bin/dig" },
    Package { name: "netcat-openbsd", file: "/usr/bin/nc.openbsd" },
    Package { name: "conntrack", file: "/usr/sbin/conntrack" },
    Package { name: "containerd", file: "/usr/bin/containerd" },
    Package { name: "iproute2", file: "/usr/bin/ip" },
    Package { name: "iptables", file: "/usr/sbin/iptables" },
    Package { name: "runc", file: "/usr/sbin/runc" },
    BIRD,
    CNI_PLUGINS,
    ETCD,
    FAKETIME,
    FRR,
    NFTABLES,
];

/// What a cluster is made of, and how many of the tests are run on it.
struct Shape {
    topology: &'static str,
    router: &'static str,
    families: &'static str,
    proxy_mode: &'static str,
    /// `all`, or `packets` for those whose outcome another router, kube-proxy mode or build of ours could change, or
    /// `builds` for these and an upgrade from the image to the lab's own build, or `mesh` for what nodes on one link and
    /// route reflectors have of their own, and packets.
    tests: &'static str,
    build: Build,
}

/// Which image is installed.
#[derive(Clone, Copy)]
enum Build {
    /// One that is soon there.
    Lab,
    /// The one that is given away.
    GivenAway,
}

/// Every node behind our router, as most tests want it.
const TOR: Shape = Shape {
    topology: "tor",
    router: "muslin",
    families: "dual",
    proxy_mode: "nftables",
    tests: "all",
    build: Build::Lab,
};

const SHAPES: [Shape; 4] = [
    TOR,
    Shape { router: "frr", proxy_mode: "iptables", tests: "builds", build: Build::GivenAway, ..TOR },
    // Without IPv4 nothing can be there by it: what holds here, holds by IPv6.
    Shape { topology: "mesh", router: "bird", families: "ipv6", tests: "mesh", ..TOR },
    Shape { proxy_mode: "ipvs", tests: "packets", ..TOR },
];

/// What `cargo xtask e2e` may be told.
#[derive(clap::Args)]
pub(crate) struct EndToEnd {
    /// Everything about the network and dual stack, not the core alone: half an hour on two cores
    #[arg(long)]
    all: bool,
}

/// Runs Kubernetes' own tests on a cluster of the first shape and writes what came out to `docs/kubernetes.md`.
pub(crate) fn end_to_end(options: &EndToEnd) -> Result<()> {
    prepare()?;
    // Before anything is built of them; with a word of its own if they are not what was committed.
    let sources =
        shell::read(shell::command("git").args(["describe", "--always", "--dirty", "--abbrev=12"]))?;
    let image::ForLab { image, muslin } = image::for_lab()?;
    let page = shell::workspace().join("docs/kubernetes.md");
    let mut tests = SHAPES[0].command(&muslin, &image)?;
    tests.env("MUSLIN_E2E", if options.all { "all" } else { "core" }).env("MUSLIN_E2E_PAGE", page);
    tests.env("MUSLIN_E2E_SOURCES", sources.trim());
    tests.args(["--", "kubernetes_own_tests", "--nocapture"]);
    shell::run_tests(&mut Enter::wrap(&tests)?, &mut Count::default())
}

fn prepare() -> Result<()> {
    packages::require(&PACKAGES)?;
    if !shell::is_root() {
        bail!("kubelets work with control groups, which needs root: use sudo");
    }
    Ok(())
}

/// Runs the tier in each shape, with the image and the chart of this checkout.
pub(super) fn run(count: &mut Count, ahead: &mut Ahead) -> Result<()> {
    prepare()?;
    ahead.hurry(Tier::Kubernetes)?;
    let lab = image::for_lab()?;
    // All of it before the first cluster: a machine that builds is a slow one.
    ahead.wait(Tier::Kubernetes)?;
    let mut failed = None;
    for shape in SHAPES {
        if shape.proxy_mode == "ipvs" && !Path::new("/proc/net/ip_vs").exists() {
            println!("SKIPPED: kube-proxy with ipvs, which this kernel lacks (there is no /proc/net/ip_vs)");
            count.skipped += 1;
            continue;
        }
        let start = Instant::now();
        println!("{shape}");
        let tested = shape.image(&lab).and_then(|image| shape.run(&lab.muslin, &image, count));
        if let Err(error) = tested {
            failed = Some(error);
        }
        println!("this took {:.1} s", start.elapsed().as_secs_f64());
    }
    // The first shape has built Helm.
    let mut chart = cargo(["test", "--workspace", "--locked", "--bin", "xtask", NEEDS_HELM]);
    let chart = shell::run_tests(&mut chart, count);
    failed.map_or(chart, Err)
}

impl Display for Shape {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { topology, router, families, proxy_mode, tests, .. } = self;
        write!(
            f,
            "{topology} with the router {router}, {families}, kube-proxy with {proxy_mode}, {tests} tests"
        )
    }
}

impl Shape {
    fn image(&self, lab: &image::ForLab) -> Result<PathBuf> {
        match self.build {
            Build::Lab => Ok(lab.image.clone()),
            Build::GivenAway => image::given_away(),
        }
    }

    fn run(&self, muslin: &Path, image: &Path, count: &mut Count) -> Result<()> {
        let mut tests = self.command(muslin, image)?;
        // Of this run alone: what is found there in the end, it has left.
        let temporary = tempfile::Builder::new().prefix("muslin-kubernetes-").tempdir()?;
        tests.env("TMPDIR", temporary.path());
        shell::run_tests(&mut Enter::wrap(&tests)?, count)
    }

    fn command(&self, muslin: &Path, image: &Path) -> Result<Command> {
        // The programs beside the cluster's have nothing to do with what the shapes differ in.
        let mut tests = match self.tests {
            "all" => integration_tests(Tier::Kubernetes)?,
            _ => cargo(["test", "--workspace", "--locked", "--test", "kubernetes_cluster"]),
        };
        tests.env("MUSLIN_BIN", muslin).env("MUSLIN_IMAGE", image).env("RUST_LIB_BACKTRACE", "0");
        tests.env("MUSLIN_ROUTER", self.router).env("MUSLIN_PROXY_MODE", self.proxy_mode);
        tests.env("MUSLIN_TOPOLOGY", self.topology).env("MUSLIN_FAMILIES", self.families);
        tests.env("MUSLIN_TESTS", self.tests);
        Ok(tests)
    }
}
