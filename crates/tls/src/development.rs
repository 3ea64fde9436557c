//! A certificate authority for development. Its key is never written, so that nothing more can be
//! issued in its name: a new authority replaces it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};

/// How long certificates of this authority are valid.
pub const LIFE: Duration = Duration::from_secs(90 * 86_400);
/// How far back their validity begins, for hosts whose clocks are behind.
const BEFORE: Duration = Duration::from_secs(3_600);

/// An authority that lives only as long as this value.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate to be issued.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Host names and IP addresses.
    pub hosts: &'a [&'a str],
    /// URIs. An identity needs exactly one.
    pub uris: &'a [&'a str],
    /// The common name, which identifies nobody.
    pub common_name: &'a str,
    /// Beginning and end of its validity.
    pub valid: (SystemTime, SystemTime),
    /// True if a client may present it.
    pub for_clients: bool,
}

impl<'a> Request<'a> {
    /// A certificate for servers and clients, for [`LIFE`].
    #[must_use]
    pub fn new(hosts: &'a [&'a str], uris: &'a [&'a str]) -> Self {
        let now = SystemTime::now();
        let valid = (now - BEFORE, now + LIFE);
        Self { hosts, uris, common_name: "saga development", valid, for_clients: true }
    }
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The key. It is never printed.
    pub key: String,
    /// The serial number, by which the certificate can be withdrawn.
    pub serial: u64,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("serial", &self.serial).finish_non_exhaustive()
    }
}

impl Issued {
    /// Writes `tls.crt` and `tls.key` into a directory. The key is readable by its owner only. Each
    /// file replaces its predecessor at once, so that no reader sees a part of it.
    ///
    /// # Errors
    /// The operating system's.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        replace(&dir.join("tls.crt"), &self.certificate, 0o644)?;
        replace(&dir.join("tls.key"), &self.key, 0o600)
    }
}

impl Authority {
    /// Makes an authority with a new key.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        let now = SystemTime::now();
        (params.not_before, params.not_after) = ((now - BEFORE).into(), (now + LIFE).into());
        params.distinguished_name = named("saga development authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// Returns the authority's certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes the authority's certificate. It replaces its predecessor at once.
    ///
    /// # Errors
    /// The operating system's.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        replace(path, &self.pem(), 0o644)
    }

    /// Issues a certificate with a new key.
    ///
    /// # Errors
    /// A name is not valid, or the system has no randomness.
    pub fn issue(&self, request: &Request<'_>) -> Result<Issued, rcgen::Error> {
        let hosts: Vec<String> = request.hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts)?;
        for uri in request.uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into()?));
        }
        params.distinguished_name = named(request.common_name);
        (params.not_before, params.not_after) = (request.valid.0.into(), request.valid.1.into());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if request.for_clients {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        let serial = serial();
        params.serial_number = Some(serial.into());
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { certificate, key: key.serialize_pem(), serial })
    }

    /// Returns a list, in PEM, that withdraws the certificates with these serial numbers.
    ///
    /// # Errors
    /// The list cannot be signed.
    pub fn withdraw(&self, serials: &[u64]) -> Result<String, rcgen::Error> {
        let now = SystemTime::now();
        let revoked = |serial: &u64| rcgen::RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: (now - BEFORE).into(),
            reason_code: None,
            invalidity_date: None,
        };
        let list = rcgen::CertificateRevocationListParams {
            this_update: (now - BEFORE).into(),
            next_update: (now + LIFE).into(),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer)?.pem()
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut all = DistinguishedName::new();
    all.push(DnType::CommonName, name);
    all
}

/// Returns a random serial number. Each `RandomState` has its own random key.
fn serial() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    // The highest bit would make the number negative.
    (RandomState::new().build_hasher().finish() >> 1).max(1)
}

fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    use std::io::Write as _;
    let beside: PathBuf = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = fs::File::options();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
