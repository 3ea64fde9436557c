//! The report: for people a line for each book or equation, for programs one JSON object.

use std::fmt::Write as _;

use serde::{Serialize, Serializer};

use crate::{
    equations::{BOOKS, Book, Equation, Finding, Holds},
    scratch::Books,
};

/// Maximum number of offenders that are listed for an equation. All of them are counted.
const MOST_SHOWN: usize = 10;

/// Selects which equations to judge, and how strictly.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Judge only equations that hold at every instant, whatever is in progress.
    pub safety: bool,
    /// Fail an equation that found no rows to check, unless it is marked `may be empty`.
    pub require_rows: bool,
    /// The expected number of orders, if it is to be checked.
    pub expect_orders: Option<u64>,
    /// The expected number of messages in the quarantine.
    pub quarantined: u64,
    /// List every offender, not only the first ten of an equation.
    pub every_offender: bool,
}

/// The result of an audit.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// True if every selected equation holds.
    #[serde(rename = "audit", serialize_with = "pass_or_fail")]
    pub passed: bool,
    /// True if no saga was in progress while the databases were read, so that every equation could
    /// be judged.
    pub at_rest: bool,
    /// The sagas, counted by their state.
    pub sagas: Sagas,
    /// The selected equations, with their verdicts.
    pub equations: Vec<Judged>,
}

/// The sagas, counted by their state.
#[derive(Clone, Debug, Serialize)]
pub struct Sagas {
    /// Number of sagas that have ended.
    pub ended: u64,
    /// Number of sagas in progress, including paused ones.
    pub in_progress: u64,
    /// Number of sagas in progress that are paused.
    pub paused: u64,
    /// The sagas that need a person.
    pub stuck: Vec<Stuck>,
}

/// A saga that needs a person.
#[derive(Clone, Debug, Serialize)]
pub struct Stuck {
    /// The saga's id.
    pub saga: String,
    /// The step at which the saga is stuck: `commit-stock/action`.
    pub step: String,
    /// The reason why it is stuck, as its row states it.
    pub reason: String,
}

/// The verdict on one equation.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    #[serde(skip)]
    book: &'static Book,
    /// The equation's name in its file.
    pub name: &'static str,
    /// What must hold.
    pub what: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Number of rows that were checked.
    pub checked: u64,
    /// Descriptions of the first rows that offend.
    pub offenders: Vec<String>,
    /// Number of rows that offend.
    pub offenders_total: u64,
}

/// The possible verdicts on an equation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// The equation holds.
    #[serde(rename = "PASS")]
    Pass,
    /// The equation does not hold.
    #[serde(rename = "FAIL")]
    Fail,
    /// The equation could not be judged, because sagas were in progress.
    #[serde(rename = "NOT AT REST")]
    NotAtRest,
}

/// Evaluates the selected equations. `moved` is true if a saga moved while the databases were read.
///
/// # Errors
/// If the scratch database cannot be used.
pub fn judge(books: &Books, moved: bool, options: &Options) -> rusqlite::Result<Report> {
    books.expect(options.quarantined, options.expect_orders)?;
    let sagas = Sagas::of(books)?;
    let at_rest = sagas.in_progress == 0 && !moved;
    let mut judged = Vec::new();
    for book in BOOKS.iter() {
        for equation in &book.equations {
            let asked = equation.name != "orders-expected" || options.expect_orders.is_some();
            let must_rest = equation.holds == Holds::AtRest;
            if !asked || (must_rest && options.safety) {
                continue;
            }
            let (verdict, finding) = if must_rest && !at_rest {
                (Verdict::NotAtRest, Finding::default())
            } else {
                Verdict::on(equation, books, options)
            };
            judged.push(Judged::new(book, equation, verdict, finding));
        }
    }
    let passed = judged.iter().all(|equation| equation.verdict == Verdict::Pass);
    Ok(Report { passed, at_rest, sagas, equations: judged })
}

impl Verdict {
    fn on(equation: &Equation, books: &Books, options: &Options) -> (Self, Finding) {
        let shown = if options.every_offender { usize::MAX } else { MOST_SHOWN };
        let mut finding = equation.ask(&books.0, shown);
        if finding.checked == 0 && options.require_rows && !equation.may_be_empty {
            let offenders = vec!["no row was checked".to_owned()];
            finding = Finding { checked: 0, offenders, offenders_total: 1 };
        }
        (if finding.offenders_total == 0 { Self::Pass } else { Self::Fail }, finding)
    }
}

impl Judged {
    fn new(book: &'static Book, equation: &Equation, verdict: Verdict, finding: Finding) -> Self {
        let Finding { checked, offenders, offenders_total } = finding;
        let (name, what) = (equation.name, equation.what.clone());
        Self { book, name, what, verdict, checked, offenders, offenders_total }
    }
}

impl Sagas {
    fn of(books: &Books) -> rusqlite::Result<Self> {
        let count = |sql: &str| {
            books.0.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
        };
        let mut statement = books.0.prepare(include_str!("stuck.sql"))?;
        let stuck = statement.query_map([], |row| {
            Ok(Stuck { saga: row.get(0)?, step: row.get(1)?, reason: row.get(2)? })
        })?;
        Ok(Self {
            ended: count("SELECT count(*) FROM sagas WHERE state IN (3, 4)")?,
            in_progress: count("SELECT count(*) FROM sagas WHERE state IN (1, 2)")?,
            paused: count(
                "SELECT count(*) FROM sagas WHERE state IN (1, 2) AND json_valid(progress)
                 AND progress -> '$.paused' IS NOT NULL",
            )?,
            stuck: stuck.collect::<rusqlite::Result<_>>()?,
        })
    }
}

impl Report {
    /// Formats for people how many equations of each book hold, and which ones do not.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for book in BOOKS.iter() {
            self.write_book(book, &mut text);
        }
        let failed = self.equations.iter().filter(|equation| equation.verdict == Verdict::Fail);
        write_all(failed, &mut text);
        self.write_end("; --verbose shows each", &mut text);
        text
    }

    /// Formats for people every equation, with what must hold.
    #[must_use]
    pub fn full(&self) -> String {
        let mut text = String::new();
        write_all(self.equations.iter(), &mut text);
        self.write_end("", &mut text);
        text
    }

    /// Formats the report for programs, as one JSON object.
    ///
    /// # Panics
    /// Never, because texts and numbers can always be encoded.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are JSON")
    }

    /// Writes a book's line, if any of its equations was selected.
    fn write_book(&self, book: &Book, text: &mut String) {
        let of: Vec<_> = self.equations.iter().filter(|e| std::ptr::eq(e.book, book)).collect();
        if of.is_empty() {
            return;
        }
        let count = |verdict| of.iter().filter(|equation| equation.verdict == verdict).count();
        let (hold, open) = (count(Verdict::Pass), count(Verdict::NotAtRest));
        let rows: u64 = of.iter().map(|equation| equation.checked).sum();
        // Writing to a string cannot fail.
        let _ = write!(text, "{:10}  {hold} of {} hold  {rows:>8} rows  ", book.name, of.len());
        let _ = match open {
            0 => writeln!(text, "{}", book.what),
            _ => writeln!(text, "{open} not judged: not at rest"),
        };
    }

    fn write_end(&self, hint: &str, text: &mut String) {
        self.sagas.write(text, self.at_rest);
        let failed = self.equations.iter().filter(|e| e.verdict != Verdict::Pass).count();
        let all = self.equations.len();
        text.push_str(&if self.passed {
            let rows: u64 = self.equations.iter().map(|equation| equation.checked).sum();
            format!("audit: PASS ({all} equations hold, on {rows} rows{hint})\n")
        } else {
            format!(
                "audit: FAIL ({failed} of {all} equations do not hold or were not judged{hint})\n"
            )
        });
    }
}

/// Writes a line for each equation, with its offenders below it.
fn write_all<'a>(equations: impl Iterator<Item = &'a Judged> + Clone, text: &mut String) {
    let width = equations.clone().map(|equation| equation.name.len()).max().unwrap_or(0);
    for equation in equations {
        equation.write(text, width);
    }
}

impl Judged {
    fn write(&self, text: &mut String, width: usize) {
        let (verdict, rows) = match self.verdict {
            Verdict::Pass => ("PASS", self.checked.to_string()),
            Verdict::Fail => ("FAIL", self.checked.to_string()),
            Verdict::NotAtRest => ("----", "not at rest".to_owned()),
        };
        let _ = writeln!(text, "{verdict}  {:width$}  {rows:>11}  {}", self.name, self.what);
        for offender in &self.offenders {
            let _ = writeln!(text, "      - {}", clean(offender));
        }
        let more = self.offenders_total.saturating_sub(self.offenders.len() as u64);
        if more > 0 {
            let _ = writeln!(text, "      … and {more} more");
        }
    }
}

impl Sagas {
    fn write(&self, text: &mut String, at_rest: bool) {
        let Self { ended, in_progress, paused, stuck } = self;
        let _ = writeln!(
            text,
            "sagas: {ended} ended, {in_progress} in progress ({paused} of them paused), {} stuck",
            stuck.len()
        );
        for Stuck { saga, step, reason } in stuck {
            let _ = writeln!(text, "      {saga} is stuck at {}: {}", clean(step), clean(reason));
        }
        if !at_rest {
            text.push_str(
                "Sagas were in progress, so what holds only at rest was not judged: let it wait for \
                 them (--wait SECONDS), or ask only for what holds at every instant (--safety).\n",
            );
        }
    }
}

/// Escapes the control characters in text from other systems, which could drive a terminal.
fn clean(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    text.chars().map(shown).collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn pass_or_fail<S: Serializer>(passed: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if *passed { "PASS" } else { "FAIL" })
}
