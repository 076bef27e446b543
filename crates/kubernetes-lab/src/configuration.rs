//! Configuration files of a node's services.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use muslin_lab::ProxyMode;
use muslin_lab::fabric::{POD_RANGE, SERVICE_RANGE};

use crate::image;
use crate::node::init::CONFIGURATION;

/// Where a node's kubelet finds pods that are not the API server's.
pub const STATIC_PODS: &str = "/var/lib/kubelet/manifests";
/// The host part of the DNS Service's addresses.
pub(crate) const DNS: u8 = 10;

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
pub(crate) fn kubelet() -> String {
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
        "clusterDNS": dns_addresses(),
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
        "resolvConf": format!("{CONFIGURATION}/resolv.conf"),
        // For pods that need no API server.
        "staticPodPath": STATIC_PODS,
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    })
    .to_string()
}

/// `kube-proxy.yaml`
pub(crate) fn kube_proxy(node: &str, mode: ProxyMode) -> String {
    serde_json::json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": format!("{CONFIGURATION}/kube-proxy.kubeconfig")},
        "clusterCIDR": format!("{},{}", POD_RANGE.v4, POD_RANGE.v6),
        // Only the machine's own namespace has these settings.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "hostnameOverride": node,
        "mode": match mode {
            ProxyMode::Nftables => "nftables",
            ProxyMode::Iptables => "iptables",
            ProxyMode::Ipvs => "ipvs",
        },
    })
    .to_string()
}

/// The addresses of the cluster's DNS.
pub(crate) fn dns_addresses() -> [IpAddr; 2] {
    [
        Ipv4Addr::from_bits(SERVICE_RANGE.v4.addr().to_bits() + u32::from(DNS)).into(),
        Ipv6Addr::from_bits(SERVICE_RANGE.v6.addr().to_bits() + u128::from(DNS)).into(),
    ]
}
