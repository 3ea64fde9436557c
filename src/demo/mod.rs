//! `saga demo`: shows the whole system at work, kills some of its roles, and audits it at the end.
//! The system runs in this process, or elsewhere.
//!
//! The demo is a client like any other: it places orders through gRPC. Its output about them comes
//! only from gRPC and from the audit of the databases.
//!
//! Read first: [`Demo::run`], which is the demo from top to bottom, then `mix.rs` for the orders
//! and `system/mod.rs` for killing a role.

mod mix;
mod orders;
mod report;
mod stories;
mod system;
mod view;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use saga_operations::v1::sagas_client::SagasClient;
use saga_proto::shop::v1::catalogue_client::CatalogueClient;

use crate::{audit, client::goods, roles::Role};
use orders::{Clients, Tally};
use report::Summary;
use system::{Running, System};
use view::View;

/// Number of clients that place orders and wait for their ends at the same time.
const CLIENTS: usize = 64;
/// How long a killed role stays dead. Within this time others can be seen to wait for it.
const DEAD_FOR: Duration = Duration::from_millis(1_500);
/// Duration of the provider's outage.
const OUTAGE_SECONDS: u64 = 2;

/// Shows the whole system at work on this machine, with nothing but this program.
///
/// Starts every role in this process (SQLite files in a directory, messages in memory), places a
/// mix of orders through the gRPC API and returns some of them, kills two roles in mid-run and starts them again, takes the
/// payment provider away for a while, tells the story of three orders, and audits every database.
///
/// With --server it does the same to a system that runs: it joins it with an orchestrator and a payment service more, and
/// kills those.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  saga demo
  saga demo --orders 2000 --seed 7
  saga demo --data-dir saga-data --keep      stays up, and says how to talk to it
  saga demo --json | tail -n 1               a summary for programs, with \"audit\": \"PASS\"
  saga demo --server http://127.0.0.1:7400 --provider http://127.0.0.1:7404 \
      --orchestrator 'saga orchestrator' --payment 'saga payment'
                                             on a system that runs; the databases are those of SAGA_…_DATABASE_URL,
                                             the provider's ledger is in SAGA_PROVIDER_DATA_DIR, as for saga audit

Exit status: 0 the audit passed, 1 it did not, or the demo could not run. SAGA_LOG=info shows the
logs of the roles.")]
pub(crate) struct Demo {
    /// How many orders to place
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = clap::value_parser!(u32).range(20..=1_000_000))]
    orders: u32,
    /// Decides which order is of which kind
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Keep the databases here; by default they are removed at the end
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Stay up at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Show every equation of the audit with what it says, not only those that do not hold
    #[arg(long)]
    verbose: bool,
    /// End with one line of JSON on stdout; everything else goes to stderr
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    running: Running,
}

/// Runs the demo. The exit code says whether the audit passed.
pub(crate) async fn run(demo: Demo) -> ExitCode {
    let view = View::new(demo.json, demo.orders.into());
    match demo.run(&view).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            view.failed(&error);
            ExitCode::FAILURE
        }
    }
}

impl Demo {
    async fn run(&self, view: &View) -> anyhow::Result<bool> {
        let temporary = tempfile::tempdir().context("a directory for the databases")?;
        let dir = self.data_dir.clone().unwrap_or_else(|| temporary.path().to_owned());
        view.heading(&format!("{} orders, seed {}", self.orders, self.seed));
        let system = if self.running.server.is_some() {
            view.say("On a system that runs, with an orchestrator and a payment service more, which will be killed.");
            System::join(&self.running).await?
        } else {
            view.say(&format!("Every role runs in this process. Databases: {}", dir.display()));
            System::start(&dir).await?
        };
        view.say(&format!("Clients: {} (gRPC)", system.servers().join(", ")));
        self.fill_the_shelves(&system).await?;
        let tally = self.orders(&system, view).await?;
        view.say(&report::table(&tally));
        self.stories(&system, &tally, view).await?;
        view.heading("The audit, from the databases and the provider's ledger");
        let audited =
            audit::run(system.books(), report::AUDIT_WAIT, &report::audit_options()).await?;
        let audit = if self.verbose { audited.full() } else { audited.summary() };
        view.say(audit.trim_end());
        let passed = audited.passed;
        if self.keep {
            self.stay(&system, &dir, view).await?;
        }
        system.stop().await?;
        view.summary(&Summary::new(self.orders, self.seed, &tally, &audited));
        Ok(passed)
    }

    /// Receives goods into stock: enough of every product but one. The keys differ in each run, so
    /// that a second demo on the same directory receives goods again.
    async fn fill_the_shelves(&self, system: &System) -> anyhow::Result<()> {
        let catalogue = CatalogueClient::new(system.channel()?);
        let key = format!("demo/{}", uuid::Uuid::new_v4());
        let received = goods::receive(&catalogue, mix::catalogue(self.orders), &key).await;
        received.context("receiving goods").map(drop)
    }

    /// Places all orders. Meanwhile kills roles and makes the provider unavailable.
    async fn orders(&self, system: &System, view: &View) -> anyhow::Result<Tally> {
        let clients = Arc::new(Clients::new(system.channels()?, self.orders, self.seed));
        let placing = Arc::clone(&clients).place_all(CLIENTS);
        let harm = async {
            clients.ended(self.orders / 4).await;
            self.kill(system, Role::Orchestrator, view).await?;
            clients.ended(self.orders / 2).await;
            view.event(&format!("the payment provider answers 503 for {OUTAGE_SECONDS} s"));
            system.provider_outage(OUTAGE_SECONDS).await?;
            clients.ended(self.orders / 4 * 3).await;
            self.kill(system, Role::Payment, view).await
        };
        let following = async {
            view.follow(&clients).await;
            anyhow::Ok(())
        };
        let (tally, (), ()) = tokio::try_join!(placing, harm, following)?;
        view.done(&clients);
        Ok(tally)
    }

    /// Kills a role as `kill -9` does, and starts it again. The role does not finish its work or
    /// notify anyone, and all that it has not committed is lost.
    async fn kill(&self, system: &System, role: Role, view: &View) -> anyhow::Result<()> {
        system.kill(role)?;
        view.event(&format!("{} is killed", role.title()));
        tokio::time::sleep(DEAD_FOR).await;
        system.start_role(role)?;
        view.event(&format!("{} is started again", role.title()));
        Ok(())
    }

    /// Shows the histories of one order that succeeded, one that was undone, and one whose outcome
    /// was unknown for a while.
    async fn stories(&self, system: &System, tally: &Tally, view: &View) -> anyhow::Result<()> {
        let mut sagas = SagasClient::new(system.channel()?);
        for (title, saga) in stories::choose(&mut sagas, tally).await? {
            view.heading(&title);
            view.say(&saga_cli::describe_saga(&saga));
        }
        Ok(())
    }

    async fn stay(
        &self,
        system: &System,
        dir: &std::path::Path,
        view: &View,
    ) -> anyhow::Result<()> {
        let server = system.servers().concat();
        view.heading("It stays up until Ctrl-C");
        view.say(&format!(
            "export SAGA_SERVER={server}
saga products
saga place --customer ada --item teapot=1
saga place --customer ada --item teapot=1 --token tok_declined
saga return ORDER --line teapot=1
saga orders --limit 5
saga sagas --state compensated --limit 5
saga audit --data-dir {}
grpcurl -plaintext {} list
grpcurl -plaintext -d '{{\"page_size\": 3}}' {} saga.shop.v1.Orders/ListOrders",
            dir.display(),
            server.trim_start_matches("http://"),
            server.trim_start_matches("http://"),
        ));
        tokio::signal::ctrl_c().await.context("waiting for Ctrl-C")
    }
}
