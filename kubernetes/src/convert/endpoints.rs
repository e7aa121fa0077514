use k8s_openapi::api::discovery::v1 as discovery;
use landfall_model::{Endpoint, EndpointPort, EndpointSlice, Invalid, Protocol, Reason, ServiceKey};

use super::{invalid, service::protocol};
use crate::names::label;

/// An EndpointSlice. `None` when it belongs to no Service, or holds host names instead of addresses.
///
/// # Errors
/// When an endpoint has no readable address, or a port has an unknown protocol or number.
pub fn endpoint_slice(object: &discovery::EndpointSlice) -> Result<Option<EndpointSlice>, Invalid> {
    let labels = object.metadata.labels.as_ref();
    let Some(name) =
        labels.and_then(|labels| labels.get(label::SERVICE_NAME)).filter(|name| !name.is_empty())
    else {
        return Ok(None);
    };
    if object.address_type == "FQDN" {
        return Ok(None);
    }
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let endpoints = object.endpoints.iter().enumerate().map(|(index, written)| endpoint(index, written));
    let ports = object.ports.iter().flatten().enumerate().filter_map(|(index, written)| port(index, written));
    Ok(Some(EndpointSlice {
        service: ServiceKey::new(namespace, name),
        endpoints: endpoints.collect::<Result<_, _>>()?,
        ports: ports.collect::<Result<_, _>>()?,
    }))
}

fn endpoint(index: usize, written: &discovery::Endpoint) -> Result<Endpoint, Invalid> {
    let field = format!("endpoints[{index}].addresses");
    let Some(text) = written.addresses.first() else {
        return Err(invalid(
            Reason::MissingField,
            field,
            "the list is empty; every endpoint needs an address",
        ));
    };
    let address = text.parse().map_err(|_| {
        invalid(
            Reason::InvalidAddress,
            format!("{field}[0]"),
            format!("{text:?} is not an IP address; write one such as 192.0.2.7"),
        )
    })?;
    let conditions = written.conditions.as_ref();
    let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
    Ok(Endpoint {
        address,
        node: written.node_name.as_deref().map(Into::into),
        ready,
        serving: conditions.and_then(|conditions| conditions.serving).unwrap_or(ready),
    })
}

fn port(index: usize, written: &discovery::EndpointPort) -> Option<Result<EndpointPort, Invalid>> {
    let field = format!("ports[{index}]");
    let number = written.port?;
    let Some(number) = u16::try_from(number).ok().filter(|number| *number != 0) else {
        let message = format!("{number} is not a port; use 1 to 65535");
        return Some(Err(invalid(Reason::InvalidValue, format!("{field}.port"), message)));
    };
    let protocol = match &written.protocol {
        Some(text) => match protocol(&format!("{field}.protocol"), text) {
            Ok(protocol) => protocol,
            Err(error) => return Some(Err(error)),
        },
        None => Protocol::Tcp,
    };
    let name = written.name.as_deref().unwrap_or_default().into();
    Some(Ok(EndpointPort { name, protocol, port: number }))
}
