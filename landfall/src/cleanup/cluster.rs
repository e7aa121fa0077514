use std::{fmt::Write as _, process::ExitCode};

use clap::Args;
use landfall_kubernetes::cleanup::{Found, Install, Object, find, remove};

use crate::{classes::ClassArgs, connection::ConnectionArgs, output::print, run};

/// `landfall cleanup cluster`.
#[derive(Clone, Debug, Args)]
pub(super) struct ClusterArgs {
    #[command(flatten)]
    connection: ConnectionArgs,

    /// Namespace of the install
    #[arg(long, env = "LANDFALL_NAMESPACE", value_name = "NAME", default_value = "landfall-system")]
    install_namespace: String,

    #[command(flatten)]
    classes: ClassArgs,

    /// The Secret with the speakers' key; removed if the controller made it
    #[arg(long, env = "LANDFALL_ML_SECRET_NAME", value_name = "NAME", default_value = "memberlist")]
    ml_secret_name: String,

    /// The Secret with the certificate of the controller's webhooks; removed if the controller made it
    #[arg(
        long,
        env = "LANDFALL_WEBHOOK_SECRET",
        value_name = "NAME",
        default_value = "landfall-webhook-cert"
    )]
    webhook_secret: String,

    /// Only say what would be taken back and removed
    #[arg(long)]
    dry_run: bool,
}

impl ClusterArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { connection, install_namespace, classes, ml_secret_name, webhook_secret, dry_run } = self;
        let install = Install {
            namespace: install_namespace,
            classes: classes.classes()?,
            secrets: vec![ml_secret_name, webhook_secret],
        };
        run::command(async {
            let client = connection.connect().await?.client;
            let found = find(&client, &install).await?;
            let kept = if dry_run { Vec::new() } else { remove(&client, &install, &found).await? };
            let mut text = said(&install, &found, dry_run);
            for service in kept {
                _ = writeln!(text, "Service {service} keeps an address that somebody else wrote too");
            }
            print(&text).map(drop)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// One line for each thing.
fn said(install: &Install, found: &Found, dry_run: bool) -> String {
    let Found { services, objects } = found;
    let (takes, removes) =
        if dry_run { ("would take back", "would remove") } else { ("took back", "removed") };
    let services = services.iter().map(|service| format!("{takes} what was written to Service {service}\n"));
    let objects = objects.iter().map(|object| match object {
        Object::Webhooks(_) | Object::PodWebhook(_) => format!("{removes} {object}\n"),
        Object::Lease(_) | Object::Secret(_) | Object::Report(_) | Object::State(_) => {
            format!("{removes} {object} in {}\n", install.namespace)
        }
    });
    let lines: String = services.chain(objects).collect();
    if lines.is_empty() { "nothing is left of it\n".to_owned() } else { lines }
}

#[cfg(test)]
mod tests {
    use landfall_model::{Classes, ServiceKey};

    use super::*;

    #[test]
    fn each_thing_has_a_line() {
        let install = Install {
            namespace: "lb".to_owned(),
            classes: Classes::default(),
            secrets: vec!["memberlist".to_owned()],
        };
        assert_eq!(said(&install, &Found::default(), false), "nothing is left of it\n");
        let found = Found {
            services: vec![ServiceKey::new("shop", "web")],
            objects: vec![
                Object::Secret("memberlist".to_owned()),
                Object::Webhooks("lb".to_owned()),
                Object::PodWebhook("lb".to_owned()),
            ],
        };
        let done = "took back what was written to Service shop/web\nremoved Secret memberlist in lb\n\
             removed ValidatingWebhookConfiguration lb\nremoved MutatingWebhookConfiguration lb\n";
        assert_eq!(said(&install, &found, false), done);
        let planned = "would take back what was written to Service shop/web\nwould remove Secret memberlist in lb\n\
             would remove ValidatingWebhookConfiguration lb\nwould remove MutatingWebhookConfiguration lb\n";
        assert_eq!(said(&install, &found, true), planned);
    }
}
