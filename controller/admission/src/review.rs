//! What is answered to a question of the API server. Pure.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use kube::core::{
    DynamicObject,
    admission::{AdmissionRequest, AdmissionResponse, Operation},
};
use landfall_kubernetes::{names::annotation, source::read_configuration};
use landfall_model::{Invalid, Observation};
use landfall_verdict::{Fault, Mode, Objects, admit, removal};
use serde_json::Value;

/// The kind whose removal is asked about.
pub(crate) const REMOVED: &str = "BFDProfile";

/// The setting of a peer that says nothing any more.
const DEPRECATED: &str = "spec.disableMP is deprecated and says nothing: a session carries only the routes of its own \
                          address family unless spec.dualStackAddressFamily is set";

/// What is asked, once it is known to be about an object of the configuration.
pub(crate) enum Question {
    /// It can be answered at once.
    Answered(Box<AdmissionResponse>),
    /// The answer depends on the other objects: this is what the object would be, `None` if it would be gone.
    Depends(Option<Box<Observation>>),
}

/// Looks at the object alone. `kind` is what the webhook's path names; `namespace` is that of the install.
pub(crate) fn question(request: &AdmissionRequest<DynamicObject>, kind: &str, namespace: &str) -> Question {
    let response = AdmissionResponse::from(request);
    let answered = |response: AdmissionResponse| Question::Answered(Box::new(response));
    if request.kind.kind != kind {
        let asked = &request.kind.kind;
        return answered(
            response.deny(format!("this webhook is about {kind}, and the request about {asked}")),
        );
    }
    match request.operation {
        Operation::Create | Operation::Update => {}
        Operation::Delete if kind == REMOVED => return Question::Depends(None),
        Operation::Delete | Operation::Connect => return answered(response),
    }
    let where_it_is = request.namespace.as_deref().unwrap_or_default();
    if where_it_is != namespace {
        return answered(elsewhere(request, namespace));
    }
    let Some(object) = &request.object else {
        return answered(response.deny("the request has no object"));
    };
    if request.old_object.as_ref().is_some_and(|old| says_the_same(old, object)) {
        return answered(response);
    }
    let value = serde_json::to_value(object).unwrap_or(Value::Null);
    match read_configuration(kind, value) {
        Some(Ok(observation)) => Question::Depends(Some(Box::new(observation))),
        Some(Err(Invalid { field, reason: _, message })) => {
            let message = if field.is_empty() { message.into() } else { format!("{field}: {message}") };
            answered(response.deny(message))
        }
        None => answered(response.deny(format!("{kind} is no kind of the configuration"))),
    }
}

/// Whether two versions say the same: spec, and annotations that are part of the configuration.
fn says_the_same(old: &DynamicObject, new: &DynamicObject) -> bool {
    let said = |object: &DynamicObject| -> BTreeMap<String, String> {
        let annotations = object.annotations().iter();
        let ours = annotations.filter(|(key, _)| key.starts_with(annotation::OURS));
        ours.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    old.data.get("spec") == new.data.get("spec") && said(old) == said(new)
}

/// An object of the configuration where nobody reads it.
pub(crate) fn elsewhere(request: &AdmissionRequest<DynamicObject>, namespace: &str) -> AdmissionResponse {
    let kind = &request.kind.kind;
    let message = format!(
        "metadata.namespace: a {kind} is read only in namespace {namespace:?}, where Landfall is installed; create it there"
    );
    AdmissionResponse::from(request).deny(message)
}

/// The answer to a question that depends on the `others`, the object as it is now among them.
pub(crate) fn answer(
    request: &AdmissionRequest<DynamicObject>,
    asked: Option<&Observation>,
    others: &Objects,
    mode: Mode,
) -> AdmissionResponse {
    let mut response = AdmissionResponse::from(request);
    let Some(asked) = asked else {
        let fault = removal(others, &request.name);
        return match fault {
            Some(fault) => response.deny(fault),
            None => response,
        };
    };
    let mut after = others.clone();
    after.observe(asked);
    let admission = admit(others, &after, (&request.kind.kind, &request.name), mode);
    let own = |fault: &Fault| fault.object.kind == request.kind.kind && *fault.object.name == *request.name;
    let said = |fault: &Fault| match (own(fault), fault.field.is_empty()) {
        (true, true) => fault.message.clone(),
        (true, false) => format!("{}: {}", fault.field, fault.message),
        (false, _) => fault.to_string(),
    };
    let mut warnings: Vec<String> = admission.warned.iter().map(said).collect();
    if let Some(object) = &request.object
        && object.data["spec"]["disableMP"] == true
    {
        warnings.push(DEPRECATED.to_owned());
    }
    response.warnings = (!warnings.is_empty()).then_some(warnings);
    if admission.refused.is_empty() {
        return response;
    }
    let refused: Vec<String> = admission.refused.iter().map(said).collect();
    response.deny(refused.join("; "))
}

#[cfg(test)]
mod tests;
