//! The identity in a certificate.

use x509_parser::{extensions::GeneralName, prelude::FromDer as _, prelude::X509Certificate};

/// A certificate that was verified, as far as it says who presents it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The only URI among the alternative names. The common name never counts.
    pub uri: String,
    /// The serial number, in hexadecimal digits.
    pub serial: String,
    /// When the certificate expires, in seconds since 1970-01-01 UTC.
    pub expires: i64,
}

/// The certificate does not have exactly one URI among its alternative names, so it identifies
/// nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate does not have exactly one URI among its alternative names")]
pub struct Unnamed;

impl Certificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// [`Unnamed`], also if the certificate cannot be parsed.
    pub fn read(der: &[u8]) -> Result<Self, Unnamed> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| Unnamed)?;
        let names = certificate.subject_alternative_name().map_err(|_| Unnamed)?;
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        let mut uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        match (uris.next(), uris.next()) {
            (Some(uri), None) if uri.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self {
                uri: uri.to_owned(),
                serial: certificate.raw_serial().iter().map(|b| format!("{b:02x}")).collect(),
                expires: certificate.validity().not_after.timestamp(),
            }),
            _ => Err(Unnamed),
        }
    }
}

/// Returns when a certificate expires, in seconds since 1970-01-01 UTC.
pub(crate) fn not_after(der: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}
