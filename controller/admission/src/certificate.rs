//! The certificate that the webhooks show, and the authority that vouches for it. When something is made anew is decided
//! from what is stored and the time; the making itself needs entropy.
//!
//! The authority lives ten years and its certificates one. A new authority is put beside the old one, and vouches for a
//! certificate only after an hour: by then API servers trust both.

use std::collections::BTreeMap;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::OffsetDateTime;
use x509_parser::{extensions::GeneralName, pem::parse_x509_pem};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// How long an authority vouches.
const AUTHORITY: i64 = 3650 * DAY;
/// How long before its end an authority gets a successor.
const SUCCESSOR: i64 = 365 * DAY;
/// How long a certificate holds.
const CERTIFICATE: i64 = 365 * DAY;
/// How long before its end a certificate is replaced.
const REPLACED: i64 = 90 * DAY;
/// Clocks of API servers may be behind by this much.
const SKEW: i64 = HOUR;
/// How long a new authority is known before it vouches for anything.
const KNOWN: i64 = HOUR;
/// At most this much of a chain of authorities is kept.
const AUTHORITIES: usize = 3;

/// Entries of the Secret, by the names that cert-controller gives them, which MetalLB uses.
pub(crate) mod key {
    pub(crate) const AUTHORITY: &str = "ca.crt";
    pub(crate) const AUTHORITY_KEY: &str = "ca.key";
    pub(crate) const CERTIFICATE: &str = "tls.crt";
    pub(crate) const CERTIFICATE_KEY: &str = "tls.key";
}

/// What a Secret holds. The keys in it are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Bundle {
    /// Authorities that are trusted, the one that vouches first; PEM.
    pub(crate) authorities: String,
    authority_key: String,
    /// PEM.
    pub(crate) certificate: String,
    /// PEM.
    pub(crate) key: String,
}

/// What is to be made, and until when nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Everything: nothing usable is stored.
    Everything,
    /// An authority beside the one that is there.
    Authority,
    /// A certificate of the authority.
    Certificate,
    /// Nothing before this time, in seconds since 1970.
    Nothing { until: i64 },
}

/// Why something could not be made.
#[derive(Debug, thiserror::Error)]
#[error("a certificate could not be made: {0}")]
pub(crate) struct MakeError(#[from] rcgen::Error);

impl Bundle {
    /// From the entries of a Secret; `None` if one is missing or is no text.
    pub(crate) fn read(mut entries: impl FnMut(&str) -> Option<Vec<u8>>) -> Option<Self> {
        let mut text = |key: &str| entries(key).and_then(|bytes| String::from_utf8(bytes).ok());
        Some(Self {
            authorities: text(key::AUTHORITY)?,
            authority_key: text(key::AUTHORITY_KEY)?,
            certificate: text(key::CERTIFICATE)?,
            key: text(key::CERTIFICATE_KEY)?,
        })
    }

    /// The entries of a Secret.
    pub(crate) fn entries(&self) -> BTreeMap<&'static str, &str> {
        BTreeMap::from([
            (key::AUTHORITY, self.authorities.as_str()),
            (key::AUTHORITY_KEY, self.authority_key.as_str()),
            (key::CERTIFICATE, self.certificate.as_str()),
            (key::CERTIFICATE_KEY, self.key.as_str()),
        ])
    }

    /// What is to be done at `now`, so that a certificate for all `names` is there.
    pub(crate) fn step(&self, names: &[String], now: i64) -> Step {
        let authorities = certificates(&self.authorities);
        let (Some(authority), Some(certificate)) =
            (authorities.first(), certificates(&self.certificate).pop())
        else {
            return Step::Everything;
        };
        if now >= authority.until || KeyPair::from_pem(&self.authority_key).is_err() {
            return Step::Everything;
        }
        let vouched = authorities.iter().any(|one| one.subject == certificate.issuer && now < one.until);
        let fits = names.iter().all(|name| certificate.names.contains(name));
        if !(vouched && fits && now < certificate.until && KeyPair::from_pem(&self.key).is_ok()) {
            return Step::Certificate;
        }
        let successor = authority.until - SUCCESSOR;
        if now >= successor {
            return Step::Authority;
        }
        let mut replaced = certificate.until - REPLACED;
        if certificate.issuer != authority.subject {
            replaced = replaced.min(authority.from + SKEW + KNOWN);
        }
        if now >= replaced {
            return Step::Certificate;
        }
        Step::Nothing { until: replaced.min(successor) }
    }

    /// Makes what `step` says.
    pub(crate) fn make(&self, step: Step, names: &[String], now: i64) -> Result<Self, MakeError> {
        let mut bundle = self.clone();
        if let Step::Everything | Step::Authority = step {
            let key = KeyPair::generate()?;
            let mut chain = vec![authority(&key, now)?];
            if step == Step::Authority {
                let old = pieces(&self.authorities);
                chain.extend(
                    old.filter(|one| read(one).is_some_and(|one| now < one.until))
                        .map(|one| format!("{one}\n")),
                );
                chain.truncate(AUTHORITIES);
            }
            bundle.authorities = chain.concat();
            bundle.authority_key = key.serialize_pem();
        }
        if let Step::Everything | Step::Certificate = step {
            let authority_key = KeyPair::from_pem(&bundle.authority_key)?;
            let issuer = Issuer::from_ca_cert_pem(
                pieces(&bundle.authorities).next().unwrap_or_default(),
                authority_key,
            )?;
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::new(names.to_vec())?;
            params
                .distinguished_name
                .push(DnType::CommonName, names.first().map_or("landfall", String::as_str));
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            (params.not_before, params.not_after) = (moment(now - SKEW), moment(now + CERTIFICATE));
            bundle.certificate = params.signed_by(&key, &issuer)?.pem();
            bundle.key = key.serialize_pem();
        }
        Ok(bundle)
    }
}

fn authority(key: &KeyPair, now: i64) -> Result<String, MakeError> {
    let mut params = CertificateParams::default();
    // A name of its own, by which it is told from the one before.
    params.distinguished_name.push(DnType::CommonName, format!("landfall-webhook-ca-{now}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    (params.not_before, params.not_after) = (moment(now - SKEW), moment(now + AUTHORITY));
    Ok(params.self_signed(key)?.pem())
}

fn moment(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// What is looked at in a certificate.
struct Read {
    from: i64,
    until: i64,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    names: Vec<String>,
}

fn certificates(text: &str) -> Vec<Read> {
    pieces(text).filter_map(read).collect()
}

/// Each certificate of a chain in PEM form.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    const END: &str = "-----END CERTIFICATE-----";
    text.split_inclusive(END).map(str::trim).filter(|piece| piece.ends_with(END))
}

fn read(pem: &str) -> Option<Read> {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.into_iter().flat_map(|names| &names.value.general_names);
    let dns = |name: &GeneralName<'_>| {
        if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None }
    };
    Some(Read {
        from: certificate.validity().not_before.timestamp(),
        until: certificate.validity().not_after.timestamp(),
        subject: certificate.subject().as_raw().to_vec(),
        issuer: certificate.issuer().as_raw().to_vec(),
        names: names.filter_map(dns).collect(),
    })
}

#[cfg(test)]
mod tests;
