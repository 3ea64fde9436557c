//! Which fault comes when: a pure function of the seed.

use std::time::Duration;

use crate::seed::Seed;

/// What every run has two of, and one provider.
pub(crate) const REPLICATED: [&str; 4] = ["orchestrator", "order", "inventory", "payment"];

const ORCHESTRATOR: [&str; 8] = [
    "before-turn-commit",
    "after-turn-commit",
    "before-claim-commit",
    "after-claim-commit",
    "before-admission-commit",
    "after-admission-commit",
    "after-publish",
    "before-ack",
];
/// Around a transaction with an effect in the service's own database.
const LOCAL: [&str; 2] = ["before-batch-commit", "after-batch-commit"];
const LEAVING: [&str; 3] = ["between-events-and-replies", "after-publish", "before-ack"];
/// Around the two transactions of an effect in the outside world.
const OUTSIDE: [&str; 4] = [
    "before-intent-commit",
    "after-intent-commit",
    "before-settlement-commit",
    "after-settlement-commit",
];

/// A server behind a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Broker,
    Database,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL.
    Kill { role: String },
    /// SIGSTOP, past every time-out, then SIGCONT.
    Pause { role: String },
    /// SIGKILL of the server.
    KillServer(Server),
    /// The server is stopped as an administrator would, and started again.
    RestartServer(Server),
    /// `pg_terminate_backend` for all backends of a role's user.
    TerminateBackends { role: &'static str },
    /// Nothing passes between a process and its server, and nobody says so.
    Blackhole { role: String, server: Server },
    /// Each connection between a process and its server is reset.
    Reset { role: String, server: Server },
    /// 200 ms, give or take, on each way.
    Delay { role: String, server: Server },
    /// A kilobyte a second.
    Trickle { role: String, server: Server },
    /// The connection is reset while its next COMMIT is on its way: before it
    /// reaches the database, or before its answer is back.
    ResetDuringCommit { role: String, arrives: bool },
    /// Commands and replies come again, in reverse, by a stranger's hand.
    Repeat,
    /// What nobody can read, and replies that nobody sent.
    Poison,
    /// A queue is deleted under its consumers.
    DeleteQueue { queue: &'static str },
    /// A role's replicas end by SIGTERM and are started again, one after the other.
    Rolling { role: &'static str },
    /// A process's clock is an hour off, and then right again.
    Clock { role: String, ahead: bool },
    /// The database's clock goes an hour ahead. It stays there: back again, whoever waits
    /// for a time would wait for an hour.
    DatabaseClock,
    /// The disk of the provider, or of the database, is full for a while.
    DiskFull(Disk),
}

/// What has a file system of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    Provider,
    Database,
}

impl Fault {
    /// What the report counts it under.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill -9 of a role",
            Self::Pause { .. } => "SIGSTOP and SIGCONT",
            Self::KillServer(Server::Broker) => "kill -9 of the broker",
            Self::KillServer(Server::Database) => "kill -9 of the database",
            Self::RestartServer(Server::Broker) => "restart of the broker",
            Self::RestartServer(Server::Database) => "restart of the database",
            Self::TerminateBackends { .. } => "backends terminated",
            Self::Blackhole { .. } => "blackhole",
            Self::Reset { .. } => "connections reset",
            Self::Delay { .. } => "delay of 200 ms",
            Self::Trickle { .. } => "1 KB/s",
            Self::ResetDuringCommit { .. } => "reset during COMMIT",
            Self::Repeat => "messages repeated and reordered",
            Self::Poison => "poison and forged replies",
            Self::DeleteQueue { .. } => "queue deleted",
            Self::Rolling { .. } => "replicas replaced one by one",
            Self::Clock { .. } => "clock of a process an hour off",
            Self::DatabaseClock => "clock of the database an hour ahead",
            Self::DiskFull(Disk::Provider) => "disk of the provider full",
            Self::DiskFull(Disk::Database) => "disk of the database full",
        }
    }

    /// What no other fault may touch meanwhile.
    pub(crate) fn target(&self) -> String {
        match self {
            Self::Kill { role }
            | Self::Pause { role }
            | Self::Blackhole { role, .. }
            | Self::Reset { role, .. }
            | Self::Delay { role, .. }
            | Self::Trickle { role, .. }
            | Self::ResetDuringCommit { role, .. }
            | Self::Clock { role, .. } => role.clone(),
            // Each of its replicas is held in its turn.
            Self::Rolling { role } => format!("replicas of {role}"),
            Self::DiskFull(Disk::Provider) => "provider".to_owned(),
            Self::KillServer(Server::Database)
            | Self::RestartServer(Server::Database)
            | Self::DatabaseClock
            | Self::DiskFull(Disk::Database)
            | Self::TerminateBackends { .. } => "postgres".to_owned(),
            Self::KillServer(Server::Broker)
            | Self::RestartServer(Server::Broker)
            | Self::Repeat
            | Self::Poison
            | Self::DeleteQueue { .. } => "rabbitmq".to_owned(),
        }
    }
}

/// A fault, when it comes, and how long it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) after: Duration,
    pub(crate) lasts: Duration,
    pub(crate) fault: Fault,
}

/// A role that is to crash at a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CrashPoint {
    pub(crate) role: &'static str,
    pub(crate) replica: u64,
    pub(crate) point: &'static str,
    /// At which passing.
    pub(crate) at: u64,
}

impl CrashPoint {
    /// `payment/after-intent-commit`
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.role, self.point)
    }
}

/// What a seed means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// So many faults at once at most; one of them may be a crash point.
    pub(crate) at_once: usize,
    pub(crate) faults: Vec<Planned>,
    /// Every point of every role once, in this order.
    pub(crate) crash_points: Vec<CrashPoint>,
}

impl Schedule {
    pub(crate) fn new(seed: u64, length: Duration) -> Self {
        let mut seed = Seed::new(seed);
        let at_once = seed.between(2, 3) as usize;
        let mut crash_points: Vec<CrashPoint> = points()
            .map(|(role, point)| CrashPoint {
                role,
                point,
                replica: seed.between(1, 2),
                // Few sagas are ever claimed: what is due is what went wrong.
                at: if point.contains("claim") { 1 } else { seed.between(1, 12) },
            })
            .collect();
        // Fisher and Yates: so that a role does not crash nine times in a row.
        for last in (1..crash_points.len()).rev() {
            let other = seed.between(0, last as u64) as usize;
            crash_points.swap(last, other);
        }
        let (mut faults, mut after, mut round) = (Vec::new(), Duration::ZERO, Vec::new());
        loop {
            after += Duration::from_millis(seed.between(5_000, 20_000));
            if after >= length {
                return Self { at_once, faults, crash_points };
            }
            // Each kind once before any comes again.
            if round.is_empty() {
                round = (0..KINDS).collect();
            }
            let kind = round.swap_remove(seed.between(0, round.len() as u64 - 1) as usize);
            let fault = fault(kind, &mut seed);
            faults.push(Planned { after, lasts: lasts(&fault, &mut seed), fault });
        }
    }
}

/// All crash points, by role.
pub(crate) fn points() -> impl Iterator<Item = (&'static str, &'static str)> {
    let of = |role, points: &'static [&'static str]| points.iter().map(move |point| (role, *point));
    of("orchestrator", &ORCHESTRATOR)
        .chain(of("order", &LOCAL))
        .chain(of("order", &LEAVING))
        .chain(of("inventory", &LOCAL))
        .chain(of("inventory", &LEAVING))
        .chain(of("payment", &OUTSIDE))
        .chain(of("payment", &LEAVING))
}

const KINDS: u64 = 20;

fn fault(kind: u64, seed: &mut Seed) -> Fault {
    let replica = |seed: &mut Seed| {
        let role = seed.one_of(&REPLICATED);
        format!("{role}-{}", seed.between(1, 2))
    };
    let server = |seed: &mut Seed| seed.one_of(&[Server::Broker, Server::Database]);
    match kind {
        0 => Fault::Kill { role: replica(seed) },
        1 => Fault::Kill { role: "provider".to_owned() },
        2 => Fault::Pause { role: format!("orchestrator-{}", seed.between(1, 2)) },
        3 => Fault::Pause { role: replica(seed) },
        4 => Fault::KillServer(Server::Broker),
        5 => Fault::KillServer(Server::Database),
        6 => Fault::RestartServer(Server::Broker),
        7 => Fault::RestartServer(Server::Database),
        8 => Fault::TerminateBackends { role: seed.one_of(&REPLICATED) },
        9 => Fault::Blackhole { role: replica(seed), server: server(seed) },
        10 => Fault::Reset { role: replica(seed), server: server(seed) },
        11 => Fault::Delay { role: replica(seed), server: server(seed) },
        12 => Fault::Trickle { role: replica(seed), server: server(seed) },
        13 => {
            Fault::ResetDuringCommit { role: replica(seed), arrives: seed.one_of(&[true, false]) }
        }
        14 => seed.one_of(&[Fault::Repeat, Fault::Poison]),
        15 => Fault::Rolling { role: seed.one_of(&REPLICATED) },
        16 => Fault::Clock { role: replica(seed), ahead: seed.one_of(&[true, false]) },
        17 => Fault::DatabaseClock,
        18 => Fault::DiskFull(seed.one_of(&[Disk::Provider, Disk::Database])),
        _ => Fault::DeleteQueue {
            queue: seed.one_of(&[
                "saga.commands.order",
                "saga.commands.inventory",
                "saga.commands.payment",
                "saga.replies",
            ]),
        },
    }
}

fn lasts(fault: &Fault, seed: &mut Seed) -> Duration {
    let (least, most) = match fault {
        // Past the step time-out, the idle-in-transaction time-out and the heartbeats.
        Fault::Pause { .. } => (12_000, 25_000),
        Fault::Blackhole { .. } => (3_000, 15_000),
        Fault::Kill { .. }
        | Fault::KillServer(_)
        | Fault::RestartServer(_)
        | Fault::Delay { .. }
        | Fault::Trickle { .. }
        | Fault::DiskFull(_) => (500, 6_000),
        Fault::Clock { .. } => (2_000, 8_000),
        Fault::TerminateBackends { .. }
        | Fault::Reset { .. }
        | Fault::ResetDuringCommit { .. }
        | Fault::Repeat
        | Fault::Poison
        | Fault::DeleteQueue { .. }
        | Fault::Rolling { .. }
        | Fault::DatabaseClock => (0, 500),
    };
    Duration::from_millis(seed.between(least, most))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_seed_is_one_schedule_and_another_is_another() {
        assert_eq!(Schedule::new(7, HOUR), Schedule::new(7, HOUR));
        assert_ne!(Schedule::new(7, HOUR), Schedule::new(8, HOUR));
    }

    #[test]
    fn a_longer_run_begins_as_a_shorter_one() {
        let (short, long) = (Schedule::new(7, HOUR / 30), Schedule::new(7, HOUR));
        assert_eq!(long.faults[..short.faults.len()], short.faults[..]);
        assert_eq!(long.crash_points, short.crash_points);
    }

    #[test]
    fn faults_come_every_5_to_20_seconds_and_each_kind_comes() {
        let schedule = Schedule::new(7, HOUR);
        let mut before = Duration::ZERO;
        for planned in &schedule.faults {
            let pause = planned.after.saturating_sub(before);
            assert!((5..=20).contains(&pause.as_secs()), "{pause:?}");
            before = planned.after;
        }
        let kinds: BTreeSet<_> = schedule.faults.iter().map(|one| one.fault.kind()).collect();
        assert_eq!(kinds.len(), 20, "{kinds:?}");
    }

    #[test]
    fn each_crash_point_comes_once() {
        let planned = Schedule::new(7, HOUR).crash_points;
        let names: BTreeSet<_> = planned.iter().map(CrashPoint::name).collect();
        assert_eq!(names.len(), planned.len());
        assert_eq!(names, points().map(|(role, point)| format!("{role}/{point}")).collect());
    }
}
