//! An operator of a running system, who uses the commands of `saga` and reads their JSON.

use std::{future::Future, process::Output, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

/// Time limit for every wait. A saga is stuck after its bound of attempts, at a test's pace.
const LIMIT: Duration = Duration::from_secs(120);
/// Pause between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// A system that commands of `saga` can be run against.
#[expect(async_fn_in_trait, reason = "no test sends these futures to another thread")]
pub trait Desk {
    /// Runs `saga` with these arguments to its end, whatever its exit status is.
    fn saga(&self, args: &[&str]) -> impl Future<Output = anyhow::Result<Output>>;

    /// Returns the address of the payment provider: `127.0.0.1:port`.
    fn provider(&self) -> String;

    /// Runs a command with `--json`, which must succeed, and returns all objects that it printed.
    async fn said(&self, args: &[&str]) -> anyhow::Result<Vec<Value>> {
        let output = self.saga(&[args, &["--json"]].concat()).await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "saga {args:?}: {}\n{error}", output.status);
        let said = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
        Ok(said.collect::<Result<_, _>>()?)
    }

    /// Like [`Desk::said`], but returns only the first object.
    async fn done(&self, args: &[&str]) -> anyhow::Result<Value> {
        let said = self.said(args).await?;
        said.into_iter().next().with_context(|| format!("saga {args:?} says nothing"))
    }

    /// Waits until a saga satisfies a condition, and returns it with its history.
    async fn until(&self, id: &str, enough: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let saga = self.done(&["saga", id]).await?;
            if enough(&saga["saga"]) {
                return Ok(saga);
            }
            ensure!(Instant::now() < deadline, "it never came to that: {saga}");
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Waits until a saga that needs a person satisfies a condition, and returns its entry in the
    /// list.
    async fn needs_me(&self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let page = self.done(&["sagas", "--needs-me"]).await?;
            let sagas = page["sagas"].as_array().cloned().unwrap_or_default();
            if let Some(saga) = sagas.into_iter().find(|saga| wanted(saga)) {
                return Ok(saga);
            }
            ensure!(Instant::now() < deadline, "no such saga needs a person: {page}");
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Makes the payment provider behave wrongly.
    async fn provoke(&self, fault: &str, body: &str) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(self.provider()).await?;
        let request = format!(
            "POST /control/{fault} HTTP/1.1\r\nhost: provider\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(())
    }
}
