//! Rows: every field is read back as it was written.

use saga_core::{
    Cause, Direction, Happening, Instance, Intervention, Opener, Phase, Refusal, Remedy, Sending,
    Signed, Stated, StepState, Stuck, StuckReason, Timestamp, Wish,
};
use saga_engine::Write;
use saga_postgres::Pool;
use saga_store::postgres::SagaTable;
use serde_json::value::RawValue;

use super::{Beneath, HOSTED, Sagas, Store, begun, entry, look, saga, shown};

holds_on! { Sagas::{postgres_remembering, postgres, sqlite, in_memory}:
    what_is_committed_is_read_back,
    an_instant_beyond_the_calendar_is_kept_as_the_furthest,
}

holds_on! { Sagas::{postgres, sqlite}:
    every_transition_is_read_back,
}

holds_on! { Sagas::{postgres}:
    the_tables_have_the_same_columns,
}

/// Every field of a saga is read back, to the microsecond and to the last byte.
async fn what_is_committed_is_read_back(sagas: Sagas<impl Store, impl Beneath>) {
    let all = every_kind();
    sagas.admit(&all).await;
    for expected in &all {
        let found = sagas.find(expected.id).await.expect("it was committed");
        assert_eq!(shown(&found), shown(expected));
    }
    // Each saga is then updated to its neighbour's form.
    let ids: Vec<_> = all.iter().map(|saga| saga.id).collect();
    let next = |index: usize| {
        let (own, other) = (&all[index], &all[(index + 1) % all.len()]);
        Instance {
            id: own.id,
            definition: own.definition.clone(),
            definition_version: own.definition_version,
            caller: own.caller.clone(),
            started_at: own.started_at,
            deadline: own.deadline,
            traceparent: own.traceparent.clone(),
            ..other.clone()
        }
    };
    let decide = |_: Timestamp, found: Vec<Instance>| {
        let write = |saga: Instance| {
            let index = ids.iter().position(|id| *id == saga.id).expect("one of ours");
            let after = next(index);
            let history = vec![];
            Write { before: saga.version, saga: after, history }
        };
        (found.into_iter().map(write).collect(), ())
    };
    sagas.store.turn(&ids, decide).await.expect("written");
    for (index, id) in ids.iter().enumerate() {
        let found = sagas.find(*id).await.expect("it is still there");
        assert_eq!(shown(&found), shown(&next(index)));
    }
}

/// Characters of one to four bytes, quotes, and text that SQL or JSON might misread.
const ODD: &str = "é 漢 😀 \u{202e}rtl \"quoted\" 'single' \\ % _ \t\n trailing ";

fn every_kind() -> Vec<Instance> {
    let refusal = || Refusal::new("OUT_OF_STOCK", ODD);
    let wish = || Wish { by: ODD.to_owned(), reason: ODD.to_owned() };
    let stuck = |unwinding, reason| {
        Phase::Stuck(Stuck {
            unwinding,
            step: "capture-payment".to_owned(),
            direction: Direction::Compensation,
            reason,
            since: Timestamp(1_764_000_000_000_001),
            remind_at: Timestamp(i64::MAX),
            alerts: 2,
        })
    };
    let sending = |due_at, opened_by| Sending { attempts: u32::MAX, due_at, opened_by };
    let reply = Opener::Reply { step: usize::MAX, direction: Direction::Action };
    vec![
        Instance {
            definition: ODD.to_owned(),
            definition_version: i32::MAX as u32,
            caller: ODD.repeat(20),
            version: i64::MAX as u64,
            traceparent: Some(ODD.to_owned()),
            // More digits than a float keeps, and odd spacing: both must be kept.
            data: RawValue::from_string(
                r#"{ "a":9223372036854775807,"b" : 0.1000, "c":"\u00e9"}"#.to_owned(),
            )
            .expect("JSON"),
            steps: vec![
                StepState::Pending,
                StepState::Open(sending(Timestamp(i64::MIN), reply.clone())),
                StepState::Done,
                StepState::Refused(refusal()),
                StepState::Unknown,
                StepState::Undoing(sending(Timestamp(i64::MAX), Opener::Own)),
                StepState::Undone,
                StepState::Halted { direction: Direction::Action, refusal: refusal() },
            ],
            ..saga()
        },
        Instance {
            started_at: Timestamp(1_764_000_000_123_457),
            deadline: Timestamp(1_764_000_000_999_999),
            wake_at: Some(Timestamp(1_764_000_000_000_001)),
            cancel: Some(wish()),
            ..saga()
        },
        // Instants before 1970 and at the end of the year 9999.
        Instance {
            started_at: Timestamp(-1),
            deadline: Timestamp(253_402_300_799_999_999),
            wake_at: None,
            paused: Some(Signed { by: ODD.to_owned(), reason: String::new() }),
            ..saga()
        },
        Instance { intervention: Some(intervention(Remedy::Skip)), ..saga() },
        Instance {
            phase: Phase::Compensating(Cause::Operator(signed())),
            intervention: Some(intervention(Remedy::Resolve {
                step: ODD.to_owned(),
                direction: Direction::Action,
                outcome: Stated::Done { reply: Some(ODD.to_owned()) },
            })),
            ..saga()
        },
        Instance { phase: Phase::Completed, wake_at: None, steps: vec![], ..saga() },
        Instance { phase: Phase::Compensated(Cause::Deadline), wake_at: None, ..saga() },
        Instance { phase: Phase::Compensating(Cause::Cancelled(wish())), ..saga() },
        Instance {
            phase: Phase::Compensating(Cause::Refused { step: "s".into(), refusal: refusal() }),
            ..saga()
        },
        Instance { phase: stuck(None, StuckReason::Unanswered), ..saga() },
        Instance {
            phase: stuck(
                Some(Cause::Unanswered { step: "s".into() }),
                StuckReason::Refused(refusal()),
            ),
            ..saga()
        },
        Instance { caller: String::new(), traceparent: Some(String::new()), ..saga() },
    ]
}

fn signed() -> Signed {
    Signed { by: ODD.to_owned(), reason: ODD.to_owned() }
}

fn intervention(remedy: Remedy) -> Intervention {
    Intervention { remedy, expected_version: u64::MAX, signed: signed() }
}

/// Every kind of transition is read back, in the order of the versions.
async fn every_transition_is_read_back(sagas: Sagas<impl Store, impl Beneath>) {
    let refusal = Refusal::new("OUT_OF_STOCK", ODD);
    let (step, direction) = ("reserve-stock".to_owned(), Direction::Compensation);
    let happenings = [
        Happening::Started,
        Happening::Done { step: step.clone(), direction },
        Happening::Refused { step: step.clone(), direction, refusal },
        Happening::Resent,
        Happening::GaveUp { steps: vec![step, ODD.to_owned()] },
        Happening::DeadlinePassed,
        Happening::Cancel(Wish { by: ODD.to_owned(), reason: ODD.to_owned() }),
        Happening::Paused(signed()),
        Happening::Resumed(signed()),
        Happening::Reminded,
        Happening::Retried(signed()),
        Happening::Skipped { step: ODD.to_owned(), direction, signed: signed() },
        Happening::Resolved { step: ODD.to_owned(), direction, done: true, signed: signed() },
        Happening::Compensate(signed()),
    ];
    let mut expected = Vec::new();
    for (happening, version) in happenings.into_iter().zip(1..) {
        let at = Timestamp(1_764_000_000_000_000 + version as i64);
        let told = Instance { version, started_at: at, ..saga() };
        let mut entry = entry(&told, happening);
        entry.sent = vec![(ODD.to_owned(), u32::MAX); usize::try_from(version % 3).expect("small")];
        expected.push(entry);
    }
    let last = Instance { version: expected.len() as u64, ..saga() };
    let id = last.id;
    let write = Write { history: expected.clone(), ..begun(last) };
    let keys = [super::key("k", id)];
    let decide = |_: Timestamp, _: &[usize]| (vec![write.clone()], ());
    sagas.store.admit(&keys, decide).await.expect("admitted");
    assert_eq!(sagas.history(id).await, expected);
}

/// "Never" is an instant that no database can hold. It is stored as the latest instant that both
/// hold, and keeps its meaning: long due, or further ahead than any sound clock writes.
async fn an_instant_beyond_the_calendar_is_kept_as_the_furthest(
    sagas: Sagas<impl Store, impl Beneath>,
) {
    const EARLIEST: Timestamp = Timestamp(-210_866_803_200_000_000);
    const LATEST: Timestamp = Timestamp(8_210_266_876_799_999_999);
    let never = Instance {
        started_at: Timestamp(i64::MIN),
        deadline: Timestamp(i64::MAX),
        wake_at: Some(Timestamp(i64::MAX)),
        ..saga()
    };
    let always = Instance { wake_at: Some(Timestamp(i64::MIN)), ..saga() };
    let edges = Instance { started_at: EARLIEST, deadline: LATEST, ..saga() };
    sagas.admit(&[never.clone(), always.clone(), edges.clone()]).await;
    let found = sagas.find(never.id).await.expect("it exists");
    assert_eq!((found.started_at, found.deadline), (EARLIEST, LATEST));
    assert_eq!(found.wake_at, Some(LATEST));
    let found = sagas.find(edges.id).await.expect("it exists");
    assert_eq!((found.started_at, found.deadline), (EARLIEST, LATEST));
    assert_eq!(sagas.store.claim(&HOSTED, 1, look).await, Ok(vec![always.id]));
    assert_eq!(sagas.store.claim(&HOSTED, 9, look).await, Ok(vec![always.id, never.id]));
}

/// The tables in Postgres and SQLite have the same columns, so that the same queries work on both.
async fn the_tables_have_the_same_columns(sagas: Sagas<SagaTable, Pool>) {
    let theirs: Vec<(String, String, bool)> = sqlx::query_as(
        r#"SELECT table_name::text, column_name::text, is_nullable = 'NO'
           FROM information_schema.columns
           WHERE table_schema = 'public'
             AND table_name NOT IN ('_sqlx_migrations', 'schema_needs')
           ORDER BY table_name COLLATE "C", ordinal_position"#,
    )
    .fetch_all(&sagas.beneath)
    .await
    .expect("the columns");
    let ours: Vec<(String, String, bool)> = Sagas::in_memory()
        .await
        .beneath
        .read(|c| {
            c.prepare(
                r#"SELECT t.name, c.name, c."notnull" FROM sqlite_schema t
                   JOIN pragma_table_info(t.name) c
                   WHERE t.type = 'table' ORDER BY t.name, c.cid"#,
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
        })
        .await
        .expect("the columns");
    assert!(theirs.len() > 30, "{theirs:?}");
    assert_eq!(ours, theirs);
}
