//! Datagrams that are counted: a hundred a second of each conversation, and at the end which of them never arrived.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use muslin_netns::Namespace;
use rustix::net::sockopt;

use crate::daemon::PATIENCE;

/// Between two datagrams of a conversation.
const PACE: Duration = Duration::from_millis(10);
/// How long the last ones may take.
const LAST: Duration = Duration::from_secs(5);
/// How often a receiver looks whether it is over.
const LOOK: Duration = Duration::from_millis(100);
/// Octets of a receiver's buffer, should it not get its turn for seconds. The usual one holds less than 300 datagrams.
const ROOM: usize = 4 << 20;

/// What one receiver got: the numbers of each conversation, which goes by its sender's address.
type Arrived = BTreeMap<SocketAddr, BTreeSet<u32>>;

/// Conversations that are under way.
#[derive(Default)]
pub struct Traffic {
    senders: Vec<JoinHandle<Vec<Conversation>>>,
    silent: Arc<AtomicBool>,
    deaf: Arc<AtomicBool>,
    arrived: Arc<(Mutex<Vec<Arrived>>, Condvar)>,
}

struct Conversation {
    from: SocketAddr,
    to: SocketAddr,
    sent: u32,
}

/// What became of the datagrams.
#[derive(Debug)]
pub struct Tally {
    pub sent: usize,
    /// A line for each conversation that lost some.
    pub lost: Vec<String>,
}

impl Traffic {
    /// Counts what arrives at this address until the end; receivers are numbered in their order.
    pub fn receive(&mut self, at: &Namespace, address: SocketAddr) {
        let socket = at.run(|| UdpSocket::bind(address)).unwrap().unwrap();
        if sockopt::set_socket_recv_buffer_size_force(&socket, ROOM).is_err() {
            // The root of a user namespace gets what the system lets everybody have.
            sockopt::set_socket_recv_buffer_size(&socket, ROOM).unwrap();
        }
        socket.set_read_timeout(Some(LOOK)).unwrap();
        let (arrived, deaf) = (self.arrived.clone(), self.deaf.clone());
        let mut receivers = self.arrived.0.lock().unwrap();
        let number = receivers.len();
        receivers.push(Arrived::default());
        std::thread::spawn(move || {
            let mut datagram = [0; 4];
            while !deaf.load(Ordering::Relaxed) {
                if let Ok((4, from)) = socket.recv_from(&mut datagram) {
                    let sequence = u32::from_be_bytes(datagram);
                    arrived.0.lock().unwrap()[number].entry(from).or_default().insert(sequence);
                    arrived.1.notify_all();
                }
            }
        });
    }

    /// Begins a conversation with each of these, from ports of their own.
    pub fn send(&mut self, from: &Namespace, source: IpAddr, targets: &[SocketAddr]) {
        let open = |to: &SocketAddr| (UdpSocket::bind((source, 0)).unwrap(), *to);
        let sockets = from.run(|| targets.iter().map(open).collect::<Vec<_>>()).unwrap();
        let silent = self.silent.clone();
        self.senders.push(std::thread::spawn(move || {
            let mut sent = 0_u32;
            while !silent.load(Ordering::Relaxed) {
                for (socket, to) in &sockets {
                    // What cannot even leave is as lost as the rest.
                    let _lost = socket.send_to(&sent.to_be_bytes(), to);
                }
                sent += 1;
                std::thread::park_timeout(PACE);
            }
            let told = |(socket, to): (UdpSocket, SocketAddr)| Conversation {
                from: socket.local_addr().unwrap(),
                to,
                sent,
            };
            sockets.into_iter().map(told).collect()
        }));
    }

    /// Waits until some datagrams have arrived at this receiver.
    #[track_caller]
    pub fn await_arrivals(&self, receiver: usize, some: usize) {
        let few =
            |arrived: &mut Vec<Arrived>| arrived[receiver].values().map(BTreeSet::len).sum::<usize>() < some;
        let arrived = self.arrived.0.lock().unwrap();
        let waited = self.arrived.1.wait_timeout_while(arrived, PATIENCE, few).unwrap().1;
        assert!(!waited.timed_out(), "less than {some} datagrams reached receiver {receiver}");
    }

    /// Ends all conversations, waits for what is still on its way, and counts.
    pub fn end(mut self) -> Tally {
        self.silent.store(true, Ordering::Relaxed);
        let senders = std::mem::take(&mut self.senders).into_iter();
        let conversations: Vec<_> = senders.flat_map(|sender| sender.join().unwrap()).collect();
        let missing = |arrived: &Vec<Arrived>, conversation: &Conversation| {
            let got = |number: &u32| {
                arrived.iter().filter_map(|by| by.get(&conversation.from)).any(|got| got.contains(number))
            };
            (0..conversation.sent).filter(|number| !got(number)).collect::<Vec<_>>()
        };
        let some_missing = |arrived: &mut Vec<Arrived>| {
            conversations.iter().any(|conversation| !missing(arrived, conversation).is_empty())
        };
        let arrived = self.arrived.0.lock().unwrap();
        let (arrived, _) = self.arrived.1.wait_timeout_while(arrived, LAST, some_missing).unwrap();
        let lost = conversations.iter().filter_map(|conversation| {
            let missing = missing(&arrived, conversation);
            let Conversation { from, to, sent } = conversation;
            let (first, last) = (missing.first()?, missing.last()?);
            Some(format!("{} of {sent} from {from} to {to}, between {first} and {last}", missing.len()))
        });
        let lost = lost.collect();
        Tally { sent: conversations.iter().map(|conversation| conversation.sent as usize).sum(), lost }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.silent.store(true, Ordering::Relaxed);
        self.deaf.store(true, Ordering::Relaxed);
    }
}
