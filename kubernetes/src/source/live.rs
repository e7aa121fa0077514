//! The configuration as the API server has it at this moment, for who must not decide by what a watch has seen so far.

use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, Resource, ResourceExt as _, api::ListParams, core::NamespaceResourceScope};
use landfall_model::{Invalid, Labels, NodeView, Observation};
use landfall_verdict::Objects;
use serde_json::Value;

use super::{
    kind::{BfdProfiles, BgpAdvertisements, BgpPeers, CommunityNames, Kind, L2Advertisements, Pools},
    seen::Seen,
};

/// An object of the configuration, of the version that is stored; `None` if the kind is none of those.
///
/// # Errors
/// When the object alone breaks a rule.
#[must_use]
pub fn read_configuration(kind: &str, object: Value) -> Option<Result<Observation, Invalid>> {
    Some(match kind {
        Pools::KIND => read::<Pools>(object),
        L2Advertisements::KIND => read::<L2Advertisements>(object),
        BgpAdvertisements::KIND => read::<BgpAdvertisements>(object),
        BgpPeers::KIND => read::<BgpPeers>(object),
        BfdProfiles::KIND => read::<BfdProfiles>(object),
        CommunityNames::KIND => read::<CommunityNames>(object),
        _ => return None,
    })
}

fn read<K: Kind>(object: Value) -> Result<Observation, Invalid> {
    let seen = Seen::<K>::from_value(object);
    let key = seen.key();
    seen.outcome.map(|model| K::observation(&key, model))
}

/// All objects of the configuration that can be read, in six requests at once; and the names and labels of all Nodes
/// in one more if there are objects that may select Nodes. Secrets are not looked at.
///
/// # Errors
/// When a list cannot be had. A kind that the API server does not know has no objects.
pub async fn configuration(client: &Client, namespace: &str) -> Result<Objects, kube::Error> {
    let lists = tokio::try_join!(
        list::<Pools>(client, namespace),
        list::<L2Advertisements>(client, namespace),
        list::<BgpAdvertisements>(client, namespace),
        list::<BgpPeers>(client, namespace),
        list::<BfdProfiles>(client, namespace),
        list::<CommunityNames>(client, namespace),
    )?;
    let mut objects = Objects { namespace: namespace.into(), ..Objects::default() };
    for observation in <[Vec<Observation>; 6]>::from(lists).iter().flatten() {
        objects.observe(observation);
    }
    if !(objects.peers.is_empty() && objects.bgp_advertisements.is_empty()) {
        objects.nodes = nodes(client).await?;
    }
    Ok(objects)
}

async fn list<K>(client: &Client, namespace: &str) -> Result<Vec<Observation>, kube::Error>
where
    K: Kind<Object: Resource<Scope = NamespaceResourceScope>>,
{
    let api: Api<Seen<K>> = Api::namespaced(client.clone(), namespace);
    let listed = match api.list(&ListParams::default()).await {
        Ok(listed) => listed,
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let observations = listed.into_iter().filter_map(|seen| {
        let key = seen.key();
        seen.outcome.ok().map(|model| K::observation(&key, model))
    });
    Ok(observations.collect())
}

async fn nodes(client: &Client) -> Result<Vec<NodeView>, kube::Error> {
    let listed = Api::<Node>::all(client.clone()).list_metadata(&ListParams::default()).await?;
    let view = |node: &kube::core::PartialObjectMeta<Node>| NodeView {
        name: node.name_any().into(),
        labels: Labels::from_iter(node.labels().iter().map(|(key, value)| (key.clone(), value.clone()))),
        ..NodeView::default()
    };
    Ok(listed.iter().map(view).collect())
}
