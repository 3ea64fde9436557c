//! Bad input, field by field.

use tonic_types::FieldViolation;

/// Most violations in an answer: the details travel in headers, which are bounded.
const MAX_VIOLATIONS: usize = 20;

/// The mistakes in a request, field by field.
#[derive(Debug, Default)]
pub(crate) struct Violations(Vec<FieldViolation>);

impl Violations {
    pub(crate) fn add(&mut self, field: impl Into<String>, why: impl Into<String>) {
        if self.0.len() < MAX_VIOLATIONS {
            self.0.push(FieldViolation::new(field, why));
        }
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|violation| violation.field.as_str())
    }

    pub(crate) fn into_details(self) -> Vec<FieldViolation> {
        self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
