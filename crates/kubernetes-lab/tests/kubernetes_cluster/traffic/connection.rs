//! One TCP connection that is never idle: what it carries comes back whole and in order, however long it lasts.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use muslin_kubernetes_lab::pod::Pod;
use muslin_kubernetes_lab::poll::rest;
use muslin_lab::Family;

/// Between two words.
const PAUSE: Duration = Duration::from_millis(10);
/// Octets of a word: its number, again and again.
const WORD: usize = 64;
/// A connection without an answer for so long does not go on. The kernel tries again after pauses that double, so it
/// may well take longer than whatever was in the way.
const STANDSTILL: Duration = Duration::from_secs(15);

/// What became of a connection that held.
pub(super) struct Held {
    words: u32,
    /// The longest time between two answers.
    waited: Duration,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { words, waited } = self;
        write!(f, "{words} words by TCP and back, none for {} ms at most", waited.as_millis())
    }
}

/// Connects from `a` to an echo in `b`, and talks until told to stop.
pub(super) fn start(
    a: &Pod,
    b: &Pod,
    family: Family,
    stop: &Arc<AtomicBool>,
) -> Result<JoinHandle<io::Result<Held>>> {
    let address = b.addresses.get(family);
    let listener = b.network.run(|| TcpListener::bind((address, 0)))??;
    let to = listener.local_addr()?;
    let stream = a.network.run(|| TcpStream::connect_timeout(&to, STANDSTILL))?;
    let stream = stream.with_context(|| format!("{} connects to {}", a.name, b.name))?;
    let (echo, _) = listener.accept()?;
    echo.set_nodelay(true)?;
    // It ends with the connection, whose other end says how.
    thread::spawn(move || io::copy(&mut &echo, &mut &echo));
    let stop = stop.clone();
    Ok(thread::spawn(move || talk(&stream, &stop)))
}

fn word(number: u32) -> [u8; WORD] {
    std::array::from_fn(|index| number.to_be_bytes()[index % 4])
}

fn talk(mut stream: &TcpStream, stop: &AtomicBool) -> io::Result<Held> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STANDSTILL))?;
    stream.set_write_timeout(Some(STANDSTILL))?;
    let answers = stream.try_clone()?;
    let listening = thread::spawn(move || listen(answers));
    let mut said = 0;
    let mut end = Ok(());
    while end.is_ok() && !stop.load(Ordering::Relaxed) {
        end = stream.write_all(&word(said));
        said += 1;
        rest(PAUSE);
    }
    let end = end.and_then(|()| stream.shutdown(Shutdown::Write));
    let held = listening.join().map_err(|_| io::Error::other("the listener panicked"))??;
    end?;
    if held.words == said {
        return Ok(held);
    }
    Err(io::Error::new(ErrorKind::UnexpectedEof, format!("closed after {} of {said} words", held.words)))
}

/// Hears the words until the other end has no more.
fn listen(mut answers: TcpStream) -> io::Result<Held> {
    let mut held = Held { words: 0, waited: Duration::ZERO };
    let mut heard = Instant::now();
    loop {
        let mut answer = [0; WORD];
        match answers.read_exact(&mut answer) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(held),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let stands = format!("no answer for {STANDSTILL:?} after {} words", held.words);
                return Err(io::Error::new(ErrorKind::TimedOut, stands));
            }
            Err(error) => return Err(error),
        }
        if answer != word(held.words) {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("word {} came back wrong", held.words),
            ));
        }
        held.words += 1;
        held.waited = held.waited.max(heard.elapsed());
        heard = Instant::now();
    }
}
