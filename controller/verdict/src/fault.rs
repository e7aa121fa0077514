use std::fmt;

use landfall_model::{Invalid, ObjectName, Reason};

/// Why an object cannot be in force together with the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// The object at fault.
    pub object: ObjectName,
    /// Path of the field, such as `spec.addresses[0]`; empty when the whole object is meant.
    pub field: Box<str>,
    /// Which kind of rule is broken.
    pub reason: Reason,
    /// What is wrong, with which other objects, and how to mend it.
    pub message: String,
    /// Whether it goes by itself once what the object names is there; such an object may be created.
    pub transient: bool,
}

impl Fault {
    /// An object that cannot be read is at fault without any other.
    #[must_use]
    pub fn unreadable(object: &ObjectName, invalid: &Invalid) -> Self {
        let Invalid { field, reason, message } = invalid;
        Self {
            object: object.clone(),
            field: field.clone(),
            reason: *reason,
            message: message.to_string(),
            transient: false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            write!(f, "{}: {}", self.object, self.message)
        } else {
            write!(f, "{}: {}: {}", self.object, self.field, self.message)
        }
    }
}

/// The faults found so far.
pub(crate) struct Faults<'a> {
    namespace: &'a str,
    found: Vec<Fault>,
}

impl<'a> Faults<'a> {
    pub(crate) const fn new(namespace: &'a str) -> Self {
        Self { namespace, found: Vec::new() }
    }

    /// The namespace of all objects.
    pub(crate) const fn namespace(&self) -> &'a str {
        self.namespace
    }

    /// Somebody must change something.
    pub(crate) fn permanent(
        &mut self,
        object: (&'static str, &str),
        field: impl Into<String>,
        reason: Reason,
        message: impl Into<String>,
    ) {
        self.add(object, field.into(), reason, message.into(), false);
    }

    /// Something that the object names does not exist yet.
    pub(crate) fn transient(
        &mut self,
        object: (&'static str, &str),
        field: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.add(object, field.into(), Reason::UnknownReference, message.into(), true);
    }

    fn add(
        &mut self,
        (kind, name): (&'static str, &str),
        field: String,
        reason: Reason,
        message: String,
        transient: bool,
    ) {
        let object = ObjectName { kind, namespace: self.namespace.into(), name: name.into() };
        self.found.push(Fault { object, field: field.into(), reason, message, transient });
    }

    /// By kind and name; those of one object in the order in which they were found.
    pub(crate) fn sorted(mut self) -> Vec<Fault> {
        self.found.sort_by(|a, b| a.object.cmp(&b.object));
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_without_a_field_is_about_the_whole_object() {
        let object =
            ObjectName { kind: "IPAddressPool", namespace: "landfall-system".into(), name: "lan".into() };
        let fault = |field: &str| {
            let message = "not an address".into();
            Fault::unreadable(
                &object,
                &Invalid { field: field.into(), reason: Reason::InvalidAddress, message },
            )
        };
        let start = "IPAddressPool landfall-system/lan: ";
        let at = "spec.addresses[0]";
        assert_eq!(fault(at).to_string(), format!("{start}{at}: not an address"));
        assert_eq!(fault("").to_string(), format!("{start}not an address"));
    }
}
