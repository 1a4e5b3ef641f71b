//! What every measurement stands in: the cores, the origin, the certificates, the generator, the folder of results.

use super::measure::{
    cores::{self, Cores, Role},
    group::{Group, Output},
    procfs::Account,
};
use crate::origin::Listening;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    env,
    error::Error,
    fs, io,
    io::BufRead as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// The surroundings.
#[derive(Debug)]
pub struct World {
    /// Who runs where.
    pub cores: Cores,
    /// Where the origin listens.
    pub listening: Listening,
    /// Certificates and keys: `ca.pem`, `{server,client}{.pem,.key,-and-key.pem}`.
    pub certificates: PathBuf,
    /// This program, which is also generator and origin.
    pub program: PathBuf,
    /// Where results and the peers' files go.
    pub folder: PathBuf,
    /// Descriptors that a process may open.
    pub descriptors: u64,
    origin: Group,
}

impl World {
    /// Raises the limit of descriptors, makes certificates, starts the origin, binds this thread to its core.
    pub fn open(folder: &Path, pins: bool) -> Result<Self, Box<dyn Error>> {
        let program = env::current_exe()?;
        let cores = if pins { Cores::choose(&Cores::allowed()) } else { Cores::UNPINNED };
        let descriptors = raise_descriptors()?;
        let certificates = folder.join("certificates");
        write_certificates(&certificates)?;
        let mut command = Command::new(&program);
        command.args(["origin", "--stop-with-stdin", "--lifetime", "86400"]);
        for (flag, file) in [("--cert", "server.pem"), ("--key", "server.key"), ("--client-ca", "ca.pem")] {
            command.arg(flag).arg(certificates.join(file));
        }
        let log = folder.join("origin.log");
        let mut origin = Group::start(command, cores.of(Role::Origin), &log, Output::Piped)?;
        let mut line = String::new();
        io::BufReader::new(origin.stdout().ok_or("the origin's output is piped")?).read_line(&mut line)?;
        let listening = serde_json::from_str(&line)
            .map_err(|error| format!("the origin did not start ({error}): {}", last_words(&log)))?;
        if let Some(core) = cores.of(Role::Harness) {
            cores::pin(core)?;
        }
        Ok(Self { cores, listening, certificates, program, folder: folder.to_owned(), descriptors, origin })
    }

    /// The origin's threads now, and their time on a CPU so far.
    pub fn origin_account(&self) -> io::Result<Account> {
        self.origin.account()
    }

    /// An error if the origin has died.
    pub fn check(&mut self) -> Result<(), Box<dyn Error>> {
        match self.origin.ended()? {
            None => Ok(()),
            Some(status) => {
                Err(format!("the origin ended: {status}: {}", last_words(&self.folder.join("origin.log"))).into())
            }
        }
    }
}

/// Says in an error of which file it is.
pub fn at(file: &Path) -> impl FnOnce(io::Error) -> io::Error + use<> {
    let file = file.to_owned();
    move |error| io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

/// The last line of a log, for error messages.
#[must_use]
pub fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    line.trim().chars().take(300).collect()
}

/// How long the generator may take beyond the time it was told.
pub(super) const GRACE: Duration = Duration::from_secs(60);

fn raise_descriptors() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(65_536, |most| most.min(65_536));
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })?;
    }
    Ok(getrlimit(Resource::Nofile).current.unwrap_or(wanted).min(wanted))
}

/// An authority, and a certificate for the server and one for the client, all of P-256 as most meshes have them.
pub fn write_certificates(folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder).map_err(at(folder))?;
    let put = |name: &str, text: &str| {
        let file = folder.join(name);
        fs::write(&file, text).map_err(at(&file))
    };
    let key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
    let mut authority = CertificateParams::new(Vec::new())?;
    // Names of their own: OpenSSL takes a certificate whose subject is its issuer for a self-signed one.
    authority.distinguished_name.push(DnType::CommonName, "bench authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = key()?;
    put("ca.pem", &authority.self_signed(&authority_key)?.pem())?;
    let issuer = Issuer::new(authority, authority_key);
    for (name, purpose) in
        [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
    {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        // What Pillion presents is an X.509-SVID: one URI (SPIFFE X.509-SVID §2).
        params.subject_alt_names.push(SanType::URI(format!("spiffe://bench.example/{name}").try_into()?));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        let key = key()?;
        let (certificate, key) = (params.signed_by(&key, &issuer)?.pem(), key.serialize_pem());
        put(&format!("{name}.pem"), &certificate)?;
        put(&format!("{name}.key"), &key)?;
        put(&format!("{name}-and-key.pem"), &(certificate + &key))?;
    }
    Ok(())
}
