//! The plan, asked by another command: which nodes may announce one Service.

use std::collections::BTreeSet;

use landfall_kubernetes::source::Snapshot;
use landfall_model::{Classes, Reason, ServiceKey};
use serde_json::{Value, json};

use super::{
    planner::{self, Options},
    report::{Candidate, Layer2, Report},
};

/// What is to be found out.
pub(crate) struct Question<'a> {
    /// The Service and those that share its addresses, their slices, all Nodes, pools and advertisements.
    pub(crate) objects: Vec<Value>,
    /// The Service.
    pub(crate) service: &'a ServiceKey,
    /// Its class.
    pub(crate) class: Option<&'a str>,
    /// Where pools and advertisements are.
    pub(crate) install_namespace: &'a str,
    /// The nodes with a speaker that is alive.
    pub(crate) speakers: BTreeSet<Box<str>>,
    /// The exclude label of nodes does not count.
    pub(crate) ignore_exclude_lb: bool,
}

/// The answer.
#[derive(Debug)]
pub(crate) enum Candidates {
    /// Every node.
    Nodes(Vec<Place>),
    /// The Service is announced by no node, and why.
    None(String),
}

/// Whether a node may announce the Service.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) node: String,
    /// Why not; `None`: it may.
    pub(crate) reason: Option<Reason>,
}

/// Which nodes may announce a Service, if every interface reaches its addresses.
pub(crate) fn candidates(question: Question<'_>) -> anyhow::Result<Candidates> {
    let Question { objects, service, class, install_namespace, speakers, ignore_exclude_lb } = question;
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
    let texts = [("the answer of the API server", list.as_str())];
    let snapshot = Snapshot::read(texts, Some(install_namespace)).map_err(anyhow::Error::msg)?;
    let options = Options {
        speakers: Some(speakers),
        ignore_exclude_lb,
        classes: class.map_or_else(Classes::default, Classes::only),
        ..Options::default()
    };
    let (report, _) = planner::plan(snapshot, &options);
    Ok(of_service(report, service))
}

fn of_service(report: Report, service: &ServiceKey) -> Candidates {
    let is_it = |namespace: &str, name: &str| *namespace == *service.namespace && *name == *service.name;
    let entry = report.layer2.into_iter().find(|entry| is_it(&entry.namespace, &entry.name));
    let Some(Layer2 { candidates, .. }) = entry else {
        let said = report.services.into_iter().find(|one| is_it(&one.namespace, &one.name));
        return Candidates::None(said.map_or_else(|| "it is gone".to_owned(), |one| one.message));
    };
    let place = |Candidate { node, eligible, reason }| Place {
        node,
        reason: if eligible { None } else { Reason::parse(&reason) },
    };
    Candidates::Nodes(candidates.into_iter().map(place).collect())
}
