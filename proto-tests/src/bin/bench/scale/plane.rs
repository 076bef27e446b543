//! A real etcd and kube-apiserver in a namespace, and a way in without TLS for the load.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use muslin_kubernetes_lab::Programs;
use muslin_netns::Namespace;
use muslin_proto_tests::daemon::{Process, ask};
use muslin_proto_tests::kernel::Usage;

/// Port of the API.
const PORT: u16 = 6443;
/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_mins(1);
/// Who is let in: what they say, who they are, and of which groups. An agent is a service account, as the chart's, so that
/// the server counts its requests apart.
const CLIENTS: &str = "load,load,load,system:masters\n\
     agent,system:serviceaccount:muslin-system:muslin,agent,\"system:serviceaccounts,system:serviceaccounts:muslin-system\"\n";

/// Who asks.
#[derive(Clone, Copy)]
pub(super) enum Client {
    /// Whoever makes the cluster what it is.
    Load,
    /// Whose requests are measured.
    Agent,
}

/// It ends when it is dropped.
pub(super) struct Plane {
    _etcd: Process,
    server: Process,
    proxy: Process,
}

impl Plane {
    /// Starts one that is reached at `address`.
    pub(super) fn start(programs: &Programs, host: &Namespace, address: Ipv4Addr) -> Result<Self> {
        let folder = Process::folder()?;
        let mut etcd = Command::new("etcd");
        etcd.arg("--data-dir").arg(folder.path().join("data")).args(["--log-level", "error"]);
        // What is measured is the API; a disk would be the limit of the load.
        etcd.arg("--unsafe-no-fsync");
        let etcd = Process::start(host, folder, &mut etcd).context("etcd: apt-get install etcd-server")?;

        let folder = Process::folder()?;
        let key = folder.path().join("sa.key");
        ask(Command::new("openssl")
            .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"])
            .arg(&key))?;
        let tokens = folder.path().join("tokens.csv");
        fs::write(&tokens, CLIENTS)?;
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, access(address, Client::Load))?;
        let mut server = Command::new(programs.get("kube-apiserver"));
        server
            .arg("--etcd-servers=http://127.0.0.1:2379")
            .arg(format!("--bind-address={address}"))
            .arg(format!("--secure-port={PORT}"))
            .arg(format!("--cert-dir={}", folder.path().join("certificates").display()))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!("--service-account-key-file={}", key.display()))
            .arg(format!("--service-account-signing-key-file={}", key.display()))
            .arg("--service-cluster-ip-range=10.96.0.0/16")
            .arg("--authorization-mode=RBAC")
            .arg("--disable-admission-plugins=ServiceAccount")
            .arg(format!("--token-auth-file={}", tokens.display()));
        let server = Process::start(host, folder, &mut server)?;

        let folder = Process::folder()?;
        let mut proxy = Command::new(programs.get("kubectl"));
        proxy.arg("--kubeconfig").arg(&kubeconfig).args(["proxy", "--reject-methods=^$"]);
        proxy.arg("--unix-socket").arg(folder.path().join("api.sock"));
        let proxy = Process::start(host, folder, &mut proxy)?;
        let plane = Self { _etcd: etcd, server, proxy };
        eventually("/readyz", || plane.api()?.call("GET", "/readyz", "", ""))?;
        Ok(plane)
    }

    /// Processor time that the server has taken, in seconds.
    pub(super) fn processor(&self) -> Result<f64> {
        Ok(Usage::of(self.server.id())?.cpu_seconds)
    }

    /// A connection.
    pub(super) fn api(&self) -> Result<Api> {
        let stream = UnixStream::connect(self.proxy.path("api.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Api { stream: BufReader::new(stream) })
    }
}

/// Tries until it is so.
pub(super) fn eventually<T>(what: &str, attempt: impl Fn() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(error) if Instant::now() > deadline => return Err(error.context(what.to_owned())),
            // No event tells of it.
            Err(_) => std::thread::park_timeout(Duration::from_millis(100)),
        }
    }
}

/// How a client gets in.
pub(super) fn access(address: Ipv4Addr, client: Client) -> String {
    let token = match client {
        Client::Load => "load",
        Client::Agent => "agent",
    };
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: 'https://{address}:{PORT}', insecure-skip-tls-verify: true}}}}]\n\
         users: [{{name: u, user: {{token: {token}}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
    )
}

/// A connection to the API that stays open.
pub(super) struct Api {
    stream: BufReader<UnixStream>,
}

impl Api {
    /// Asks, and gives back what is answered if that is a success.
    pub(super) fn call(&mut self, method: &str, path: &str, kind: &str, body: &str) -> Result<String> {
        let length = body.len();
        write!(
            self.stream.get_mut(),
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let status = self.line()?;
        let mut length = None;
        loop {
            let header = self.line()?.to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = Some(value.trim().parse()?);
            }
        }
        let body = match length {
            Some(length) => self.octets(length)?,
            None => self.chunks()?,
        };
        let body = String::from_utf8_lossy(&body).into_owned();
        let code = status.split(' ').nth(1).unwrap_or_default();
        ensure!(code.starts_with('2'), "{method} {path}: {status}: {body}");
        Ok(body)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the API has closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }

    fn octets(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut octets = vec![0; length];
        self.stream.read_exact(&mut octets)?;
        Ok(octets)
    }

    /// RFC 9112 §7.1.
    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut whole = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line()?, 16)?;
            whole.append(&mut self.octets(length)?);
            self.line()?;
            if length == 0 {
                return Ok(whole);
            }
        }
    }
}
