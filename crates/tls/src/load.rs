//! Reads a set of files and checks it as a whole.

use std::{fs, path::Path, sync::Arc, time::SystemTime};

use metrics::gauge;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime, pem::PemObject,
    },
    server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use crate::{Choices, ClientAuth, Files, certificate};

/// The application protocol of gRPC.
pub(crate) const H2: &[u8] = b"h2";

/// The reasons why a set of files cannot be used. No text has anything from a file's content.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    Unreadable(String, std::io::Error),
    /// A file does not hold what it should.
    #[error("{0} {1}")]
    Wrong(String, String),
    /// A certificate is given without a key, or a key without a certificate.
    #[error("a certificate and its key belong together, and one of them is not given")]
    Half,
    /// The files do not fit together.
    #[error("the files do not fit together: {0}")]
    Misfit(#[from] rustls::Error),
    /// The trust in others cannot be set up.
    #[error("the authorities cannot be used: {0}")]
    Authorities(#[from] rustls::client::VerifierBuilderError),
}

static NEW_VERSION: &[&SupportedProtocolVersion] = &[&TLS13];
static BOTH_VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// Configurations that were made of one set of files.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) server: Option<Arc<ServerConfig>>,
    /// For connections that negotiate no protocol.
    pub(crate) client: Arc<ClientConfig>,
    /// For gRPC.
    pub(crate) grpc: Arc<ClientConfig>,
    /// When the first certificate of each file expires, in seconds since 1970.
    not_after: Vec<(&'static str, i64)>,
}

impl Loaded {
    /// Publishes when the certificates expire.
    pub(crate) fn measure(&self) {
        for (which, seconds) in &self.not_after {
            gauge!("saga_tls_not_after_timestamp_seconds", "which" => *which).set(*seconds as f64);
        }
    }
}

/// Reads the files and makes configurations of them.
pub(crate) fn load(files: &Files, choices: Choices) -> Result<Loaded, LoadError> {
    let mut not_after = Vec::new();
    let own = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let expires = earliest(&chain);
            if expires.is_none_or(|at| at <= now()) {
                return Err(wrong(certificate, "has expired"));
            }
            not_after.extend(expires.map(|at| ("certificate", at)));
            Some((chain, private_key(key, choices.open_keys)?))
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(LoadError::Half),
    };
    let crls = files.crl.as_deref().map(withdrawn).transpose()?.unwrap_or_default();
    let ca = files.ca.as_deref().map(|path| roots(path, "ca", &mut not_after)).transpose()?;
    let client_ca = files.client_ca.as_deref();
    let client_ca = client_ca.map(|path| roots(path, "client_ca", &mut not_after)).transpose()?;
    if let (Some((chain, _)), Some(ca), Some(path)) = (&own, &ca, &files.certificate) {
        // A process that only connects has a certificate of its server's choice.
        if files.client_ca.is_some() {
            leads_to(chain, ca).map_err(|why| wrong(path, &format!("is not of the CA: {why}")))?;
        }
    }
    let server = match &own {
        Some((chain, key)) => {
            Some(server(chain.clone(), key.clone_key(), client_ca, crls.clone(), choices)?)
        }
        None => None,
    };
    let ca = ca.unwrap_or_else(RootCertStore::empty);
    let plain = client(ca, crls, own, choices.tls12)?;
    let mut grpc = plain.clone();
    grpc.alpn_protocols = vec![H2.to_vec()];
    Ok(Loaded {
        server: server.map(Arc::new),
        client: Arc::new(plain),
        grpc: Arc::new(grpc),
        not_after,
    })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn versions(tls12: bool) -> &'static [&'static SupportedProtocolVersion] {
    if tls12 { BOTH_VERSIONS } else { NEW_VERSION }
}

fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    client_ca: Option<RootCertStore>,
    crls: Vec<CertificateRevocationListDer<'static>>,
    choices: Choices,
) -> Result<ServerConfig, LoadError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(choices.tls12))?;
    let asks = choices.client_auth != ClientAuth::No;
    let builder = match client_ca.filter(|_| asks) {
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                .with_crls(crls)
                .only_check_end_entity_revocation();
            let verifier = match choices.client_auth {
                ClientAuth::Require => verifier,
                ClientAuth::Ask | ClientAuth::No => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build()?)
        }
        None if choices.client_auth == ClientAuth::Require => {
            let why = "clients must present certificates, and no authority for them is given";
            return Err(LoadError::Misfit(rustls::Error::General(why.to_owned())));
        }
        None => builder.with_no_client_auth(),
    };
    let mut server = builder.with_single_cert(chain, key)?;
    server.alpn_protocols = vec![H2.to_vec()];
    // Each connection is judged by the trust of its own day, never by that of an earlier one.
    server.send_tls13_tickets = 0;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(server)
}

/// Makes a client's configuration, which trusts only these authorities.
fn client(
    ca: RootCertStore,
    crls: Vec<CertificateRevocationListDer<'static>>,
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    tls12: bool,
) -> Result<ClientConfig, LoadError> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions(tls12))?;
    let builder = if ca.is_empty() || crls.is_empty() {
        builder.with_root_certificates(ca)
    } else {
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(ca), provider())
            .with_crls(crls)
            .only_check_end_entity_revocation()
            .build()?;
        builder.with_webpki_verifier(verifier)
    };
    let mut client = match own {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    client.resumption = rustls::client::Resumption::disabled();
    Ok(client)
}

fn leads_to(chain: &[CertificateDer<'static>], ca: &RootCertStore) -> Result<(), rustls::Error> {
    let (leaf, rest) = chain.split_first().expect("it was read, so it is not empty");
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms.all;
    let leaf = ParsedCertificate::try_from(leaf)?;
    verify_server_cert_signed_by_trust_anchor(&leaf, ca, rest, UnixTime::now(), algorithms)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|_| wrong(path, "is not PEM"))?;
    if found.is_empty() {
        return Err(wrong(path, "holds no certificate"));
    }
    if found.iter().any(|certificate| ParsedCertificate::try_from(certificate).is_err()) {
        return Err(wrong(path, "holds a certificate that cannot be parsed"));
    }
    Ok(found)
}

fn roots(
    path: &Path,
    which: &'static str,
    not_after: &mut Vec<(&'static str, i64)>,
) -> Result<RootCertStore, LoadError> {
    let found = certificates(path)?;
    not_after.extend(earliest(&found).map(|at| (which, at)));
    let mut roots = RootCertStore::empty();
    for certificate in found {
        roots.add(certificate).map_err(|_| wrong(path, "holds no certificate of an authority"))?;
    }
    Ok(roots)
}

fn withdrawn(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, LoadError> {
    let found: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|_| wrong(path, "is not PEM"))?;
    if found.is_empty() {
        return Err(wrong(path, "holds no list of withdrawn certificates"));
    }
    Ok(found)
}

fn private_key(path: &Path, open: bool) -> Result<PrivateKeyDer<'static>, LoadError> {
    #[cfg(unix)]
    if !open {
        use std::os::unix::fs::MetadataExt as _;
        let unreadable = |error| LoadError::Unreadable(shown(path), error);
        if fs::metadata(path).map_err(unreadable)?.mode() & 0o077 != 0 {
            return Err(wrong(path, "can be read by others: chmod 600 it"));
        }
    }
    let key = PrivateKeyDer::from_pem_slice(&read(path)?);
    key.map_err(|_| wrong(path, "holds no private key in PEM"))
}

/// Checks that a key belongs to a certificate.
pub(crate) fn is_a_pair(files: &Files, choices: Choices) -> bool {
    let (Some(certificate), Some(key)) = (&files.certificate, &files.key) else { return true };
    let (Ok(chain), Ok(key)) = (certificates(certificate), private_key(key, choices.open_keys))
    else {
        return false;
    };
    CertifiedKey::from_der(chain, key, &provider()).is_ok()
}

/// Returns when the first of these certificates expires.
fn earliest(certificates: &[CertificateDer<'static>]) -> Option<i64> {
    certificates.iter().filter_map(|der| certificate::not_after(der)).min()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    fs::read(path).map_err(|error| LoadError::Unreadable(shown(path), error))
}

fn wrong(path: &Path, why: &str) -> LoadError {
    LoadError::Wrong(shown(path), why.to_owned())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
