//! `saga-bench` measures how many sagas a second a system completes, how long each takes, and what
//! that costs. It compares the results with the limits of the system's databases and broker.
//!
//! It is a client like any other: orders go through gRPC, and each call waits for its order's end.
//! Meanwhile it reads the processes' costs (/proc, on Linux), the system's own metrics, and
//! Postgres' count of commits. Once the system has been stopped, its databases alone carry out
//! similar orders (`floor`).
//!
//! Read first: [`Bench::ask`], a whole run from top to bottom. Then `drive` for the loops, `floor`
//! for the floor, and `path` for the waits that an order cannot avoid.

mod arrivals;
mod demand;
mod drive;
mod figures;
mod floor;
mod limits;
mod observe;
mod options;
mod path;
mod plot;
mod probe;
mod processes;
mod report;
mod scrape;
mod stock;
mod system;
mod tally;

use std::{io::IsTerminal as _, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser as _;
use saga_cli::{Console, Failure, Verdict};
use saga_proto::shop::v1::catalogue_client::CatalogueClient;
use uuid::Uuid;

use demand::Demand;
use drive::{Bounds, Driver, Rate, Run};
use limits::{Known, Mix, Traffic};
use options::Arrival;
use options::Bench;
use probe::{EventConsumer, Tap};
use report::{Load, Measured, Report};
use saga::roles::broker_settings;
use stock::Stock;
use system::{Backing, System};

/// The least time for which a system's messages are counted.
const TAP_FOR: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let bench = Bench::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        std::process::exit(if error.use_stderr() { saga_cli::USAGE.into() } else { 0 });
    });
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("saga-bench: {error}");
            return ExitCode::FAILURE;
        }
    };
    let measuring = saga_cli::run(bench.json(), async |console| Box::pin(bench.ask(console)).await);
    let status = runtime.block_on(measuring);
    runtime.shutdown_background();
    status
}

impl Bench {
    /// Runs the bench, and returns whether the results add up.
    async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        let shown = !console.json && std::io::stderr().is_terminal();
        let mut progress = Progress { shown, console };
        let mut system = self.system(&mut progress).await?;
        let measured = self.measure(&mut system, &mut progress).await;
        // A system that the bench has started is stopped even after a failure.
        system.stop().await?;
        let (mut report, mix) = measured?;
        if self.is_started() && !self.without_limits {
            progress.show("measuring what it stands on …")?;
            report.limits = limits::measure(&system.backing, &self.known(&report, mix)).await?;
        }
        progress.show("")?;
        if let Some(file) = &self.plot {
            let drawing = plot::svg(&report)?;
            std::fs::write(file, drawing)?;
        }
        let problems = report.problems();
        if let Some(file) = &self.save {
            std::fs::write(file, format!("{:#}\n", report.json(&problems)))?;
        }
        if console.json {
            console.object(&report.json(&problems))?;
        } else {
            console.say(&report.text(&problems))?;
        }
        Ok(if problems.is_empty() { Verdict::Done } else { Verdict::Refused })
    }

    async fn system(&self, progress: &mut Progress<'_, '_>) -> Result<System, Failure> {
        if self.embedded {
            progress.show("starting the embedded system …")?;
            Ok(System::embedded().await?)
        } else if self.servers {
            progress.show("starting the system on its servers …")?;
            Ok(System::on_servers(self.process_a_role).await?)
        } else {
            Ok(System::running(self.connection.server.clone(), self.metrics.clone()))
        }
    }

    /// Makes all measurements that need the running system.
    async fn measure(
        &self,
        system: &mut System,
        progress: &mut Progress<'_, '_>,
    ) -> Result<(Report, Mix), Failure> {
        progress.show("restocking …")?;
        let run = Uuid::now_v7();
        let catalogue = CatalogueClient::new(system.endpoint.connect_lazy());
        let stock = Stock { run, skus: self.skus, catalogue };
        let before = stock.receive().await?;
        let demand = Arc::new(Demand::new(run, self.skus, self.decline_percent));
        let driver = Driver { endpoint: system.endpoint.clone(), demand };
        let consumer = match &system.backing {
            Backing::Servers(setup) if self.event_consumer => {
                let settings = broker_settings(&setup.broker, "bench");
                Some(EventConsumer::start(&settings).await.map_err(anyhow::Error::from)?)
            }
            Backing::Servers(_) | Backing::Directory(_) | Backing::Unknown => None,
        };
        let mut measured = self.closed(&driver, system, progress).await?;
        let saturation = report::saturation(&measured);
        measured.extend(self.open(saturation, &driver, system, progress).await?);
        let busiest = report::busiest(&measured);
        let (mix, tapped) = self.tap(busiest, &driver, system, progress).await?;
        let events = consumer.as_ref().map(EventConsumer::received);
        if let Some(consumer) = consumer {
            consumer.stop().await.map_err(anyhow::Error::from)?;
        }
        progress.show("reading the catalogue …")?;
        let books = stock.read().await?.since(&before);
        let report = Report {
            run,
            of: self.what(),
            measured,
            unmeasured: tapped,
            books,
            events,
            limits: None,
        };
        Ok((report, mix))
    }

    /// Measures the closed levels. Rounds are the outer loop, so that a slow phase of the machine
    /// affects every level.
    async fn closed(
        &self,
        driver: &Driver,
        system: &System,
        progress: &mut Progress<'_, '_>,
    ) -> Result<Vec<Measured>, Failure> {
        let levels = self.levels();
        let mut measured: Vec<Measured> =
            levels.iter().map(|n| Measured::new(Load::Closed { in_flight: *n })).collect();
        for round in 1..=self.rounds() {
            for (in_flight, measured) in levels.iter().zip(&mut measured) {
                progress.show(&format!(
                    "round {round} of {}: {in_flight} in flight …",
                    self.rounds()
                ))?;
                let run = driver.closed(*in_flight, self.bounds(), &system.observer).await?;
                measured.rounds.push(run);
            }
        }
        Ok(measured)
    }

    async fn open(
        &self,
        saturation: f64,
        driver: &Driver,
        system: &System,
        progress: &mut Progress<'_, '_>,
    ) -> Result<Vec<Measured>, Failure> {
        let mut measured = Vec::new();
        for arrival in self.rates() {
            let (share, a_second) = match arrival {
                Arrival::Rate(rate) => (None, rate),
                Arrival::Share(share) => (Some(share), share * saturation),
                Arrival::None => continue,
            };
            if a_second <= 0.0 {
                continue;
            }
            let rate = Rate { a_second, honours_advice: self.honour_advice };
            let mut this = Measured::new(Load::Open { a_second, share });
            for round in 1..=self.rounds() {
                progress.show(&format!(
                    "round {round} of {}: {a_second:.0} orders a second …",
                    self.rounds()
                ))?;
                this.rounds.push(driver.open(rate, self.bounds(), &system.observer).await?);
            }
            measured.push(this);
        }
        Ok(measured)
    }

    /// Counts the messages in one more run of the busiest level. The taps cost the broker time, so
    /// this run is not measured.
    async fn tap(
        &self,
        in_flight: u32,
        driver: &Driver,
        system: &System,
        progress: &mut Progress<'_, '_>,
    ) -> Result<(Mix, Vec<Run>), Failure> {
        let Backing::Servers(setup) = &system.backing else {
            return Ok((Mix::default(), Vec::new()));
        };
        if self.without_limits {
            return Ok((Mix::default(), Vec::new()));
        }
        progress.show("looking at its messages …")?;
        let settings = broker_settings(&setup.broker, "bench");
        let tap = Tap::open(&settings).await.map_err(anyhow::Error::from)?;
        let bounds = Bounds { warm_up: Duration::ZERO, time: TAP_FOR, ..self.bounds() };
        let run = driver.closed(in_flight, bounds, &system.observer).await?;
        let sagas = (run.measured.completed() + run.rest.completed()).max(1) as f64;
        let [commands, replies, events] = tap.counts().map(|tapped| Traffic::of(tapped, sagas));
        tap.close().await;
        Ok((Mix { commands, replies, events }, vec![run]))
    }

    fn known(&self, report: &Report, mix: Mix) -> Known {
        Known {
            mix,
            events_are_consumed: self.event_consumer,
            provider: report.provider().unwrap_or_default(),
            demand: Arc::new(Demand::new(Uuid::now_v7(), self.skus, self.decline_percent)),
            rounds: floor::Rounds { count: self.rounds(), time: self.bounds().time },
        }
    }

    /// Describes the measured system.
    fn what(&self) -> String {
        match (self.embedded, self.servers, self.process_a_role) {
            (true, ..) => "embedded: SQLite, one process".to_owned(),
            (_, true, false) => "PostgreSQL and RabbitMQ, one process".to_owned(),
            (_, true, true) => "PostgreSQL and RabbitMQ, a process a role".to_owned(),
            (false, false, _) => format!("a running system at {}", self.connection.server.uri()),
        }
    }
}

/// The progress line: on a terminal it is overwritten again and again, elsewhere nothing is shown.
struct Progress<'c, 'w> {
    shown: bool,
    console: &'c mut Console<'w>,
}

impl Progress<'_, '_> {
    fn show(&mut self, text: &str) -> Result<(), Failure> {
        if self.shown { self.console.sketch(&format!("\r\u{1b}[K{text}")) } else { Ok(()) }
    }
}
