//! The equations, in the order in which they are reported. Each is a file: what must hold, then the query that counts
//! the rows it was checked on, then the query that names the offenders.

use rusqlite::Connection;

/// So many offenders of an equation are named; all are counted.
const MOST_SHOWN: usize = 10;

const FILES: &[(Book, &str)] = &[
    (Book::Stock, include_str!("equations/stock-conserved.sql")),
    (Book::Stock, include_str!("equations/stock-reserved.sql")),
    (Book::Stock, include_str!("equations/stock-ledger.sql")),
    (Book::Stock, include_str!("equations/movements-once.sql")),
    (Book::Stock, include_str!("equations/reservations-moved.sql")),
    (Book::Stock, include_str!("equations/returns-moved.sql")),
    (Book::Stock, include_str!("equations/goods-received.sql")),
    (Book::Payments, include_str!("equations/payments-bounded.sql")),
    (Book::Payments, include_str!("equations/payments-ledgered.sql")),
    (Book::Payments, include_str!("equations/payments-once.sql")),
    (Book::Payments, include_str!("equations/refunds-ledgered.sql")),
    (Book::Provider, include_str!("equations/provider-ledgered.sql")),
    (Book::Provider, include_str!("equations/provider-once.sql")),
    (Book::Provider, include_str!("equations/ours-at-provider.sql")),
    (Book::Orders, include_str!("equations/orders-add-up.sql")),
    (Book::Orders, include_str!("equations/returns-add-up.sql")),
    (Book::Keys, include_str!("equations/keys-one-payload.sql")),
    (Book::Keys, include_str!("equations/keys-bound.sql")),
    (Book::Sagas, include_str!("equations/sagas-known.sql")),
    (Book::Sagas, include_str!("equations/sagas-awake.sql")),
    (Book::Sagas, include_str!("equations/unfinished-kept.sql")),
    (Book::Sagas, include_str!("equations/history-complete.sql")),
    (Book::Sagas, include_str!("equations/history-legal.sql")),
    (Book::Sagas, include_str!("equations/no-undo-after-pivot.sql")),
    (Book::Sagas, include_str!("equations/undone-in-reverse.sql")),
    (Book::Inboxes, include_str!("equations/inbox-once.sql")),
    (Book::Inboxes, include_str!("equations/effects-recorded.sql")),
    (Book::Sagas, include_str!("equations/undone-whole.sql")),
    (Book::Inboxes, include_str!("equations/answers-agree.sql")),
    (Book::Inboxes, include_str!("equations/sagas-exist.sql")),
    (Book::Orders, include_str!("equations/orders-ended.sql")),
    (Book::Orders, include_str!("equations/orders-priced.sql")),
    (Book::Orders, include_str!("equations/orders-sold.sql")),
    (Book::Orders, include_str!("equations/orders-paid.sql")),
    (Book::Orders, include_str!("equations/returns-ended.sql")),
    (Book::Payments, include_str!("equations/money.sql")),
    (Book::Payments, include_str!("equations/nothing-held.sql")),
    (Book::Provider, include_str!("equations/provider-known.sql")),
    (Book::Provider, include_str!("equations/provider-holds-nothing.sql")),
    (Book::Orders, include_str!("equations/orders-expected.sql")),
    (Book::Quarantine, include_str!("equations/quarantine.sql")),
];

/// A book: the rows that belong together, for the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Book {
    /// Products, their reservations and movements.
    Stock,
    /// Our payments, refunds and their ledger.
    Payments,
    /// The payment provider's ledger, beside ours.
    Provider,
    /// Orders and returns, beside their sagas, payments and stock.
    Orders,
    /// Idempotency keys.
    Keys,
    /// Sagas and their histories.
    Sagas,
    /// What participants have on record of commands and answers.
    Inboxes,
    /// Messages that could not be handled.
    Quarantine,
}

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
    pub(crate) book: Book,
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
    FILES.iter().map(|(book, file)| Equation::read(*book, file).expect("a test reads every file"))
}

impl Book {
    /// All of them, in the order of the summary.
    pub(crate) const ALL: [Self; 8] = [
        Self::Stock,
        Self::Payments,
        Self::Provider,
        Self::Orders,
        Self::Keys,
        Self::Sagas,
        Self::Inboxes,
        Self::Quarantine,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Payments => "payments",
            Self::Provider => "provider",
            Self::Orders => "orders",
            Self::Keys => "keys",
            Self::Sagas => "sagas",
            Self::Inboxes => "inboxes",
            Self::Quarantine => "quarantine",
        }
    }

    /// What its equations say together, in a few words.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Stock => "what came in is available, reserved or sold",
            Self::Payments => "no cent captured or refunded but what orders ask for",
            Self::Provider => "its ledger and ours agree, line by line",
            Self::Orders => "order, saga, payment and stock tell one story",
            Self::Keys => "a key is one order, and one payload",
            Self::Sagas => "histories are whole, and undone is undone in reverse",
            Self::Inboxes => "each command had its effect once, answers agree",
            Self::Quarantine => "as many messages wait for a person as expected",
        }
    }
}

impl Equation {
    /// A file's first line is `-- name: always` or `-- name: at rest`, followed by `, may be empty` where that is so; the
    /// comment below it says what must hold.
    fn read(book: Book, file: &'static str) -> Option<Self> {
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
        Some(Self { book, name, what, holds, may_be_empty, checked, offenders })
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
        let read = |(book, file): &(Book, &'static str)| Equation::read(*book, file);
        let names: BTreeSet<&str> =
            FILES.iter().map(|file| read(file).expect("well-formed").name).collect();
        assert_eq!(names.len(), FILES.len(), "a name is used twice");
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/equations");
        let files: BTreeSet<String> = std::fs::read_dir(directory)
            .expect("the directory of the equations")
            .map(|entry| entry.expect("an entry").path())
            .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, files.iter().map(String::as_str).collect());
    }

    #[test]
    fn every_equation_is_in_a_book_that_the_summary_shows() {
        for equation in all() {
            assert!(Book::ALL.contains(&equation.book), "{}: {:?}", equation.name, equation.book);
        }
    }
}
