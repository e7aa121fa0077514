//! Tags of load balancers, listeners and target groups. moto allows ten and never forgets (clouds.md §3.1), so they are here.

use std::collections::BTreeMap;

use super::{Asked, Elb, balancer_not_found, group_not_found, listener_not_found};
use crate::{
    refusal::{Refusal, refuse},
    xml::Element,
};

/// Tags of a resource, and resources of a `DescribeTags`.
const TAGS: usize = 50;
const ARNS: usize = 20;

/// The tags of a call. API reference, `CreateLoadBalancer`: `DuplicateTagKeys`, `TooManyTags`.
pub(super) fn parsed(asked: &Asked<'_>) -> Result<BTreeMap<String, String>, Refusal> {
    let mut tags = BTreeMap::new();
    for tag in asked.parameters.members("Tags") {
        let (key, value) = (tag.need("Key")?, tag.get("Value").unwrap_or_default());
        if key.starts_with("aws:") {
            return refuse(
                "ValidationError",
                format!("Tag key '{key}' begins with 'aws:', which is reserved"),
            );
        }
        if tags.insert(key.to_owned(), value.to_owned()).is_some() {
            return refuse("DuplicateTagKeys", format!("Tag key was specified more than once: {key}"));
        }
    }
    check_count(&tags)?;
    Ok(tags)
}

fn check_count(tags: &BTreeMap<String, String>) -> Result<(), Refusal> {
    if tags.len() > TAGS {
        return refuse("TooManyTags", "The quota of tags of a resource has been reached");
    }
    Ok(())
}

impl Elb {
    /// API reference, `AddTags`: a key that is there gets the new value; all resources or none are changed.
    pub(super) fn add_tags(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let added = parsed(asked)?;
        let mut changed = Vec::new();
        for arn in asked.parameters.texts("ResourceArns") {
            let mut tags = self.tags_of(arn)?.clone();
            tags.extend(added.clone());
            check_count(&tags)?;
            changed.push((arn.to_owned(), tags));
        }
        self.tags.extend(changed);
        Ok(Element::new("Result"))
    }

    /// API reference, `RemoveTags`: a key that is not there is passed over.
    pub(super) fn remove_tags(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let keys = asked.parameters.texts("TagKeys");
        let arns = asked.parameters.texts("ResourceArns");
        arns.iter().try_for_each(|arn| self.tags_of(arn).map(drop))?;
        for arn in arns {
            if let Some(tags) = self.tags.get_mut(arn) {
                tags.retain(|key, _| !keys.contains(&key.as_str()));
            }
        }
        Ok(Element::new("Result"))
    }

    /// API reference, `DescribeTags`: at most 20 resources in a call, and an error for one that is not there. moto has no
    /// limit, no error, and tags of what was deleted (clouds.md §3.1).
    pub(super) fn describe_tags(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arns = asked.parameters.texts("ResourceArns");
        if arns.len() > ARNS {
            return refuse(
                "ValidationError",
                format!("At most {ARNS} resources can be described in one call"),
            );
        }
        let mut members = Vec::new();
        for arn in arns {
            let tags = self.tags_of(arn)?;
            let tags = tags.iter().map(|(k, v)| Element::new("member").leaf("Key", k).leaf("Value", v));
            members.push(Element::new("member").leaf("ResourceArn", arn).list("Tags", tags));
        }
        Ok(Element::new("Result").list("TagDescriptions", members))
    }

    /// What an ARN is of decides which error says that it is not there.
    fn tags_of(&self, arn: &str) -> Result<&BTreeMap<String, String>, Refusal> {
        match (self.tags.get(arn), arn) {
            (Some(tags), _) => Ok(tags),
            (None, arn) if arn.contains(":targetgroup/") => group_not_found(),
            (None, arn) if arn.contains(":listener/") => listener_not_found(),
            (None, arn) if arn.contains(":loadbalancer/") => balancer_not_found(),
            (None, arn) => refuse("ValidationError", format!("'{arn}' is not a valid resource ARN")),
        }
    }
}
