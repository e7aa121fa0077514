//! The HTTP front: who is called with what, faults and limits, and then the service.
//!
//! ```text
//! thread "aws front" (tokio, one thread)
//!   ├─ accept loop ── task per connection ── blocking task per request ── Front::answer
//!   └─ ends when the sender of `stop` is dropped
//! ```

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::spawn_blocking,
};

use crate::{
    control::{Call, Controls, Fault, Line},
    ec2,
    elb::Elb,
    moto::Moto,
    query::Parameters,
    refusal::Refusal,
    wire::{Answer, Request},
};

/// The services behind one address.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) moto: Arc<Moto>,
    elb: Mutex<Elb>,
    controls: Mutex<Controls>,
    /// moto's answers go out as they are.
    plain: bool,
}

/// What a request asks for.
struct Question {
    service: String,
    region: String,
    action: String,
    parameters: Parameters,
}

impl Question {
    /// Service and region come from the credential scope of Signature Version 4 (`key/date/region/service/aws4_request`),
    /// the action from the form, or from `X-Amz-Target` for JSON services.
    fn of(request: &Request) -> Self {
        let scope = request.header("authorization").and_then(|h| h.split_once("Credential=")).map(|(_, s)| s);
        let mut parts =
            scope.unwrap_or_default().split([',', ' ']).next().unwrap_or_default().split('/').skip(2);
        let region = parts.next().unwrap_or("us-east-1").to_owned();
        let service = parts.next().unwrap_or_default().to_owned();
        let (action, parameters) = if let Some(target) = request.header("x-amz-target") {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let action = target.rsplit('.').next().unwrap_or_default().to_owned();
            (action, Parameters([("body".to_owned(), body)].into()))
        } else {
            let query = request.path.split_once('?').map(|(_, q)| q.as_bytes());
            let form = if request.body.is_empty() { query.unwrap_or_default() } else { &request.body };
            let parameters = Parameters::parse(form);
            (parameters.get("Action").unwrap_or_default().to_owned(), parameters)
        };
        Self { service, region, action, parameters }
    }

    fn call(&self, status: u16) -> Call {
        let mut parameters = self.parameters.clone();
        parameters.remove("Action");
        parameters.remove("Version");
        Call { service: self.service.clone(), action: self.action.clone(), parameters: parameters.0, status }
    }
}

impl Front {
    pub(crate) fn new(moto: Moto, plain: bool) -> Self {
        let moto = Arc::new(moto);
        Self { elb: Mutex::new(Elb::new(Arc::clone(&moto))), controls: Mutex::default(), moto, plain }
    }

    pub(crate) fn elb(&self) -> MutexGuard<'_, Elb> {
        self.elb.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn controls(&self) -> MutexGuard<'_, Controls> {
        self.controls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a request; none if the connection is to be closed without one.
    fn answer(&self, request: &Request) -> Option<Answer> {
        let question = Question::of(request);
        let fault = {
            let mut controls = self.controls();
            if controls.line == Line::Cut {
                return None;
            }
            let admitted = controls.admit(&question.service, &question.action, Instant::now());
            admitted.map(|()| controls.fault(&question.action))
        };
        let answer = match fault {
            Err(refusal) => Some(refusal.answer(&question.service)),
            Ok(Some(Fault::Before { code, message, status })) => {
                Some(Refusal { code, message, status }.answer(&question.service))
            }
            Ok(Some(Fault::After)) => {
                self.carry_out(&question, request);
                None
            }
            Ok(None) => Some(self.carry_out(&question, request)),
        };
        self.controls().calls.push(question.call(answer.as_ref().map_or(0, |a| a.status)));
        answer
    }

    fn carry_out(&self, question: &Question, request: &Request) -> Answer {
        let Question { service, region, action, parameters } = question;
        match service.as_str() {
            _ if self.plain => self.moto.forward(service, request),
            "elasticloadbalancing" => self.elb().answer(region, action, parameters),
            "ec2" => ec2::answer(self, region, action, parameters, request),
            // STS, ACM and what else moto knows: as they are.
            _ => self.moto.forward(service, request),
        }
    }
}

/// A front that listens. It ends with this value.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only fails if a connection panicked, and that test has failed already.
            let _ = thread.join();
        }
    }
}

impl Listening {
    /// Listens on a free port of that address.
    pub(crate) fn start(front: Arc<Front>, on: IpAddr) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let listener = std::net::TcpListener::bind((on, 0)).with_context(|| format!("no port on {on}"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("aws front".to_owned())
            .spawn(move || run(&runtime, listener, &front, stopped))?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }
}

fn run(
    runtime: &Runtime,
    listener: std::net::TcpListener,
    front: &Arc<Front>,
    stopped: oneshot::Receiver<()>,
) {
    runtime.block_on(async {
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        tokio::select! {
            _ = stopped => {}
            () = accept(listener, front) => {}
        }
    });
}

async fn accept(listener: TcpListener, front: &Arc<Front>) {
    // Accepting fails only when there are no file descriptors left; the test then fails by itself.
    while let Ok((stream, _)) = listener.accept().await {
        let front = Arc::clone(front);
        tokio::spawn(async move {
            let service = service_fn(|request| exchange(Arc::clone(&front), request));
            // An error closes the connection, which is how a fault after the call shows.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn exchange(
    front: Arc<Front>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let kept = ["authorization", "content-type", "x-amz-target", "x-amz-date", "x-amz-security-token"];
    let header = |name: &&str| Some(((*name).to_owned(), head.headers.get(*name)?.to_str().ok()?.to_owned()));
    let request = Request {
        method: head.method.to_string(),
        path: head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        headers: kept.iter().filter_map(header).collect(),
        body: body.to_vec(),
    };
    let answer = spawn_blocking(move || front.answer(&request)).await.map_err(io::Error::other)?;
    let answer = answer.ok_or_else(|| io::Error::other("a fault was ordered: no answer"))?;
    Response::builder()
        .status(answer.status)
        .header("content-type", answer.content_type)
        .header("x-amzn-requestid", "landfall")
        .body(Full::from(answer.body))
        .map_err(io::Error::other)
}
