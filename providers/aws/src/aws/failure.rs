//! What an error of AWS means for the plan.

use aws_sdk_elasticloadbalancingv2::error::{ProvideErrorMetadata, SdkError};
use landfall_aws_plan::{Failure, FailureKind};

/// The failure that an error of the SDK is.
pub(super) fn of<E, R>(error: &SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let Some(service) = error.as_service_error() else {
        let code = match error {
            SdkError::TimeoutError(_) => "RequestTimeout",
            SdkError::DispatchFailure(_) => "NoConnection",
            SdkError::ConstructionFailure(_) => "InvalidRequest",
            SdkError::ResponseError(_) | SdkError::ServiceError(_) | _ => "NoAnswer",
        };
        let message = landfall_kubernetes::write::describe(error as &dyn std::error::Error);
        return Failure { kind: FailureKind::Unavailable, code: code.to_owned(), message };
    };
    let code = service.code().unwrap_or("InternalFailure");
    let message = service.message().unwrap_or("AWS gives no reason");
    Failure { kind: kind(code), code: code.to_owned(), message: constant(message).to_owned() }
}

/// The kind of a code of Elastic Load Balancing or EC2 ("Common errors" and the errors of each action in their references).
fn kind(code: &str) -> FailureKind {
    match code {
        "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "SlowDown"
        | "TooManyRequestsException"
        | "EC2ThrottledException" => FailureKind::Throttled,
        "DependencyViolation"
        | "ResourceInUse"
        | "PriorRequestNotComplete"
        | "CapacityReservationPending"
        | "InvalidState"
        | "IncorrectState"
        | "HealthUnavailable" => FailureKind::Busy,
        "LoadBalancerNotFound"
        | "TargetGroupNotFound"
        | "ListenerNotFound"
        | "DuplicateLoadBalancerName"
        | "DuplicateTargetGroupName"
        | "DuplicateListener"
        | "InvalidGroup.NotFound"
        | "InvalidGroup.Duplicate"
        | "InvalidPermission.NotFound"
        | "InvalidTarget"
        | "InvalidGroupId.NotFound"
        | "SubnetNotFound" => FailureKind::Stale,
        "InternalFailure" | "InternalError" | "ServiceUnavailable" | "Unavailable" | "RequestExpired"
        | "RequestTimeout" => FailureKind::Unavailable,
        _ => FailureKind::Refused,
    }
}

/// The part of a message that is the same each time: EC2 encrypts details of a missing right anew for each request.
fn constant(message: &str) -> &str {
    let end = message.find("Encoded authorization failure message").unwrap_or(message.len());
    message[..end].trim_end()
}

/// The code of an error, if AWS gave one.
pub(super) fn code<E, R>(error: &SdkError<E, R>) -> Option<&str>
where
    E: ProvideErrorMetadata,
{
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// A failure to understand what AWS answered.
pub(super) fn unreadable(what: &str) -> Failure {
    Failure {
        kind: FailureKind::Unavailable,
        code: "UnreadableAnswer".to_owned(),
        message: format!("AWS answered without {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_each_time_is_left_out() {
        let message =
            "You are not authorized to perform this operation. Encoded authorization failure message: x7Yz";
        assert_eq!(constant(message), "You are not authorized to perform this operation.");
        assert_eq!(constant("Rate exceeded"), "Rate exceeded");
    }

    #[test]
    fn a_code_says_whether_and_when_to_try_again() {
        for (code, expected) in [
            ("Throttling", FailureKind::Throttled),
            ("RequestLimitExceeded", FailureKind::Throttled),
            ("DependencyViolation", FailureKind::Busy),
            ("DuplicateListener", FailureKind::Stale),
            ("TargetGroupNotFound", FailureKind::Stale),
            ("InternalFailure", FailureKind::Unavailable),
            ("AccessDenied", FailureKind::Refused),
            ("UnauthorizedOperation", FailureKind::Refused),
            ("TooManyLoadBalancers", FailureKind::Refused),
            ("CertificateNotFound", FailureKind::Refused),
        ] {
            assert_eq!(kind(code), expected, "{code}");
        }
    }
}
