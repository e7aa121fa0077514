//! The cluster's certificate authority, and who it vouches for.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// A certificate authority with a directory of what it issued.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: PathBuf,
}

/// Where a certificate and its private key are.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM, PKCS #8.
    pub key: PathBuf,
}

impl Authority {
    /// Makes an authority whose files live in `directory`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn create(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "landfall-testbed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().context("make the authority's key")?;
        let certificate = params.self_signed(&key).context("sign the authority's certificate")?;
        fs::write(directory.join("ca.crt"), certificate.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), directory: directory.to_owned() })
    }

    /// The authority's own certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("ca.crt")
    }

    /// Vouches for a client: a user name and the groups that RBAC knows it by.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn client(&self, file: &str, user: &str, groups: &[&str]) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(file, params)
    }

    /// Vouches for a server under these names and addresses.
    ///
    /// # Errors
    /// When a name is no host name, or a file cannot be written.
    pub fn server(&self, file: &str, names: &[&str], addresses: &[IpAddr]) -> Result<Identity> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).context("a server's name")?;
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        params.distinguished_name.push(DnType::CommonName, file);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(file, params)
    }

    /// Makes the key pair that signs service-account tokens; the file of the public half is the `certificate`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn token_key(&self) -> Result<Identity> {
        let pair = KeyPair::generate().context("make the key for tokens")?;
        let files = self.files("service-account");
        fs::write(&files.certificate, pair.public_key_pem())?;
        write_private(&files.key, &pair.serialize_pem())?;
        Ok(files)
    }

    fn issue(&self, file: &str, mut params: CertificateParams) -> Result<Identity> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().with_context(|| format!("make the key of {file}"))?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .with_context(|| format!("sign the certificate of {file}"))?;
        let files = self.files(file);
        fs::write(&files.certificate, certificate.pem())
            .with_context(|| format!("write {}", files.certificate.display()))?;
        write_private(&files.key, &key.serialize_pem())?;
        Ok(files)
    }

    fn files(&self, name: &str) -> Identity {
        let at = |ending: &str| self.directory.join(format!("{name}.{ending}"));
        Identity { certificate: at("crt"), key: at("key") }
    }
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
