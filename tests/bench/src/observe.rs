//! Observes what a system uses while it works: CPU, memory, batches, messages, commits.

use std::collections::BTreeMap;

use saga_postgres::Pool;

use super::{
    figures::Figures,
    processes::{Costs, Watched, costs},
    scrape::Samples,
};

/// The sources that show what a system uses.
#[derive(Default)]
pub(super) struct Observer {
    pub(super) processes: Vec<Watched>,
    /// The addresses of its processes' metrics.
    pub(super) metrics: Vec<String>,
    pub(super) databases: Option<Databases>,
}

/// The database server's count of commits in a system's databases.
pub(super) struct Databases {
    /// Connected to another database, so that these queries do not count as the system's.
    pub(super) pool: Pool,
    pub(super) names: Vec<String>,
}

/// The values at one moment.
pub(super) struct Look {
    costs: Costs,
    samples: Samples,
    commits: Option<i64>,
}

/// The values used between two looks.
pub(super) struct Used {
    /// Seconds of CPU, for each process.
    cpu: BTreeMap<String, f64>,
    /// Bytes at the end, for each process.
    pub(super) memory: BTreeMap<String, u64>,
    samples: Samples,
    commits: Option<i64>,
}

impl Observer {
    pub(super) async fn look(&self) -> anyhow::Result<Look> {
        let commits = match &self.databases {
            Some(databases) => Some(databases.commits().await?),
            None => None,
        };
        let samples = Samples::from_all(&self.metrics).await?;
        let watched = self.processes.clone();
        let costs = tokio::task::spawn_blocking(move || costs(&watched)).await?;
        Ok(Look { costs, samples, commits })
    }
}

impl Databases {
    async fn commits(&self) -> sqlx::Result<i64> {
        sqlx::query_scalar(
            "SELECT coalesce(sum(xact_commit), 0)::bigint FROM pg_stat_database
             WHERE datname = ANY($1)",
        )
        .bind(&self.names)
        .fetch_one(&self.pool)
        .await
    }
}

impl Look {
    pub(super) fn since(self, before: &Self) -> Used {
        let was = |name: &str| before.costs.cpu.get(name).copied().unwrap_or_default();
        Used {
            cpu: self.costs.cpu.iter().map(|(name, now)| (name.clone(), now - was(name))).collect(),
            memory: self.costs.memory,
            samples: self.samples.since(&before.samples),
            commits: self.commits.zip(before.commits).map(|(now, then)| now - then),
        }
    }
}

impl Used {
    /// Adds all values, divided by the number of sagas.
    pub(super) fn figures(&self, sagas: u64, figures: &mut Figures) {
        if sagas == 0 {
            return;
        }
        let sagas = sagas as f64;
        for (name, seconds) in &self.cpu {
            figures.set(&format!("cpuMillisPerSaga.{name}"), seconds * 1e3 / sagas);
        }
        let cpu: f64 = self.cpu.values().sum();
        if cpu > 0.0 {
            figures.set("cpuMillisPerSaga.total", cpu * 1e3 / sagas);
        }
        if let Some(commits) = self.commits {
            figures.set("commitsPerSaga", commits as f64 / sagas);
        }
        let samples = &self.samples;
        let published = samples.by("saga_messages_published_total", "route");
        for (route, count) in &published {
            figures.set(&format!("messagesPerSaga.{route}"), count / sagas);
        }
        if !published.is_empty() {
            let all: f64 = published.values().sum();
            figures.set("messagesPerSaga.total", all / sagas);
        }
        for (what, name) in [
            ("batch.admission", "saga_admission_batch_members"),
            ("batch.replies", "saga_reply_batch_members"),
            ("parcel.commands", "saga_parcel_members"),
            ("parcel.replies", "saga_reply_parcel_members"),
            ("providerSeconds", "saga_payment_provider_seconds"),
        ] {
            if let Some(mean) = samples.mean(name) {
                figures.set(what, mean);
            }
        }
        for (who, mean) in samples.means("saga_participant_batch_members", "participant") {
            figures.set(&format!("batch.{who}"), mean);
        }
    }
}
