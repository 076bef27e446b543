//! A real etcd and kube-apiserver on loopback.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tempfile::TempDir;

/// Longest wait for a server that starts.
const START: Duration = Duration::from_mins(1);

/// The version that the laboratory's Kubernetes has.
const VERSION: &str = "1.34.2";

/// It ends when it is dropped.
pub(crate) struct ControlPlane {
    folder: TempDir,
    etcd_port: u16,
    api_port: u16,
    apiserver: PathBuf,
    etcd: Option<Running>,
    api: Option<Running>,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// The binary of kube-apiserver that the lab with Kubernetes has built.
fn apiserver() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
    cache.join("muslin/kubernetes").join(VERSION).join("kube-apiserver")
}

impl ControlPlane {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let apiserver = apiserver();
        for program in [Path::new("/usr/bin/etcd"), &apiserver] {
            let remedy = "`cargo xtask test --tier kubernetes` puts it in place";
            assert!(program.exists(), "{} is not here: {remedy}", program.display());
        }
        let folder = tempfile::tempdir().unwrap();
        let mut plane =
            Self { folder, etcd_port: free_port(), api_port: free_port(), apiserver, etcd: None, api: None };
        let key = plane.path("sa.key");
        let made = Command::new("openssl")
            .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        fs::write(plane.path("tokens.csv"), "secret,tester,tester,system:masters\n").unwrap();
        plane.start_etcd();
        plane.start_api().await;
        plane
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spawn(&self, program: &Path, arguments: &[String]) -> Running {
        let name = program.file_name().unwrap().to_str().unwrap();
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.path(&format!("{name}.log"))).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Running(child.unwrap())
    }

    pub(crate) fn start_etcd(&mut self) {
        let (client, peer) =
            (format!("http://127.0.0.1:{}", self.etcd_port), format!("http://127.0.0.1:{}", free_port()));
        let arguments = [
            format!("--data-dir={}", self.path("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ];
        self.etcd = Some(self.spawn(Path::new("/usr/bin/etcd"), &arguments));
    }

    /// Takes everything that the cluster knows away, as a restore of an empty backup would.
    pub(crate) fn wipe_etcd(&mut self) {
        self.etcd = None;
        fs::remove_dir_all(self.path("etcd")).unwrap();
        self.start_etcd();
    }

    /// Has the store forget how it was before now, as it does after five minutes by itself.
    pub(crate) fn compact_etcd(&self) {
        let ask = |path: &str, body: &str| -> serde_json::Value {
            let mut stream = TcpStream::connect(("127.0.0.1", self.etcd_port)).unwrap();
            let length = body.len();
            write!(stream, "POST /v3/kv/{path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert_eq!(head.split(' ').nth(1), Some("200"), "{answer}");
            serde_json::from_str(body).unwrap()
        };
        // Any key tells the revision of now; base64 of "/".
        let range = ask("range", r#"{"key": "Lw=="}"#);
        let revision = range["header"]["revision"].as_str().unwrap();
        ask("compaction", &format!(r#"{{"revision": "{revision}", "physical": true}}"#));
    }

    pub(crate) fn api_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.api_port).into()
    }

    pub(crate) fn stop_api(&mut self) {
        self.api = None;
    }

    pub(crate) async fn start_api(&mut self) {
        let key = self.path("sa.key").display().to_string();
        let arguments = [
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.api_port),
            format!("--cert-dir={}", self.path("certificates").display()),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={key}"),
            format!("--service-account-signing-key-file={key}"),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            format!("--token-auth-file={}", self.path("tokens.csv").display()),
        ];
        self.api = Some(self.spawn(&self.apiserver, &arguments));
        let client = self.client().await;
        let deadline = Instant::now() + START;
        let mut look = tokio::time::interval(Duration::from_millis(100));
        while client.request_text(http_get("/readyz")).await.is_err() {
            assert!(Instant::now() < deadline, "kube-apiserver: {}", self.log());
            look.tick().await;
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("kube-apiserver.log")).unwrap_or_default()
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_by(self.api_address())
    }

    /// The same, for who reaches the API server by another address.
    pub(crate) fn kubeconfig_by(&self, server: SocketAddr) -> PathBuf {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'https://{server}', insecure-skip-tls-verify: true}}}}]\nusers: [{{name: u, user: {{token: secret}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
        );
        let path = self.path(&format!("kubeconfig-{}", server.port()));
        fs::write(&path, text).unwrap();
        path
    }

    /// For somebody with a token in a file, who looks whether the server's certificate is one that holds now.
    pub(crate) fn kubeconfig_with_token(&self, token: &Path) -> PathBuf {
        let (server, authority) = (self.api_address(), self.path("certificates/apiserver.crt"));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'https://{server}', certificate-authority: {}}}}}]\nusers: [{{name: u, user: {{tokenFile: {}}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n",
            authority.display(),
            token.display()
        );
        let path = self.path("kubeconfig-with-token");
        fs::write(&path, text).unwrap();
        path
    }

    /// A client of the test's own.
    pub(crate) async fn client(&self) -> Client {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }
}

fn http_get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path).body(Vec::new()).unwrap()
}
