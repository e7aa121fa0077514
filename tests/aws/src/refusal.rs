//! An error as AWS words it, in the syntax of each service.

use crate::{wire::Answer, xml::Element};

/// Why a call is refused: an error code of the API, a text, an HTTP status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) status: u16,
}

impl Refusal {
    /// A client error, HTTP 400, as nearly all are.
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), status: 400 }
    }

    /// What moto said, from the error document of whichever service. Its HTML page for what it does not know becomes
    /// an internal failure that names it.
    pub(crate) fn of_moto(answer: &Answer) -> Self {
        let text = String::from_utf8_lossy(&answer.body);
        let found = Element::parse(&text).ok().and_then(|(root, _)| {
            let code = root.anywhere("Code")?.text.clone();
            let message = root.anywhere("Message").map(|m| m.text.clone()).unwrap_or_default();
            Some(Self { code, message, status: answer.status })
        });
        found.unwrap_or_else(|| Self {
            code: "InternalFailure".to_owned(),
            message: format!("moto answered with status {}: {text}", answer.status),
            status: 500,
        })
    }

    /// The answer in the syntax of a service: a JSON object for ACM, `Response/Errors` for EC2, `ErrorResponse` for all
    /// others.
    pub(crate) fn answer(&self, service: &str) -> Answer {
        let error = || Element::new("Error").leaf("Code", &self.code).leaf("Message", &self.message);
        match service {
            "acm" => Answer {
                status: self.status,
                content_type: "application/x-amz-json-1.1".to_owned(),
                body: format!("{{\"__type\":{:?},\"message\":{:?}}}", self.code, self.message).into_bytes(),
            },
            "ec2" => {
                let document = Element::new("Response")
                    .inside(Element::new("Errors").inside(error()))
                    .leaf("RequestID", "landfall");
                Answer::xml(self.status, document.document("http://ec2.amazonaws.com/doc/2016-11-15/"))
            }
            _ => {
                let kind = if self.status < 500 { "Sender" } else { "Receiver" };
                let document = Element::new("ErrorResponse")
                    .inside(error().leaf("Type", kind))
                    .leaf("RequestId", "landfall");
                Answer::xml(self.status, document.document(crate::elb::NAMESPACE))
            }
        }
    }
}

/// A refused call.
pub(crate) fn refuse<T>(code: &str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, message))
}
