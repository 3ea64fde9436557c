//! The program `saga`, whose roles on servers kill themselves at a chosen point of a protocol.
//!
//! `SAGA_CRASH_AT=after-turn-commit:3` ends the process the third time that it passes that point,
//! as abruptly as `kill -9`. The points lie around commits, publishing and acknowledging, where a
//! crash is hardest to survive. Engine and kit do not contain them: taps on their ports (`sagas.rs`,
//! `inbox.rs`, `transport.rs`) watch the calls. Without the variable the taps pass everything on
//! unchanged. `scripts/chaos` runs through all points.

mod inbox;
mod point;
mod sagas;
mod transport;

use std::process::ExitCode;

use saga::roles::Around;
use saga_postgres::Inbox;
use saga_rabbitmq::RabbitMq;
use saga_store::postgres::SagaTable;
use saga_taps::Tapped;
use tracing::warn;

use crate::{
    inbox::CrashingInbox, point::Crash, sagas::CrashingSagas, transport::CrashingTransport,
};

/// Name of the variable that chooses a crash point.
const CRASH_AT: &str = "SAGA_CRASH_AT";
/// Exit status for a wrong setting, as in sysexits.h.
const EX_USAGE: u8 = 64;

fn main() -> ExitCode {
    let chosen = std::env::var(CRASH_AT).ok().filter(|text| !text.is_empty());
    match chosen.map(|text| text.parse()).transpose() {
        Ok(crash) => saga::main_around(Crashing { crash }),
        Err(why) => {
            let why: String = why;
            eprintln!("saga: {CRASH_AT} {why}");
            ExitCode::from(EX_USAGE)
        }
    }
}

/// Creates the decorated ports, for roles that must crash at a point or, without one, never.
#[derive(Clone)]
struct Crashing {
    crash: Option<Crash>,
}

impl Crashing {
    /// Returns the crash of one role. Logs a warning, so that the log explains the process's end.
    fn of(&self, role: &str) -> Option<Crash> {
        let crash = self.crash.as_ref().map(Crash::anew)?;
        warn!(role, %crash, "a test facility: this process will kill itself");
        Some(crash)
    }
}

impl Around for Crashing {
    type Sagas = Tapped<CrashingSagas<SagaTable>>;
    type Inbox = Tapped<CrashingInbox<Inbox>>;
    type Transport = Tapped<CrashingTransport<RabbitMq>>;

    fn orchestrator(&self, sagas: SagaTable, broker: RabbitMq) -> (Self::Sagas, Self::Transport) {
        let crash = self.of("orchestrator");
        let sagas = CrashingSagas { store: sagas, crash: crash.clone() };
        (Tapped(sagas), Tapped(CrashingTransport { transport: broker, crash }))
    }

    fn participant(
        &self,
        name: &'static str,
        inbox: Inbox,
        broker: RabbitMq,
    ) -> (Self::Inbox, Self::Transport) {
        let crash = self.of(name);
        let inbox = CrashingInbox::new(inbox, crash.clone());
        (Tapped(inbox), Tapped(CrashingTransport { transport: broker, crash }))
    }
}
