//! Output: sentences and tables for people, or JSON for programs.

use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{clean::clean, failure::Failure};

/// A command's output. Answers go to `out`, everything else goes to `err`.
pub struct Console<'a> {
    /// True if the output is for programs.
    pub json: bool,
    /// A fact that is added to a failure because a program needs it then, such as the key under
    /// which to repeat the call.
    about: Option<(&'static str, String)>,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

impl<'a> Console<'a> {
    pub(crate) fn new(json: bool, out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self { json, about: None, out, err }
    }

    /// Keeps a fact that will be added to every later failure.
    pub fn remember(&mut self, name: &'static str, value: &str) {
        self.about = Some((name, value.to_owned()));
    }

    /// Prints one or more lines of the answer, for people.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn say(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{text}")?;
        Ok(self.out.flush()?)
    }

    /// Prints a line that is not part of the answer, such as progress.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn note(&mut self, text: &str) -> Result<(), Failure> {
        Ok(writeln!(self.err, "{text}")?)
    }

    /// Prints text that is not part of the answer, at once and without a line end.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn sketch(&mut self, text: &str) -> Result<(), Failure> {
        write!(self.err, "{text}")?;
        Ok(self.err.flush()?)
    }

    /// Prints the answer for programs, on one line.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn object(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let line = serde_json::to_string(value).map_err(io::Error::from)?;
        self.say(&line)
    }

    /// Prints the failure, which is the reason why there is no answer.
    pub(crate) fn failure(&mut self, failure: &Failure) -> io::Result<()> {
        if let Failure::Output(e) = failure
            && e.kind() == io::ErrorKind::BrokenPipe
        {
            return Ok(());
        }
        if self.json {
            let mut error = failure.json();
            if let Some((name, value)) = &self.about {
                error[*name] = Value::from(value.as_str());
            }
            writeln!(self.err, "{}", json!({ "error": error }))
        } else {
            writeln!(self.err, "saga: {}", failure.text())
        }
    }
}

/// Formats aligned columns under a heading, without lines, so that people and `awk` can read them.
#[must_use]
pub fn table<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(heading);
    for row in rows {
        table.add_row(row.map(|cell| clean(&cell).into_owned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_also_where_letters_are_wide() {
        let rows = [
            ["1".to_owned(), "茶壺".to_owned(), "x".to_owned()],
            ["22".to_owned(), "cup".to_owned(), String::new()],
        ];
        assert_eq!(table(["N", "NAME", "WHY"], rows), "N   NAME  WHY\n1   茶壺  x\n22  cup");
    }
}
