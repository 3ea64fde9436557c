//! Seeds as tests: some of them in every run, and by name those that once found something.

use std::process::Command;

use saga_simulation::{Options, Planted, Summary, run};

/// A seed's whole transcript, from a process of its own.
fn transcript(seed: u64) -> String {
    let simulate = env!("CARGO_BIN_EXE_simulate");
    let ran = Command::new(simulate).args(["--seed", &seed.to_string()]).output();
    let ran = ran.expect("the simulator runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    String::from_utf8(ran.stdout).expect("text")
}

#[test]
fn a_seed_gives_the_same_transcript_in_every_process() {
    for seed in [3, 4] {
        let (first, second) = (transcript(seed), transcript(seed));
        assert!(first.lines().count() > 200, "seed {seed} is a run");
        assert!(first == second, "seed {seed} differs from process to process");
    }
}

#[test]
fn every_saga_ends_whatever_goes_wrong_on_the_way() {
    let mut summary = Summary::default();
    (1..=300).for_each(|seed| summary.add(&run(seed, Options::default())));
    assert!(summary.failed.is_empty(), "{summary}");
}

#[test]
fn sagas_complete_where_nothing_goes_wrong() {
    let options = Options { no_faults: true, ..Options::default() };
    for seed in 1..=10 {
        let outcome = run(seed, options);
        assert_eq!(outcome.violations, Vec::<String>::new(), "seed {seed}");
        assert!(outcome.completed > 0, "seed {seed} completes no saga");
    }
}

/// The first seed that notices a bug, within the bug's number of seeds.
fn noticed(planted: Planted) -> Option<u64> {
    let options = Options { planted: Some(planted), ..Options::default() };
    (1..=planted.caught_within()).find(|seed| !run(*seed, options).violations.is_empty())
}

#[test]
fn every_planted_bug_is_noticed() {
    let missed: Vec<_> =
        Planted::ALL.iter().filter(|planted| noticed(**planted).is_none()).collect();
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}

/// Its reply was delivered again while the saga was paused, so nothing was published for it. The
/// saga goes on because a resume publishes what is open, not because of that reply.
#[test]
fn a_saga_whose_reply_came_again_while_it_was_paused_goes_on_once_it_is_resumed() {
    assert_eq!(run(658, Options::default()).violations, Vec::<String>::new());
}

/// The quarantine's table met six conflicts in a row. The message to be kept was given up, and
/// stayed out until its consumer's connection ended.
#[test]
fn what_is_poison_is_kept_however_many_conflicts_it_meets() {
    assert_eq!(run(8870, Options::default()).violations, Vec::<String>::new());
}

/// An orchestrator has decided twice on a second copy of a reply: once on what it remembered, and
/// then on the row. The second decision counted the reply as redelivered, and published the commands
/// again that the first copy had opened.
#[test]
fn a_reply_that_comes_twice_publishes_its_commands_once() {
    assert_eq!(run(11, Options::default()).violations, Vec::<String>::new());
}
