//! A single outage at 70 % of the highest load: all accepted orders must end, and the system must
//! return to its normal latency without help. After that, no order may be given up.

use std::{path::Path, sync::Arc, time::Duration};

use saga_test_support::proxy::{Mode, Proxy};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    Arguments, FOR_EVER, REST,
    client::{Client, End, Order},
    faults::Injector,
    judge::{self, Findings},
    schedule::Server,
    system::System,
};

/// An outage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) victim: Victim,
    pub(crate) way: Way,
    pub(crate) lasts: Duration,
}

/// The process that the outage takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Victim {
    Broker,
    Database,
    Provider,
}

/// The way in which the outage takes its victim away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Way {
    /// It is killed with SIGKILL, and started again
    Kill,
    /// It does not answer; connections from before then stay silent for good
    Silence,
    /// It answers late: broker and database by 200 ms a piece, the provider later than a step waits
    Slow,
}

/// Number of clients that measure saturation. Each places one order after the other.
const CLIENTS: usize = 128;
const WARM_UP: Duration = Duration::from_secs(3);
const MEASURED_FOR: Duration = Duration::from_secs(8);
const LOAD: f64 = 0.7;
const BEFORE: Duration = Duration::from_secs(10);
/// Time for which orders arrive after the outage. Within it, latency must be normal again.
const AFTER: Duration = Duration::from_secs(60);
/// Length of a window. The orders that are placed in one window have one median latency.
const WINDOW: Duration = Duration::from_secs(5);
/// Latency is normal if a window's median is at most twice the median before the outage plus this
/// time, which allows for a busy machine.
const TOLERANCE: Duration = Duration::from_millis(100);

pub(crate) async fn run(outage: Outage, arguments: &Arguments, dir: &Path) -> anyhow::Result<bool> {
    let Outage { victim, way, lasts } = outage;
    let step_timeout = Duration::from_millis(arguments.step_timeout_millis);
    let system = Arc::new(System::start(dir, step_timeout, None, None).await?);
    let channels = vec![system.channel("orchestrator-1")?, system.channel("orchestrator-2")?];
    let client = Client::new(dir, channels, true)?;
    let rate = match arguments.rate {
        Some(rate) => rate,
        None => {
            let saturation = saturation(&client).await;
            eprintln!("saturation: {saturation:.0} orders a second");
            (saturation * LOAD).max(1.0)
        }
    };
    let injector = Injector::new(Arc::clone(&system), client.clone());
    let watching = tokio::spawn(injector.clone().watch());
    eprintln!("{rate:.0} orders a second; {outage:?}");
    let began = client.now();
    let arriving = tokio::spawn({
        let client = client.clone();
        async move { client.arrive(rate, FOR_EVER).await }
    });
    tokio::time::sleep(BEFORE).await;
    let away = client.now();
    take_away(outage, &system, &injector, &client).await?;
    let back = client.now();
    tokio::time::sleep(AFTER).await;
    arriving.abort();
    let stopped = client.now();
    client.rest(REST).await;
    watching.abort();

    let orders = client.log_so_far();
    let mut findings = Findings::default();
    let books = judge::read(&system, &mut findings).await?;
    judge::compare(&orders, &books, &mut findings);
    judge::audit(&system, false, &mut findings).await?;
    let normal = median(&orders, began, away).unwrap_or_default();
    let mut windows = Vec::new();
    let mut from = back;
    while from + WINDOW <= stopped {
        windows.push((from - back, median(&orders, from, from + WINDOW)));
        from += WINDOW;
    }
    let limit = normal * 2 + TOLERANCE;
    let is_normal = |median: &Option<Duration>| median.is_some_and(|median| median <= limit);
    // The system has recovered at the start of the first window after the last one that was not
    // normal.
    let worse = windows.iter().rposition(|(_, median)| !is_normal(median));
    let recovered = windows.get(worse.map_or(0, |last| last + 1)).map(|(since, _)| *since);
    let given_up = |from: Duration, to: Duration| {
        let placed = orders.iter().filter(|order| order.placed >= from && order.placed < to);
        placed.filter(|o| o.end.as_ref().is_some_and(End::was_given_up)).count()
    };
    let well = back + recovered.unwrap_or(AFTER);
    let (during, afterwards) = (given_up(began, well), given_up(well, stopped));
    let mut violations: Vec<String> = Vec::new();
    for (what, list) in [
        ("lost", &findings.lost),
        ("doubled", &findings.doubled),
        ("contradicted", &findings.contradicted),
        ("unfinished", &findings.unfinished),
        ("stuck", &findings.stuck),
        ("audit", &findings.audit_failed),
    ] {
        violations.extend(list.iter().map(|one| format!("{what}: {one}")));
    }
    violations.extend(injector.died().into_iter().map(|one| format!("ended by itself: {one}")));
    if afterwards > 0 {
        violations.push(format!("{afterwards} orders were given up after it was normal again"));
    }
    if recovered.is_none() {
        violations.push(format!("latency is not back at {limit:?} within {AFTER:?}"));
    }
    let passed = violations.is_empty();
    if arguments.json {
        let millis = |time: &Option<Duration>| time.map(|time| time.as_millis() as u64);
        let windows: Vec<_> = windows
            .iter()
            .map(|(since, median)| json!({"secondsAfter": since.as_secs(), "medianMillis": millis(median)}))
            .collect();
        crate::say(
            &json!({
                "outage": format!("{victim:?}").to_lowercase(),
                "way": format!("{way:?}").to_lowercase(), "ratePerSecond": rate,
                "givenUp": during,
                "outageMillis": (back - away).as_millis() as u64,
                "medianBeforeMillis": normal.as_millis() as u64, "windows": windows,
                "normalAfterSeconds": recovered.map(|time| time.as_secs()),
                "findings": findings, "violations": violations,
            })
            .to_string(),
        );
    } else {
        crate::say(&format!(
            "orders        {} sent, {} accepted, {} unknown at first\n\
             before        median {normal:?}, at {rate:.0} orders a second\n\
             outage        {victim:?} by {way:?}, {:?}, of {lasts:?} wanted\n\
             given up      {during}, until it was normal again",
            findings.sent,
            findings.accepted,
            findings.unknown,
            back - away
        ));
        for (since, median) in &windows {
            let shown = median.map_or("nobody ended".to_owned(), |median| format!("{median:?}"));
            crate::say(&format!("after {:>4} s  median {shown}", since.as_secs()));
        }
        let ends = &findings.ends;
        crate::say(&format!("ends          {ends:?}"));
        match recovered {
            Some(since) => crate::say(&format!("normal again  within {:?}", since + WINDOW)),
            None => crate::say("normal again  never"),
        }
        for violation in &violations {
            crate::say(&format!("VIOLATION     {violation}"));
        }
        crate::say(if passed { "outage        PASS" } else { "outage        FAIL" });
    }
    Ok(passed)
}

/// Takes the victim away, and brings it back.
async fn take_away(
    Outage { victim, way, lasts }: Outage,
    system: &System,
    injector: &Injector,
    client: &Client,
) -> anyhow::Result<()> {
    let server = match victim {
        Victim::Broker => Some(Server::Broker),
        Victim::Database => Some(Server::Database),
        Victim::Provider => None,
    };
    let proxies = || -> anyhow::Result<Vec<&Proxy>> {
        let names = system.names();
        let all = names.iter().filter(|name| *name != "provider");
        server.map_or(Ok(Vec::new()), |server| all.map(|n| system.proxy(n, server)).collect())
    };
    match (server, way) {
        (Some(server), Way::Kill) => injector.server(server, true, lasts).await?,
        (Some(_), Way::Silence | Way::Slow) => {
            let mode = if way == Way::Silence { Mode::Blackhole } else { Mode::Delay };
            proxies()?.into_iter().for_each(|proxy| proxy.set(mode));
            tokio::time::sleep(lasts).await;
            for proxy in proxies()? {
                if way == Way::Silence {
                    proxy.go_silent();
                }
                proxy.set(Mode::Open);
            }
        }
        (None, Way::Kill) => {
            let _held = injector.hold("provider").await;
            system.kill("provider")?;
            tokio::time::sleep(lasts).await;
            system.start_role("provider", None).await?;
        }
        (None, Way::Silence) => {
            system.pause("provider", true)?;
            tokio::time::sleep(lasts).await;
            system.pause("provider", false)?;
        }
        (None, Way::Slow) => {
            client.use_slow_cards(true);
            tokio::time::sleep(lasts).await;
            client.use_slow_cards(false);
        }
    }
    Ok(())
}

/// Measures the highest load: the orders that end in a second while each client waits for its
/// order.
async fn saturation(client: &Client) -> f64 {
    let begin = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let client = client.clone();
        clients.spawn(async move {
            while begin.elapsed() < WARM_UP + MEASURED_FOR {
                client.order().await;
            }
        });
    }
    tokio::time::sleep(WARM_UP).await;
    let from = client.now();
    tokio::time::sleep(MEASURED_FOR).await;
    let to = client.now();
    let ended = |order: &&Order| order.end.as_ref().is_some_and(|e| e.at >= from && e.at < to);
    let count = client.log_so_far().iter().filter(ended).count();
    while clients.join_next().await.is_some() {}
    count as f64 / (to - from).as_secs_f64()
}

/// Returns the median latency of the orders that were placed between two times. An order that was
/// given up, or did not end, counts as slower than all others.
fn median(orders: &[Order], from: Duration, to: Duration) -> Option<Duration> {
    let placed = orders.iter().filter(|order| order.placed >= from && order.placed < to);
    let mut took: Vec<Duration> = placed
        .map(|order| {
            let end = order.end.as_ref().filter(|end| !end.was_given_up());
            end.map_or(Duration::MAX, |end| end.at - order.placed)
        })
        .collect();
    took.sort_unstable();
    took.get(took.len() / 2).copied().filter(|took| *took != Duration::MAX)
}
