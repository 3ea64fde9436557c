//! One text of a saga hosts all its versions. A saga that has begun keeps its version (semantics
//! 19).

use saga_core::{
    Admitted, Definition, Hosted, HostedDefinition as _, NotHosted, Saga, SagaId, Steps, Timestamp,
    start, step,
};
use serde::{Deserialize, Serialize};

use crate::shop::{
    BookFlight, BookRoom, CancelFlight, CancelRoom, CapturePayment, CreateOrder, RejectOrder,
};

/// A trip whose second version books the room first, and says more when it is rejected. The third
/// version has no flight.
#[derive(Clone, Serialize, Deserialize)]
struct Changing {}

impl Saga for Changing {
    const NAME: &'static str = "changing";
    const VERSION: u32 = 3;

    fn steps() -> Definition<Self> {
        let reject = |why: &str| RejectOrder { why: why.to_owned() };
        Steps::new()
            .compensatable(create().compensate(move |_, _| reject("rejected")).until(1))
            .compensatable(create().compensate(move |_, _| reject("rejected, with more")).since(2))
            .compensatable(
                step("room", |_: &Self| BookRoom {}).compensate(|_, _| CancelRoom {}).since(2),
            )
            .compensatable(
                step("flight", |_: &Self| BookFlight {})
                    .compensate(|_, _| CancelFlight {})
                    .until(2),
            )
            .pivot(step("capture", |_: &Self| CapturePayment {}))
            .build()
    }
}

fn create() -> saga_core::Step<Changing, CreateOrder, saga_core::Final, saga_core::Silent> {
    step("create", |_| CreateOrder { sku: "trip".to_owned() })
}

#[test]
fn each_version_has_the_steps_that_belong_to_it() {
    let newest = Changing::steps();
    assert_eq!(newest.version(), 3);
    let steps = |version| newest.at(version).step_names();
    assert_eq!(steps(1), ["create", "flight", "capture"]);
    assert_eq!(steps(2), ["create", "room", "flight", "capture"]);
    assert_eq!(steps(3), ["create", "room", "capture"]);
    let patient = newest.at(1).with_step_timeout(50);
    assert_eq!((patient.version(), patient.step_names()), (1, steps(1)));
}

#[test]
fn a_saga_begins_under_the_newest_hosted_version_or_under_the_one_that_is_set() {
    let begun = |hosted: &Hosted| {
        let data = serde_json::value::to_raw_value(&Changing {}).expect("JSON");
        let admitted =
            Admitted { caller: "ann".to_owned(), deadline_millis: 1_000, traceparent: None };
        let definition = hosted.begins("changing").expect("hosted");
        let start = definition.start(SagaId(uuid::Uuid::nil()), &data, admitted);
        let decision = start.expect("it decodes")(Timestamp(0));
        let saga = decision.saga.expect("a new saga");
        assert!(decision.send.iter().all(|c| c.definition_version == saga.definition_version));
        (saga.definition_version, saga.steps.len())
    };
    let hosted = Hosted::default().with(Changing::steps());
    assert_eq!(begun(&hosted), (3, 3));
    let steps = Changing::steps();
    let before = Hosted::default().with_one(steps.at(1)).with_one(steps.at(2));
    assert_eq!(begun(&before), (2, 4));
    let older = hosted.clone().beginning("changing", 1).expect("hosted");
    assert_eq!(begun(&older), (1, 3));
    let newer = older.beginning("changing", 2).expect("hosted");
    assert_eq!(begun(&newer), (2, 4));
    let unknown = newer.beginning("changing", 4).expect_err("not hosted");
    let name = "changing".to_owned();
    assert_eq!(unknown, NotHosted { name, version: 4, hosted: vec![1, 2, 3] });
    assert!(hosted.beginning("trip", 1).is_err());
}

#[test]
fn a_saga_in_flight_goes_on_with_the_steps_of_its_version() {
    let hosted = Hosted::default().with(Changing::steps());
    let admitted = Admitted { caller: "ann".to_owned(), deadline_millis: 1_000, traceparent: None };
    let id = SagaId(uuid::Uuid::nil());
    let old = start(&Changing::steps().at(1), id, &Changing {}, admitted, Timestamp(0));
    let old = old.saga.expect("a new saga");
    assert!(hosted.get("changing", 1).expect("hosted").open_commands(&old).is_ok());
    let newer = hosted.get("changing", 2).expect("hosted").open_commands(&old);
    assert!(newer.is_err(), "its row has the steps of version 1");
}

#[test]
#[should_panic(expected = "twice 1: two steps are called \"a\"")]
fn two_steps_of_one_version_cannot_share_a_name() {
    #[derive(Clone, Serialize, Deserialize)]
    struct Twice {}
    impl Saga for Twice {
        const NAME: &'static str = "twice";
        const VERSION: u32 = 2;

        fn steps() -> Definition<Self> {
            let a = || step("a", |_: &Self| BookRoom {}).compensate(|_, _| CancelRoom {});
            Steps::new().compensatable(a()).compensatable(a().until(1)).build()
        }
    }
    let _ = Twice::steps();
}

#[test]
#[should_panic(expected = "late 1: its retriable steps follow no pivot")]
fn every_version_with_retriable_steps_has_a_pivot() {
    #[derive(Clone, Serialize, Deserialize)]
    struct Late {}
    impl Saga for Late {
        const NAME: &'static str = "late";
        const VERSION: u32 = 2;

        fn steps() -> Definition<Self> {
            Steps::new()
                .pivot(step("capture", |_: &Self| CapturePayment {}).since(2))
                .retriable(step("room", |_: &Self| BookRoom {}))
                .build()
        }
    }
    let _ = Late::steps();
}
