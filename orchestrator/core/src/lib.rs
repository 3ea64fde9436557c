//! The deciding core of a saga orchestrator.
//!
//! This crate defines sagas and decides their next step. It is pure: no I/O, no clock, no
//! randomness, no async. Time is an argument, ids are derived, and jitter is hashed from the
//! command's id. It knows no particular saga, participant, database or broker.
//!
//! # The calls, in their order
//!
//! The driver of sagas (here `saga-engine`) owns the rows, the messages and the clock. It does
//! four things for each input:
//!
//! 1. **Decide.** Call [`start`] for a new saga. For an input to an existing one, read its row and
//!    call [`turn`]. `now` is the store's time, never a process's own.
//! 2. **Write.** Write [`Decision::saga`], which carries the version and `wake_at`, and
//!    [`Decision::history`] in one transaction. It must hold the row's lock, or check that the
//!    row still has the version that was decided on. `None` means that nothing is to be written.
//! 3. **Publish.** Only after the commit, publish [`Decision::send`] and wait for the broker's
//!    confirms. Raise an alert if [`Decision::alert`] says so.
//! 4. **Acknowledge** the input, or answer the call that it came with.
//!
//! A row is due once its `wake_at` has passed: then [`Input::Wake`] is its next input. A crash
//! anywhere is harmless. Before the commit nothing has happened, and the input comes again. After
//! the commit a reply comes again, marked as redelivered, or `wake_at` passes; either way the
//! commands that are still open are published again. `docs/semantics.md` and `docs/protocol.md`
//! have the rules that comments cite as "(semantics 10)" and "(protocol 4)".
//!
//! # Four kinds of functions
//!
//! - **They define a saga**: [`Steps`], [`step`] and [`together`] build a [`Definition`]. A wrong
//!   order of steps does not compile. [`Hosted`] collects the definitions that a binary knows.
//! - **They decide**: [`start`] and [`turn`]. Nothing else moves a saga. Each takes a row, an
//!   input and a time, and returns a [`Decision`]; it changes nothing by itself.
//! - **They derive**: [`HostedDefinition::open_commands`], [`HostedDefinition::need`],
//!   [`HostedDefinition::opened_at`], [`Instance::ended`] and [`remedies`] compute facts about a
//!   saga from its row. So neither messages nor timers have to be stored.
//! - **They admit**, at a participant: [`admit`] decides how to treat a command that may have come
//!   before, and [`Watermark::covers`] tests if a command comes too late for its saga.
//!
//! Read first: [`Steps`], then [`turn`], then [`admit`].
//!
//! # A saga of two steps, decided on by hand
//!
//! The saga books a room. Then the flight is full, so it gives the room back.
//!
//! ```
//! use saga_core::{
//!     Admitted, Command, Definition, Direction, Ended, HostedDefinition as _, Input, Refusal,
//!     Reply, ReplyOutcome, Saga, SagaId, Steps, Timestamp, TypeName, start, step, turn,
//! };
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Clone, Default, Serialize, Deserialize)] struct BookRoom { city: String }
//! # #[derive(Clone, Default, Serialize, Deserialize)] struct CancelRoom {}
//! # #[derive(Clone, Default, Serialize, Deserialize)] struct BookFlight {}
//! # #[derive(Clone, Default, Serialize, Deserialize)] struct Answered {}
//! # impl TypeName for BookRoom { const TYPE: &'static str = "BookRoom"; }
//! # impl TypeName for CancelRoom { const TYPE: &'static str = "CancelRoom"; }
//! # impl TypeName for BookFlight { const TYPE: &'static str = "BookFlight"; }
//! # impl TypeName for Answered { const TYPE: &'static str = "Answered"; }
//! # impl Command for BookRoom {
//! #     const PARTICIPANT: &'static str = "hotel";
//! #     type Reply = Answered;
//! # }
//! # impl Command for CancelRoom {
//! #     const PARTICIPANT: &'static str = "hotel";
//! #     type Reply = Answered;
//! # }
//! # impl Command for BookFlight {
//! #     const PARTICIPANT: &'static str = "airline";
//! #     type Reply = Answered;
//! # }
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct Trip {
//!     city: String,
//! }
//!
//! impl Saga for Trip {
//!     const NAME: &'static str = "trip";
//!     const VERSION: u32 = 1;
//!
//!     fn steps() -> Definition<Self> {
//!         Steps::new()
//!             .compensatable(
//!                 step("book-room", |trip: &Self| BookRoom { city: trip.city.clone() })
//!                     .compensate(|_, _| CancelRoom {}),
//!             )
//!             .pivot(step("book-flight", |_: &Self| BookFlight {}))
//!             .build()
//!     }
//! }
//!
//! /// A participant's answer, as it comes from the broker.
//! fn reply(step: &str, direction: Direction, outcome: ReplyOutcome) -> Input {
//!     let step = step.to_owned();
//!     Input::Reply(Reply { step, direction, outcome, redelivered: false, repeat: false })
//! }
//! let done = ReplyOutcome::Done {
//!     type_name: Answered::TYPE.to_owned(),
//!     data: serde_json::value::to_raw_value(&Answered {})?,
//! };
//! let full = ReplyOutcome::Refused(Refusal::new("NO_SEAT", "the flight is full"));
//!
//! let definition = Trip::steps();
//! let trip = Trip { city: "Porto".to_owned() };
//! let deadline_millis = Trip::DEADLINE_MILLIS;
//! let admitted = Admitted { caller: "alice".to_owned(), deadline_millis, traceparent: None };
//! let id = SagaId(uuid::Uuid::from_u128(1));
//! let now = Timestamp(0);
//!
//! // Write `row` and `decision.history` in one transaction, then publish `decision.send`.
//! let decision = start(&definition, id, &trip, admitted, now);
//! let row = decision.saga.expect("a new saga is a row");
//! assert_eq!(decision.send[0].id.to_string(), format!("{id}/book-room/action"));
//! assert_eq!(definition.open_commands(&row)?, decision.send, "the row is the outbox");
//!
//! // Do the same for each reply, then acknowledge the reply.
//! let booked = reply("book-room", Direction::Action, done.clone());
//! let decision = turn(&definition, &row, &booked, now)?;
//! let row = decision.saga.expect("it moved on");
//! assert_eq!(decision.send[0].id.to_string(), format!("{id}/book-flight/action"));
//!
//! let refused = reply("book-flight", Direction::Action, full);
//! let decision = turn(&definition, &row, &refused, now)?;
//! let row = decision.saga.expect("it is being undone");
//! assert_eq!(decision.send[0].id.to_string(), format!("{id}/book-room/compensation"));
//!
//! let cancelled = reply("book-room", Direction::Compensation, done);
//! let decision = turn(&definition, &row, &cancelled, now)?;
//! let row = decision.saga.expect("it has ended");
//! assert_eq!((row.ended(), row.version), (Some(Ended::Compensated), 4));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod admission;
mod cause;
mod command;
mod decision;
mod definition;
mod failure;
mod hosted;
mod id;
mod instance;
mod intervention;
pub mod limits;
mod retry;
mod steps;
mod stuck;
mod turn;
mod watermark;

pub use admission::{Admission, Part, Record, admit};
pub use cause::{Cause, Signed, Wish};
pub use command::{Answer, Command, DomainEvent, OutgoingCommand, Payload, Refusal, TypeName};
pub use decision::{Admitted, Cancelled, Decision, Input, Reply, ReplyOutcome, Verdict};
pub use definition::{Definition, Kind, Saga};
pub use failure::Failure;
pub use hosted::{Hosted, HostedDefinition, NotHosted, Start, remedies};
pub use id::{CommandId, Direction, InvalidId, Partition, SagaId, Timestamp};
pub use instance::{
    Ended, Happening, HistoryEntry, Instance, Opener, Phase, Sending, State, StateError, StepState,
};
pub use intervention::{Intervened, Intervention, Obstacle, Remedy, Stated};
pub use retry::RetryPolicy;
pub use steps::{
    AfterPivot, BeforePivot, Compensated, Final, Listening, Silent, Step, Steps, Together, step,
    together,
};
pub use stuck::{Stuck, StuckReason};
pub use turn::{start, turn};
pub use watermark::{CLOCKS_DIFFER, LEAST_RETENTION, Watermark, clocks_agree};
