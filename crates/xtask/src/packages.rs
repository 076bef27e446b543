//! Programs that tests are run against or images are built with, from the distribution's packages.

pub(crate) mod later;

use std::path::Path;

use anyhow::{Result, bail};

use crate::shell;

/// A package of the distribution and a file by which it is known to be there.
#[derive(Clone, Copy)]
pub(crate) struct Package {
    /// Name for `apt-get install`.
    pub(crate) name: &'static str,
    /// A file of it.
    pub(crate) file: &'static str,
}

pub(crate) const BIRD: Package = Package { name: "bird2", file: "/usr/sbin/bird" };
pub(crate) const FRR: Package = Package { name: "frr", file: "/usr/lib/frr/bgpd" };
pub(crate) const GOBGP: Package = Package { name: "gobgpd", file: "/usr/bin/gobgpd" };
pub(crate) const OPENBGPD: Package = Package { name: "openbgpd", file: "/usr/sbin/bgpctl" };
pub(crate) const EXABGP: Package = Package { name: "exabgp", file: "/usr/sbin/exabgp" };
pub(crate) const PMACCT: Package = Package { name: "pmacct", file: "/usr/sbin/pmbmpd" };
pub(crate) const VALGRIND: Package = Package { name: "valgrind", file: "/usr/bin/valgrind" };
pub(crate) const NFTABLES: Package = Package { name: "nftables", file: "/usr/sbin/nft" };
/// Its library is where the architecture has libraries; this is what comes with it.
pub(crate) const FAKETIME: Package = Package { name: "faketime", file: "/usr/bin/faketime" };
/// For its `promtool`.
pub(crate) const PROMETHEUS: Package = Package { name: "prometheus", file: "/usr/bin/promtool" };
pub(crate) const DOCKER: Package = Package { name: "docker.io", file: "/usr/sbin/dockerd" };
pub(crate) const STRACE: Package = Package { name: "strace", file: "/usr/bin/strace" };
pub(crate) const JQ: Package = Package { name: "jq", file: "/usr/bin/jq" };
pub(crate) const IPROUTE: Package = Package { name: "iproute2", file: "/usr/bin/ip" };
pub(crate) const PING: Package = Package { name: "iputils-ping", file: "/usr/bin/ping" };
/// For its `systemd-networkd`, which nothing starts.
pub(crate) const SYSTEMD: Package = Package { name: "systemd", file: "/usr/lib/systemd/systemd-networkd" };
pub(crate) const CXX: Package = Package { name: "g++", file: "/usr/bin/g++" };
pub(crate) const MUSL: Package = Package { name: "musl-tools", file: "/usr/bin/musl-gcc" };
pub(crate) const GCC_ARM64: Package =
    Package { name: "gcc-aarch64-linux-gnu", file: "/usr/bin/aarch64-linux-gnu-gcc" };
/// The headers that it compiles with, which it only recommends.
pub(crate) const LIBC_ARM64: Package =
    Package { name: "libc6-dev-arm64-cross", file: "/usr/aarch64-linux-gnu/include/stdint.h" };
pub(crate) const CNI_PLUGINS: Package =
    Package { name: "containernetworking-plugins", file: "/usr/lib/cni/ptp" };
pub(crate) const ETCD: Package = Package { name: "etcd-server", file: "/usr/bin/etcd" };

/// Makes sure that the packages are there: root has the missing ones installed, anybody else is told the command.
pub(crate) fn require(wanted: &[Package]) -> Result<()> {
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|package| !Path::new(package.file).exists())
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !shell::is_root() || !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "missing: {}. Run once: sudo apt-get install --no-install-recommends {}",
            missing.join(", "),
            missing.join(" ")
        );
    }
    shell::run(apt_get().args(["update", "--quiet"]))?;
    shell::run(apt_get().args(["install", "--quiet", "--yes", "--no-install-recommends"]).args(&missing))?;
    match wanted.iter().find(|package| !Path::new(package.file).exists()) {
        None => Ok(()),
        Some(package) => bail!("{} was installed, but {} is not there", package.name, package.file),
    }
}

fn apt_get() -> std::process::Command {
    let mut command = shell::command("apt-get");
    // RUNLEVEL=1: an installed daemon is not to be started as a service; tests start their own.
    command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    command
}
