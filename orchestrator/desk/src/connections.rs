//! Accepts connections, up to a limit.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use metrics::counter;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::warn;

use crate::settings::ACCEPT_PAUSE;

/// Maximum number of connections that are accepted but not served yet.
const ACCEPTED_AHEAD: usize = 64;

/// Accepts connections until the stream is dropped. A connection beyond the limit is closed at
/// once, so that its client does not have to wait until another connection ends.
pub(crate) fn accept(listener: TcpListener, most: usize) -> ReceiverStream<io::Result<Connection>> {
    let (connections, stream) = mpsc::channel(ACCEPTED_AHEAD);
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(most));
        loop {
            let accepted = tokio::select! {
                () = connections.closed() => return,
                accepted = listener.accept() => accepted,
            };
            match (accepted, Arc::clone(&places).try_acquire_owned()) {
                (Ok((stream, _)), Ok(place)) => {
                    // Without this, a small answer would wait for more data to be sent with it.
                    if let Err(error) = stream.set_nodelay(true) {
                        warn!(%error, "a connection is slower than it could be");
                    }
                    if connections.send(Ok(Connection { stream, _place: place })).await.is_err() {
                        return;
                    }
                }
                (Ok(_), Err(_)) => counter!("saga_connections_refused_total").increment(1),
                (Err(error), _) => {
                    warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    ReceiverStream::new(stream)
}

/// A connection. It counts towards the limit until it is dropped.
pub(crate) struct Connection {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
