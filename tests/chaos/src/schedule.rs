//! Plans which fault comes when. The plan is a pure function of the seed.

use std::time::Duration;

use crate::seed::Seed;

/// The roles with two replicas in every run. The provider has only one.
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
/// The points around a transaction with an effect in the service's own database.
const LOCAL: [&str; 2] = ["before-batch-commit", "after-batch-commit"];
const LEAVING: [&str; 3] = ["between-events-and-replies", "after-publish", "before-ack"];
/// The points around the two transactions for a call to an outside service.
const OUTSIDE: [&str; 4] = [
    "before-intent-commit",
    "after-intent-commit",
    "before-settlement-commit",
    "after-settlement-commit",
];

/// A server that roles reach through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Broker,
    Database,
}

/// A fault to inject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A process is killed with SIGKILL.
    Kill { role: String },
    /// A process is paused with SIGSTOP for longer than every time-out, and resumed with SIGCONT.
    Pause { role: String },
    /// A server is killed with SIGKILL.
    KillServer(Server),
    /// A server is stopped in the regular way, and started again.
    RestartServer(Server),
    /// `pg_terminate_backend` for all backends of a role's user.
    TerminateBackends { role: &'static str },
    /// No bytes pass between a process and a server, but connections stay open.
    Blackhole { role: String, server: Server },
    /// All connections between a process and a server are reset.
    Reset { role: String, server: Server },
    /// All connections between a process and a server fall silent for good, as when the server's
    /// host fails. New ones work.
    Silence { role: String, server: Server },
    /// Bytes between a process and a server arrive about 200 ms late, in each direction.
    Delay { role: String, server: Server },
    /// Only a kilobyte a second passes between a process and a server.
    Trickle { role: String, server: Server },
    /// A connection is reset during its next COMMIT: before the COMMIT reaches the database or, if
    /// it `arrives`, before the answer reaches the process.
    ResetDuringCommit { role: String, arrives: bool },
    /// A hostile client publishes commands and replies again, in reverse order.
    Repeat,
    /// A hostile client publishes unreadable messages and forged replies.
    Poison,
    /// A queue is deleted while it is consumed.
    DeleteQueue { queue: &'static str },
    /// A role's replicas are ended with SIGTERM and started again, one after the other.
    Rolling { role: &'static str },
    /// A process's clock is wrong by an hour for a while.
    Clock { role: String, ahead: bool },
    /// The database's clock jumps an hour ahead and stays there. If it jumped back, every saga that
    /// waits for a time would wait for another hour.
    DatabaseClock,
    /// The disk of the provider or of the database is full for a while.
    DiskFull(Disk),
}

/// A disk that can be filled: the file system of one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    Provider,
    Database,
}

impl Fault {
    /// Returns the name of the fault's kind in the report.
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
            Self::Silence { .. } => "connections silent for good",
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

    /// Returns the name of the lock that keeps other faults away meanwhile.
    pub(crate) fn target(&self) -> String {
        match self {
            Self::Kill { role }
            | Self::Pause { role }
            | Self::Blackhole { role, .. }
            | Self::Silence { role, .. }
            | Self::Reset { role, .. }
            | Self::Delay { role, .. }
            | Self::Trickle { role, .. }
            | Self::ResetDuringCommit { role, .. }
            | Self::Clock { role, .. } => role.clone(),
            // A rolling restart locks each replica when its turn comes.
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

/// A fault, the time at which it starts, and its duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) after: Duration,
    pub(crate) lasts: Duration,
    pub(crate) fault: Fault,
}

/// A replica that must crash at a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CrashPoint {
    pub(crate) role: &'static str,
    pub(crate) replica: u64,
    pub(crate) point: &'static str,
    /// The pass of the point at which the replica crashes, counted from 1.
    pub(crate) at: u64,
}

impl CrashPoint {
    /// Returns role and point, for example `payment/after-intent-commit`.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.role, self.point)
    }
}

/// The schedule of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// Maximum number of faults at one time. A crash point counts as one.
    pub(crate) at_once: usize,
    pub(crate) faults: Vec<Planned>,
    /// Every crash point of every role once, in the order in which they are tried.
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
                // Claims are rare, because only sagas that a fault has delayed are claimed.
                at: if point.contains("claim") { 1 } else { seed.between(1, 12) },
            })
            .collect();
        // Fisher-Yates shuffle, so that the points of a role do not all come in a row.
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
            // Every kind of fault comes once before any comes a second time.
            if round.is_empty() {
                round = (0..KINDS).collect();
            }
            let kind = round.swap_remove(seed.between(0, round.len() as u64 - 1) as usize);
            let fault = fault(kind, &mut seed);
            faults.push(Planned { after, lasts: lasts(&fault, &mut seed), fault });
        }
    }
}

/// Returns all pairs of a role and one of its crash points.
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

const KINDS: u64 = 21;

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
        19 => Fault::Silence { role: replica(seed), server: server(seed) },
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
        // Longer than the step time-out, the idle-in-transaction time-out and the heartbeats.
        Fault::Pause { .. } => (12_000, 25_000),
        Fault::Blackhole { .. } => (3_000, 15_000),
        // Longer than a call may go without an answer (`SILENCE` in crates/messaging).
        Fault::Silence { .. } => (31_000, 35_000),
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
        assert_eq!(kinds.len(), KINDS as usize, "{kinds:?}");
    }

    #[test]
    fn each_crash_point_comes_once() {
        let planned = Schedule::new(7, HOUR).crash_points;
        let names: BTreeSet<_> = planned.iter().map(CrashPoint::name).collect();
        assert_eq!(names.len(), planned.len());
        assert_eq!(names, points().map(|(role, point)| format!("{role}/{point}")).collect());
    }
}
