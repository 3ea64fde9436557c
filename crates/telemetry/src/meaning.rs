//! Describes every metric in one place. Prometheus shows the descriptions as help. Labels are
//! definitions, steps, directions, outcomes, participants and queues: few values, and never ids.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Counters, with their descriptions.
const COUNTERS: [(&str, &str); 31] = [
    ("saga_started_total", "Sagas that were admitted"),
    ("saga_ended_total", "Sagas that ended, by how"),
    ("saga_stuck_alerts_total", "Alerts that a saga is stuck, reminders included"),
    (
        "saga_stuck_events_unsent_total",
        "Events of stuck sagas that were not published: the next reminder says them again",
    ),
    ("saga_undecidable_total", "Times a saga's row could not be decided on by this binary"),
    (
        "saga_impostor_alerts_total",
        "Alerts that a party speaks for another, one for each party and process",
    ),
    ("saga_replies_total", "Participants' replies, by what became of them"),
    ("saga_store_silent_total", "Calls of a database that were given up: it did not answer"),
    (
        "saga_database_went_back_total",
        "Times a role found that its database had been restored, or had failed over",
    ),
    ("saga_woken_total", "Sagas that were looked at because their time had come"),
    ("saga_resends_total", "Commands sent again because their answer was late"),
    ("saga_commands_expired_total", "Commands that outlived their expiry in a queue"),
    (
        "saga_commands_unsent_total",
        "Messages that the broker had no queue for, left to their sagas",
    ),
    ("saga_publishing_left_to_wake_total", "Commands not published because the broker was away"),
    ("saga_quarantined_total", "Messages put into the quarantine"),
    ("saga_calls_total", "Calls of clients and operators, by their status"),
    (
        "saga_calls_refused_total",
        "Calls that were refused because of who called: no valid credentials, or a role is missing",
    ),
    ("saga_connections_refused_total", "Connections refused because there were too many"),
    (
        "saga_tls_reload_failures_total",
        "Changes of the files for TLS that were not right: the old ones stayed in use",
    ),
    ("saga_participant_commands_total", "Commands at a participant, by what became of them"),
    ("saga_participant_calls_failed_total", "Calls to the outside world without an answer"),
    (
        "saga_participant_watermarks_refused_total",
        "Watermarks that were not believed, because they were younger than the least retention",
    ),
    ("saga_participant_unsent_total", "Replies and events that the broker did not take"),
    ("saga_messages_published_total", "Messages that the broker confirmed"),
    ("saga_messages_refused_total", "Messages that the broker did not take"),
    ("saga_broker_reconnects_total", "Connections to the broker that were made again"),
    ("saga_trace_spans_total", "Spans that were exported or dropped"),
    ("saga_turns_retried_total", "Transactions of turns that were tried again"),
    ("saga_pruned_total", "Rows that were deleted because they are below the watermark"),
    ("saga_participant_pruned_total", "Rows of inboxes that were deleted for the same reason"),
    ("saga_participant_retries_total", "Transactions of participants that were tried again"),
];

/// Histograms and gauges, with their units and descriptions.
const MEASURES: [(&str, Unit, &str); 7] = [
    ("saga_step_seconds", Unit::Seconds, "From a step's first command to the answer that moved it"),
    ("saga_seconds", Unit::Seconds, "From a saga's admission to its end"),
    ("saga_call_seconds", Unit::Seconds, "How long calls of clients and operators take"),
    ("saga_publish_confirm_seconds", Unit::Seconds, "From publishing to the broker's confirms"),
    ("saga_admission_batch_members", Unit::Count, "New sagas in one transaction"),
    ("saga_reply_batch_members", Unit::Count, "Replies in one transaction"),
    ("saga_participant_batch_members", Unit::Count, "Commands taken at once by a participant"),
];

/// Histograms of the sizes of parcels, with their descriptions.
const PARCELS: [(&str, &str); 2] = [
    ("saga_parcel_members", "Commands in one message"),
    ("saga_reply_parcel_members", "Replies in one message"),
];

/// Gauges, with their units and descriptions.
const GAUGES: [(&str, Unit, &str); 15] = [
    ("saga_watermark_age_seconds", Unit::Seconds, "How far back sagas are kept"),
    (
        "saga_watermark_held_seconds",
        Unit::Seconds,
        "Age of the oldest saga that has not ended, paused and stuck ones included: it holds the watermark back",
    ),
    (
        "saga_participant_watermark_timestamp_seconds",
        Unit::Seconds,
        "What a participant has heard of the watermark, in seconds since 1970",
    ),
    (
        "saga_store_clock_ahead_seconds",
        Unit::Seconds,
        "How far the database's clock is ahead of the process's; negative: behind",
    ),
    ("saga_store_age_seconds", Unit::Seconds, "Time since the database answered an engine last"),
    (
        "saga_tls_not_after_timestamp_seconds",
        Unit::Seconds,
        "When the first certificate of a file for TLS expires, in seconds since 1970",
    ),
    ("saga_in_flight", Unit::Count, "Sagas that have not ended"),
    ("saga_sagas", Unit::Count, "Sagas that have not ended, by definition and state"),
    (
        "saga_oldest_seconds",
        Unit::Seconds,
        "Age of the oldest saga that has not ended; 0: there is none",
    ),
    ("saga_paused", Unit::Count, "Sagas that an operator has paused"),
    ("saga_unhosted_sagas", Unit::Count, "Sagas that this binary hosts no definition for"),
    (
        "saga_quarantine_messages",
        Unit::Count,
        "Messages in the quarantine that nobody has dealt with",
    ),
    ("saga_consumer_up", Unit::Count, "Whether a queue is being consumed by this process"),
    ("saga_database_connections", Unit::Count, "Connections of a pool, by state"),
    ("saga_database_connections_max", Unit::Count, "Most connections that a pool may have"),
];

/// Passes the descriptions to the exporter.
pub(crate) fn describe() {
    for (name, meaning) in COUNTERS {
        describe_counter!(name, meaning);
    }
    for (name, unit, meaning) in MEASURES {
        describe_histogram!(name, unit, meaning);
    }
    for (name, meaning) in PARCELS {
        describe_histogram!(name, Unit::Count, meaning);
    }
    for (name, unit, meaning) in GAUGES {
        describe_gauge!(name, unit, meaning);
    }
}
