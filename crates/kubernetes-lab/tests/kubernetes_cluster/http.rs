//! HTTP and UDP questions to the pods' server, asked from any namespace.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use muslin_netns::Namespace;

/// Port of the pods' server.
pub(crate) const PORT: u16 = 8080;
/// Port of the pods' UDP server.
pub(crate) const UDP_PORT: u16 = 8081;
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The body of an answer.
pub(crate) fn get(from: &Namespace, to: SocketAddr, path: &str) -> Result<String> {
    get_from_host(from, to, "test", path)
}

/// The body of an answer of one of several hosts behind an address.
pub(crate) fn get_from_host(from: &Namespace, to: SocketAddr, host: &str, path: &str) -> Result<String> {
    let question = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    from.run(|| {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(question.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    })?
    .and_then(|text: String| {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let fine = head.split_whitespace().nth(1) == Some("200");
        if fine { Ok(body.to_owned()) } else { Err(std::io::Error::other(head.to_owned())) }
    })
    .with_context(|| format!("{} asks {to} for {}", from.name(), &path[..path.len().min(40)]))
}

/// The address that the server saw.
pub(crate) fn client_address(from: &Namespace, to: SocketAddr) -> Result<IpAddr> {
    let text = get(from, to, "/clientip")?;
    let address: SocketAddr = text.trim().parse().with_context(|| format!("'{text}' is no address"))?;
    Ok(address.ip().to_canonical())
}

/// The name of the pod that answered.
pub(crate) fn host_name(from: &Namespace, to: SocketAddr) -> Result<String> {
    Ok(get(from, to, "/hostname")?.trim().to_owned())
}

/// Who answered, and the address that it saw: two questions over one connection, so that one endpoint answers both.
pub(crate) fn name_and_client(from: &Namespace, to: SocketAddr) -> Result<(String, IpAddr)> {
    let question = "GET /hostname HTTP/1.1\r\nHost: test\r\n\r\n\
                    GET /clientip HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let text = from.run(|| {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(question.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    })?;
    let text = text.with_context(|| format!("{} asks {to} two questions", from.name()))?;
    // Each body ends where the next answer begins, or with the last.
    let bodies: Vec<&str> =
        text.split("HTTP/1.1 200 OK").filter_map(|answer| answer.split("\r\n\r\n").nth(1)).collect();
    let [name, client] = bodies[..] else { anyhow::bail!("{to} answers two questions with: {text}") };
    let client: SocketAddr = client.trim().parse().with_context(|| format!("'{client}' is no address"))?;
    Ok((name.trim().to_owned(), client.ip().to_canonical()))
}

/// The name of the pod that answered a datagram.
pub(crate) fn udp_host_name(from: &Namespace, to: SocketAddr) -> Result<String> {
    let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
    from.run(|| {
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(to)?;
        socket.send(b"hostname\n")?;
        let mut answer = [0; 256];
        let length = socket.recv(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).trim().to_owned())
    })?
    .map_err(|error: std::io::Error| error)
    .with_context(|| format!("{} asks {to} by UDP", from.name()))
}

/// Connects from one place to a listener of ours in another; the address that it sees.
pub(crate) fn seen_by_listener(from: &Namespace, at: &Namespace, address: IpAddr) -> Result<IpAddr> {
    let listener = at.run(|| TcpListener::bind((address, 0)))??;
    let to = listener.local_addr()?;
    let held = from.run(|| TcpStream::connect_timeout(&to, PATIENCE))?;
    let _held = held.with_context(|| format!("{} connects to {to}", from.name()))?;
    let (_stream, peer) = listener.accept()?;
    Ok(peer.ip().to_canonical())
}

/// An error unless both are the same.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(
    what: impl std::fmt::Display,
    found: &T,
    wanted: &T,
) -> Result<()> {
    ensure!(found == wanted, "{what}: found {found:?}, wanted {wanted:?}");
    Ok(())
}
