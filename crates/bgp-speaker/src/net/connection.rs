//! One TCP connection as a pump of octets: it knows nothing of BGP.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rustix::net::RecvFlags;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, mpsc};

use super::incoming::Incoming;
use crate::session::ConnId;

/// Most octets of one read, and of one chunk for the speaker. Peers that send the same tables take turns with it: the
/// smaller it is, the nearer stand the paths of a prefix, of which only the best is told.
pub(super) const CHUNK: usize = 8 * 1024;

/// Buffers of one vectored write.
const SLICES: usize = 64;

/// Octets that may have left without a report.
const REPORT_EVERY: usize = 32 * 1024;

/// How long the last words may take, and how long we wait for the peer to read them.
const LINGER: Duration = Duration::from_secs(1);

/// Connections that may linger at a time; who opens more to have them closed loses the last words, and we no
/// descriptors.
pub(super) const LINGERERS: usize = 256;

thread_local! {
    /// All connections of a thread read into one buffer and keep only what came: thousands of idle peers
    /// need no memory for it.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

/// What the driver and the pump of a connection share. What is to be written is bounded by the speaker's
/// window, which counts what has not been reported as written; what was read, by the channel to the driver.
#[derive(Debug, Default)]
pub(super) struct Line {
    queue: Mutex<Queue>,
    changed: Notify,
    closing: Notify,
    /// Held from a read until what it brought is in `unread`: two may read, and octets keep their order.
    reading: Mutex<()>,
    /// Octets that were read and that the driver has not taken in.
    unread: AtomicUsize,
    /// Octets that have left and were not reported.
    written: AtomicUsize,
}

/// What became of octets that were to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    /// They have left.
    Done,
    /// The pump goes on with them.
    Pumping,
}

#[derive(Debug, Default)]
struct Queue {
    octets: VecDeque<Bytes>,
    /// The pump has taken octets and not written them all: nobody else may write meanwhile.
    pumping: bool,
    closed: bool,
}

impl Line {
    /// Appends octets, which leave with [`flush`](Self::flush) or before the close.
    pub(super) fn push(&self, octets: Bytes) {
        self.lock().octets.push_back(octets);
    }

    /// Writes what the socket has room for: to wake the pump of each of a thousand peers costs more than their writes.
    /// The pump does what is left, and learns of errors.
    pub(super) fn flush(&self, stream: &TcpStream) -> Flush {
        let mut queue = self.lock();
        if queue.pumping {
            return Flush::Pumping;
        }
        while !queue.octets.is_empty() {
            match try_write(stream, &queue.octets) {
                Ok(written) if written > 0 => {
                    consume(&mut queue.octets, written);
                    self.written.fetch_add(written, Ordering::Relaxed);
                }
                Ok(_) | Err(_) => {
                    self.changed.notify_one();
                    return Flush::Pumping;
                }
            }
        }
        Flush::Done
    }

    /// Octets that have left since the last report, if they are worth one.
    pub(super) fn reportable(&self) -> Option<usize> {
        (self.written.load(Ordering::Relaxed) >= REPORT_EVERY).then(|| self.take_written())
    }

    /// Nothing more will come: the connection is closed after what is queued.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
        self.closing.notify_one();
    }

    /// The driver has taken octets in.
    pub(super) fn took_in(&self, octets: usize) {
        self.unread.fetch_sub(octets, Ordering::Relaxed);
    }

    /// Octets that have left since the last report.
    pub(super) fn take_written(&self) -> usize {
        self.written.swap(0, Ordering::Relaxed)
    }

    /// Reads for the driver what is in the socket and woke nobody. While octets wait for the driver, later ones stay
    /// where they are: they would overtake.
    ///
    /// # Errors
    /// [`WouldBlock`](ErrorKind::WouldBlock) when there is nothing that may be read; others, and an end, are the
    /// pump's to find.
    pub(super) fn read_quietly(&self, stream: &TcpStream) -> std::io::Result<BytesMut> {
        self.read(|buffer| {
            if self.has_unread() {
                return Err(ErrorKind::WouldBlock.into());
            }
            // Past the runtime, which knows only of what has woken it.
            let (length, _) = rustix::net::recv(stream, buffer, RecvFlags::DONTWAIT)?;
            Ok(length)
        })
    }

    /// Whether octets of the peer wait for the driver.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed) > 0
    }

    /// Reads with `read` and counts what came as unread.
    fn read(&self, read: impl FnOnce(&mut [u8]) -> std::io::Result<usize>) -> std::io::Result<BytesMut> {
        SCRATCH.with_borrow_mut(|scratch| {
            let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
            let length = read(scratch)?;
            self.unread.fetch_add(length, Ordering::Relaxed);
            Ok(BytesMut::from(&scratch[..length]))
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves everything queued into the empty `batch`; `None` when nothing is left and nothing will come.
    async fn take(&self, batch: &mut VecDeque<Bytes>) -> Option<()> {
        loop {
            {
                let mut queue = self.lock();
                queue.pumping = !queue.octets.is_empty();
                if queue.pumping {
                    std::mem::swap(&mut queue.octets, batch);
                    return Some(());
                }
                if queue.closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Returns when last words have had their time: a peer that does not read is not worth more waiting.
    async fn given_up(&self) {
        self.closing.notified().await;
        tokio::time::sleep(LINGER).await;
    }
}

/// Moves octets both ways until either side ends; what ended it goes to the driver, unless it was the driver.
pub(super) async fn pump(
    stream: Arc<TcpStream>,
    conn: ConnId,
    line: Arc<Line>,
    incoming: mpsc::Sender<Incoming>,
    lingerers: Arc<Semaphore>,
) {
    let write = async {
        // What writing needs is made when a socket was full for the first time: those of idle peers never are.
        line.changed.notified().await;
        Box::pin(write_all(&stream, conn, &line, &incoming)).await
    };
    let ended = tokio::select! {
        error = read_all(&stream, conn, &line, &incoming) => Some(error),
        result = write => result.err().map(Some),
    };
    match ended {
        // The driver does not listen if it closed the connection meanwhile.
        Some(error) => drop(incoming.send(Incoming::Closed { conn, error }).await),
        None => Box::pin(linger(&stream, &lingerers)).await,
    }
}

/// After our last words: no RST may overtake them, so what the peer still sends is read and dropped.
async fn linger(stream: &TcpStream, lingerers: &Semaphore) {
    if SockRef::from(stream).shutdown(Shutdown::Write).is_err() {
        return;
    }
    let Ok(_place) = lingerers.try_acquire() else { return };
    let drained = async {
        while stream.readable().await.is_ok() {
            match SCRATCH.with_borrow_mut(|scratch| stream.try_read(scratch)) {
                Ok(0) => return,
                Err(error) if error.kind() != ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {}
            }
        }
    };
    let _impatient = tokio::time::timeout(LINGER, drained).await;
}

/// Reads until the peer closes (`None`) or the connection breaks.
async fn read_all(
    stream: &TcpStream,
    conn: ConnId,
    line: &Line,
    incoming: &mpsc::Sender<Incoming>,
) -> Option<ErrorKind> {
    loop {
        if let Err(error) = stream.readable().await {
            return Some(error.kind());
        }
        match line.read(|buffer| read_some(stream, buffer)) {
            Ok(octets) if octets.is_empty() => return None,
            Ok(octets) => {
                let full = octets.len() == CHUNK;
                if incoming.send(Incoming::Received { conn, octets }).await.is_err() {
                    return None;
                }
                if full {
                    // The others' turn.
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Some(error.kind()),
        }
    }
}

/// Reads what is there. What does not fill the buffer was all: the runtime is told so, which another read would else
/// have to find out, before the driver gets to see what came. The event of what comes now is still to be read.
fn read_some(stream: &TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    let filled = stream.try_io(Interest::READABLE, || {
        length = stream.try_read(buffer)?;
        let emptied = 0 < length && length < buffer.len();
        if emptied { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    if length > 0 { Ok(length) } else { filled.map(|()| 0) }
}

/// Writes what the line gets until it is closed and empty.
async fn write_all(
    stream: &TcpStream,
    conn: ConnId,
    line: &Line,
    incoming: &mpsc::Sender<Incoming>,
) -> Result<(), ErrorKind> {
    let mut batch = VecDeque::new();
    let mut given_up = std::pin::pin!(line.given_up());
    while line.take(&mut batch).await.is_some() {
        while !batch.is_empty() {
            let written = tokio::select! {
                written = write_some(stream, &batch) => written.map_err(|error| error.kind())?,
                () = &mut given_up => return Err(ErrorKind::TimedOut),
            };
            consume(&mut batch, written);
            if line.written.fetch_add(written, Ordering::Relaxed) + written >= REPORT_EVERY {
                let octets = line.take_written();
                if incoming.send(Incoming::Written { conn, octets }).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

async fn write_some(stream: &TcpStream, batch: &VecDeque<Bytes>) -> std::io::Result<usize> {
    loop {
        stream.writable().await?;
        match try_write(stream, batch) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

fn try_write(stream: &TcpStream, batch: &VecDeque<Bytes>) -> std::io::Result<usize> {
    if let (1, Some(only)) = (batch.len(), batch.front()) {
        return stream.try_write(only);
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    let mut used = 0;
    for (slice, octets) in slices.iter_mut().zip(batch) {
        *slice = IoSlice::new(octets);
        used += 1;
    }
    stream.try_write_vectored(&slices[..used])
}

fn consume(batch: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = batch.front_mut() {
        if written < front.len() {
            front.advance(written);
            return;
        }
        written -= front.len();
        batch.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (ours, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn nobody_overtakes_what_the_pump_has_taken() {
        let ((ours, _peer), line) = (connected().await, Line::default());
        let mut batch = VecDeque::new();
        line.push(Bytes::from_static(b"first"));
        line.take(&mut batch).await.unwrap();
        line.push(Bytes::from_static(b"second"));
        assert_eq!(line.flush(&ours), Flush::Pumping);
        // It comes back when it has written them, and finds the next ones.
        batch.clear();
        line.take(&mut batch).await.unwrap();
        assert_eq!(batch, [Bytes::from_static(b"second")]);
    }

    #[tokio::test]
    async fn octets_keep_their_order_whoever_writes_them() {
        let (ours, mut peer) = connected().await;
        SockRef::from(&ours).set_send_buffer_size(8 * 1024).unwrap();
        let (ours, line) = (Arc::new(ours), Arc::new(Line::default()));
        let (report, mut incoming) = mpsc::channel(1024);
        let lingerers = Arc::new(Semaphore::new(1));
        let pump = tokio::spawn(pump(ours.clone(), ConnId::accepted(1), line.clone(), report, lingerers));
        let reader = tokio::spawn(async move {
            let mut read = Vec::new();
            peer.read_to_end(&mut read).await.map(|_| read)
        });
        let (mut sent, mut at_once, mut later) = (0_u32, 0, 0);
        // From what the socket takes at once to many times that.
        for round in 0..400 {
            for _ in 0..round * 31 % 5_000 {
                line.push(Bytes::copy_from_slice(&sent.to_be_bytes()));
                sent += 1;
            }
            match line.flush(&ours) {
                Flush::Done => at_once += 1,
                Flush::Pumping => later += 1,
            }
            tokio::task::yield_now().await;
        }
        line.close();
        let read = reader.await.unwrap().unwrap();
        pump.await.unwrap();
        assert!(at_once > 0 && later > 0, "{at_once} times at once, {later} times later");
        let numbers = read.chunks(4).map(|number| u32::from_be_bytes(number.try_into().unwrap()));
        assert!(numbers.eq(0..sent), "{} octets came of {sent} numbers", read.len());
        incoming.close();
    }
}
