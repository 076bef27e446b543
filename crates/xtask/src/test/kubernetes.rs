//! The Kubernetes tier: the product, as its users get it, on a real control plane with real nodes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use super::ahead::Ahead;
use super::{NEEDS_HELM, Tier, integration_tests};
use crate::image;
use crate::packages::{self, CNI_PLUGINS, ETCD, FAKETIME, FRR, NFTABLES, Package};
use crate::shell::{self, Count, Enter, cargo};

const PACKAGES: [Package; 12] = [
    // Kubernetes' own tests call these in pods.
    Package { name: "bind9-dnsutils", file: "/usr/bin/dig" },
    Package { name: "netcat-openbsd", file: "/usr/bin/nc.openbsd" },
    Package { name: "conntrack", file: "/usr/sbin/conntrack" },
    Package { name: "containerd", file: "/usr/bin/containerd" },
    Package { name: "iproute2", file: "/usr/bin/ip" },
    Package { name: "iptables", file: "/usr/sbin/iptables" },
    Package { name: "runc", file: "/usr/sbin/runc" },
    CNI_PLUGINS,
    ETCD,
    FAKETIME,
    FRR,
    NFTABLES,
];

/// What a cluster is made of, and how many of the tests are run on it.
struct Shape {
    router: &'static str,
    proxy_mode: &'static str,
    /// `all`, or `packets` for those whose outcome another router, kube-proxy mode or build of ours could change, or
    /// `builds` for these and an upgrade from the image to the lab's own build.
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

const SHAPES: [Shape; 3] = [
    Shape { router: "muslin", proxy_mode: "nftables", tests: "all", build: Build::Lab },
    Shape { router: "frr", proxy_mode: "iptables", tests: "builds", build: Build::GivenAway },
    Shape { router: "muslin", proxy_mode: "ipvs", tests: "packets", build: Build::Lab },
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
    let image::ForLab { image, muslin } = image::for_lab()?;
    let page = shell::workspace().join("docs/kubernetes.md");
    let mut tests = SHAPES[0].command(&muslin, &image)?;
    tests.env("MUSLIN_E2E", if options.all { "all" } else { "core" }).env("MUSLIN_E2E_PAGE", page);
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
        println!("router {}, kube-proxy with {}, {} tests", shape.router, shape.proxy_mode, shape.tests);
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
        tests.env("MUSLIN_TESTS", self.tests);
        Ok(tests)
    }
}
