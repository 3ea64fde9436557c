//! Reads the audit's equations from SQL files, and evaluates them in the order of the report.
//!
//! The files in `books/` group the equations into *books*, one or two in a file. A book begins with
//! `-- # <name>: <summary of its equations>`, and an equation in it looks like this:
//!
//! ```sql
//! -- ## returns-moved: always, may be empty
//! -- What must hold, in a sentence or two.
//! SELECT count(*) …;         -- how many rows it is checked on
//! SELECT format('…', …) …;   -- a row for each offender
//! ```
//!
//! An equation holds either `always`, or only `at rest`: when no saga is in progress. If it is
//! marked `may be empty`, it passes even if there are no rows to check.

use std::sync::LazyLock;

use rusqlite::Connection;

const FILES: [&str; 6] = [
    include_str!("books/stock.sql"),
    include_str!("books/payments.sql"),
    include_str!("books/provider.sql"),
    include_str!("books/orders.sql"),
    include_str!("books/sagas.sql"),
    include_str!("books/memory.sql"),
];

/// All books, in the order of the summary.
pub(crate) static BOOKS: LazyLock<Vec<Book>> = LazyLock::new(|| {
    let books = FILES.iter().flat_map(|file| file.split("-- # ").skip(1));
    books.map(|text| Book::read(text).expect("a test reads every book")).collect()
});

/// A group of equations with a common subject. It gets one line in the summary.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) name: &'static str,
    /// The summary of its equations, in a few words.
    pub(crate) what: &'static str,
    pub(crate) equations: Vec<Equation>,
}

/// When an equation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// At every instant, whatever is in progress.
    Always,
    /// Only while no saga is in progress.
    AtRest,
}

/// One equation, as it is read from its file.
#[derive(Debug)]
pub(crate) struct Equation {
    pub(crate) name: &'static str,
    /// What must hold, on one line.
    pub(crate) what: String,
    pub(crate) holds: Holds,
    /// True if the equation passes even if there are no rows to check.
    pub(crate) may_be_empty: bool,
    checked: &'static str,
    offenders: &'static str,
}

/// The result of evaluating an equation.
#[derive(Default)]
pub(crate) struct Finding {
    pub(crate) checked: u64,
    pub(crate) offenders: Vec<String>,
    pub(crate) offenders_total: u64,
}

impl Book {
    fn read(text: &'static str) -> Option<Self> {
        let mut parts = text.split("-- ## ");
        let (name, what) = parts.next()?.lines().next()?.split_once(": ")?;
        let equations = parts.map(Equation::read).collect::<Option<Vec<_>>>()?;
        Some(Self { name, what, equations })
    }
}

impl Equation {
    fn read(text: &'static str) -> Option<Self> {
        let (title, rest) = text.split_once('\n')?;
        let (name, holds) = title.split_once(": ")?;
        let (holds, may_be_empty) = match holds.strip_suffix(", may be empty") {
            Some(holds) => (holds, true),
            None => (holds, false),
        };
        let holds = match holds {
            "always" => Holds::Always,
            "at rest" => Holds::AtRest,
            _ => return None,
        };
        let comment = rest.lines().map_while(|line| line.strip_prefix("-- "));
        let what = comment.collect::<Vec<_>>().join(" ");
        let mut queries = rest.split(";\n");
        let (checked, offenders) = (queries.next()?, queries.next()?);
        let complete = queries.all(|more| more.trim().is_empty());
        complete.then_some(Self { name, what, holds, may_be_empty, checked, offenders })
    }

    /// Evaluates the equation. Lists at most `shown` offenders, and counts all of them. An error of the query itself, such as a sum that overflows, counts
    /// as an offender: an equation that cannot be computed does not hold.
    pub(crate) fn ask(&self, books: &Connection, shown: usize) -> Finding {
        self.try_ask(books, shown).unwrap_or_else(|error| Finding {
            checked: 0,
            offenders: vec![format!("it cannot be computed: {error}")],
            offenders_total: 1,
        })
    }

    fn try_ask(&self, books: &Connection, shown: usize) -> rusqlite::Result<Finding> {
        let checked: i64 = books.query_row(self.checked, [], |row| row.get(0))?;
        let mut statement = books.prepare(self.offenders)?;
        let mut rows = statement.query([])?;
        let (mut offenders, mut offenders_total) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            if offenders.len() < shown {
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
    use crate::Scratch;

    #[test]
    fn every_book_and_equation_is_well_formed_and_has_a_name_of_its_own() {
        let books: Vec<&str> = BOOKS.iter().map(|book| book.name).collect();
        assert_eq!(
            books,
            ["stock", "payments", "provider", "orders", "keys", "sagas", "inboxes", "quarantine"]
        );
        let equations: Vec<&Equation> = BOOKS.iter().flat_map(|book| &book.equations).collect();
        let names: BTreeSet<&str> = equations.iter().map(|equation| equation.name).collect();
        assert_eq!(
            (equations.len(), names.len()),
            (41, 41),
            "one is missing, or a name is used twice"
        );
        for Equation { name, what, .. } in equations {
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
            assert!(what.ends_with('.'), "{name} does not say what must hold: {what}");
        }
    }

    #[test]
    fn every_query_can_be_computed() {
        let empty = Scratch::new().and_then(Scratch::complete).expect("a scratch database");
        for equation in BOOKS.iter().flat_map(|book| &book.equations) {
            if let Err(error) = equation.try_ask(&empty.0, 1) {
                panic!("{}: {error}", equation.name);
            }
        }
    }
}
