//! An Ingress controller behind a Service: from outside by BGP to its addresses, by host and path to pods.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use muslin_kubernetes_lab::INGRESS;
use muslin_lab::Dual;

use crate::cluster::{Cluster, FAMILIES, eventually};
use crate::http::get_from_host;
use crate::services::publish;

const MANIFESTS: &str = "apiVersion: v1
kind: ServiceAccount
metadata: {name: ingress, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: ingress}
rules:
- {apiGroups: [networking.k8s.io], resources: [ingresses], verbs: [get, list]}
- {apiGroups: [''], resources: [services, endpoints, secrets, namespaces], verbs: [get, list]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: ingress}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ingress}
subjects: [{kind: ServiceAccount, name: ingress, namespace: default}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ingress}
spec:
  replicas: 2
  selector:
    matchLabels: {app: ingress}
  template:
    metadata:
      labels: {app: ingress}
    spec:
      serviceAccountName: ingress
      terminationGracePeriodSeconds: 0
      containers:
      - name: controller
        image: IMAGE
        imagePullPolicy: Never
        args:
        - -kubernetes
        - -kubernetes-in-cluster
        - -kubernetes-path-mode=path-prefix
        - -kubernetes-https-redirect=false
        - -wait-first-route-load
        - -address=:9080
        ports: [{name: http, containerPort: 9080}]
        readinessProbe:
          tcpSocket: {port: http}
          periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata: {name: ingress}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  ipFamilyPolicy: RequireDualStack
  selector: {app: ingress}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: first}
spec:
  selector: {set: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: second}
spec:
  selector: {set: second}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  rules:
  - host: shop.example
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: first, port: {name: http}}}}
      - {path: /hostname, pathType: Prefix, backend: {service: {name: second, port: {name: http}}}}
  - host: news.example
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: second, port: {name: http}}}}
";

pub(crate) fn by_host_and_path(cluster: &Cluster) -> Result<()> {
    cluster.lab().add_ingress_controller()?;
    let addresses = Dual { v4: "192.0.2.80".parse()?, v6: "2001:db8:2::80".parse()? };
    cluster.kubectl.apply(&MANIFESTS.replace("IMAGE", INGRESS))?;
    publish(cluster, "ingress", addresses)?;
    cluster.lab().await_rollout("default", "deployment/ingress")?;
    // The server has two names for the path that tells its own: one is routed by its path, the other is not.
    for (host, path, set) in [
        ("shop.example", "/hostName", "web-"),
        ("shop.example", "/hostname", "second-"),
        ("news.example", "/hostName", "second-"),
    ] {
        for family in FAMILIES {
            let to: SocketAddr = (addresses.get(family), 80).into();
            eventually(|| {
                let name = get_from_host(&cluster.outside, to, host, path)?;
                ensure!(name.starts_with(set), "{host}{path} is answered by {name}, not by {set}…");
                Ok(())
            })?;
        }
    }
    let to = (addresses.v4, 80).into();
    let stranger = get_from_host(&cluster.outside, to, "stranger.example", "/hostname");
    ensure!(stranger.is_err(), "a host that nobody asked for is answered: {stranger:?}");
    cluster.kubectl.run(&[
        "delete",
        "deployment/ingress",
        "service/ingress",
        "ingress/shop",
        "--wait=false",
    ])?;
    Ok(())
}
