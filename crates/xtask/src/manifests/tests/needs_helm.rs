//! The chart, rendered by Helm. The unit tier leaves these tests to the one with Kubernetes, which builds Helm.

use serde_json::Value;

use super::super::*;

/// Helm, which the tier that runs these tests has built.
fn built_helm() -> PathBuf {
    helm().expect("helm is not here: `cargo xtask test --tier kubernetes` builds it and runs this")
}

/// The objects that the chart makes.
fn objects(helm: &Path, values: &[&str]) -> Vec<Value> {
    let text = render(helm, values).unwrap();
    serde_saphyr::from_multiple::<Value>(&text)
        .unwrap()
        .into_iter()
        .filter(|value| !value.is_null())
        .collect()
}

fn daemon_set(helm: &Path, values: &[&str]) -> Value {
    let objects = objects(helm, values);
    objects.into_iter().find(|object| object["kind"] == "DaemonSet").unwrap()
}

fn volume<'a>(pod: &'a Value, name: &str) -> &'a str {
    let volumes = pod["volumes"].as_array().unwrap();
    volumes.iter().find(|volume| volume["name"] == name).unwrap()["hostPath"]["path"].as_str().unwrap()
}

#[test]
fn helm_finds_no_fault_with_the_chart() {
    let helm = built_helm();
    shell::read(shell::command(helm).args(["lint", "--strict", CHART])).unwrap();
}

#[test]
fn the_manifests_are_what_helm_makes_of_the_chart() {
    let helm = built_helm();
    for (name, values) in FILES {
        let text = fs::read_to_string(workspace().join(MANIFESTS).join(name)).unwrap();
        assert!(text.ends_with(&render(&helm, values).unwrap()), "{name}: run `cargo xtask manifests`");
    }
}

#[test]
fn no_container_may_do_more_than_its_work() {
    let helm = built_helm();
    for (mode, allowed) in
        [("agent", &["NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW"][..]), ("uninstall", &["NET_ADMIN"])]
    {
        let set = daemon_set(&helm, &[&format!("mode={mode}")]);
        let pod = &set["spec"]["template"]["spec"];
        let containers = ["initContainers", "containers"].map(|kind| pod[kind].as_array().unwrap().clone());
        for container in containers.concat() {
            let security = &container["securityContext"];
            assert_eq!(security["readOnlyRootFilesystem"], true, "{container}");
            assert_eq!(security["allowPrivilegeEscalation"], false, "{container}");
            assert_eq!(security["privileged"], Value::Null, "{container}");
            assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]), "{container}");
            let added = security["capabilities"]["add"].as_array().cloned().unwrap_or_default();
            assert!(added.iter().all(|added| allowed.contains(&added.as_str().unwrap())), "{container}");
        }
        assert_eq!(pod["tolerations"], serde_json::json!([{ "operator": "Exists" }]));
        assert_eq!(pod["priorityClassName"], "system-node-critical");
    }
}

#[test]
fn roles_name_what_they_give() {
    let helm = built_helm();
    for role in objects(&helm, &[]) {
        let kind = role["kind"].as_str().unwrap();
        for rule in role["rules"].as_array().unwrap_or(&Vec::new()) {
            for part in ["apiGroups", "resources", "verbs"] {
                assert!(!rule[part].as_array().unwrap().iter().any(|word| word == "*"), "{kind}: {rule}");
            }
            let secrets = rule["resources"].as_array().unwrap().iter().any(|resource| resource == "secrets");
            assert!(!secrets || kind == "Role", "Secrets of one namespace only: {rule}");
        }
    }
}

#[test]
fn each_platform_has_its_folders_and_they_can_be_named() {
    let helm = built_helm();
    for platform in ["kubeadm", "k3s", "rke2", "talos"] {
        let set = daemon_set(&helm, &[&format!("platform={platform}")]);
        let pod = &set["spec"]["template"]["spec"];
        assert_eq!((volume(pod, "cni-bin"), volume(pod, "cni-conf")), ("/opt/cni/bin", "/etc/cni/net.d"));
        let environment = pod["containers"][0]["env"].as_array().unwrap();
        let has_own_way = environment.iter().any(|variable| variable["name"] == "KUBERNETES_SERVICE_HOST");
        assert_eq!(has_own_way, platform == "talos", "{platform}");
    }
    let set = daemon_set(&helm, &["cni.binDir=/usr/lib/cni", "apiServer.host=192.0.2.1"]);
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(volume(pod, "cni-bin"), "/usr/lib/cni");
    assert!(pod["containers"][0]["env"].to_string().contains("192.0.2.1"));
}

#[test]
fn a_value_that_cannot_be_is_refused_by_name() {
    let helm = built_helm();
    for (value, named) in [
        ("platform=openshift", "platform"),
        ("mode=off", "mode"),
        ("cni.binDir=opt/cni/bin", "binDir"),
        ("cni.chain={muslin-cni}", "chain"),
        ("updateStrategy.maxUnavailable=0", "maxUnavailable"),
        ("log.format=xml", "format"),
        ("imagee.tag=1", "imagee"),
    ] {
        let output = template(&helm, &[value]).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && words.contains(named), "{value}: {words}");
    }
}
