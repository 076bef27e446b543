//! How long pods wait for their network: ADD and DEL of `muslin-cni` beside Debian's `ptp` with `host-local`.
//!
//! ```text
//! cargo build --release -p muslin-pod-network
//! cargo run --release -p muslin-pod-network --example cni_bench -- target/release/muslin-cni [/usr/lib/cni]
//! ```
//!
//! One pod after the other, in namespaces of its own; needs root. Each measured call is what a
//! runtime waits for: from starting the plugin to the end of its process. One line of JSON for each plugin.
#![allow(clippy::print_stdout, reason = "a program for people and scripts")]

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use muslin_netns::Namespace;
use muslin_pod_network::NetworkFile;
use serde_json::{Value, json};

const PODS: usize = 100;
/// The rival's home in Debian's package `containernetworking-plugins`.
const RIVALS: &str = "/usr/lib/cni";

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let muslin = arguments.next().ok_or("the path of muslin-cni")?.canonicalize()?;
    let rivals = arguments.next().unwrap_or_else(|| RIVALS.into());
    let ptp = rivals.join("ptp");
    for (families, blocks) in [
        ("IPv4", &[["10.244.1.0/24", "0.0.0.0/0"]][..]),
        ("dual-stack", &[["10.244.1.0/24", "0.0.0.0/0"], ["fd00:10:244:1::/64", "::/0"]]),
    ] {
        let folder = tempfile::tempdir()?;
        let own = blocks.iter().map(|[block, _]| block.parse()).collect::<Result<_, _>>()?;
        NetworkFile { blocks: own, mtu: Some(1500), reserved: Vec::new() }.write(folder.path())?;
        let config = json!({
            "cniVersion": "1.0.0", "name": "muslin", "type": "muslin-cni", "dataDir": folder.path(),
        });
        measure("muslin-cni", families, &muslin, &config, &rivals)?;
        let rival = json!({
            "cniVersion": "1.0.0", "name": "rival", "type": "ptp",
            "ipam": {
                "type": "host-local", "dataDir": folder.path().join("rival"),
                "ranges": blocks.iter().map(|[block, _]| json!([{ "subnet": block }])).collect::<Vec<_>>(),
                "routes": blocks.iter().map(|[_, all]| json!({ "dst": all })).collect::<Vec<_>>(),
            },
        });
        if ptp.exists() {
            measure("ptp + host-local", families, &ptp, &rival, &rivals)?;
        }
    }
    Ok(())
}

fn measure(name: &str, families: &str, plugin: &Path, config: &Value, path: &Path) -> Outcome<()> {
    let node = Namespace::new("node")?;
    let make = |number| Namespace::new(&format!("pod{number}"));
    let pods = (0..PODS).map(make).collect::<Result<Vec<_>, _>>()?;
    let others = (PODS..2 * PODS).map(make).collect::<Result<Vec<_>, _>>()?;
    let call = |command: &str, number: usize, pod: &Namespace| {
        let mut call = Command::new(plugin);
        call.env_clear()
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", format!("container{number}"))
            .env("CNI_NETNS", pod.path())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        timed(&mut call, config).map_err(|error| format!("{name} {command}: {error}"))
    };
    let all = |command: &str| -> Result<Vec<Duration>, String> {
        pods.iter().enumerate().map(|(number, pod)| call(command, number, pod)).collect()
    };
    let (add, del) = node.run(|| all("ADD").and_then(|add| Ok((add, all("DEL")?))))??;
    // As when a node starts: all pods at once, waiting for each other in the kernel.
    let at_once = || -> Result<Vec<Duration>, String> {
        std::thread::scope(|scope| {
            let call = &call;
            let add = |(number, pod)| scope.spawn(move || call("ADD", PODS + number, pod));
            let running: Vec<_> = others.iter().enumerate().map(add).collect();
            running
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err("died".to_owned())))
                .collect()
        })
    };
    let parallel = node.run(at_once)??;
    println!(
        "{}",
        json!({
            "plugin": name,
            "families": families,
            "pods": PODS,
            "add": summary(add),
            "del": summary(del),
            "parallel_add": summary(parallel),
        })
    );
    Ok(())
}

fn timed(call: &mut Command, config: &Value) -> Result<Duration, String> {
    let started = Instant::now();
    let mut running = call.spawn().map_err(|error| error.to_string())?;
    let written =
        running.stdin.take().map_or(Ok(()), |mut input| input.write_all(config.to_string().as_bytes()));
    let ended = written.and_then(|()| running.wait_with_output()).map_err(|error| error.to_string())?;
    let took = started.elapsed();
    if ended.status.success() { Ok(took) } else { Err(String::from_utf8_lossy(&ended.stdout).into_owned()) }
}

fn summary(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let milliseconds = |rank: usize| (times[rank].as_secs_f64() * 1e5).round() / 100.0;
    json!({ "p50_ms": milliseconds(times.len() / 2), "p99_ms": milliseconds(times.len() * 99 / 100) })
}
