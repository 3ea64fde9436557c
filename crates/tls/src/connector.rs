//! Connects a gRPC client, over TCP with or without TLS, or over a Unix socket.

use std::{
    future::Future,
    io,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::transport::Uri;
use tower::Service;

use crate::{Certificate, Tls};

/// A byte stream of any kind.
pub trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Io for S {}

/// Opens the connections of a gRPC channel. Each one is made under the newest files.
#[derive(Clone, Debug)]
pub enum Connector {
    /// Over TCP. An address with `https` is reached over TLS.
    Tcp {
        /// The files. Without them, `https` is refused.
        tls: Option<Tls>,
        /// The URI that the server's certificate must carry beside the host's name, if any.
        named: Option<String>,
    },
    /// Over the Unix socket at this path, whatever the address is.
    Unix(PathBuf),
}

impl Connector {
    async fn open(self, address: Uri) -> io::Result<Box<dyn Io>> {
        let (tls, named) = match self {
            #[cfg(unix)]
            Self::Unix(path) => {
                return Ok(Box::new(tokio::net::UnixStream::connect(path).await?));
            }
            #[cfg(not(unix))]
            Self::Unix(_) => return Err(io::Error::from(io::ErrorKind::Unsupported)),
            Self::Tcp { tls, named } => (tls, named),
        };
        let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why.to_owned());
        let host = address.host().ok_or_else(|| wrong("the address names no host"))?;
        let secure = address.scheme_str() == Some("https");
        let port = address.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
        stream.set_nodelay(true)?;
        if !secure {
            return Ok(Box::new(stream));
        }
        let tls = tls.ok_or_else(|| wrong("https needs the authority whom to trust"))?;
        let stream = tls.connect(host, stream, true).await?;
        if let Some(named) = named {
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let is = chain.first().is_some_and(|der| {
                Certificate::read(der).is_ok_and(|certificate| certificate.uri == named)
            });
            if !is {
                return Err(wrong(&format!("the server's certificate is not that of {named}")));
            }
        }
        Ok(Box::new(stream))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let opening = self.clone().open(address);
        Box::pin(async move { Ok(TokioIo::new(opening.await?)) })
    }
}
