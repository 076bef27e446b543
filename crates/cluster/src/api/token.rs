//! The token that an agent shows the API server, as its file has it at each request.
//!
//! A service account's token is good for an hour or so, and its file gets another one before. kube's own reading of the
//! file goes by the wall clock: one that was set back by a day would have it show the same token for that day.

use std::fs;
use std::path::PathBuf;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use kube::client::Body;
use tower::util::MapRequestLayer;

/// Gives each request the token of now. Requests are few and the file is small and in memory; one that cannot be read
/// is as good as one that has not changed.
pub(super) fn of_file(file: PathBuf) -> MapRequestLayer<impl FnMut(Request<Body>) -> Request<Body> + Clone> {
    let mut last = None;
    MapRequestLayer::new(move |mut request: Request<Body>| {
        let read = fs::read_to_string(&file).ok();
        let header = read.and_then(|token| HeaderValue::try_from(format!("Bearer {}", token.trim())).ok());
        if let Some(mut header) = header {
            header.set_sensitive(true);
            last = Some(header);
        }
        if let Some(header) = &last {
            request.headers_mut().insert(AUTHORIZATION, header.clone());
        }
        request
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{Layer, Service};

    use super::*;

    #[tokio::test]
    async fn each_request_shows_the_token_that_the_file_has_then() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let answer = |request: Request<Body>| async move {
            Ok::<_, Infallible>(request.headers().get(AUTHORIZATION).cloned())
        };
        let mut server = of_file(file.clone()).layer(tower::service_fn(answer));
        for (written, shown) in
            [(None, None), (Some("one\n"), Some("Bearer one")), (Some("two"), Some("Bearer two"))]
        {
            if let Some(text) = written {
                fs::write(&file, text).unwrap();
            }
            let header = server.call(Request::new(Body::empty())).await.unwrap();
            assert_eq!(header.as_ref().map(|header| header.to_str().unwrap()), shown);
        }
        fs::remove_file(&file).unwrap();
        let header = server.call(Request::new(Body::empty())).await.unwrap();
        assert_eq!(header.unwrap(), "Bearer two");
    }
}
