//! One HTTP/1.1 exchange over a connection of its own, blocking: for moto, and for who has no AWS client at hand.

use std::{
    io::{self, BufRead, BufReader, Write},
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

    /// Sends this and reads the answer up to the end of the body, or of the connection if no length is told.
    ///
    /// After an answer moto's server waits 10 ms for more of the request before it closes the connection, which took three
    /// times as long as the call itself; so the end of the connection is not waited for.
    ///
    /// # Errors
    ///
    /// Those of the socket, and [`io::ErrorKind::UnexpectedEof`] if the connection ends without a whole answer.
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
        received(BufReader::new(stream))
    }
}

/// An Authorization header whose credential scope names service and region.
fn authorization(service: &str, region: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/{region}/{service}/aws4_request, \
         SignedHeaders=host, Signature=0"
    )
}

fn received(mut from: impl BufRead) -> io::Result<Answer> {
    let no_answer = || io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended without an answer");
    let mut line = || {
        let mut line = String::new();
        match from.read_line(&mut line)? {
            0 => Err(no_answer()),
            _ => Ok(line.trim_end().to_owned()),
        }
    };
    let status = line()?.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(no_answer)?;
    let mut answer = Answer { status, content_type: String::new(), body: Vec::new() };
    let mut length = None;
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-type" => value.trim().clone_into(&mut answer.content_type),
            "content-length" => length = value.trim().parse().ok(),
            _ => {}
        }
    }
    match length {
        Some(length) => {
            answer.body.resize(length, 0);
            from.read_exact(&mut answer.body)?;
        }
        None => _ = from.read_to_end(&mut answer.body)?,
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says_or_with_the_connection() {
        let read = |text: &str| received(text.as_bytes()).map(|answer| (answer.status, answer.body));
        let head = "HTTP/1.1 404 NOT FOUND\r\nContent-Type: text/html\r\n";
        assert_eq!(read(&format!("{head}content-length: 2\r\n\r\nnot read")).unwrap(), (404, b"no".to_vec()));
        assert_eq!(read(&format!("{head}\r\nall of it")).unwrap(), (404, b"all of it".to_vec()));
        let cut = ["", "HTTP/1.1", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1"];
        for cut in cut {
            assert_eq!(read(cut).unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{cut:?}");
        }
    }
}
