//! The meaning of each metric of the shop's own, which Prometheus shows as its help. The framework's
//! are in `saga_telemetry`.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Passes the meanings to the exporter.
pub(crate) fn describe() {
    describe_counter!(
        "saga_catalogue_reads_total",
        "Reads of product pages: found in the cache, read, or joined to a read under way"
    );
    describe_counter!(
        "saga_payment_provider_requests_total",
        "Requests to the payment provider, by outcome"
    );
    describe_counter!("saga_provider_calls_total", "Calls to the test payment provider");
    describe_histogram!(
        "saga_payment_provider_seconds",
        Unit::Seconds,
        "Time that the payment provider takes"
    );
    describe_gauge!(
        "saga_payment_breaker_state",
        Unit::Count,
        "Circuit breaker of the provider: 0 closed, 1 half open, 2 open"
    );
}
