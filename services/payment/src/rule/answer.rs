//! Reads the provider's answers.
//!
//! An answer counts as a refusal only if it proves that nothing happened under its key, and never
//! will. An answer that proves nothing is [`Unclear`], and the saga sends its command again.

use saga_core::Refusal;
use saga_proto::Money;
use serde::Deserialize;

use super::not_authorised;

/// An answer of the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Status 2xx: the payment as it is now.
    Payment(Remote),
    /// Status 2xx: the refund was made.
    Refund,
    /// Status 4xx, with the provider's code.
    No { status: u16, code: String },
}

/// A payment as the provider sees it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Remote {
    pub(crate) id: String,
    pub(crate) status: RemoteStatus,
    pub(crate) decline_code: Option<String>,
    pub(crate) amount: i64,
    pub(crate) currency: String,
}

/// The status of a payment at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RemoteStatus {
    Authorised,
    Declined,
    Cancelled,
    Captured,
}

/// An answer that proves nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unclear(pub(crate) String);

/// The result of a request for a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Authorisation {
    Authorised { provider_id: String },
    Declined { provider_id: Option<String>, refusal: Refusal },
}

/// The result of cancelling a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cancellation {
    /// There was a hold, and it is cancelled.
    Cancelled { provider_id: String, amount: Money },
    /// There was no hold, and there never will be one under the action's key.
    NothingHeld,
    /// The hold cannot be cancelled, because the money was captured.
    AlreadyCaptured,
}

/// The result of capturing held money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Capture {
    Captured { provider_id: String, amount: Money },
    Refused(Refusal),
}

/// The result of refunding money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refunding {
    Refunded,
    Refused(Refusal),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    Payment(Remote),
    Refund {
        #[expect(dead_code, reason = "tells a refund from anything else")]
        payment_id: String,
    },
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorCode,
}

#[derive(Deserialize)]
struct ErrorCode {
    code: String,
}

impl Said {
    /// Reads an answer. Errors never contain its body, because the provider wrote it.
    pub(crate) fn read(status: u16, body: &str) -> Result<Self, Unclear> {
        let unreadable = || Unclear(format!("status {status} with a body that is not understood"));
        match status {
            200..=299 => match serde_json::from_str(body).map_err(|_| unreadable())? {
                Body::Payment(remote) => Ok(Self::Payment(remote)),
                Body::Refund { .. } => Ok(Self::Refund),
            },
            400..=499 => {
                let body: ErrorBody = serde_json::from_str(body).map_err(|_| unreadable())?;
                Ok(Self::No { status, code: body.error.code })
            }
            _ => Err(unreadable()),
        }
    }

    fn unclear(self) -> Unclear {
        match self {
            Self::Payment(remote) => Unclear(format!("the payment is {:?}", remote.status)),
            Self::Refund => Unclear("a refund where none was asked for".to_owned()),
            Self::No { status, code } => Unclear(format!("status {status}, {code:.64}")),
        }
    }
}

/// Reads the answer to a request for a hold, from the request itself or from looking it up.
pub(crate) fn authorisation(said: Said) -> Result<Authorisation, Unclear> {
    let declined = |provider_id, code, message| {
        Ok(Authorisation::Declined { provider_id, refusal: Refusal::new(code, message) })
    };
    match said {
        Said::Payment(remote) => match remote.status {
            RemoteStatus::Authorised | RemoteStatus::Captured => {
                Ok(Authorisation::Authorised { provider_id: remote.id })
            }
            RemoteStatus::Declined => match remote.decline_code.as_deref() {
                Some("insufficient_funds") => {
                    declined(Some(remote.id), "INSUFFICIENT_FUNDS", "the card has too little money")
                }
                Some(_) | None => {
                    declined(Some(remote.id), "CARD_DECLINED", "the card was declined")
                }
            },
            RemoteStatus::Cancelled => {
                declined(Some(remote.id), "VOIDED", "the hold has been let go")
            }
        },
        // The provider rejected the request as invalid, so nothing was done and nothing will be.
        Said::No { status: 400, code } => match code.as_str() {
            "invalid_token" => {
                declined(None, "INVALID_TOKEN", "the provider does not know the card")
            }
            "invalid_amount" | "invalid_currency" => {
                declined(None, "INVALID_AMOUNT", "the provider does not take this amount")
            }
            _ => Err(Said::No { status: 400, code }.unclear()),
        },
        other @ (Said::Refund | Said::No { .. }) => Err(other.unclear()),
    }
}

/// Reads the answer to cancelling a hold that is on record.
pub(crate) fn cancellation(
    said: Said,
    provider_id: &str,
    amount: &Money,
) -> Result<Cancellation, Unclear> {
    let gone =
        || Cancellation::Cancelled { provider_id: provider_id.to_owned(), amount: amount.clone() };
    match said {
        Said::Payment(Remote { status: RemoteStatus::Cancelled, .. }) => Ok(gone()),
        // The provider no longer has the payment, so it holds no money.
        Said::No { status: 404, code } if code == "payment_not_found" => Ok(gone()),
        Said::No { status: 409, code } => match code.as_str() {
            "payment_captured" => Ok(Cancellation::AlreadyCaptured),
            "payment_declined" => Ok(Cancellation::NothingHeld),
            _ => Err(Said::No { status: 409, code }.unclear()),
        },
        other @ (Said::Payment(_) | Said::Refund | Said::No { .. }) => Err(other.unclear()),
    }
}

/// Reads the answer to a capture. `hold` is the hold that the request named, if it named one.
pub(crate) fn capture(said: Said, hold: Option<(&str, &Money)>) -> Result<Capture, Unclear> {
    match said {
        Said::Payment(Remote { id, status: RemoteStatus::Captured, amount, currency, .. }) => {
            Ok(Capture::Captured { provider_id: id, amount: Money::new(amount, currency) })
        }
        Said::No { status: 409, code } => match (code.as_str(), hold) {
            // The capture happened under another key, but it happened.
            ("payment_captured", Some((provider_id, amount))) => Ok(Capture::Captured {
                provider_id: provider_id.to_owned(),
                amount: amount.clone(),
            }),
            ("capture_declined", _) => {
                let text = "the card's bank declined the capture";
                Ok(Capture::Refused(Refusal::new("CAPTURE_DECLINED", text)))
            }
            ("payment_cancelled" | "payment_declined", _) => Ok(Capture::Refused(not_authorised())),
            ("amount_mismatch", _) => {
                let text = "the provider holds another amount";
                Ok(Capture::Refused(Refusal::new("AMOUNT_MISMATCH", text)))
            }
            _ => Err(Said::No { status: 409, code }.unclear()),
        },
        Said::No { status: 404, code } if code == "payment_not_found" => {
            Ok(Capture::Refused(not_authorised()))
        }
        other @ (Said::Payment(_) | Said::Refund | Said::No { .. }) => Err(other.unclear()),
    }
}

/// Reads the answer to a refund.
pub(crate) fn refunding(said: Said) -> Result<Refunding, Unclear> {
    let refused = |code, message| Ok(Refunding::Refused(Refusal::new(code, message)));
    match said {
        Said::Refund => Ok(Refunding::Refunded),
        Said::No { status: 409, code } => match code.as_str() {
            "refund_exceeds_captured" => {
                refused("REFUND_EXCEEDS_CAPTURED", "more than is left of what was taken")
            }
            "payment_not_captured" | "payment_cancelled" | "payment_declined" => {
                refused("NOT_CAPTURED", "the provider took no money for this order")
            }
            _ => Err(Said::No { status: 409, code }.unclear()),
        },
        Said::No { status: 404, code } if code == "payment_not_found" => {
            refused("NOT_CAPTURED", "the provider does not know the payment")
        }
        other @ (Said::Payment(_) | Said::No { .. }) => Err(other.unclear()),
    }
}
