//! The socket between lapin and the broker. Incoming bytes pass through [`Frames`] first.

use std::{
    io::{self, IoSlice, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use futures::{AsyncRead, AsyncWrite, Stream};

use crate::frames::Frames;

/// Maximum number of bytes that are read from a socket at once.
const READ_BYTES: usize = 32 * 1024;

/// Creates lapin's runtime: tokio's, but with our sockets.
pub(crate) fn runtime(frame_max: usize) -> Runtime<RuntimeParts<Tokio, Inlets>> {
    let inlets = Inlets { tokio: Tokio::current(), frame_max };
    Runtime::new(RuntimeParts::new(Tokio::current(), inlets))
}

/// A reactor that works like tokio's, but opens [`Inlet`] sockets.
#[derive(Clone, Debug)]
pub(crate) struct Inlets {
    tokio: Tokio,
    frame_max: usize,
}

/// A socket whose incoming bytes pass through [`Frames`].
#[derive(Debug)]
pub(crate) struct Inlet<S> {
    socket: S,
    frames: Frames,
    /// The buffer for reading from the socket.
    raw: Box<[u8]>,
    /// The bytes for lapin, and the number of them that lapin has already read.
    passed: Vec<u8>,
    taken: usize,
}

impl Reactor for Inlets {
    type TcpStream = Inlet<<Tokio as Reactor>::TcpStream>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.tokio.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.tokio.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.tokio.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let (connecting, frames) =
            (self.tokio.tcp_connect_addr(address), Frames::new(self.frame_max));
        async move {
            let raw = vec![0; READ_BYTES].into_boxed_slice();
            Ok(Inlet { socket: connecting.await?, frames, raw, passed: Vec::new(), taken: 0 })
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Inlet<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Self { socket, frames, raw, passed, taken } = &mut *self;
        // [`Frames`] may have held back all bytes that came in. Then this reads again, until the
        // socket has no more bytes and will wake lapin later.
        while *taken == passed.len() {
            passed.clear();
            *taken = 0;
            let count = ready!(Pin::new(&mut *socket).poll_read(context, raw))?;
            if count == 0 {
                return Poll::Ready(Ok(0));
            }
            frames.pass(&raw[..count], passed);
        }
        let count = buffer.len().min(passed.len() - *taken);
        buffer[..count].copy_from_slice(&passed[*taken..][..count]);
        *taken += count;
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Inlet<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(context)
    }
}
