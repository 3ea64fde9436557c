//! The party that answers a command, and the alert about one that may not.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use metrics::counter;
use saga_messaging::{Envelope, Message, Poison, Sender};
use tracing::error;

use crate::poison::in_quarantine;

/// The party that answers a command. [`Answerer::of`] is the only way to make one, so no reply can
/// count for more than the broker proves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answerer {
    /// A participant, as the broker or an orchestrator has proved.
    Participant(String),
    /// Any participant: nothing proves which one, and the settings accept that.
    Unproven,
    /// A party that may answer nothing.
    Impostor(Sender),
}

impl Answerer {
    /// Finds out who answers. `answered_by` is what the reply itself states. It counts only from an
    /// orchestrator, which passes on the reply of a participant that was proved to it.
    pub(crate) fn of(sender: &Sender, answered_by: Option<String>, accepts_unproven: bool) -> Self {
        match (sender, answered_by) {
            (Sender::Participant(name), _) => Self::Participant(name.clone()),
            (Sender::Orchestrator, Some(name)) => Self::Participant(name),
            (Sender::Orchestrator, None) if accepts_unproven => Self::Unproven,
            (Sender::Orchestrator | Sender::Broker | Sender::Stranger, _) => {
                Self::Impostor(sender.clone())
            }
        }
    }

    /// Returns the participant, if one is proved.
    pub(crate) fn participant(&self) -> Option<&str> {
        match self {
            Self::Participant(name) => Some(name),
            Self::Unproven | Self::Impostor(_) => None,
        }
    }

    /// Returns true if this party may answer a step that the participant `runs` runs. A step that
    /// nobody runs may be answered by any participant: the answer is foreign to the saga.
    pub(crate) fn may_answer(&self, runs: Option<&str>) -> bool {
        match self {
            Self::Participant(name) => runs.is_none_or(|runs| runs == name),
            Self::Unproven => true,
            Self::Impostor(_) => false,
        }
    }
}

impl fmt::Display for Answerer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Participant(name) => f.write_str(name),
            Self::Unproven => f.write_str("some participant"),
            Self::Impostor(sender) => sender.fmt(f),
        }
    }
}

/// The impostors that this engine has found so far. Each raises one alert, at its first message.
#[derive(Default)]
pub(crate) struct Impostors(Mutex<BTreeSet<Answerer>>);

impl Impostors {
    /// Returns the message that puts an impostor's reply into the quarantine. The first one of each
    /// impostor raises the alert; the metrics and the quarantine count all of them.
    pub(crate) fn keep(&self, who: &Answerer, why: String, envelope: &Envelope) -> Message {
        self.found(who, &why);
        let poison = Poison { reason: why, id: Some(envelope.id.clone()) };
        in_quarantine(&poison, Bytes::from(format!("[{}]", envelope.to_json())))
    }

    fn found(&self, who: &Answerer, why: &str) {
        let first = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(who.clone());
        if first {
            counter!("saga_impostor_alerts_total").increment(1);
            error!(sender = %who, why, "a party answers for another: its credential may be stolen");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn participant(name: &str) -> Answerer {
        Answerer::Participant(name.to_owned())
    }

    #[test]
    fn a_reply_is_the_participants_that_the_broker_names_whatever_it_states_itself() {
        let hotel = Sender::Participant("hotel".to_owned());
        for stated in [None, Some("flight".to_owned())] {
            assert_eq!(Answerer::of(&hotel, stated, false), participant("hotel"));
        }
        assert!(participant("hotel").may_answer(Some("hotel")));
        assert!(!participant("hotel").may_answer(Some("flight")));
        assert!(participant("hotel").may_answer(None), "it is foreign to the saga");
    }

    #[test]
    fn only_an_orchestrator_states_who_has_answered() {
        let stated = || Some("hotel".to_owned());
        assert_eq!(Answerer::of(&Sender::Orchestrator, stated(), false), participant("hotel"));
        for sender in [Sender::Broker, Sender::Stranger] {
            for accepts in [false, true] {
                let impostor = Answerer::of(&sender, stated(), accepts);
                assert_eq!(impostor, Answerer::Impostor(sender.clone()));
                assert!(!impostor.may_answer(Some("hotel")) && !impostor.may_answer(None));
            }
        }
    }

    #[test]
    fn an_unproven_reply_counts_only_if_the_settings_say_so() {
        let unproven = |accepts| Answerer::of(&Sender::Orchestrator, None, accepts);
        assert!(!unproven(false).may_answer(Some("hotel")));
        assert!(unproven(true).may_answer(Some("hotel")));
        assert_eq!(unproven(true).participant(), None, "nor is it made up for the next one");
    }
}
