//! Collects the mistakes in a request, field by field.

use tonic::Status;
use tonic_types::FieldViolation;

use crate::{
    status,
    validate::{MAX_KEY_CHARS, is_printable},
};

/// Maximum number of violations in an answer. They are sent in headers, whose size is limited.
const MAX_VIOLATIONS: usize = 20;

/// The mistakes in a request, field by field.
#[derive(Debug, Default)]
pub struct Violations(Vec<FieldViolation>);

impl Violations {
    /// Adds a mistake, unless the maximum number is reached.
    pub fn add(&mut self, field: impl Into<String>, why: impl Into<String>) {
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

    /// Adds a mistake if the key is not a valid idempotency key.
    pub fn key(&mut self, key: &str) {
        if !is_printable(key, MAX_KEY_CHARS) {
            self.add("idempotency_key", "must be 1 to 255 printable ASCII characters");
        }
    }

    /// Returns all mistakes as one status.
    ///
    /// # Errors
    /// INVALID_ARGUMENT, if there is a mistake.
    pub fn none_or_err(self) -> Result<(), Status> {
        if self.0.is_empty() { Ok(()) } else { Err(status::invalid(self)) }
    }
}
