//! How AWS is reached: credentials, region, endpoints, TLS.

use std::{collections::BTreeMap, time::Duration};

use aws_config::{
    AppName, BehaviorVersion, ConfigLoader, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

#[expect(deprecated, reason = "the crate that it moved to is no dependency of ours")]
type ProfileFiles = aws_config::profile::profile_file::Builder;
#[expect(deprecated, reason = "the crate that it moved to is no dependency of ours")]
type ProfileFileKind = aws_config::profile::profile_file::ProfileFileKind;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(20);
const CONNECT: Duration = Duration::from_secs(3);

/// What is told of how AWS is reached; everything else is found by the default provider chain of AWS.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--aws-region`.
    pub region: Option<String>,
    /// `--aws-vpc-id`.
    pub vpc: Option<String>,
    /// `--aws-vpc-tags`: tags of the VPC, where its id is not told.
    pub vpc_tags: BTreeMap<String, String>,
    /// `--aws-api-endpoints`.
    pub endpoints: Endpoints,
}

/// Endpoints that replace those of the region, by the service's signing name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints(BTreeMap<String, String>);

/// The text names no endpoints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not SERVICE=URL; write for instance elasticloadbalancing=https://elb.example.com, with commas between several"
)]
pub struct EndpointsError(String);

impl std::str::FromStr for Endpoints {
    type Err = EndpointsError;

    /// Reads `SERVICE=URL` pairs with commas between; services in any case. Services that Landfall does not call are
    /// accepted: the same flag serves the AWS Load Balancer Controller.
    fn from_str(text: &str) -> Result<Self, EndpointsError> {
        let mut endpoints = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let wrong = || EndpointsError(pair.to_owned());
            let (service, url) = pair.split_once('=').ok_or_else(wrong)?;
            let scheme = url.split_once("://").map(|(scheme, _)| scheme);
            if service.is_empty() || !matches!(scheme, Some("http" | "https")) {
                return Err(wrong());
            }
            endpoints.insert(service.trim().to_ascii_lowercase().replace(' ', ""), url.trim().to_owned());
        }
        Ok(Self(endpoints))
    }
}

impl Endpoints {
    fn of(&self, service: &str) -> Option<&str> {
        self.0.get(service).map(String::as_str)
    }
}

/// The clients of the services that are called.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) elb: aws_sdk_elasticloadbalancingv2::Client,
    pub(crate) ec2: aws_sdk_ec2::Client,
}

impl Clients {
    pub(crate) fn new(config: &SdkConfig, endpoints: &Endpoints) -> Self {
        let mut elb = aws_sdk_elasticloadbalancingv2::config::Builder::from(config);
        let mut ec2 = aws_sdk_ec2::config::Builder::from(config);
        let names = ["elasticloadbalancing", "elasticloadbalancingv2"];
        if let Some(url) = names.into_iter().find_map(|name| endpoints.of(name)) {
            elb = elb.endpoint_url(url);
        }
        if let Some(url) = endpoints.of("ec2") {
            ec2 = ec2.endpoint_url(url);
        }
        Self {
            elb: aws_sdk_elasticloadbalancingv2::Client::from_conf(elb.build()),
            ec2: aws_sdk_ec2::Client::from_conf(ec2.build()),
        }
    }
}

/// The configuration for a region. Credentials come from the default chain: environment, profile, web identity of the
/// service account, container, instance metadata. FIPS and dual-stack endpoints follow `AWS_USE_FIPS_ENDPOINT` and
/// `AWS_USE_DUALSTACK_ENDPOINT`; the partition follows the region.
pub(crate) async fn configuration(region: Option<String>, endpoints: &Endpoints) -> SdkConfig {
    let files = ProfileFiles::new();
    let files = files.include_default_config_file(true).include_default_credentials_file(true);
    let profile = std::env::var("AWS_PROFILE").ok().filter(|name| !name.is_empty());
    loader(region, with_sts(files, profile.as_deref().unwrap_or("default"), endpoints)).load().await
}

/// The chain of credentials takes endpoints from the environment and from profiles only, so that of the service by which roles are
/// assumed goes where a profile would name it.
fn with_sts(files: ProfileFiles, profile: &str, endpoints: &Endpoints) -> ProfileFiles {
    let Some(url) = endpoints.of("sts") else { return files };
    let text = format!(
        "[profile {profile}]\nservices = landfall\n[services landfall]\nsts =\n  endpoint_url = {url}\n"
    );
    files.with_contents(ProfileFileKind::Config, text)
}

fn loader(region: Option<String>, files: ProfileFiles) -> ConfigLoader {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).operation_timeout(REQUEST);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .profile_files(files.build())
        .http_client(http.build_https())
        // The plan decides what is tried again: a repeated call may not be wanted any more.
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts.build());
    if let Ok(name) = AppName::new("landfall") {
        loader = loader.app_name(name);
    }
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }
    loader
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_sdk_ec2::config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextRef,
    };

    use super::*;

    #[test]
    fn endpoints_are_pairs_in_any_case() {
        let text = "ElasticLoadBalancing=http://127.0.0.1:1, ec2=https://ec2.example.com,ACM=http://x:2,";
        let endpoints: Endpoints = text.parse().unwrap();
        assert_eq!(endpoints.of("elasticloadbalancing"), Some("http://127.0.0.1:1"));
        assert_eq!(endpoints.of("ec2"), Some("https://ec2.example.com"));
        assert_eq!(endpoints.of("sts"), None);
        assert_eq!("".parse(), Ok(Endpoints::default()));
        for wrong in ["ec2", "=http://x", "ec2=x", "ec2=ftp://x"] {
            assert_eq!(wrong.parse::<Endpoints>(), Err(EndpointsError(wrong.to_owned())));
        }
    }

    #[tokio::test]
    async fn roles_are_assumed_where_the_endpoints_say() {
        use crate::aws::canned::{Canned, document};
        use aws_sdk_ec2::config::ProvideCredentials as _;
        let canned = Canned::start(|_| {
            let names = ["AccessKeyId", "SecretAccessKey", "SessionToken"];
            let texts: String = names.map(|name| format!("<{name}>{name}</{name}>")).concat();
            let until = "<Expiration>2099-01-01T00:00:00Z</Expiration>";
            let inside = format!("<Credentials>{texts}{until}</Credentials>");
            Ok(document("AssumeRoleWithWebIdentity", &inside))
        });
        let token = std::env::temp_dir().join(format!("landfall-token-{}", std::process::id()));
        std::fs::write(&token, "token").unwrap();
        let text = format!(
            "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/x\nweb_identity_token_file = {}\n",
            token.display()
        );
        let files = ProfileFiles::new().with_contents(ProfileFileKind::Config, text);
        let endpoints: Endpoints = format!("STS={}", canned.url).parse().unwrap();
        let files = with_sts(files, "role", &endpoints);
        let config = loader(Some("eu-west-1".to_owned()), files).profile_name("role").load().await;
        let told = config.credentials_provider().unwrap().provide_credentials().await;
        std::fs::remove_file(&token).unwrap();
        assert_eq!(told.unwrap().access_key_id(), "AccessKeyId");
        assert_eq!(canned.asked("AssumeRoleWithWebIdentity").len(), 1);
    }

    /// Notes where a request goes and for which region and service it is signed, and lets none go.
    #[derive(Clone, Debug, Default)]
    struct Spy(Arc<Mutex<Vec<String>>>);

    impl Intercept for Spy {
        fn name(&self) -> &'static str {
            "spy"
        }

        fn read_before_transmit(
            &self,
            context: &BeforeTransmitInterceptorContextRef<'_>,
            _: &RuntimeComponents,
            _: &mut ConfigBag,
        ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            let request = context.request();
            let signed = request.headers().get("authorization").unwrap_or_default();
            // Credential=KEY/DAY/REGION/SERVICE/aws4_request
            let scope: Vec<&str> = signed.split('/').skip(2).take(2).collect();
            self.0.lock().unwrap().push(format!("{} {}", request.uri(), scope.join("/")));
            Err("no request leaves the tests".into())
        }
    }

    /// Set for a process that is started by the test of the same name: the region.
    const REGION: &str = "LANDFALL_TEST_REGION";

    /// Each in a process of its own, since the environment is one for all threads.
    #[tokio::test]
    async fn endpoints_follow_the_partition_and_the_environment() {
        if let Ok(region) = std::env::var(REGION) {
            let endpoints = Endpoints::default();
            let clients = Clients::new(&configuration(Some(region), &endpoints).await, &endpoints);
            let spy = Spy::default();
            assert!(clients.elb.describe_tags().customize().interceptor(spy.clone()).send().await.is_err());
            assert!(clients.ec2.describe_vpcs().customize().interceptor(spy.clone()).send().await.is_err());
            println!("{}", spy.0.lock().unwrap().join("\n"));
            return;
        }
        let (fips, dual) = ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT");
        for (region, set, elb, ec2) in [
            (
                "eu-west-1",
                None,
                "elasticloadbalancing.eu-west-1.amazonaws.com",
                "ec2.eu-west-1.amazonaws.com",
            ),
            (
                "us-east-1",
                Some(fips),
                "elasticloadbalancing-fips.us-east-1.amazonaws.com",
                "ec2-fips.us-east-1.amazonaws.com",
            ),
            ("eu-west-1", Some(dual), "elasticloadbalancing.eu-west-1.api.aws", "ec2.eu-west-1.api.aws"),
            (
                "cn-north-1",
                None,
                "elasticloadbalancing.cn-north-1.amazonaws.com.cn",
                "ec2.cn-north-1.amazonaws.com.cn",
            ),
            (
                "us-gov-west-1",
                None,
                "elasticloadbalancing.us-gov-west-1.amazonaws.com",
                "ec2.us-gov-west-1.amazonaws.com",
            ),
            // There all endpoints are FIPS endpoints.
            (
                "us-gov-west-1",
                Some(fips),
                "elasticloadbalancing.us-gov-west-1.amazonaws.com",
                "ec2.us-gov-west-1.amazonaws.com",
            ),
        ] {
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            let test = "aws::client::tests::endpoints_follow_the_partition_and_the_environment";
            command.args(["--exact", test, "--nocapture"]);
            for (name, _) in
                std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_"))
            {
                command.env_remove(name);
            }
            command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
            command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "key");
            command.env(REGION, region).envs(set.map(|name| (name, "true")));
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            for (host, service) in [(elb, "elasticloadbalancing"), (ec2, "ec2")] {
                let expected = format!("https://{host}/ {region}/{service}");
                assert!(said.lines().any(|line| line.ends_with(&expected)), "{set:?} {expected}: {said}");
            }
        }
    }
}
