//! The equations, in the order in which they are reported. Each is a file: what must hold, then the query that counts
//! the rows it was checked on, then the query that names the offenders.

use rusqlite::Connection;

/// So many offenders of an equation are named; all are counted.
const MOST_SHOWN: usize = 10;

const FILES: &[&str] = &[
    include_str!("equations/stock-conserved.sql"),
    include_str!("equations/stock-reserved.sql"),
    include_str!("equations/stock-ledger.sql"),
    include_str!("equations/movements-once.sql"),
    include_str!("equations/reservations-moved.sql"),
    include_str!("equations/returns-moved.sql"),
    include_str!("equations/goods-received.sql"),
    include_str!("equations/payments-bounded.sql"),
    include_str!("equations/payments-ledgered.sql"),
    include_str!("equations/payments-once.sql"),
    include_str!("equations/refunds-ledgered.sql"),
    include_str!("equations/provider-ledgered.sql"),
    include_str!("equations/provider-once.sql"),
    include_str!("equations/ours-at-provider.sql"),
    include_str!("equations/orders-add-up.sql"),
    include_str!("equations/returns-add-up.sql"),
    include_str!("equations/keys-one-payload.sql"),
    include_str!("equations/keys-bound.sql"),
    include_str!("equations/sagas-known.sql"),
    include_str!("equations/sagas-awake.sql"),
    include_str!("equations/unfinished-kept.sql"),
    include_str!("equations/history-complete.sql"),
    include_str!("equations/history-legal.sql"),
    include_str!("equations/no-undo-after-pivot.sql"),
    include_str!("equations/undone-in-reverse.sql"),
    include_str!("equations/inbox-once.sql"),
    include_str!("equations/effects-recorded.sql"),
    include_str!("equations/undone-whole.sql"),
    include_str!("equations/answers-agree.sql"),
    include_str!("equations/sagas-exist.sql"),
    include_str!("equations/orders-ended.sql"),
    include_str!("equations/orders-priced.sql"),
    include_str!("equations/orders-sold.sql"),
    include_str!("equations/orders-paid.sql"),
    include_str!("equations/returns-ended.sql"),
    include_str!("equations/money.sql"),
    include_str!("equations/nothing-held.sql"),
    include_str!("equations/provider-known.sql"),
    include_str!("equations/provider-holds-nothing.sql"),
    include_str!("equations/orders-expected.sql"),
    include_str!("equations/quarantine.sql"),
];

/// When an equation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Whatever is in progress.
    Always,
    /// When no saga is in progress.
    AtRest,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Equation {
    pub(crate) name: &'static str,
    /// What must hold, in a sentence or two.
    pub(crate) what: &'static str,
    pub(crate) holds: Holds,
    /// Whether it is in order that there is nothing to check.
    pub(crate) may_be_empty: bool,
    checked: &'static str,
    offenders: &'static str,
}

/// What an equation found.
pub(crate) struct Finding {
    pub(crate) checked: u64,
    pub(crate) offenders: Vec<String>,
    pub(crate) offenders_total: u64,
}

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = Equation> {
    FILES.iter().map(|file| Equation::read(file).expect("a test reads every file"))
}

impl Equation {
    /// A file's first line is `-- name: always` or `-- name: at rest`, followed by `, may be empty` where that is so; the
    /// comment below it says what must hold.
    fn read(file: &'static str) -> Option<Self> {
        let (head, rest) = file.split_once("\n-- checked\n")?;
        let (checked, offenders) = rest.split_once("\n-- offenders\n")?;
        let (name, holds) = head.lines().next()?.strip_prefix("-- ")?.split_once(": ")?;
        let (holds, may_be_empty) = match holds.strip_suffix(", may be empty") {
            Some(holds) => (holds, true),
            None => (holds, false),
        };
        let holds = match holds {
            "always" => Holds::Always,
            "at rest" => Holds::AtRest,
            _ => return None,
        };
        let what = head.split_once('\n')?.1;
        Some(Self { name, what, holds, may_be_empty, checked, offenders })
    }

    /// What must hold, as one line.
    pub(crate) fn sentence(&self) -> String {
        let lines = self.what.lines().map(|line| line.trim_start_matches('-').trim());
        lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// Asks it. An error of the query itself, such as a sum that overflows, is an offender like any other: what cannot
    /// be computed does not hold.
    pub(crate) fn ask(&self, books: &Connection) -> Finding {
        self.try_ask(books).unwrap_or_else(|error| Finding {
            checked: 0,
            offenders: vec![format!("it cannot be computed: {error}")],
            offenders_total: 1,
        })
    }

    fn try_ask(&self, books: &Connection) -> rusqlite::Result<Finding> {
        let checked: i64 = books.query_row(self.checked, [], |row| row.get(0))?;
        let mut statement = books.prepare(self.offenders)?;
        let mut rows = statement.query([])?;
        let (mut offenders, mut offenders_total) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            if offenders.len() < MOST_SHOWN {
                let text: Option<String> = row.get(0)?;
                offenders.push(text.unwrap_or_else(|| "a row with an empty column".to_owned()));
            }
            offenders_total += 1;
        }
        Ok(Finding { checked: checked.unsigned_abs(), offenders, offenders_total })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_is_an_equation_and_all_are_listed() {
        let names: BTreeSet<&str> =
            FILES.iter().map(|file| Equation::read(file).expect("well-formed").name).collect();
        assert_eq!(names.len(), FILES.len(), "a name is used twice");
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/equations");
        let files: BTreeSet<String> = std::fs::read_dir(directory)
            .expect("the directory of the equations")
            .map(|entry| entry.expect("an entry").path())
            .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, files.iter().map(String::as_str).collect());
    }
}
