//! Real daemons in namespaces, asked by the real commands: two nodes of the example behind its router.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/world.rs"]
mod world;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use daemon::{Daemon, MUSLIN, OURS, PATIENCE, lines};
use muslin_netns::Namespace;
use serde_json::Value;
use world::World;

#[test]
fn status_peers_and_routes_tell_the_same_story_to_people_and_programs() {
    let world = World::start();
    let status = world.n1().json(&["status"]);
    assert_eq!((&status["node"], &status["asn"]), (&"n1".into(), &64512.into()));
    let peers = world.n1().json(&["peers"]);
    let names: Vec<_> = peers.as_array().unwrap().iter().map(|peer| peer["key"].as_str().unwrap()).collect();
    assert_eq!(names, ["tor-1-ipv4", "tor-1-ipv6"]);
    assert!(world.n1().text(&["peers"]).contains("BGPPeer tor-1-ipv4"));

    let best = world.n1().text(&["routes", "best"]);
    assert!(best.contains("10.244.2.0/24") && best.contains("65000 64512"), "{best}");
    let kernel = world.n1().json(&["routes", "kernel"]);
    let prefixes: Vec<_> =
        kernel["kernel"]["routes"].as_array().unwrap().iter().map(|r| &r["prefix"]).collect();
    assert!(prefixes.contains(&&Value::from("10.244.2.0/24")), "{kernel}");
    let sent = world.router.json(&["routes", "advertised"]);
    assert!(sent.to_string().contains("10.244.2.0/24"), "{sent}");

    let nobody = world.n1().ask(&["routes", "received", "--peer", "tor-9"]);
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(!nobody.status.success() && said.contains("there are: tor-1-ipv4, tor-1-ipv6"), "{said}");
}

#[test]
fn the_page_of_a_peer_has_everything_and_a_wrong_name_is_corrected() {
    let world = World::start();
    let page = world.n1().text(&["peers", "tor-1-ipv4"]);
    for part in ["Established", "AS 65000 (external)", "in effect", "ipv4-unicast", "both ways", "up to date"]
    {
        assert!(page.contains(part), "no {part}:\n{page}");
    }
    let by_address = world.n1().json(&["peers", "172.30.1.1"]);
    assert_eq!(by_address["key"], "tor-1-ipv4");
    let wrong = world.n1().ask(&["peers", "tor-1-ipv5"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && said.contains("did you mean `tor-1-ipv4`"), "{said}");
}

#[test]
fn a_watch_shows_the_table_and_then_what_changes_in_it() {
    let world = World::start();
    let mut command = Command::new(MUSLIN);
    command.args(["routes", "received", "--watch", "--output", "json", "--socket"]).arg(&world.router.socket);
    let mut watch = command.stdout(Stdio::piped()).spawn().unwrap();
    let shown = lines(watch.stdout.take().unwrap());
    let await_line = |what: &str| {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = shown.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if line.contains(what) {
                return serde_json::from_str::<Value>(&line).unwrap();
            }
        }
        panic!("the watch never showed {what}");
    };
    let first = await_line("10.244.2.0/24");
    assert_eq!((&first["type"], &first["prefix"]), (&"routes".into(), &"10.244.2.0/24".into()));
    await_line("complete");
    let spec = "{originate: [{cidr: 203.0.113.0/24}]}";
    let manifest = format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata: {{name: node.n2}}\nspec: {spec}\n"
    );
    fs::write(world.state.join("further.yaml"), manifest).unwrap();
    let new = await_line("203.0.113.0/24");
    assert_eq!(new["routes"][0]["asPath"], "64512", "{new}");
    fs::remove_file(world.state.join("further.yaml")).unwrap();
    let gone = await_line("203.0.113.0/24");
    assert_eq!(gone["routes"].as_array().unwrap().len(), 0, "{gone}");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn a_manifest_gone_bad_is_named_and_its_last_good_state_stays_in_force() {
    let world = World::start();
    let path = world.state.join("bgp.yaml");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, good.replace("peerAddress: 172.30.1.1", "peerAdress: 172.30.1.1")).unwrap();
    let line = world.n1().await_log("did you mean");
    assert!(line.contains("bgp.yaml:") && line.contains(".spec.peerAdress"), "{line}");
    let status = world.n1().ask(&["status"]);
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert_eq!(status.status.code(), Some(1), "{said}");
    assert!(said.starts_with("PROBLEMS\n") && said.contains("did you mean `peerAddress`"), "{said}");
    assert!(said.contains("tor-1-ipv4") && !said.contains("Idle"), "the peer stays: {said}");
}

#[test]
fn a_peer_of_the_wrong_as_says_so_with_the_remedy() {
    let world = World::start();
    let path = world.state.join("bgp.yaml");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, good.replacen("peerASN: 65000", "peerASN: 65001", 1)).unwrap();
    world.n1().await_log("2/2");
    let peers = world.n1().ask(&["peers"]);
    let said = String::from_utf8_lossy(&peers.stdout).into_owned();
    assert_eq!(peers.status.code(), Some(1), "{said}");
    assert!(said.contains("tor-1-ipv4: ") && said.contains("65000"), "{said}");
    let other = said.lines().find(|line| line.starts_with("tor-1-ipv6")).unwrap();
    assert!(other.contains("Established"), "the other session stays up: {said}");
}

#[test]
fn fault_01_a_killed_agent_leaves_its_routes_and_the_next_one_takes_them_over() {
    let mut world = World::start();
    let (namespace, daemon) = &mut world.nodes[0];
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    let ours = |namespace: &Namespace| {
        let routes = namespace.routes().unwrap().into_iter().filter(|route| route.protocol == OURS);
        let mut prefixes: Vec<_> = routes.map(|route| route.prefix).collect();
        prefixes.sort();
        prefixes
    };
    let before = ours(namespace);
    assert!(before.len() >= 4, "{before:?}");
    let folder = daemon.socket.parent().unwrap().to_owned();
    *daemon = Daemon::start(namespace, &folder, &["agent", "--node", "n1"], &world.state);
    daemon.await_log("session established");
    let status = daemon.json(&["status"]);
    assert!(status["kernel"]["adopted"]["routes"].as_u64().unwrap() >= 4, "{status}");
    assert_eq!(ours(namespace), before);
}

#[test]
fn a_recorded_agent_is_replayed_with_the_same_outputs_and_tables() {
    let mut world = World::start();
    let (namespace, daemon) = &mut world.nodes[0];
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    let folder = daemon.socket.parent().unwrap().to_owned();
    let records = folder.join("records");
    let args = ["agent", "--node", "n1", "--record", records.to_str().unwrap()];
    *daemon = Daemon::start(namespace, &folder, &args, &world.state);
    daemon.await_log("every peer that can be waited for");
    daemon.terminate();
    let record = records.join("00000001.muslin-record");
    let replay = Command::new(MUSLIN).arg("replay").arg(&record).output().unwrap();
    let said = String::from_utf8_lossy(&replay.stdout).into_owned();
    assert!(replay.status.success(), "{said}{}", String::from_utf8_lossy(&replay.stderr));
    for part in ["every output came out as it was recorded", "the tables came out as they were", "sessionUp"]
    {
        assert!(said.contains(part), "no {part}: {said}");
    }
    assert!(said.contains("10.244.2.0/24") && said.contains("tor-1-ipv6"), "{said}");
}

/// What the socket answers to a GET; of a stream, the first line.
fn get(socket: &Path, path: &str) -> Value {
    let mut stream = BufReader::new(UnixStream::connect(socket).unwrap());
    write!(stream.get_mut(), "GET {path} HTTP/1.0\r\nHost: muslin\r\n\r\n").unwrap();
    let mut line = String::new();
    while line.trim_end() != "" || line.is_empty() {
        line.clear();
        stream.read_line(&mut line).unwrap();
    }
    let mut body = String::new();
    if path.starts_with("/v1/watch/") {
        stream.read_line(&mut body).unwrap();
    } else {
        stream.read_to_string(&mut body).unwrap();
    }
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

/// Fields that a route has only where they apply.
const OPTIONAL: [&str; 8] =
    ["pathId", "reason", "refusal", "decision", "rule", "changes", "originatorId", "clusterList"];

/// One object with the fields of all objects of a list.
fn merged(items: &[Value]) -> Value {
    let mut fields = serde_json::Map::new();
    for (key, value) in items.iter().filter_map(Value::as_object).flatten() {
        if fields.get(key).is_none_or(Value::is_null) {
            fields.insert(key.clone(), value.clone());
        }
    }
    Value::Object(fields)
}

/// Every field of the example stands in the answer, with a value of the same type: what clients were told to rely
/// on is there. Answers may have more.
fn assert_kept(at: &str, example: &Value, answer: &Value) {
    match (example, answer) {
        // Where the page refers to another example.
        (Value::String(text), _) if text.starts_with("as in `") => {}
        (Value::Object(example), Value::Object(answer)) => {
            for (key, value) in example {
                let at = format!("{at}.{key}");
                match answer.get(key) {
                    Some(kept) => assert_kept(&at, value, kept),
                    // Keys of these are names that depend on the case.
                    None if ["refused", "interfaces"].iter().any(|map| at.contains(&format!(".{map}."))) => {}
                    None => {
                        assert!(OPTIONAL.contains(&key.as_str()), "{at} of docs/api.md is gone: {answer:?}");
                    }
                }
            }
        }
        (Value::Array(example), Value::Array(answer)) => {
            if let (Some(first @ Value::Object(_)), false) = (example.first(), answer.is_empty()) {
                assert_kept(&format!("{at}[]"), first, &merged(answer));
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        _ => assert_eq!(
            std::mem::discriminant(example),
            std::mem::discriminant(answer),
            "{at} is {answer}, docs/api.md says {example}"
        ),
    }
}

#[test]
fn the_api_answers_as_its_page_says() {
    let world = World::start();
    let page = include_str!("../../../docs/api.md");
    let mut tested = 0;
    for section in page.split("## `GET ").skip(1) {
        let path = section.split('`').next().unwrap();
        let example = section.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let example: Value = serde_json::from_str(example).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_kept(path, &example, &get(&world.n1().socket, path));
        tested += 1;
    }
    assert!(tested >= 10, "only {tested} examples were found");
}

#[test]
fn a_socket_without_a_daemon_is_one_sentence_with_the_fix() {
    let output = Command::new(MUSLIN).args(["status", "--socket", "/nowhere/muslin.sock"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains("no daemon answers here; is `muslin agent`") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn a_packet_filter_and_a_cni_configuration_that_somebody_removed_come_back() {
    let world = World::start();
    let (namespace, daemon) = &world.nodes[0];
    daemon.await_log("CNI configuration is in place");
    fs::remove_file(daemon.socket.with_file_name("net.d").join("10-muslin.conflist")).unwrap();
    assert!(namespace.run(muslin_pod_network::firewall::is_present).unwrap().unwrap());
    namespace.run(muslin_pod_network::firewall::remove).unwrap().unwrap();
    daemon.await_log("somebody removed the packet filter");
    assert!(namespace.run(muslin_pod_network::firewall::is_present).unwrap().unwrap());
    daemon.await_log("CNI configuration is in place");
}
