//! The configurations that are in use, and the handshakes under them.

use std::{io, sync::Arc};

use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};
use tokio_rustls::{client::TlsStream as ClientStream, server::TlsStream as ServerStream};

use crate::{
    Certificate, Choices, Files, LoadError, Unnamed,
    load::{self, H2},
};

/// The current configurations of a process. Clones share them, so a swap reaches all of them.
#[derive(Clone, Debug)]
pub struct Tls {
    pub(crate) files: Arc<Files>,
    pub(crate) choices: Choices,
    pub(crate) now: watch::Sender<Arc<load::Loaded>>,
}

impl Tls {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// [`LoadError`]: the file and its mistake, without anything from its content.
    pub fn open(files: Files, choices: Choices) -> Result<Self, LoadError> {
        let loaded = load::load(&files, choices)?;
        loaded.measure();
        let (now, _) = watch::channel(Arc::new(loaded));
        Ok(Self { files: Arc::new(files), choices, now })
    }

    /// Does the server's part of a handshake for gRPC, under the newest files. The caller limits
    /// its time.
    ///
    /// # Errors
    /// The handshake failed, the client does not speak HTTP/2, or there is no certificate to
    /// present.
    pub async fn accept<S>(&self, stream: S) -> io::Result<ServerStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let server = self.now.borrow().server.clone();
        let server = server.ok_or_else(|| io::Error::other("there is no certificate"))?;
        let stream = tokio_rustls::TlsAcceptor::from(server).accept(stream).await?;
        // A client that offers other protocols is refused by rustls. One that offers none is not.
        if stream.get_ref().1.alpn_protocol() != Some(H2) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the client offers no h2"));
        }
        Ok(stream)
    }

    /// Does the client's part of a handshake, under the newest files. `h2` is offered for gRPC, and
    /// nothing otherwise. The caller limits its time.
    ///
    /// # Errors
    /// The handshake failed, or the name cannot be a server's.
    pub async fn connect<S>(&self, host: &str, stream: S, h2: bool) -> io::Result<ClientStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let wrong = |why: InvalidDnsNameError| io::Error::new(io::ErrorKind::InvalidInput, why);
        let client = {
            let now = self.now.borrow();
            Arc::clone(if h2 { &now.grpc } else { &now.client })
        };
        tokio_rustls::TlsConnector::from(client).connect(name.map_err(wrong)?, stream).await
    }

    /// Returns true if a server can present a certificate.
    #[must_use]
    pub fn can_serve(&self) -> bool {
        self.now.borrow().server.is_some()
    }
}

/// Returns the certificate that the other side of a server's connection presented, if any.
///
/// # Errors
/// [`Unnamed`].
pub fn presented<S>(stream: &ServerStream<S>) -> Option<Result<Certificate, Unnamed>> {
    let chain = stream.get_ref().1.peer_certificates()?;
    Some(Certificate::read(chain.first()?))
}
