//! A client between whose look and whose write somebody else writes.

use std::sync::{Arc, Mutex};

use http::{Method, Request};
use kube::Client;
use kube::client::Body;

/// What the API server answered to the writes that somebody meddled with, in order.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<Vec<u16>>>);

impl Answers {
    pub(crate) fn codes(&self) -> Vec<u16> {
        self.0.lock().unwrap().clone()
    }
}

/// `client`, but that somebody else does something just before the first write of this method to this path.
pub(crate) fn meddled(
    client: &Client,
    method: &'static Method,
    path: &'static str,
    meddle: impl Future<Output = ()> + Send + 'static,
) -> (Client, Answers) {
    let answers = Answers::default();
    let (inner, told) = (client.clone(), answers.clone());
    let meddle = Arc::new(Mutex::new(Some(Box::pin(meddle))));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, told, meddle) = (inner.clone(), told.clone(), meddle.clone());
        async move {
            let is_it = request.method() == method && request.uri().path() == path;
            let first = if is_it { meddle.lock().unwrap().take() } else { None };
            if let Some(meddle) = first {
                meddle.await;
            }
            let answer = inner.send(request).await?;
            if is_it {
                told.0.lock().unwrap().push(answer.status().as_u16());
            }
            Ok::<_, kube::Error>(answer)
        }
    });
    (Client::new(service, "default"), answers)
}
