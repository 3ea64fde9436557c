//! The text of `saga settings`.

/// The whole text. A test checks that it contains every variable.
pub(crate) const HELP: &str = "\
Settings come from the environment. Times carry their unit in the name. What holds a secret (the
URLs of databases and broker, and passwords) may come from a file instead: SAGA_AMQP_URL_FILE names
the file that holds SAGA_AMQP_URL, and so on.

every role
  SAGA_LOG                          log filter [info]
  SAGA_LOG_FORMAT                   human or json [human]
  SAGA_METRICS_LISTEN               address of /metrics for Prometheus [none]
  SAGA_OTLP_ENDPOINT                where traces go, as OTLP over gRPC: http://127.0.0.1:4317 [none: no traces]
  SAGA_TRACE_RATIO                  share of new traces that are kept, 0 to 1; a caller's own choice comes first [1]
  SAGA_ALLOW_UNAUTHENTICATED        yes: listen off loopback, although there is no authentication yet
every role but the provider
  SAGA_AMQP_URL                     amqp://user:password@host:5672/%2f (required)
  SAGA_PREFIX                       comes before each exchange and queue [empty]
  SAGA_DECLARE_TOPOLOGY             no: exchanges and queues must be there, made by setup; then a
                                    role's broker user needs no permission to configure them [yes]
  SAGA_BROKER_USERS                 names: each role has a broker user of its own, with the role's name, and
                                    a message without its sender's user is a stranger's; or the users'
                                    names, as orchestrator=a,order=b; shared: roles share a user [shared]
  SAGA_DATABASE_CONNECTIONS         most connections of a role's pool, 2 to 200 [16]
orchestrator
  SAGA_ORCHESTRATOR_DATABASE_URL    postgres://user:password@host:5432/name (required)
  SAGA_ORCHESTRATOR_LISTEN          gRPC for clients and operators [127.0.0.1:7400]
  SAGA_ANONYMOUS_ROLES              what callers from other machines, or through a proxy, may do: some of
                                    client, view, auditor, stock and stock.price [client]
  SAGA_ORDER_URL                    the order service's gRPC [http://127.0.0.1:7401]
  SAGA_INVENTORY_URL                the inventory service's gRPC [http://127.0.0.1:7402]
  SAGA_PAYMENT_URL                  the payment service's gRPC [http://127.0.0.1:7403]
  SAGA_STEP_TIMEOUT_MILLIS          wait for a step's first answer [3000]
  SAGA_BEGIN_PLACE_ORDER, SAGA_BEGIN_RETURN_ORDER
                                    version of the definition under which new sagas begin; during an
                                    upgrade the old one, until every orchestrator is new [the newest]
  SAGA_ORDER_DEADLINE_SECONDS       how long an order may take before its payment is captured [60]
  SAGA_MAX_IN_FLIGHT                orders in progress before new ones are told to come again [4000]
  SAGA_CATALOGUE_CACHE_MILLIS       how old a list of products may be, stock included; 0: it is read from
                                    the inventory service at each call, up to 60000 [1000]
  SAGA_RETENTION_DAYS               how long ended sagas, their histories and idempotency keys are kept
                                    after the oldest that has not ended, 7 to 36500 [7]
  SAGA_RETENTION_SECONDS_FOR_TESTS  the same, shorter than is safe: an old message may then be run
                                    again, and an old key mean a new order; participants need it too, or
                                    they believe no watermark that is younger than 7 days [none]
  SAGA_ACCEPT_UNPROVEN_REPLIES      yes: a reply counts although nothing proves which participant sent
                                    it; only during an upgrade, see docs/upgrading.md [no]
order, inventory, payment
  SAGA_ORDER_DATABASE_URL, SAGA_INVENTORY_DATABASE_URL, SAGA_PAYMENT_DATABASE_URL (required)
  SAGA_ORDER_LISTEN                 [127.0.0.1:7401]
  SAGA_INVENTORY_LISTEN             [127.0.0.1:7402]
  SAGA_PAYMENT_LISTEN               [127.0.0.1:7403]
payment
  SAGA_PROVIDER_URL                 the payment provider's HTTP [http://127.0.0.1:7404]
  SAGA_PROVIDER_TIMEOUT_MILLIS      longest wait for one answer of the provider [2000]
  SAGA_PROVIDER_BREAKER_FAILURES    failures in a row after which the provider is left alone [5]
  SAGA_PROVIDER_BREAKER_FIRST_PAUSE_MILLIS
                                    for how long at first; doubles with each probe that fails [1000]
  SAGA_PROVIDER_BREAKER_LONGEST_PAUSE_MILLIS
                                    and at most: so long after its return it may go unnoticed [10000]
  SAGA_PROVIDER_HTTP2               whether it speaks HTTP/2 without TLS, as saga provider does: yes or
                                    no [no; yes in saga all]
provider
  SAGA_PROVIDER_LISTEN              [127.0.0.1:7404]
  SAGA_PROVIDER_DATA_DIR            where its ledger is [saga-data/provider]
  SAGA_PROVIDER_SLOW_MILLIS         how slow tok_slow is [1500]
  SAGA_PROVIDER_VERY_SLOW_MILLIS    how slow tok_very_slow is [20000]
all --data-dir DIR                  needs none of the databases, the broker and the URLs above
setup
  SAGA_ADMIN_DATABASE_URL           an administrator's, to make databases and roles [none: they exist]
  SAGA_AUDIT_PASSWORD               makes the role saga_audit, which may read every database and
                                    change none [none: no such role]
clients
  SAGA_SERVER                       the orchestrator's address [http://127.0.0.1:7400]
  SAGA_PAYMENT_TOKEN                the card that saga place is given [tok_approved]
";

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeSet};

    use clap::CommandFactory as _;

    use super::*;
    use crate::{Arguments, config::read};

    /// Returns the variables that all roles together read. `NAME_FILE` counts as `NAME`.
    fn asked() -> BTreeSet<String> {
        let asked = RefCell::new(BTreeSet::new());
        let get = |name: &str| {
            asked.borrow_mut().insert(name.trim_end_matches("_FILE").to_owned());
            None
        };
        // Every variable is missing here. Reading continues after a missing one.
        let _ = read(&get, |env| {
            env.telemetry();
            env.all();
            env.embedded("data".into());
            env.prune(false);
            env.audit();
            env.reconcile();
        });
        asked.into_inner()
    }

    /// Adds the variables from which command-line options take their defaults.
    fn options(command: &clap::Command, names: &mut BTreeSet<String>) {
        let defaults = command.get_arguments().filter_map(|option| option.get_env()?.to_str());
        names.extend(defaults.map(str::to_owned));
        command.get_subcommands().for_each(|command| options(command, names));
    }

    #[test]
    fn the_help_lists_what_is_asked_for_and_nothing_else() {
        let mut asked = asked();
        options(&Arguments::command(), &mut asked);
        let words = HELP.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let names = words.filter(|word| word.starts_with("SAGA_"));
        let listed: BTreeSet<String> =
            names.map(|name| name.trim_end_matches("_FILE").to_owned()).collect();
        assert_eq!(asked, listed);
    }
}
