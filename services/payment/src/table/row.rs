//! Converts between the states and the columns that store them.

use saga_core::Failure;

use crate::rule::{RefundState, State};

/// The columns that store a payment's state.
pub(super) struct Columns<'a> {
    pub(super) status: &'static str,
    pub(super) provider_id: Option<&'a str>,
    pub(super) decline_code: Option<&'a str>,
    pub(super) refunded: i64,
}

impl<'a> Columns<'a> {
    pub(super) fn of(state: &'a State) -> Self {
        let columns = |status, provider_id, decline_code, refunded| Self {
            status,
            provider_id,
            decline_code,
            refunded,
        };
        match state {
            State::Authorising => columns("authorising", None, None, 0),
            State::Authorised { provider_id } => columns("authorised", Some(provider_id), None, 0),
            State::Declined { provider_id, code } => {
                columns("declined", provider_id.as_deref(), Some(code), 0)
            }
            State::Voided { provider_id } => columns("voided", provider_id.as_deref(), None, 0),
            State::Captured { provider_id, refunded } => {
                columns("captured", Some(provider_id), None, *refunded)
            }
        }
    }
}

/// Reads a payment's state from its columns.
pub(super) fn state(
    status: &str,
    provider_id: Option<String>,
    decline_code: Option<String>,
    refunded: i64,
) -> Result<State, Failure> {
    match (status, provider_id, decline_code) {
        ("authorising", _, _) => Ok(State::Authorising),
        ("authorised", Some(provider_id), _) => Ok(State::Authorised { provider_id }),
        ("declined", provider_id, Some(code)) => Ok(State::Declined { provider_id, code }),
        ("voided", provider_id, _) => Ok(State::Voided { provider_id }),
        ("captured", Some(provider_id), _) => Ok(State::Captured { provider_id, refunded }),
        (other, _, _) => Err(Failure::Permanent(format!("a payment's row is {other:?}"))),
    }
}

pub(super) const fn refund_word(state: RefundState) -> &'static str {
    match state {
        RefundState::Intended => "intended",
        RefundState::Done => "done",
        RefundState::Refused => "refused",
    }
}

pub(super) fn refund_state(word: &str) -> Result<RefundState, Failure> {
    [RefundState::Intended, RefundState::Done, RefundState::Refused]
        .into_iter()
        .find(|state| refund_word(*state) == word)
        .ok_or_else(|| Failure::Permanent(format!("a refund's row is {word:?}")))
}
