//! ADD and DEL of the CNI plugins, each call a process of its own, as a container runtime makes them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use muslin_netns::Namespace;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::report::{Column, Row, Samples, Section, Target};

const PTP: &str = "Debian's ptp + host-local, IPv4";
const OURS: &str = "muslin-cni, IPv4";
const DUAL: &str = "muslin-cni, IPv4 and IPv6";
const FLOOR: &str = "floor: start /bin/true";

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) runs: usize,
    /// One after the other.
    pub(crate) pods: usize,
    pub(crate) at_once: usize,
}

/// A plugin on its node.
struct Candidate {
    name: &'static str,
    plugin: PathBuf,
    configuration: Value,
    node: Namespace,
    samples: [Samples; 4],
}

pub(crate) fn measure(binaries: &Path, extent: Extent) -> Result<Section> {
    let Extent { runs, pods, at_once } = extent;
    let folder = tempfile::tempdir()?;
    let mut candidates = vec![
        ptp(&folder)?,
        ours(OURS, binaries, &folder, "four", &["10.201.0.0/16"])?,
        ours(DUAL, binaries, &folder, "dual", &["10.202.0.0/16", "fd02::/64"])?,
        Candidate {
            name: FLOOR,
            plugin: "/bin/true".into(),
            configuration: json!({}),
            node: Namespace::new("floor")?,
            samples: Default::default(),
        },
    ];
    let all = candidates.len();
    for run in 0..runs {
        eprintln!("round {} of {runs}", run + 1);
        let mut times = vec![[Samples::default(), Samples::default()]; all];
        for number in 0..pods {
            for turn in 0..all {
                // Whoever comes after another pays for what the kernel still has to do for that one: everybody does in turn.
                let place = (number + turn) % all;
                let pod = Namespace::new("pod")?;
                let container = format!("pod-{run}-{number}");
                for (what, times) in ["ADD", "DEL"].into_iter().zip(&mut times[place]) {
                    times.push(candidates[place].call(what, &container, &pod)?);
                }
            }
        }
        for (candidate, times) in candidates.iter_mut().zip(times) {
            for (samples, times) in candidate.samples.iter_mut().zip(times) {
                samples.push(times.median().context("no pod")?);
            }
        }
        for turn in 0..all {
            candidates[(run + turn) % all].burst(run, at_once)?;
        }
    }
    let rows = candidates
        .into_iter()
        .map(|candidate| Row { name: candidate.name.to_owned(), values: candidate.samples.to_vec() })
        .collect();
    let mut section = Section {
        title: "Adding and deleting pods",
        method: format!(
            "{pods} pods one after the other, a network namespace each; the time of the plugin's process from its start \
             to its end, of which the median counts. Plugins take turns pod by pod. Then {at_once} at once, in turns: from \
             the start of the first process to the end of the last one. {runs} repetitions."
        ),
        columns: vec![
            Column { name: "ADD", unit: "ms" },
            Column { name: "DEL", unit: "ms" },
            Column { name: "all ADDs at once", unit: "ms" },
            Column { name: "all DELs at once", unit: "ms" },
        ],
        rows,
        targets: vec![],
        notes: vec![],
        plot: None,
    };
    let target = |column: &str, limit: f64| {
        let (found, _) = section.worst_to_best(OURS, column, |name| name == PTP)?;
        Some(Target {
            statement: format!("{column}: our worst at most {limit} of ptp's median"),
            found,
            limit,
        })
    };
    let wanted = [("ADD", 0.5), ("DEL", 0.35), ("all ADDs at once", 0.5), ("all DELs at once", 0.35)];
    section.targets = wanted.into_iter().filter_map(|(column, limit)| target(column, limit)).collect();
    Ok(section)
}

fn ptp(folder: &TempDir) -> Result<Candidate> {
    let configuration = json!({
        "cniVersion": "1.0.0",
        "name": "ptp",
        "type": "ptp",
        "mtu": 1500,
        "ipam": { "type": "host-local", "subnet": "10.200.0.0/16", "dataDir": folder.path().join("host-local") },
    });
    Ok(Candidate {
        name: PTP,
        plugin: "/usr/lib/cni/ptp".into(),
        configuration,
        node: Namespace::new("ptp")?,
        samples: Default::default(),
    })
}

fn ours(
    name: &'static str,
    binaries: &Path,
    folder: &TempDir,
    network: &str,
    blocks: &[&str],
) -> Result<Candidate> {
    let data = folder.path().join(network);
    fs::create_dir(&data)?;
    let state = json!({ "version": 1, "blocks": blocks, "mtu": 1500 });
    fs::write(data.join("network.json"), state.to_string())?;
    let configuration =
        json!({ "cniVersion": "1.0.0", "name": network, "type": "muslin-cni", "dataDir": data });
    let plugin = binaries.join("muslin-cni");
    Ok(Candidate { name, plugin, configuration, node: Namespace::new(network)?, samples: Default::default() })
}

impl Candidate {
    /// As a node that starts with its pods: all of them come together, and go.
    fn burst(&mut self, number: usize, pods: usize) -> Result<()> {
        let namespaces: Vec<Namespace> =
            (0..pods).map(|_| Namespace::new("pod")).collect::<Result<_, _>>()?;
        for (what, samples) in [("ADD", 2), ("DEL", 3)] {
            let begun = Instant::now();
            std::thread::scope(|scope| {
                let one = |(index, pod): (usize, _)| {
                    let (candidate, container) = (&*self, format!("burst-{number}-{index}"));
                    scope.spawn(move || candidate.call(what, &container, pod))
                };
                let calls: Vec<_> = namespaces.iter().enumerate().map(one).collect();
                calls.into_iter().try_for_each(|call| {
                    call.join().map_err(|_| anyhow::anyhow!("a call panicked"))?.map(drop)
                })
            })?;
            self.samples[samples].push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(())
    }

    /// One call of the plugin, in milliseconds.
    fn call(&self, what: &str, container: &str, pod: &Namespace) -> Result<f64> {
        let mut command = Command::new(&self.plugin);
        command
            .env("CNI_COMMAND", what)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", pod.path())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/usr/lib/cni")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let begun = Instant::now();
        let mut child = self.node.spawn(&mut command)?;
        if let Some(mut input) = child.stdin.take() {
            // The floor does not read it.
            let _ = input.write_all(self.configuration.to_string().as_bytes());
        }
        let output = child.wait_with_output()?;
        let took = begun.elapsed();
        if !output.status.success() {
            bail!("{} {what}: {}", self.name, String::from_utf8_lossy(&output.stdout));
        }
        Ok(took.as_secs_f64() * 1000.0)
    }
}
