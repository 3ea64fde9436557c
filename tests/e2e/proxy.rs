//! Proxies in front of two orchestrators. Debian's nginx and Envoy run with the files of
//! deploy/proxy.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use saga_operations::v1::{InterveneRequest, Remedy, sagas_client::SagasClient};
use saga_proto::{
    order::v1::OrderStatus,
    shop::v1::{PlaceOrderRequest, orders_client::OrdersClient},
};
use saga_test_support::{
    free_port,
    process::{Launch, Spawned, eventually},
    shopper::{self, GOOD_CARD, waiting},
    system::Role,
};
use tonic::{Code, Request, Status, transport::Channel};
use uuid::Uuid;

use crate::system::{System, TWO_ORCHESTRATORS, binary, with_system};

/// The number of orders in progress when an orchestrator is killed.
const ORDERS: usize = 60;
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn nginx_balances_repeats_and_passes_deadlines_on() -> anyhow::Result<()> {
    behind(false, |system| {
        let program = PathBuf::from("/usr/sbin/nginx");
        let why = "nginx is missing: apt-get install nginx";
        let listen = ["listen 7430", "listen 127.0.0.1:PORT"];
        let config =
            Config { file: "deploy/proxy/nginx.conf", listen, peer: "orchestrator-N:7400" };
        // One process, so that a kill leaves no worker behind.
        let arguments = ["-e", "stderr", "-g", "daemon off; master_process off;", "-c"];
        in_front(system, program, why, config, &arguments)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_balances_repeats_and_passes_deadlines_on() -> anyhow::Result<()> {
    behind(true, |system| {
        let why = "Envoy is missing: scripts/install-test-needs";
        let listen =
            ["{address: 0.0.0.0, port_value: 7431}", "{address: 127.0.0.1, port_value: PORT}"];
        let peer = "{address: orchestrator-N, port_value: 7400}";
        let config = Config { file: "deploy/proxy/envoy.yaml", listen, peer };
        let arguments = ["--disable-hot-restart", "--log-level", "warning", "-c"];
        in_front(system, envoy()?, why, config, &arguments)
    })
    .await
}

/// The parts of a proxy's configuration file that a test replaces.
struct Config {
    file: &'static str,
    /// The listening address in the file, and its replacement.
    listen: [&'static str; 2],
    /// The address of orchestrator N in the file.
    peer: &'static str,
}

/// Prepares a proxy in front of both orchestrators, without starting it.
fn in_front(
    system: &System,
    program: PathBuf,
    why: &str,
    config: Config,
    arguments: &[&str],
) -> anyhow::Result<Role> {
    ensure!(program.is_file(), "{why}");
    let dir = system.dir().join("proxy");
    std::fs::create_dir_all(&dir)?;
    let port = free_port();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(config.file);
    let mut text = std::fs::read_to_string(source)?;
    let mut put = |from: &str, to: &str| {
        ensure!(text.contains(from), "{} has no {from:?}", config.file);
        text = text.replace(from, to);
        anyhow::Ok(())
    };
    let [listen, here] = config.listen;
    put(listen, &here.replace("PORT", &port.to_string()))?;
    for replica in ["1", "2"] {
        let url = system.address(&format!("orchestrator-{replica}"));
        let port = url.rsplit(':').next().context("a port")?;
        let to = config.peer.replace("orchestrator-N", "127.0.0.1").replace("7400", port);
        put(&config.peer.replace('N', replica), &to)?;
    }
    // The proxy writes its own files into the test's directory.
    text = text.replace("/tmp/", &format!("{}/", dir.display()));
    let name = Path::new(config.file).file_name().context("a file")?;
    let file = dir.join(name);
    std::fs::write(&file, text)?;
    let arguments = arguments.iter().map(|argument| (*argument).to_owned());
    let launch = Launch {
        name: "proxy".to_owned(),
        program,
        args: arguments.chain([file.display().to_string()]).collect(),
        env: BTreeMap::new(),
        log_dir: dir,
    };
    Ok(Role::new(launch, port))
}

/// Tests a proxy. `always` is true if it repeats each call that an orchestrator did not answer.
async fn behind(
    always: bool,
    proxy: impl Fn(&System) -> anyhow::Result<Role>,
) -> anyhow::Result<()> {
    with_system(TWO_ORCHESTRATORS, &[], async |system| {
        let proxy = proxy(system)?;
        let result = all(system, &proxy, always).await;
        if result.is_err() {
            eprintln!("---- proxy\n{}", std::fs::read_to_string(proxy.log_file())?);
        }
        result
    })
    .await
}

async fn all(system: &System, proxy: &Role, always: bool) -> anyhow::Result<()> {
    system.stock("teapot", 100_000).await?;
    proxy.start().await?;
    balanced(system, proxy).await?;
    operators_are_refused(system, proxy).await?;
    deadlines_and_cut_streams(system, proxy).await?;
    repeated(system, proxy, always).await
}

fn orders(proxy: &Role) -> anyhow::Result<OrdersClient<Channel>> {
    Ok(OrdersClient::new(proxy.channel()?))
}

fn order(key: &str) -> PlaceOrderRequest {
    waiting(shopper::order(key, "teapot", 1, GOOD_CARD))
}

/// Places an order and waits for its end.
async fn confirmed(proxy: &Role, key: &str) -> anyhow::Result<()> {
    ended_well(key, orders(proxy)?.place_order(order(key)).await?.into_inner().status())
}

/// Places an order and waits for its end. Calls once more, as the answer advises, if the proxy did
/// not repeat the call. nginx does not always repeat a call that it was passing on.
async fn confirmed_at_last(proxy: &Role, key: &str) -> anyhow::Result<()> {
    match orders(proxy)?.place_order(order(key)).await {
        Err(status) if status.code() == Code::Unavailable => confirmed(proxy, key).await,
        placed => ended_well(key, placed?.into_inner().status()),
    }
}

fn ended_well(key: &str, status: OrderStatus) -> anyhow::Result<()> {
    ensure!(status == OrderStatus::Confirmed, "{key}: {status:?}");
    Ok(())
}

async fn balanced(system: &System, proxy: &Role) -> anyhow::Result<()> {
    let answered = eventually("calls at both orchestrators", LIMIT, async || {
        let key = Uuid::new_v4().to_string();
        if let Err(error) = confirmed(proxy, &key).await {
            return Some(Err(error));
        }
        for orchestrator in ["orchestrator-1", "orchestrator-2"] {
            let calls = system.metric_of(orchestrator, "saga_calls_total", "PlaceOrder").await;
            if calls.ok()? < 3.0 {
                return None;
            }
        }
        Some(Ok(()))
    });
    answered.await
}

/// Checks that operators' calls through the proxy are refused, although the proxy is on this
/// machine.
async fn operators_are_refused(system: &System, proxy: &Role) -> anyhow::Result<()> {
    let id = Uuid::now_v7().to_string();
    let request = || InterveneRequest {
        saga_id: id.clone(),
        remedy: Remedy::Pause.into(),
        reason: "the test wants it so".to_owned(),
        expected_version: 1,
        ..Default::default()
    };
    let intervene = async |channel: Channel| -> anyhow::Result<Status> {
        let answer = SagasClient::new(channel).intervene(request()).await;
        answer.err().context("there is no such saga")
    };
    let direct = intervene(system.channel("orchestrator-1")?).await?;
    ensure!(direct.code() == Code::NotFound, "{direct:?}");
    let passed_on = intervene(proxy.channel()?).await?;
    ensure!(passed_on.code() == Code::PermissionDenied, "{passed_on:?}");
    Ok(())
}

/// Stops the payment service. A client must be answered before its deadline. A watcher whose stream
/// is cut off watches again, and must have seen each update once in the end.
async fn deadlines_and_cut_streams(system: &System, proxy: &Role) -> anyhow::Result<()> {
    system.kill("payment-1")?;
    let mut request = Request::new(order("deadline"));
    request.set_timeout(Duration::from_secs(2));
    let placed = orders(proxy)?.place_order(request).await?.into_inner();
    ensure!(placed.status() == OrderStatus::Pending, "{:?}", placed.status());

    let watch = Launch {
        name: "watch".to_owned(),
        program: binary(),
        args: ["watch", &placed.order_id, "--json"].map(Into::into).into(),
        env: [("SAGA_SERVER".to_owned(), proxy.url())].into(),
        log_dir: system.dir().join("logs"),
    };
    let watching = Spawned::start(&watch)?;
    let seen = || -> Vec<serde_json::Value> {
        let log = std::fs::read_to_string(watching.log_file()).unwrap_or_default();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    eventually("updates", LIMIT, async || (seen().len() >= 4).then_some(())).await;
    proxy.kill()?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.start().await?;
    system.start_role("payment-1").await?;
    let ended = tokio::task::block_in_place(|| watching.wait(LIMIT))?.context("it never ended")?;
    ensure!(ended.success(), "{ended}");
    let seen = seen();
    for (n, update) in (1..).zip(&seen) {
        ensure!(update["version"].as_str() == Some(&n.to_string()), "{n}: {seen:#?}");
    }
    let last = seen.last().context("no updates")?;
    ensure!(last["status"] == "ORDER_STATUS_CONFIRMED" && last["ended"] == true, "{last}");
    Ok(())
}

/// Checks that clients do not notice the kill of one orchestrator or, if the proxy does not always
/// repeat a call, have to call once more. If both are killed, clients get
/// UNAVAILABLE and call again.
async fn repeated(system: &System, proxy: &Role, always: bool) -> anyhow::Result<()> {
    let placing = (0..ORDERS).map(|n| async move {
        // The second half is placed while one orchestrator is dead.
        tokio::time::sleep(Duration::from_millis(50) * u32::try_from(n)?).await;
        let key = format!("repeated-{n}");
        if always { confirmed(proxy, &key).await } else { confirmed_at_last(proxy, &key).await }
    });
    let killing = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        system.kill("orchestrator-1")
    };
    tokio::try_join!(try_join_all(placing), killing)?;
    system.kill("orchestrator-2")?;
    let nobody = orders(proxy)?.place_order(order("nobody")).await;
    let status = nobody.err().context("nobody is there")?;
    ensure!(status.code() == Code::Unavailable, "{status:?}");
    system.start_role("orchestrator-1").await?;
    let again = eventually("orders are taken again", LIMIT, async || {
        match orders(proxy).ok()?.place_order(order("nobody")).await {
            Ok(placed) => Some(Ok(placed.into_inner().status())),
            Err(status) if status.code() == Code::Unavailable => None,
            Err(status) => Some(Err(status)),
        }
    });
    let status = again.await?;
    ensure!(status == OrderStatus::Confirmed, "{status:?}");
    Ok(())
}

/// Returns the path of Envoy in its package from PyPI.
fn envoy() -> anyhow::Result<PathBuf> {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/lib");
    let pythons = std::fs::read_dir(&lib).with_context(|| lib.display().to_string())?;
    let found = pythons
        .filter_map(Result::ok)
        .map(|python| python.path().join("site-packages/envoy/_bin/envoy"));
    let file = found.into_iter().find(|file| file.is_file());
    file.context("Envoy is missing: scripts/install-test-needs")
}
