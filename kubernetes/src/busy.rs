//! A busy API server answers with status 429 or 503, in plain text, and says in the header `Retry-After` (RFC 9110 §10.2.3)
//! when it may be asked again. The client library passes on the body only, so the pause is put there, into the field that
//! a `Status` has for it.

use bytes::Bytes;
use http::{
    HeaderMap, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, RETRY_AFTER},
};
use http_body_util::{Either, Full};
use kube::client::DynBody;
use serde_json::json;

pub(crate) fn told(answer: Response<Box<DynBody>>) -> Response<Either<Box<DynBody>, Full<Bytes>>> {
    let (mut parts, body) = answer.into_parts();
    let Some(seconds) = pause(parts.status, &parts.headers) else {
        return Response::from_parts(parts, Either::Left(body));
    };
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.remove(CONTENT_ENCODING);
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": parts.status.as_u16(),
        "reason": if parts.status == StatusCode::TOO_MANY_REQUESTS { "TooManyRequests" } else { "ServiceUnavailable" },
        "message": format!("the API server is busy and asks to wait for {seconds} s"),
        "details": { "retryAfterSeconds": seconds },
    });
    Response::from_parts(parts, Either::Right(Full::from(status.to_string())))
}

/// How long to wait. The API server writes seconds; the other form, a date, comes from proxies and is not understood.
fn pause(status: StatusCode, headers: &HeaderMap) -> Option<u32> {
    let busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    headers.get(RETRY_AFTER).filter(|_| busy)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_busy_server_is_waited_for() {
        for (status, value, seconds) in [
            (429, Some("7"), Some(7)),
            (503, Some(" 1 "), Some(1)),
            (429, None, None),
            (200, Some("7"), None),
            (301, Some("7"), None),
            (429, Some("Wed, 21 Oct 2026 07:28:00 GMT"), None),
            (429, Some("-1"), None),
            (429, Some("99999999999999"), None),
        ] {
            let headers = value.into_iter().map(|value| (RETRY_AFTER, value.parse().unwrap())).collect();
            assert_eq!(pause(StatusCode::from_u16(status).unwrap(), &headers), seconds, "{status} {value:?}");
        }
    }
}
