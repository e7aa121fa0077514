//! How Landfall treats an API server that says that it is busy, in the words of Kubernetes' API Priority and Fairness.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use kube::Client;
use landfall_kubernetes::{
    client::{ConnectOptions, connect},
    source::{self, Interests},
    write::{Store, WriteError, Writer, WriterIdentity},
};
use landfall_model::Observation;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);

/// Each request: when it came, its method and its path.
type Requests = Arc<Mutex<Vec<(Instant, Method, String)>>>;

/// A server that is busy for the first `busy` requests; then it has an empty list for each of them.
async fn server(busy: usize, seconds: u32) -> (Client, Requests) {
    let requests = Requests::default();
    let seen = Arc::clone(&requests);
    let answer = move |method: Method, uri: Uri| {
        let count = {
            let mut seen = seen.lock().unwrap();
            seen.push((Instant::now(), method, uri.to_string()));
            seen.len()
        };
        async move { if count <= busy { too_many(seconds) } else { empty_list(&uri).await } }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    (client(address).await, requests)
}

fn too_many(seconds: u32) -> Response {
    let seconds = seconds.to_string();
    let headers = [("Content-Type", "text/plain; charset=utf-8"), ("Retry-After", seconds.as_str())];
    let text = "Too many requests, please try again later.\n";
    (StatusCode::TOO_MANY_REQUESTS, headers, text).into_response()
}

async fn empty_list(uri: &Uri) -> Response {
    if uri.query().is_some_and(|query| query.contains("watch=true")) {
        // A watch in which nothing happens.
        std::future::pending::<()>().await;
    }
    let list = r#"{"apiVersion":"v1","kind":"NodeList","metadata":{"resourceVersion":"1"},"items":[]}"#;
    ([("Content-Type", "application/json")], list).into_response()
}

async fn client(address: SocketAddr) -> Client {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{{ name: a, context: {{ cluster: a, user: a }} }}]\n\
         clusters: [{{ name: a, cluster: {{ server: 'http://{address}' }} }}]\nusers: [{{ name: a, user: {{}} }}]\n"
    );
    std::fs::write(file.path(), text).unwrap();
    let options = ConnectOptions { kubeconfig: Some(file.path().to_owned()), context: None };
    connect(&options).await.unwrap().client
}

#[tokio::test]
async fn a_watch_asks_again_when_the_server_said_so_and_not_before() {
    let (client, requests) = server(2, 1).await;
    let interests = Interests { nodes: true, ..Interests::default() };
    let mut source = source::watch(client, &interests);
    let first = timeout(SOON, source.next()).await.expect("the list comes in the end");
    assert_eq!(first, Some(Observation::Synced));
    let requests = requests.lock().unwrap();
    let pauses: Vec<Duration> = requests.windows(2).take(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(pauses.iter().all(|pause| *pause >= Duration::from_secs(1)), "{pauses:?}");
}

#[tokio::test]
async fn a_write_says_how_long_to_wait_and_is_not_repeated() {
    let (client, requests) = server(usize::MAX, 7).await;
    let identity = WriterIdentity {
        namespace: "lb".to_owned(),
        manager: "test",
        component: "test",
        instance: "test".to_owned(),
        owner: Arc::default(),
    };
    let store = Store::Api(Writer::new(client, identity));
    let error = store.delete_l2_status("l2-1").await.unwrap_err();
    assert!(matches!(error, WriteError::Throttled { .. }), "{error}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    assert_eq!(requests.lock().unwrap().len(), 1, "who asked decides whether to ask again");
}
