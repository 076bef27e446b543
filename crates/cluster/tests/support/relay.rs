//! A way to a server that can fall silent without either end being told.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the way does with octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Passes,
    /// Octets wait, connections stay.
    Silent,
}

/// Passes connections on until it is dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    mood: Arc<watch::Sender<Mood>>,
}

impl Relay {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mood = Arc::new(watch::Sender::new(Mood::Passes));
        let moods = Arc::downgrade(&mood);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Some(mood) = moods.upgrade() else { return };
                tokio::spawn(pass(near, server, mood.subscribe()));
            }
        });
        Self { address, mood }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nothing passes any more, and nobody is told.
    pub(crate) fn fall_silent(&self) {
        self.mood.send_replace(Mood::Silent);
    }

    /// Every connection that was silent is lost; new ones pass.
    pub(crate) fn lose_and_pass(&self) {
        self.mood.send_replace(Mood::Passes);
    }
}

async fn pass(mut near: TcpStream, server: SocketAddr, mut mood: watch::Receiver<Mood>) {
    if mood.wait_for(|mood| *mood == Mood::Passes).await.is_err() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(server).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => return,
        silent = mood.wait_for(|mood| *mood == Mood::Silent) => if silent.is_err() { return },
    }
    // Held until then, and dropped.
    let _loud = mood.wait_for(|mood| *mood == Mood::Passes).await;
}
