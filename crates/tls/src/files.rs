//! The files of a process, and the choices that belong to them.

use std::path::PathBuf;

/// The files of one process, and what they are for. All hold PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The process's certificate, followed by the intermediate ones.
    pub certificate: Option<PathBuf>,
    /// The certificate's private key.
    pub key: Option<PathBuf>,
    /// The authorities whose certificates clients may present.
    pub client_ca: Option<PathBuf>,
    /// The authorities whose certificates servers may present. No others are trusted. If it is
    /// given, the chain of a server's own certificate must lead to it too.
    pub ca: Option<PathBuf>,
    /// Lists of certificates that were withdrawn, one for each authority that issues certificates.
    pub crl: Option<PathBuf>,
}

/// The choices that belong to the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choices {
    /// Whether clients present certificates.
    pub client_auth: ClientAuth,
    /// True if TLS 1.2 is accepted beside 1.3.
    pub tls12: bool,
    /// True if the group and others may be able to read the key's file.
    pub open_keys: bool,
}

impl Default for Choices {
    fn default() -> Self {
        Self { client_auth: ClientAuth::Ask, tls12: false, open_keys: false }
    }
}

/// Whether clients present certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Each client must present one.
    Require,
    /// A client may present one. A certificate that is not right ends the connection.
    Ask,
    /// No client is asked for one.
    No,
}
