//! Certificates made for a test: authorities, and what they vouch for, good and bad.

use crate::tempdir::TempDir;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use std::{fs, path::Path};

/// Someone who vouches for others.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its chain and key, PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The leaf, then what leads to the root.
    pub chain: String,
    /// Its key.
    pub key: String,
}

/// What a certificate says. The default is a good SVID without names.
#[derive(Debug, Clone)]
pub struct Leaf<'a> {
    /// Names of kind URI.
    pub uris: &'a [&'a str],
    /// Names of kind DNS.
    pub names: &'a [&'a str],
    /// Addresses.
    pub addresses: &'a [std::net::IpAddr],
    /// What its key may do.
    pub usages: &'a [KeyUsagePurpose],
    /// What it is for.
    pub purposes: &'a [ExtendedKeyUsagePurpose],
    /// Whether it says that it may issue others.
    pub authority: bool,
    /// Years of its first and last day.
    pub years: (i32, i32),
    /// Further names, to make it large.
    pub padding: usize,
}

impl Default for Leaf<'_> {
    fn default() -> Self {
        Self {
            uris: &[],
            names: &[],
            addresses: &[],
            usages: &[KeyUsagePurpose::DigitalSignature],
            purposes: &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            authority: false,
            years: (2020, 2099),
            padding: 0,
        }
    }
}

impl Authority {
    /// A root.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2099, 1, 1));
        let key = KeyPair::generate().expect("a key can be made");
        Self(CertifiedIssuer::self_signed(params, key).expect("a root can be made"))
    }

    /// Its certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Vouches for something.
    #[must_use]
    pub fn issue(&self, leaf: &Leaf<'_>) -> Issued {
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params(leaf).signed_by(&key, &self.0).expect("a certificate can be made");
        Issued { chain: certificate.pem(), key: key.serialize_pem() }
    }

    /// The same, valid from this second since 1970 on.
    #[must_use]
    pub fn issue_from(&self, leaf: &Leaf<'_>, begins: i64) -> Issued {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = params(leaf);
        params.not_before += std::time::Duration::from_secs(begins.abs_diff(params.not_before.unix_timestamp()));
        let certificate = params.signed_by(&key, &self.0).expect("a certificate can be made");
        Issued { chain: certificate.pem(), key: key.serialize_pem() }
    }

    /// The same, valid up to this second since 1970.
    #[must_use]
    pub fn issue_until(&self, leaf: &Leaf<'_>, ends: i64) -> Issued {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = params(leaf);
        params.not_after -= std::time::Duration::from_secs(ends.abs_diff(params.not_after.unix_timestamp()));
        let certificate = params.signed_by(&key, &self.0).expect("a certificate can be made");
        Issued { chain: certificate.pem(), key: key.serialize_pem() }
    }

    /// An SVID for this workload, which may also be asked for as `localhost`.
    #[must_use]
    pub fn svid(&self, id: &str) -> Issued {
        self.issue(&Leaf { uris: &[id], names: &["localhost"], ..Leaf::default() })
    }
}

/// A certificate that nobody vouches for.
#[must_use]
pub fn self_signed(leaf: &Leaf<'_>) -> Issued {
    let key = KeyPair::generate().expect("a key can be made");
    let certificate = params(leaf).self_signed(&key).expect("a certificate can be made");
    Issued { chain: certificate.pem(), key: key.serialize_pem() }
}

fn params(leaf: &Leaf<'_>) -> CertificateParams {
    let mut params = CertificateParams::default();
    let text = |text: &str| text.try_into().expect("a name is ASCII");
    params.subject_alt_names = leaf.uris.iter().map(|uri| SanType::URI(text(uri))).collect();
    params.subject_alt_names.extend(leaf.names.iter().map(|name| SanType::DnsName(text(name))));
    params.subject_alt_names.extend(leaf.addresses.iter().map(|address| SanType::IpAddress(*address)));
    let padding = (0..leaf.padding).map(|number| SanType::DnsName(text(&format!("padding-{number}.example.org"))));
    params.subject_alt_names.extend(padding);
    params.key_usages = leaf.usages.to_vec();
    params.extended_key_usages = leaf.purposes.to_vec();
    if leaf.authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    (params.not_before, params.not_after) = (date_time_ymd(leaf.years.0, 1, 1), date_time_ymd(leaf.years.1, 1, 1));
    params
}

impl Issued {
    /// Writes `NAME.pem` and `NAME.key`, each replaced at once.
    pub fn write(&self, dir: &Path, name: &str) {
        replace(dir, &format!("{name}.key"), &self.key);
        replace(dir, &format!("{name}.pem"), &self.chain);
    }
}

/// Writes a file as a whole, as `mv` does.
pub fn replace(dir: &Path, name: &str, text: &str) {
    let new = dir.join(format!(".{name}.new"));
    fs::write(&new, text).expect("a file can be written");
    fs::rename(new, dir.join(name)).expect("a file can be renamed");
}

/// A directory with `svid.pem`, `svid.key` and `ca.pem`, and the `identity` section that names them.
#[must_use]
pub fn identity(authority: &Authority, id: &str) -> (TempDir, String) {
    let dir = TempDir::new();
    authority.svid(id).write(dir.path(), "svid");
    dir.write("ca.pem", authority.pem());
    let section = section(dir.path());
    (dir, section)
}

/// The `identity` section for a directory with `svid.pem`, `svid.key` and `ca.pem` of `example.org`.
#[must_use]
pub fn section(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "identity: {{ files: {{ certificate_chain: {dir}/svid.pem, private_key: {dir}/svid.key, \
         trust_bundles: [{{ trust_domain: example.org, path: {dir}/ca.pem }}] }} }}"
    )
}
