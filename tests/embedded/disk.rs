//! A disk is full for a while.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use saga::client::again::{self, Patience};
use saga_proto::{
    order::v1::OrderStatus,
    shop::v1::{PlaceOrderRequest, orders_client::OrdersClient},
};
use saga_test_support::shopper::{self, GOOD_CARD, waiting};
use tonic::Code;

use crate::system::{binary, embedded};

/// Mounts a file system that only the process sees and that ends with it.
const MOUNT: &str = r#"mount -t tmpfs -o size=16m tmpfs "$0" && exec "$@""#;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_orders_loses_none_and_needs_nothing_but_room() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    std::fs::create_dir(&data)?;
    let mounted = data.display().to_string();
    let mut system = embedded(&data, &dir.path().join("logs"));
    let launch = &mut system.launch;
    let before = ["--mount", "sh", "-c", MOUNT, &mounted].map(str::to_owned);
    let program = std::mem::replace(&mut launch.program, "unshare".into());
    launch.args.splice(..0, before.into_iter().chain([program.display().to_string()]));
    system.start().await?;
    system.stock("teapot", 1_000_000).await?;
    // The directory as the process sees it.
    let inside = PathBuf::from(format!("/proc/{}/root", system.process()?.pid()));
    let inside = inside.join(data.strip_prefix("/")?);
    ensure!(inside.join("order.sqlite").exists(), "{} is not there", inside.display());
    let ballast = inside.join("ballast");
    let mut accepted = Vec::new();
    fill(&ballast)?;

    let mut orders = OrdersClient::new(system.channel()?);
    let mut refused = None;
    for n in 0..5_000 {
        match orders.place_order(order(n)).await {
            Ok(placed) => accepted.push((n, placed.into_inner().order_id)),
            Err(status) => {
                refused = Some((n, status));
                break;
            }
        }
    }
    let (n, status) = refused.context("the disk was never full")?;
    ensure!(n >= 10, "it was full after {n} orders: too soon to prove anything");
    eprintln!("full after {n} orders: {status}");
    ensure!(
        matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded),
        "a full disk is no time for {status}"
    );
    ensure!(system.process()?.is_running()?, "it gave up:\n{}", system.process()?.log()?);
    let log = system.process()?.log()?;
    ensure!(log.contains("full"), "the log does not say why:\n{log}");

    std::fs::remove_file(&ballast)?;
    // The last order's answer was lost, so it is placed again under its key. The accepted orders
    // are placed again too.
    let mut repeats = 0;
    let placed =
        again::place(&orders, &waiting(order(n)), Patience::default(), &mut repeats).await?;
    ensure!(placed.status() == OrderStatus::Confirmed, "{placed:?}");
    for (n, id) in &accepted {
        let placed = orders.place_order(waiting(order(*n))).await?.into_inner();
        ensure!(placed.order_id == *id && placed.repeated, "{placed:?}");
        ensure!(placed.status() == OrderStatus::Confirmed, "{placed:?}");
    }
    audit_inside(system.process()?.pid(), &mounted).await?;
    system.stop()
}

/// Runs the audit in a process that sees the same disk.
async fn audit_inside(pid: u32, data: &str) -> anyhow::Result<()> {
    let output = tokio::process::Command::new("nsenter")
        .args(["--mount", "--target", &pid.to_string()])
        .arg(binary())
        .args(["audit", "--data-dir", data, "--wait", "60"])
        .output()
        .await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

fn order(n: u32) -> PlaceOrderRequest {
    shopper::order(&format!("full-{n}"), "teapot", 1, GOOD_CARD)
}

/// Fills the disk.
fn fill(ballast: &std::path::Path) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(ballast)?;
    let block = [0; 4096];
    while file.write_all(&block).is_ok() {}
    // Some space is freed again, enough for some orders.
    let length = file.metadata()?.len();
    file.set_len(length.saturating_sub(4 * 1024 * 1024))?;
    Ok(())
}
