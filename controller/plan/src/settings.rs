use landfall_model::{Classes, ServiceView};

/// What the operator chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The Services that are ours.
    pub classes: Classes,
    /// Those without a class that AWS annotations claim are not: another provider makes their load balancers.
    pub leaves_aws: bool,
}

impl Settings {
    /// Whether a Service of type `LoadBalancer` is ours.
    pub(crate) fn handles(&self, view: &ServiceView) -> bool {
        let claimed = self.leaves_aws && view.class.is_none() && view.requests.aws;
        self.classes.handles(view.class.as_deref()) && !claimed
    }
}
