//! The verdict: a book a line or an equation a line for people, one object for programs.

use std::fmt::Write as _;

use serde::{Serialize, Serializer};

use crate::{
    equations::{self, Book, Equation, Finding, Holds},
    scratch::Books,
};

/// What to judge, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only what holds at every instant, whatever is in progress.
    pub safety: bool,
    /// An equation that found no row to check fails, unless it says that there need be none.
    pub require_rows: bool,
    /// How many orders there must be.
    pub expect_orders: Option<u64>,
    /// How many messages must be in the quarantine.
    pub quarantined: u64,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Of all equations together.
    #[serde(rename = "audit", serialize_with = "pass_or_fail")]
    pub passed: bool,
    /// Whether what holds only at rest could be judged.
    pub at_rest: bool,
    /// How the sagas stand.
    pub sagas: Sagas,
    /// Each that was asked for.
    pub equations: Vec<Judged>,
}

/// How the sagas stand.
#[derive(Clone, Debug, Serialize)]
pub struct Sagas {
    /// How many have ended.
    pub ended: u64,
    /// Those that are paused among them.
    pub in_progress: u64,
    /// How many of those are paused.
    pub paused: u64,
    /// Those that need a person.
    pub stuck: Vec<Stuck>,
}

/// A saga that needs a person.
#[derive(Clone, Debug, Serialize)]
pub struct Stuck {
    /// Its id.
    pub saga: String,
    /// The step that holds it up: `commit-stock/action`.
    pub step: String,
    /// What it says of it.
    pub reason: String,
}

/// One equation.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// Whose rows it is about.
    #[serde(skip)]
    pub book: Book,
    /// Its name, which is its file's.
    pub name: &'static str,
    /// What must hold.
    pub what: String,
    /// Whether it does.
    pub verdict: Verdict,
    /// On how many rows.
    pub checked: u64,
    /// The first of them.
    pub offenders: Vec<String>,
    /// How many there are.
    pub offenders_total: u64,
}

/// What became of an equation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// It holds.
    #[serde(rename = "PASS")]
    Pass,
    /// It does not.
    #[serde(rename = "FAIL")]
    Fail,
    /// Sagas were in progress, so that it could not be judged.
    #[serde(rename = "NOT AT REST")]
    NotAtRest,
}

/// Asks every equation that was asked for. `moved`: a saga went on while the books were read.
///
/// # Errors
/// If the scratch database cannot be used.
pub fn judge(books: &Books, moved: bool, options: &Options) -> rusqlite::Result<Report> {
    books.expect(options.quarantined, options.expect_orders)?;
    let sagas = Sagas::of(books)?;
    let at_rest = sagas.in_progress == 0 && !moved;
    let mut judged = Vec::new();
    for equation in equations::all() {
        let asked = equation.name != "orders-expected" || options.expect_orders.is_some();
        match equation.holds {
            Holds::Always if asked => judged.push(Judged::by(&equation, books, options)),
            Holds::AtRest if options.safety => {}
            Holds::AtRest if at_rest && asked => {
                judged.push(Judged::by(&equation, books, options));
            }
            Holds::AtRest if asked => judged.push(Judged::not_at_rest(&equation)),
            Holds::Always | Holds::AtRest => {}
        }
    }
    let passed = judged.iter().all(|equation| equation.verdict == Verdict::Pass);
    Ok(Report { passed, at_rest, sagas, equations: judged })
}

impl Judged {
    fn by(equation: &Equation, books: &Books, options: &Options) -> Self {
        let mut finding = equation.ask(&books.0);
        if finding.checked == 0 && options.require_rows && !equation.may_be_empty {
            finding = Finding {
                offenders: vec!["no row was checked".to_owned()],
                offenders_total: 1,
                ..finding
            };
        }
        let verdict = if finding.offenders_total == 0 { Verdict::Pass } else { Verdict::Fail };
        Self::new(equation, verdict, finding)
    }

    fn not_at_rest(equation: &Equation) -> Self {
        let nothing = Finding { checked: 0, offenders: Vec::new(), offenders_total: 0 };
        Self::new(equation, Verdict::NotAtRest, nothing)
    }

    fn new(equation: &Equation, verdict: Verdict, finding: Finding) -> Self {
        let Finding { checked, offenders, offenders_total } = finding;
        let (book, name, what) = (equation.book, equation.name, equation.sentence());
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
    /// For people: how many equations of each book hold, and those that do not.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for book in Book::ALL {
            self.write_book(book, &mut text);
        }
        let failed = self.equations.iter().filter(|equation| equation.verdict == Verdict::Fail);
        write_all(failed, &mut text);
        self.write_end("; --verbose shows each", &mut text);
        text
    }

    /// For people: every equation, with what it says.
    #[must_use]
    pub fn full(&self) -> String {
        let mut text = String::new();
        write_all(self.equations.iter(), &mut text);
        self.write_end("", &mut text);
        text
    }

    /// For programs: one object.
    ///
    /// # Panics
    /// Never: it is texts and numbers.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are JSON")
    }

    /// A book's line, if anything was asked of it.
    fn write_book(&self, book: Book, text: &mut String) {
        let of: Vec<_> = self.equations.iter().filter(|equation| equation.book == book).collect();
        if of.is_empty() {
            return;
        }
        let count = |verdict| of.iter().filter(|equation| equation.verdict == verdict).count();
        let (hold, open) = (count(Verdict::Pass), count(Verdict::NotAtRest));
        let rows: u64 = of.iter().map(|equation| equation.checked).sum();
        // Writing to a string cannot fail.
        let _ = write!(text, "{:10}  {hold} of {} hold  {rows:>8} rows  ", book.name(), of.len());
        let _ = match open {
            0 => writeln!(text, "{}", book.what()),
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

/// A line an equation, with its offenders below it.
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

/// Text from elsewhere, without what would drive a terminal.
fn clean(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    text.chars().map(shown).collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn pass_or_fail<S: Serializer>(passed: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if *passed { "PASS" } else { "FAIL" })
}
