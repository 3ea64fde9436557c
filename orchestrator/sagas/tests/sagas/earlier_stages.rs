//! A command reads only data that admission or an earlier stage's reply has set, so it has the same
//! bytes whenever it is built. The check works for any definition.

use saga_core::{
    Cause, Definition, Direction, HostedDefinition, Input, Instance, Opener, Phase, Reply,
    ReplyOutcome, Saga, SagaId, Sending, StepState, Steps, Timestamp, start, step,
};
use saga_definitions::{PlaceOrder, ReturnOrder};
use saga_proto::{
    inventory::v1::{ReleaseStock, ReserveStock, StockReservedReply},
    order::v1::{CreateOrder, RejectOrder},
    payment::v1::CapturePayment,
};
use serde::{Deserialize, Serialize};

use crate::run::{admitted, order, part, truthful};

#[test]
fn place_order_builds_the_same_command_before_and_after_any_later_reply() {
    check(&PlaceOrder::steps(), begin(&order()), &|step| truthful(step, Direction::Action));
}

#[test]
fn return_order_builds_the_same_command_before_and_after_any_later_reply() {
    check(&ReturnOrder::steps(), begin(&part()), &|step| truthful(step, Direction::Action));
}

/// Proves that the check can fail.
#[test]
#[should_panic(expected = "create-order/action reads what a later reply sets")]
fn a_command_that_reads_a_later_reply_is_found() {
    let data = Forgetful { customer: "ann".into() };
    check(&Forgetful::steps(), begin(&data), &|step| truthful(step, Direction::Action));
}

/// Checks that a command stays the same, whatever the saga receives after the command was opened.
/// `reply` answers each step's action, with its fields set.
fn check(definition: &dyn HostedDefinition, first: Instance, reply: &dyn Fn(&str) -> ReplyOutcome) {
    // The row after each turn of a saga whose steps are all done.
    let mut rows = vec![first];
    while let Some(row) = rows.last().filter(|row| row.phase.ended().is_none()) {
        let open = definition.open_commands(row).expect("sound");
        let step = open.first().expect("a running saga waits for something").id.step.clone();
        let input = Input::Reply(Reply {
            outcome: reply(&step),
            step,
            direction: Direction::Action,
            redelivered: false,
            repeat: false,
        });
        let decision = definition.turn(row, &input, Timestamp(0)).expect("it decodes");
        rows.push(decision.saga.expect("it moves the saga"));
    }
    // The last row is left out: it no longer has all data, because no command is built from it.
    let end = rows.pop().expect("the first row at least");
    assert_eq!(end.phase, Phase::Completed);
    assert!(definition.open_commands(&end).expect("sound").is_empty());

    for (step, name) in definition.step_names().into_iter().enumerate() {
        let opened = rows.iter().position(|row| matches!(row.steps[step], StepState::Open(_)));
        let later = &rows[opened.expect("every step is opened")..];
        for direction in [Direction::Action, Direction::Compensation] {
            let mut built = later.iter().map(|row| {
                let open = definition.open_commands(&waiting_for(row, step, direction));
                open.expect("sound").pop().map(|command| command.payload)
            });
            let first = built.next().expect("the row that opened it");
            assert!(
                built.all(|payload| payload == first),
                "{name}/{direction} reads what a later reply sets"
            );
        }
    }
}

/// Returns the same row with only that command open.
fn waiting_for(row: &Instance, step: usize, direction: Direction) -> Instance {
    let sending = Sending { attempts: 1, due_at: Timestamp(0), opened_by: Opener::Own };
    let mut steps = vec![StepState::Pending; row.steps.len()];
    let (phase, state) = match direction {
        Direction::Action => (Phase::Running, StepState::Open(sending)),
        Direction::Compensation => {
            (Phase::Compensating(Cause::Deadline), StepState::Undoing(sending))
        }
    };
    steps[step] = state;
    Instance { phase, steps, ..row.clone() }
}

fn begin<S: Saga>(data: &S) -> Instance {
    let id = SagaId(uuid::Uuid::from_u128(7));
    start(&S::steps(), id, data, admitted(), Timestamp(0)).saga.expect("a new saga")
}

/// A saga whose reply overwrites the data from which an earlier command was built.
#[derive(Clone, Serialize, Deserialize)]
struct Forgetful {
    customer: String,
}

impl Saga for Forgetful {
    const NAME: &'static str = "forgetful";
    const VERSION: u32 = 1;

    fn steps() -> Definition<Self> {
        Steps::new()
            .compensatable(
                step("create-order", |s: &Self| CreateOrder {
                    customer: s.customer.clone(),
                    lines: Vec::new(),
                    caller: String::new(),
                })
                .compensate(|_, _| RejectOrder::default()),
            )
            .compensatable(
                step("reserve-stock", |_: &Self| ReserveStock::default())
                    .on_reply(|s, reply: StockReservedReply| {
                        s.customer = format!("{} lines", reply.lines.len());
                    })
                    .compensate(|_, _| ReleaseStock {}),
            )
            .pivot(step("capture-payment", |_: &Self| CapturePayment {}))
            .build()
    }
}
