//! Probes with real packets: TCP, UDP and ICMP echo, all targets at once.
//!
//! Whoever answers tells the source address that it saw; for ICMP that is left to the [`Witness`] at the receiver,
//! since the kernel answers by itself.
//!
//! [`Witness`]: crate::capture::Witness

mod echo;
mod responder;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use muslin_netns::Namespace;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::LabError;
use crate::addresses::{Dual, Family};
use crate::capture::Carried;

pub use responder::Responders;

/// Where responders listen, TCP and UDP.
pub const PORT: u16 = 7777;
/// An unanswered datagram is sent again after this.
const REPEAT: Duration = Duration::from_millis(400);
/// TCP connections opened at a time by one host.
const PARALLEL: usize = 64;

/// A host that probes and is probed.
#[derive(Clone, Debug)]
pub struct Host {
    /// For messages.
    pub name: String,
    /// Where it is.
    pub namespace: Namespace,
    /// What it probes from and is probed at.
    pub addresses: Dual,
}

/// The three ways of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// A connection on [`PORT`].
    Tcp,
    /// A datagram to [`PORT`].
    Udp,
    /// An echo request.
    Icmp,
}

impl Protocol {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Icmp];

    /// "TCP", "UDP" or "ICMP".
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Icmp => "ICMP",
        }
    }

    /// How the question looks on the wire.
    pub fn carried(self) -> Carried {
        match self {
            Self::Tcp => Carried::Tcp,
            Self::Udp => Carried::Udp,
            Self::Icmp => Carried::EchoRequest,
        }
    }
}

/// What came of one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The receiver saw this source address; `None` where the answer cannot tell (ICMP).
    From(Option<IpAddr>),
    /// Nothing, or a refusal.
    None,
}

/// What came of all questions of a host.
pub type Answers = HashMap<(IpAddr, Protocol), Answer>;

/// Asks every target by these protocols, from the host's own address of the target's family.
///
/// # Errors
/// [`LabError::Probe`] if no socket can be had; that nobody answers is not an error.
pub fn ask(
    host: &Host,
    targets: &[IpAddr],
    protocols: &[Protocol],
    patience: Duration,
) -> Result<Answers, LabError> {
    let asked = host.namespace.block_on(async {
        let mut answers = HashMap::new();
        for family in Family::BOTH {
            let own = host.addresses.get(family);
            let targets: Vec<IpAddr> =
                targets.iter().copied().filter(|target| Family::of(*target) == family).collect();
            if targets.is_empty() {
                continue;
            }
            for protocol in protocols {
                let deadline = Instant::now() + patience;
                let found = match protocol {
                    Protocol::Tcp => tcp(own, &targets, deadline).await?,
                    Protocol::Udp => datagrams(UdpAsker::new(own).await?, &targets, deadline).await?,
                    Protocol::Icmp => datagrams(echo::EchoAsker::new(own)?, &targets, deadline).await?,
                };
                answers
                    .extend(targets.iter().copied().zip(found).map(|(to, answer)| ((to, *protocol), answer)));
            }
        }
        Ok(answers)
    })?;
    asked.map_err(LabError::probe(&host.name))
}

async fn tcp(own: IpAddr, targets: &[IpAddr], deadline: Instant) -> io::Result<Vec<Answer>> {
    let mut answers = vec![Answer::None; targets.len()];
    let mut waiting = targets.iter().copied().enumerate();
    let mut open = JoinSet::new();
    loop {
        for (index, target) in waiting.by_ref().take(PARALLEL - open.len()) {
            let socket = tcp_socket(own)?;
            open.spawn(async move {
                let told = timeout_at(deadline, hear(socket, target)).await;
                (index, told.ok().and_then(Result::ok))
            });
        }
        match open.join_next().await {
            Some(Ok((index, Some(source)))) => answers[index] = Answer::From(Some(source)),
            Some(_) => {}
            None => return Ok(answers),
        }
    }
}

fn tcp_socket(own: IpAddr) -> io::Result<TcpSocket> {
    let socket = match own {
        IpAddr::V4(_) => TcpSocket::new_v4(),
        IpAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.bind(SocketAddr::new(own, 0))?;
    Ok(socket)
}

/// Connects and reads which address the receiver saw.
async fn hear(socket: TcpSocket, target: IpAddr) -> io::Result<IpAddr> {
    let mut stream: TcpStream = socket.connect(SocketAddr::new(target, PORT)).await?;
    let mut text = Vec::new();
    (&mut stream).take(64).read_to_end(&mut text).await?;
    told(&text).ok_or_else(|| io::Error::other("not a responder"))
}

fn told(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A socket that asks many targets at once and tells whose answer came.
trait Asker {
    fn send(&self, target: IpAddr, index: u16) -> impl Future<Output = io::Result<()>>;
    /// The next answer: which question it answers, and what it says.
    fn receive(&self) -> impl Future<Output = io::Result<(u16, Option<IpAddr>)>>;
}

/// Sends all questions, and again those that stay unanswered, until the deadline.
async fn datagrams(asker: impl Asker, targets: &[IpAddr], deadline: Instant) -> io::Result<Vec<Answer>> {
    let mut answers = vec![Answer::None; targets.len()];
    while answers.contains(&Answer::None) && Instant::now() < deadline {
        for (index, target) in targets.iter().enumerate() {
            if answers[index] == Answer::None {
                // "No route" and the like: the answer stays `None`.
                drop(asker.send(*target, u16::try_from(index).unwrap_or(u16::MAX)).await);
            }
        }
        let round = deadline.min(Instant::now() + REPEAT);
        while answers.contains(&Answer::None) {
            match timeout_at(round, asker.receive()).await {
                Ok(Ok((index, source))) => {
                    if let Some(answer) = answers.get_mut(usize::from(index)) {
                        *answer = Answer::From(source);
                    }
                }
                // An ICMP error that the socket reports; other targets may still answer.
                Ok(Err(_)) => {}
                Err(_) => break,
            }
        }
    }
    Ok(answers)
}

/// UDP questions: two bytes of index, answered by the same two bytes and the address seen.
struct UdpAsker(UdpSocket);

impl UdpAsker {
    async fn new(own: IpAddr) -> io::Result<Self> {
        Ok(Self(UdpSocket::bind(SocketAddr::new(own, 0)).await?))
    }
}

impl Asker for UdpAsker {
    async fn send(&self, target: IpAddr, index: u16) -> io::Result<()> {
        self.0.send_to(&index.to_be_bytes(), SocketAddr::new(target, PORT)).await.map(drop)
    }

    async fn receive(&self) -> io::Result<(u16, Option<IpAddr>)> {
        let mut buffer = [0; 64];
        loop {
            let (length, _) = self.0.recv_from(&mut buffer).await?;
            if let [high, low, text @ ..] = &buffer[..length]
                && let Some(source) = told(text)
            {
                return Ok((u16::from_be_bytes([*high, *low]), Some(source)));
            }
        }
    }
}

/// Fires one question per target and protocol and waits for nothing: TCP sends a SYN, nobody listens for answers.
///
/// Returns when the kernel has taken the packets.
///
/// # Errors
/// [`LabError::Probe`] if no socket can be had.
pub fn fire(host: &Host, targets: &[IpAddr]) -> Result<(), LabError> {
    let fired = host.namespace.block_on(async {
        for family in Family::BOTH {
            let own = host.addresses.get(family);
            let (udp, icmp) = (UdpAsker::new(own).await?, echo::EchoAsker::new(own)?);
            for (target, index) in targets.iter().filter(|target| Family::of(**target) == family).zip(0..) {
                // A refusal by the own node is as good as silence: the receiver's witness decides.
                drop(udp.send(*target, index).await);
                drop(icmp.send(*target, index).await);
                // The first poll sends the SYN; dropping the future gives up on the rest.
                let connecting = tcp_socket(own)?.connect(SocketAddr::new(*target, PORT));
                drop(futures::future::poll_immediate(connecting).await);
            }
        }
        Ok(())
    })?;
    fired.map_err(LabError::probe(&host.name))
}
