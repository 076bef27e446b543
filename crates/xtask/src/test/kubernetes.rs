//! The Kubernetes tier: the product, as its users get it, on a real control plane with real nodes.

use std::path::Path;

use anyhow::{Result, bail};

use super::{Tier, integration_tests, lab};
use crate::image;
use crate::packages::{self, CNI_PLUGINS, FRR, NFTABLES, Package};
use crate::shell::{self, Count, Enter};

const PACKAGES: [Package; 9] = [
    Package { name: "conntrack", file: "/usr/sbin/conntrack" },
    Package { name: "containerd", file: "/usr/bin/containerd" },
    Package { name: "etcd-server", file: "/usr/bin/etcd" },
    Package { name: "iproute2", file: "/usr/bin/ip" },
    Package { name: "iptables", file: "/usr/sbin/iptables" },
    Package { name: "runc", file: "/usr/sbin/runc" },
    CNI_PLUGINS,
    FRR,
    NFTABLES,
];

/// Routers and kube-proxy modes that the tests are run with.
const SHAPES: [[&str; 2]; 2] = [["muslin", "nftables"], ["frr", "iptables"]];

/// Runs every test of the tier once in each shape, with the image and the chart of this checkout.
pub(super) fn run(count: &mut Count) -> Result<()> {
    packages::require(&PACKAGES)?;
    if !shell::is_root() {
        bail!("kubelets work with control groups, which needs root: sudo cargo xtask test --tier kubernetes");
    }
    let muslin = lab::build()?;
    let image = image::for_this_machine()?;
    let mut failed = None;
    for [router, mode] in SHAPES {
        println!("router {router}, kube-proxy with {mode}");
        if let Err(error) = shape(router, mode, &muslin, &image, count) {
            failed = Some(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

fn shape(router: &str, mode: &str, muslin: &Path, image: &Path, count: &mut Count) -> Result<()> {
    let mut tests = integration_tests(Tier::Kubernetes)?;
    tests.env("MUSLIN_BIN", muslin).env("MUSLIN_IMAGE", image);
    tests.env("MUSLIN_ROUTER", router).env("MUSLIN_PROXY_MODE", mode).env("RUST_LIB_BACKTRACE", "0");
    shell::run_tests(&mut Enter::wrap(&tests)?, count)
}
