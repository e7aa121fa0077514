//! One HTTP/1.1 exchange over a connection of its own, blocking: for moto, and for who has no AWS client at hand.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// How long a server may be silent. Far above what moto needs; it only keeps a broken test from hanging.
const SILENCE: Duration = Duration::from_mins(1);

/// A request: method, path with query, the headers that matter here, and a body.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn xml(status: u16, document: String) -> Self {
        Self { status, content_type: "text/xml".to_owned(), body: document.into_bytes() }
    }
}

impl Request {
    /// A call of the Query protocol. Nobody checks the signature; the scope names service and region.
    pub(crate) fn query(service: &str, region: &str, body: String) -> Self {
        Self {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: vec![
                ("Authorization".to_owned(), authorization(service, region)),
                ("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
            ],
            body: body.into_bytes(),
        }
    }

    /// A call of the JSON protocol.
    pub(crate) fn json(service: &str, region: &str, target: &str, body: String) -> Self {
        let mut request = Self::query(service, region, body);
        request.headers.truncate(1);
        request.headers.push(("Content-Type".to_owned(), "application/x-amz-json-1.1".to_owned()));
        request.headers.push(("X-Amz-Target".to_owned(), target.to_owned()));
        request
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Sends this and reads the answer up to the end of the connection, or of the body if its length is told.
    ///
    /// # Errors
    ///
    /// Those of the socket, and [`io::ErrorKind::UnexpectedEof`] if the connection ends without an answer.
    pub(crate) fn send(&self, to: SocketAddr) -> io::Result<Answer> {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(SILENCE))?;
        let mut head =
            format!("{} {} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.extend(["Content-Length: ", &self.body.len().to_string(), "\r\n\r\n"]);
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        stream.write_all(&bytes)?;
        let mut received = Vec::new();
        stream.read_to_end(&mut received)?;
        parsed(&received).ok_or_else(|| {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended without an answer")
        })
    }
}

/// An Authorization header whose credential scope names service and region.
fn authorization(service: &str, region: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/{region}/{service}/aws4_request, \
         SignedHeaders=host, Signature=0"
    )
}

fn parsed(received: &[u8]) -> Option<Answer> {
    let end = received.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(received.get(..end)?);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let content_type = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default();
    Some(Answer { status, content_type, body: received.get(end + 4..)?.to_vec() })
}
