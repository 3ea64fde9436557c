//! Crash points: the points in a protocol at which a process can kill itself.

use std::{
    fmt,
    io::Write as _,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A crash point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// A turn is decided but not committed.
    BeforeTurnCommit,
    /// A turn is committed but nothing is published.
    AfterTurnCommit,
    /// A claim of due sagas is decided but not committed.
    BeforeClaimCommit,
    /// A claim is committed but nothing is published.
    AfterClaimCommit,
    /// The admission of new sagas is decided but not committed.
    BeforeAdmissionCommit,
    /// New sagas are committed, and neither published nor answered.
    AfterAdmissionCommit,
    /// A participant's effects and answers are written but not committed.
    BeforeBatchCommit,
    /// A participant's effects and answers are committed but nothing is published.
    AfterBatchCommit,
    /// The intent of a call to the outside is written but not committed.
    BeforeIntentCommit,
    /// The intent of a call to the outside is committed but the call is not sent.
    AfterIntentCommit,
    /// A call to the outside has its answer, and the answer is not committed.
    BeforeSettlementCommit,
    /// The answer of a call to the outside is committed but nothing is published.
    AfterSettlementCommit,
    /// Events are confirmed but the replies are not published.
    BetweenEventsAndReplies,
    /// Commands or replies are confirmed but the messages that caused them are not acknowledged.
    AfterPublish,
    /// A delivery is about to be acknowledged.
    BeforeAck,
}

use Point::*;

/// The points that an orchestrator passes.
const ORCHESTRATOR: &[Point] = &[
    BeforeTurnCommit,
    AfterTurnCommit,
    BeforeClaimCommit,
    AfterClaimCommit,
    BeforeAdmissionCommit,
    AfterAdmissionCommit,
    AfterPublish,
    BeforeAck,
];
/// The points that every participant passes.
const PARTICIPANT: &[Point] =
    &[BeforeBatchCommit, AfterBatchCommit, BetweenEventsAndReplies, AfterPublish, BeforeAck];
/// The additional points of a participant that calls an outside service.
const OUTSIDE: &[Point] =
    &[BeforeIntentCommit, AfterIntentCommit, BeforeSettlementCommit, AfterSettlementCommit];

impl Point {
    fn name(self) -> &'static str {
        match self {
            BeforeTurnCommit => "before-turn-commit",
            AfterTurnCommit => "after-turn-commit",
            BeforeClaimCommit => "before-claim-commit",
            AfterClaimCommit => "after-claim-commit",
            BeforeAdmissionCommit => "before-admission-commit",
            AfterAdmissionCommit => "after-admission-commit",
            BeforeBatchCommit => "before-batch-commit",
            AfterBatchCommit => "after-batch-commit",
            BeforeIntentCommit => "before-intent-commit",
            AfterIntentCommit => "after-intent-commit",
            BeforeSettlementCommit => "before-settlement-commit",
            AfterSettlementCommit => "after-settlement-commit",
            BetweenEventsAndReplies => "between-events-and-replies",
            AfterPublish => "after-publish",
            BeforeAck => "before-ack",
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        // Points that participants share with orchestrators are listed once.
        let own = PARTICIPANT.iter().filter(|point| !ORCHESTRATOR.contains(point));
        ORCHESTRATOR.iter().chain(own).chain(OUTSIDE).copied()
    }
}

/// The chosen point, and at which pass of it to crash.
#[derive(Clone, Debug)]
pub(super) struct Crash {
    pub(super) point: Point,
    at: u64,
    passed: Arc<AtomicU64>,
}

impl Crash {
    /// Returns the same choice with a fresh count, because each role counts its own passes.
    pub(super) fn anew(&self) -> Self {
        Self { passed: Arc::default(), ..self.clone() }
    }

    /// Ends the process if this is the chosen pass: without unwinding, and without flushing or
    /// closing anything.
    pub(super) fn pass(&self, point: Point) {
        if point != self.point || self.passed.fetch_add(1, Ordering::Relaxed) + 1 != self.at {
            return;
        }
        let _ = writeln!(std::io::stderr(), "saga: crash point {}", point.name());
        std::process::abort();
    }
}

/// Passes a point, if a crash was chosen.
pub(super) fn pass(crash: Option<&Crash>, point: Point) {
    if let Some(crash) = crash {
        crash.pass(point);
    }
}

impl FromStr for Crash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, at) = text.split_once(':').ok_or("is not of the form point:n")?;
        let at: u64 = at.parse().map_err(|_| format!("counts from 1, not to {at:?}"))?;
        if at == 0 {
            return Err("counts from 1, not from 0".to_owned());
        }
        let point = Point::all().find(|point| point.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Point::all().map(Point::name).collect();
            format!("knows no point {name:?}; it knows {}", names.join(", "))
        })?;
        Ok(Self { point, at, passed: Arc::default() })
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.point.name(), self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_read_as_it_is_shown() {
        for point in Point::all() {
            let text = format!("{}:7", point.name());
            assert_eq!(text.parse::<Crash>().expect("a point").to_string(), text);
        }
        assert_eq!(Point::all().count(), 15);
    }

    #[test]
    fn what_is_no_point_is_refused_with_those_that_are() {
        for (text, why) in [
            ("after-publish", "point:n"),
            ("after-publish:0", "from 1"),
            ("after-publish:often", "from 1"),
            ("after-lunch:1", "before-ack"),
            ("", "point:n"),
        ] {
            let refused = text.parse::<Crash>().expect_err(text);
            assert!(refused.contains(why), "{refused}");
        }
    }
}
