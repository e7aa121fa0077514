//! AWS for the tests of this crate: each request is answered by a function of its form, and remembered.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use aws_config::{BehaviorVersion, Region};
use landfall_aws_plan::{Answer, Failure, Job, Line, Op, Settings};
use landfall_probes::Meter;
use tokio_util::sync::CancellationToken;

use super::{Aws, Calls, Clients, Endpoints, Throttle};

/// A place that answers.
pub(super) struct Canned {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    /// `answer` gets a form, such as `Action=DescribeVpcs&…`, and gives a document or a code to refuse with. It serves until the
    /// process ends.
    pub(super) fn start(answer: impl Fn(&str) -> Result<String, &'static str> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let known = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &answer, &known);
            }
        });
        Self { url, asked }
    }

    /// A connection to it.
    pub(super) fn aws(&self) -> Aws {
        use aws_sdk_ec2::config::{Credentials, SharedCredentialsProvider};
        let http = aws_smithy_http_client::Builder::new().build_http();
        let credentials = Credentials::new("id", "key", None, None, "test");
        let config = aws_config::SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .http_client(http)
            .build();
        let endpoints: Endpoints = format!("ec2={0},elasticloadbalancing={0}", self.url).parse().unwrap();
        let calls = Calls::new(&mut Meter::default()).unwrap();
        let throttle = Throttle::new(calls, None, CancellationToken::new());
        Aws::new(Clients::new(&config, &endpoints), throttle, "vpc-1".to_owned())
    }

    /// The forms of an action so far.
    pub(super) fn asked(&self, action: &str) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|form| is(form, action)).cloned().collect()
    }
}

impl Aws {
    pub(super) async fn call(&self, op: Op) -> Result<Answer, Failure> {
        self.run(&Job::Call(Line::Backend, op), &Settings::new("harbor", "vpc-1")).await
    }
}

/// Whether a form is of an action.
pub(super) fn is(form: &str, action: &str) -> bool {
    form.split('&').any(|pair| pair.strip_prefix("Action=") == Some(action))
}

/// What a form is answered where there is nothing to tell.
pub(super) fn nothing(form: &str) -> String {
    let action = form.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap();
    document(action, "")
}

/// What an action answers, around `inside`.
pub(super) fn document(action: &str, inside: &str) -> String {
    format!("<{action}Response><{action}Result>{inside}</{action}Result></{action}Response>")
}

fn serve(
    mut stream: TcpStream,
    answer: &impl Fn(&str) -> Result<String, &'static str>,
    asked: &Mutex<Vec<String>>,
) {
    let mut reader = BufReader::new(&stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).unwrap() > 2 {
        let header = line.to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut form = vec![0; length];
    reader.read_exact(&mut form).unwrap();
    let form = String::from_utf8(form).unwrap();
    asked.lock().unwrap().push(form.clone());
    let (status, body) = match answer(&form) {
        Ok(document) => ("200 OK", document),
        Err(code) => {
            let error = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
            let of_ec2 = form.contains("Version=2016-11-15");
            let (begin, end) = if of_ec2 {
                ("<Response><Errors>", "</Errors></Response>")
            } else {
                ("<ErrorResponse>", "</ErrorResponse>")
            };
            ("400 Bad Request", format!("{begin}{error}{end}"))
        }
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .unwrap();
}
