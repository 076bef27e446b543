//! Configuration files of a node's services.

use muslin_lab::ProxyMode;

use crate::image;
use crate::node::init::CONFIGURATION;
use crate::shape::{self, ClusterShape};

/// Where a node's kubelet finds pods that are not the API server's.
pub const STATIC_PODS: &str = "/var/lib/kubelet/manifests";

/// `containerd.toml`
pub(crate) fn containerd() -> String {
    // Machines differ in whether they let root lower its out-of-memory score; this asks for no more than there is.
    format!(
        "version = 2
[plugins.\"io.containerd.grpc.v1.cri\"]
sandbox_image = \"{pause}\"
restrict_oom_score_adj = true
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
runtime_type = \"io.containerd.runc.v2\"
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]
SystemdCgroup = false
",
        pause = image::PAUSE
    )
}

/// `kubelet.yaml`
pub(crate) fn kubelet(cluster: &ClusterShape) -> String {
    let taint = |key: &String| serde_json::json!({"key": key, "effect": "NoSchedule"});
    serde_json::json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": format!("{CONFIGURATION}/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "clusterDNS": cluster.dns(),
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        // The machine belongs to others too: what it lacks is not this node's to say.
        "evictionHard": {"memory.available": "1%", "nodefs.available": "1%", "imagefs.available": "1%"},
        "failCgroupV1": false,
        "failSwapOn": false,
        "imageGCHighThresholdPercent": 100,
        "imageMaximumGCAge": "0s",
        "nodeStatusReportFrequency": "10s",
        "nodeStatusUpdateFrequency": "4s",
        // As the documentation has it: no pod comes before the network.
        "registerWithTaints": cluster.taints.iter().map(taint).collect::<Vec<_>>(),
        "resolvConf": format!("{CONFIGURATION}/resolv.conf"),
        // For pods that need no API server.
        "staticPodPath": STATIC_PODS,
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    })
    .to_string()
}

/// `kube-proxy.yaml`
pub(crate) fn kube_proxy(node: &str, mode: ProxyMode, cluster: &ClusterShape) -> String {
    serde_json::json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": format!("{CONFIGURATION}/kube-proxy.kubeconfig")},
        "clusterCIDR": shape::list(&cluster.pods),
        // Only the machine's own namespace may say how many connections are tracked.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "hostnameOverride": node,
        "mode": match mode {
            ProxyMode::Nftables => "nftables",
            ProxyMode::Iptables => "iptables",
            ProxyMode::Ipvs => "ipvs",
        },
    })
    .to_string()
}
