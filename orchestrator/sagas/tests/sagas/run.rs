//! Runs one saga turn by turn.

use saga_core::{
    Admitted, Decision, Definition, Direction, HostedDefinition as _, Input, Instance,
    Intervention, OutgoingCommand, Refusal, Remedy, Reply, ReplyOutcome, Saga, SagaId, Signed,
    Timestamp, TypeName, Wish, start,
};
use saga_definitions::{PlaceOrder, ReturnOrder};
use saga_proto::{
    Money,
    inventory::v1::{
        StockCommittedReply, StockReleasedReply, StockReservedReply, StockTakenBackReply,
    },
    order::v1::{
        OrderConfirmedReply, OrderCreated, OrderRejectedReply, OrderReturnedReply,
        ReturnOpenedReply, ReturnRejectedReply,
    },
    payment::v1::{
        PaymentAuthorisedReply, PaymentCapturedReply, PaymentRefundedReply, PaymentVoidedReply,
    },
    types::v1::{Line, PricedLine},
};
use serde::Serialize;
use serde_json::value::to_raw_value;

/// A saga while it runs.
pub(crate) struct Run<S> {
    pub(crate) saga: Instance,
    pub(crate) now: Timestamp,
    pub(crate) sent: Vec<OutgoingCommand>,
    pub(crate) definition: Definition<S>,
}

impl<S: Saga> Run<S> {
    pub(crate) fn start(data: &S) -> Self {
        Self::start_at(S::VERSION, data)
    }

    pub(crate) fn start_at(version: u32, data: &S) -> Self {
        let (id, now) = (SagaId(uuid::Uuid::from_u128(7)), Timestamp(0));
        let definition = S::steps().at(version);
        let decision = start(&definition, id, data, admitted(), now);
        let saga = decision.saga.expect("a new saga");
        Self { saga, now, sent: decision.send, definition }
    }

    pub(crate) fn done(&mut self, step: &str, direction: Direction) {
        self.reply(step, direction, truthful(step, direction));
    }

    /// Runs until that step is open, with every action before it done.
    pub(crate) fn until(mut self, last: &str) -> Self {
        while self.sent.iter().all(|command| command.id.step != last) {
            let open = self.definition.open_commands(&self.saga).expect("sound");
            self.done(&open[0].id.step, Direction::Action);
        }
        self
    }

    pub(crate) fn refused(&mut self, step: &str, direction: Direction, code: &str, text: &str) {
        self.reply(step, direction, ReplyOutcome::Refused(Refusal::new(code, text)));
    }

    pub(crate) fn cancel(&mut self, reason: &str) {
        self.turn(&Input::Cancel(Wish { by: "ann".into(), reason: reason.into() }));
    }

    pub(crate) fn operate(&mut self, remedy: Remedy, reason: &str) {
        let signed = Signed { by: "otto".into(), reason: reason.into() };
        let expected_version = self.saga.version;
        self.turn(&Input::Intervene(Intervention { remedy, expected_version, signed }));
    }

    pub(crate) fn wake(&mut self, seconds: i64) {
        self.now = Timestamp(self.now.0 + seconds * 1_000_000);
        self.turn(&Input::Wake);
    }

    fn reply(&mut self, step: &str, direction: Direction, outcome: ReplyOutcome) {
        let step = step.to_owned();
        let reply = Reply { step, direction, outcome, redelivered: false, repeat: false };
        self.turn(&Input::Reply(reply));
    }

    fn turn(&mut self, input: &Input) {
        let turn = self.definition.turn(&self.saga, input, self.now);
        let Decision { saga, send, .. } = turn.expect("it decodes");
        self.saga = saga.expect("it moves the saga");
        self.sent.extend(send);
    }
}

/// Returns Ann's order.
pub(crate) fn order() -> PlaceOrder {
    PlaceOrder {
        caller: "ann".into(),
        customer: "ann".into(),
        lines: vec![Line { sku: "teapot".into(), quantity: 2 }],
        payment_token: "tok_visa".into(),
        expected_total: None,
        quote: None,
    }
}

/// Returns Ann's return of a part of her order.
pub(crate) fn part() -> ReturnOrder {
    ReturnOrder {
        caller: "ann".into(),
        order_id: uuid::Uuid::from_u128(5).to_string(),
        lines: vec![Line { sku: "teapot".into(), quantity: 1 }],
        reason: "it leaks".into(),
        opened: None,
    }
}

pub(crate) fn admitted() -> Admitted {
    Admitted {
        caller: "ann".into(),
        deadline_millis: PlaceOrder::DEADLINE_MILLIS,
        traceparent: None,
    }
}

/// Returns the answer of a participant that carries out every command.
pub(crate) fn truthful(step: &str, direction: Direction) -> ReplyOutcome {
    let euros = |cents| Some(Money::new(cents, "EUR"));
    match (step, direction) {
        ("create-order", Direction::Action) => done(&OrderCreated::default()),
        ("create-order", Direction::Compensation) => done(&OrderRejectedReply::default()),
        ("reserve-stock", Direction::Action) => done(&StockReservedReply {
            lines: vec![PricedLine { sku: "teapot".into(), quantity: 2, unit_price: euros(1_250) }],
            total: euros(2_500),
        }),
        ("reserve-stock", Direction::Compensation) => done(&StockReleasedReply::default()),
        ("authorise-payment", Direction::Action) => done(&PaymentAuthorisedReply::default()),
        ("authorise-payment", Direction::Compensation) => done(&PaymentVoidedReply::default()),
        ("capture-payment", _) => done(&PaymentCapturedReply { amount: euros(2_500) }),
        ("commit-stock", _) => done(&StockCommittedReply::default()),
        ("confirm-order", _) => done(&OrderConfirmedReply::default()),
        ("open-return", Direction::Action) => done(&ReturnOpenedReply {
            lines: vec![PricedLine { sku: "teapot".into(), quantity: 1, unit_price: euros(1_250) }],
            amount: euros(1_250),
        }),
        ("open-return", Direction::Compensation) => done(&ReturnRejectedReply::default()),
        ("refund-payment", _) => done(&PaymentRefundedReply::default()),
        ("take-back-stock", _) => done(&StockTakenBackReply::default()),
        ("mark-returned", _) => done(&OrderReturnedReply::default()),
        (step, _) => panic!("no saga has a step {step}"),
    }
}

fn done<R: TypeName + Serialize>(reply: &R) -> ReplyOutcome {
    ReplyOutcome::Done {
        type_name: R::TYPE.to_owned(),
        data: to_raw_value(reply).expect("a message is JSON"),
    }
}
