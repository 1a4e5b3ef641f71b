//! Certificates made for a test.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// PEM files in a folder that goes with it: an authority, a server `localhost` and a client that it vouches for, and an
/// authority that vouches for nobody.
#[derive(Debug)]
pub(crate) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("pillion-bench-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let made = Self { folder };
        let (ca, stranger) = (authority("pillion bench"), authority("stranger"));
        fs::write(made.file("ca.pem"), ca.pem()).unwrap();
        fs::write(made.file("stranger.pem"), stranger.pem()).unwrap();
        for (file, name) in [("server", "localhost"), ("client", "client")] {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
            fs::write(made.file(&format!("{file}.pem")), certificate.pem()).unwrap();
            fs::write(made.file(&format!("{file}.key")), key.serialize_pem()).unwrap();
        }
        made
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Options with `@` for the folder.
    pub(crate) fn options(&self, options: &str) -> String {
        options.replace('@', self.path().to_str().unwrap())
    }

    fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}
