//! Settings, read once from the environment. All mistakes are listed at once.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use saga_payment::BreakerSettings;
use saga_telemetry::Format;

use crate::secrets::{self, Secret};

/// The mistakes in the environment: one sentence a variable.
#[derive(Debug)]
pub struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the settings are not right (`saga settings` lists them all):")?;
        for mistake in &self.0 {
            writeln!(f, "  - {mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// A message broker.
#[derive(Clone, Debug)]
pub struct Broker {
    /// Where it is.
    pub url: Secret,
    /// Beginning of the names of exchanges and queues.
    pub prefix: String,
    /// True if roles may declare exchanges and queues; `saga setup` always does.
    pub declares: bool,
}

/// Settings of `saga orchestrator`.
#[derive(Clone, Debug)]
pub(crate) struct Orchestrator {
    pub(crate) database: Secret,
    pub(crate) connections: u32,
    pub(crate) broker: Broker,
    pub(crate) order_url: String,
    pub(crate) inventory_url: String,
    pub(crate) payment_url: String,
    pub(crate) front: Front,
}

/// An orchestrator's front door and its limits, over any adapters.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    pub(crate) listen: SocketAddr,
    pub(crate) step_timeout_millis: Option<u64>,
    pub(crate) order_deadline: Duration,
    pub(crate) max_in_flight: u64,
    /// Greatest age of a page of products; zero: each call reads anew.
    pub(crate) catalogue_cache: Duration,
    /// Time for which ended sagas and keys are kept.
    pub(crate) retention: Duration,
}

/// Settings of `saga prune`.
#[derive(Clone, Debug)]
pub(crate) struct Prune {
    pub(crate) database: Secret,
    pub(crate) retention: Duration,
}

/// Settings of a participant.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) database: Secret,
    pub(crate) connections: u32,
    pub(crate) listen: SocketAddr,
    pub(crate) broker: Broker,
}

/// Settings of `saga payment`.
#[derive(Clone, Debug)]
pub(crate) struct Payment {
    pub(crate) service: Service,
    pub(crate) account: Account,
}

/// The payment service's connection to its provider.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) url: String,
    pub(crate) timeout: Duration,
    pub(crate) http2: bool,
    pub(crate) breaker: BreakerSettings,
}

/// Settings of `saga provider`.
#[derive(Clone, Debug)]
pub(crate) struct Provider {
    pub(crate) listen: SocketAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) slow_after: Duration,
    pub(crate) very_slow_after: Duration,
}

/// Settings of `saga setup`.
#[derive(Clone, Debug)]
pub struct Setup {
    /// A database of the same server, as an administrator sees it.
    pub admin: Option<Secret>,
    /// The orchestrator's database.
    pub orchestrator: Secret,
    /// The order service's database.
    pub order: Secret,
    /// The inventory service's database.
    pub inventory: Secret,
    /// The payment service's database.
    pub payment: Secret,
    /// The password of the role that may only read.
    pub auditor: Option<Secret>,
    /// The broker.
    pub broker: Broker,
}

/// Settings of `saga all`.
#[derive(Clone, Debug)]
pub struct All {
    /// Those of `saga setup`, which it runs first.
    pub setup: Setup,
    pub(crate) orchestrator: Orchestrator,
    pub(crate) order: Service,
    pub(crate) inventory: Service,
    pub(crate) payment: Payment,
    pub(crate) provider: Provider,
}

/// Settings of `saga all --data-dir`: every role in one process, and nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Embedded {
    pub(crate) data_dir: PathBuf,
    pub(crate) front: Front,
    pub(crate) order: SocketAddr,
    pub(crate) inventory: SocketAddr,
    pub(crate) payment: SocketAddr,
    pub(crate) provider: Provider,
    pub(crate) provider_timeout: Duration,
    pub(crate) breaker: BreakerSettings,
}

/// Shown by `saga settings`.
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
  SAGA_DATABASE_CONNECTIONS         most connections of a role's pool, 2 to 200 [16]
orchestrator
  SAGA_ORCHESTRATOR_DATABASE_URL    postgres://user:password@host:5432/name (required)
  SAGA_ORCHESTRATOR_LISTEN          gRPC for clients and operators [127.0.0.1:7400]
  SAGA_ORDER_URL                    the order service's gRPC [http://127.0.0.1:7401]
  SAGA_INVENTORY_URL                the inventory service's gRPC [http://127.0.0.1:7402]
  SAGA_PAYMENT_URL                  the payment service's gRPC [http://127.0.0.1:7403]
  SAGA_STEP_TIMEOUT_MILLIS          wait for a step's first answer [3000]
  SAGA_ORDER_DEADLINE_SECONDS       how long an order may take before its payment is captured [60]
  SAGA_MAX_IN_FLIGHT                orders in progress before new ones are told to come again [4000]
  SAGA_CATALOGUE_CACHE_MILLIS       how old a list of products may be, stock included; 0: it is read from
                                    the inventory service at each call, up to 60000 [1000]
  SAGA_RETENTION_DAYS               how long ended sagas, their histories and idempotency keys are kept
                                    after the oldest that has not ended, 7 to 36500 [7]
  SAGA_RETENTION_SECONDS_FOR_TESTS  the same, shorter than is safe: an old message may then be run
                                    again, and an old key mean a new order [none]
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
";

/// The environment while it is being read.
pub struct Environment<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    mistakes: Vec<String>,
}

/// Reads one role's settings.
///
/// # Errors
/// Everything that is wrong with them.
pub fn read<T>(
    get: &dyn Fn(&str) -> Option<String>,
    role: impl FnOnce(&mut Environment<'_>) -> T,
) -> Result<T, Mistakes> {
    let mut environment = Environment { get, mistakes: Vec::new() };
    let settings = role(&mut environment);
    if environment.mistakes.is_empty() { Ok(settings) } else { Err(Mistakes(environment.mistakes)) }
}

/// The process's own environment.
pub fn process(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Environment<'_> {
    pub(crate) fn telemetry(&mut self) -> saga_telemetry::Settings {
        saga_telemetry::Settings {
            service: "saga".to_owned(),
            filter: self.text("SAGA_LOG", "info"),
            format: self.parsed("SAGA_LOG_FORMAT").unwrap_or(Format::Human),
            metrics_listen: self
                .parsed_with("SAGA_METRICS_LISTEN", "is no address like 127.0.0.1:9400"),
            traces: self.traces(),
        }
    }

    fn traces(&mut self) -> Option<saga_telemetry::Traces> {
        let wrong = "is no number from 0 to 1";
        let ratio: f64 = self.parsed_with("SAGA_TRACE_RATIO", wrong).unwrap_or(1.0);
        if !(0.0..=1.0).contains(&ratio) {
            self.wrong("SAGA_TRACE_RATIO", wrong);
        }
        (self.get)("SAGA_OTLP_ENDPOINT")?;
        Some(saga_telemetry::Traces { endpoint: self.http("SAGA_OTLP_ENDPOINT", ""), ratio })
    }

    pub(crate) fn orchestrator(&mut self) -> Orchestrator {
        Orchestrator {
            database: self.database("SAGA_ORCHESTRATOR_DATABASE_URL"),
            connections: self.connections(),
            broker: self.broker(),
            order_url: self.http("SAGA_ORDER_URL", "http://127.0.0.1:7401"),
            inventory_url: self.http("SAGA_INVENTORY_URL", "http://127.0.0.1:7402"),
            payment_url: self.http("SAGA_PAYMENT_URL", "http://127.0.0.1:7403"),
            front: self.front(),
        }
    }

    fn front(&mut self) -> Front {
        Front {
            listen: self.listen("SAGA_ORCHESTRATOR_LISTEN", 7400),
            step_timeout_millis: self.number("SAGA_STEP_TIMEOUT_MILLIS", 50, 600_000),
            order_deadline: Duration::from_secs(
                self.number("SAGA_ORDER_DEADLINE_SECONDS", 1, 86_400).unwrap_or(60),
            ),
            max_in_flight: self.number("SAGA_MAX_IN_FLIGHT", 1, 10_000_000).unwrap_or(4_000),
            catalogue_cache: self
                .number("SAGA_CATALOGUE_CACHE_MILLIS", 0, 60_000)
                .map_or(saga_server::DEFAULT_CATALOGUE_CACHE, Duration::from_millis),
            retention: self.retention(),
        }
    }

    fn retention(&mut self) -> Duration {
        let least = saga_engine::limits::LEAST_RETENTION;
        let days = self.number("SAGA_RETENTION_DAYS", least.as_secs() / 86_400, 36_500);
        let kept = days.map_or(least, |days| Duration::from_secs(days * 86_400));
        // Its name says what it is for: below the least retention, promises are not kept.
        let short = self.number("SAGA_RETENTION_SECONDS_FOR_TESTS", 1, 86_400);
        if short.is_some() && days.is_some() {
            self.wrong("SAGA_RETENTION_DAYS", "and SAGA_RETENTION_SECONDS_FOR_TESTS are both set");
        }
        short.map_or(kept, Duration::from_secs)
    }

    /// Settings of `saga prune`. An embedded system's database is a file, so it has no URL.
    pub(crate) fn prune(&mut self, embedded: bool) -> Prune {
        let database = if embedded {
            Secret(String::new())
        } else {
            self.database("SAGA_ORCHESTRATOR_DATABASE_URL")
        };
        Prune { database, retention: self.retention() }
    }

    pub(crate) fn order(&mut self) -> Service {
        self.service("SAGA_ORDER_DATABASE_URL", "SAGA_ORDER_LISTEN", 7401)
    }

    pub(crate) fn inventory(&mut self) -> Service {
        self.service("SAGA_INVENTORY_DATABASE_URL", "SAGA_INVENTORY_LISTEN", 7402)
    }

    /// Settings of the payment service. `http2` is the default for its provider.
    pub(crate) fn payment(&mut self, http2: bool) -> Payment {
        Payment {
            service: self.service("SAGA_PAYMENT_DATABASE_URL", "SAGA_PAYMENT_LISTEN", 7403),
            account: Account {
                url: self.http("SAGA_PROVIDER_URL", "http://127.0.0.1:7404"),
                timeout: self.provider_timeout(),
                http2: self.yes_or_no("SAGA_PROVIDER_HTTP2", http2),
                breaker: self.breaker(),
            },
        }
    }

    fn breaker(&mut self) -> BreakerSettings {
        let usual = BreakerSettings::default();
        let millis = |pause: Duration| pause.as_millis() as u64;
        let failures = self.number("SAGA_PROVIDER_BREAKER_FAILURES", 1, 1_000);
        let first = "SAGA_PROVIDER_BREAKER_FIRST_PAUSE_MILLIS";
        let longest = "SAGA_PROVIDER_BREAKER_LONGEST_PAUSE_MILLIS";
        let breaker = BreakerSettings {
            failures: failures.map_or(usual.failures, |failures| failures as u32),
            first_pause: self.millis(first, millis(usual.first_pause)),
            longest_pause: self.millis(longest, millis(usual.longest_pause)),
        };
        if breaker.first_pause > breaker.longest_pause {
            self.wrong(first, &format!("is longer than {longest}"));
        }
        breaker
    }

    fn provider_timeout(&mut self) -> Duration {
        self.millis("SAGA_PROVIDER_TIMEOUT_MILLIS", 2_000)
    }

    pub(crate) fn provider(&mut self) -> Provider {
        Provider {
            listen: self.listen("SAGA_PROVIDER_LISTEN", 7404),
            data_dir: self.text("SAGA_PROVIDER_DATA_DIR", "saga-data/provider").into(),
            slow_after: self.millis("SAGA_PROVIDER_SLOW_MILLIS", 1_500),
            very_slow_after: self.millis("SAGA_PROVIDER_VERY_SLOW_MILLIS", 20_000),
        }
    }

    pub(crate) fn setup(&mut self) -> Setup {
        Setup {
            admin: self.secret("SAGA_ADMIN_DATABASE_URL"),
            orchestrator: self.database("SAGA_ORCHESTRATOR_DATABASE_URL"),
            order: self.database("SAGA_ORDER_DATABASE_URL"),
            inventory: self.database("SAGA_INVENTORY_DATABASE_URL"),
            payment: self.database("SAGA_PAYMENT_DATABASE_URL"),
            auditor: self.auditor(),
            broker: self.broker(),
        }
    }

    fn auditor(&mut self) -> Option<Secret> {
        let password = self.secret("SAGA_AUDIT_PASSWORD");
        if password.is_some() && !self.is_given("SAGA_ADMIN_DATABASE_URL") {
            self.wrong("SAGA_AUDIT_PASSWORD", "needs SAGA_ADMIN_DATABASE_URL, to make the role");
        }
        password
    }

    /// Settings of `saga all`.
    pub fn all(&mut self) -> All {
        let all = All {
            setup: self.setup(),
            orchestrator: self.orchestrator(),
            order: self.order(),
            inventory: self.inventory(),
            // `saga all` brings its own provider along.
            payment: self.payment(true),
            provider: self.provider(),
        };
        // Several roles read the same variables: each mistake is reported once.
        self.mistakes.sort();
        self.mistakes.dedup();
        all
    }

    /// The databases that `saga audit` reads. Roles that may only read are enough.
    pub(crate) fn audit(&mut self) -> crate::audit::Servers {
        crate::audit::Servers {
            orchestrator: self.database("SAGA_ORCHESTRATOR_DATABASE_URL"),
            order: self.database("SAGA_ORDER_DATABASE_URL"),
            inventory: self.database("SAGA_INVENTORY_DATABASE_URL"),
            payment: self.database("SAGA_PAYMENT_DATABASE_URL"),
            provider_data_dir: self.provider().data_dir,
        }
    }

    /// Settings of an embedded system. The services know each other's addresses, because they share
    /// the process, and everything durable is below one directory.
    pub(crate) fn embedded(&mut self, data_dir: PathBuf) -> Embedded {
        Embedded {
            front: self.front(),
            order: self.listen("SAGA_ORDER_LISTEN", 7401),
            inventory: self.listen("SAGA_INVENTORY_LISTEN", 7402),
            payment: self.listen("SAGA_PAYMENT_LISTEN", 7403),
            provider: Provider { data_dir: data_dir.join("provider"), ..self.provider() },
            provider_timeout: self.provider_timeout(),
            breaker: self.breaker(),
            data_dir,
        }
    }

    fn service(&mut self, database: &str, listen: &str, port: u16) -> Service {
        Service {
            database: self.database(database),
            connections: self.connections(),
            listen: self.listen(listen, port),
            broker: self.broker(),
        }
    }

    fn broker(&mut self) -> Broker {
        let prefix = self.text("SAGA_PREFIX", "");
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
        if prefix.len() > 60 || !prefix.bytes().all(allowed) {
            self.wrong("SAGA_PREFIX", "may hold up to 60 of a-z, 0-9, '.', '-' and '_'");
        }
        Broker {
            url: self.broker_url("SAGA_AMQP_URL"),
            prefix,
            declares: self.yes_or_no("SAGA_DECLARE_TOPOLOGY", true),
        }
    }

    /// A URL that the adapter would refuse is refused here, with every other mistake.
    fn broker_url(&mut self, name: &str) -> Secret {
        let url = self.url(name, &["amqp://", "amqps://"]);
        if !url.0.is_empty()
            && let Err(why) = saga_rabbitmq::Settings::check_url(&url.0)
        {
            self.wrong(name, &format!("cannot be used: {why}"));
        }
        url
    }

    fn database(&mut self, name: &str) -> Secret {
        self.url(name, &["postgres://", "postgresql://"])
    }

    fn connections(&mut self) -> u32 {
        self.number("SAGA_DATABASE_CONNECTIONS", 2, 200).map_or(16, |n| n as u32)
    }

    /// A required URL, which may hold a password and is never shown.
    fn url(&mut self, name: &str, schemes: &[&str]) -> Secret {
        match secrets::read(self.get, name) {
            Err(why) => self.wrong(name, &why),
            Ok(None) => self.wrong(name, "is not set"),
            Ok(Some(url)) if !schemes.iter().any(|scheme| url.starts_with(scheme)) => {
                self.wrong(name, &format!("does not begin with {}", schemes[0]));
            }
            Ok(Some(url)) => return Secret(url),
        }
        Secret(String::new())
    }

    /// An optional secret, which is never shown.
    fn secret(&mut self, name: &str) -> Option<Secret> {
        let secret = secrets::read(self.get, name);
        secret.map_err(|why| self.wrong(name, &why)).ok().flatten().map(Secret)
    }

    fn is_given(&self, name: &str) -> bool {
        !matches!(secrets::read(self.get, name), Ok(None))
    }

    fn yes_or_no(&mut self, name: &str, default: bool) -> bool {
        match (self.get)(name).as_deref() {
            None => default,
            Some("yes") => true,
            Some("no") => false,
            Some(_) => {
                self.wrong(name, "is neither yes nor no");
                default
            }
        }
    }

    fn http(&mut self, name: &str, default: &str) -> String {
        let url = self.text(name, default);
        if !url.starts_with("http://") {
            self.wrong(name, "does not begin with http:// (TLS is not built in yet)");
        }
        url
    }

    fn listen(&mut self, name: &str, port: u16) -> SocketAddr {
        let default = SocketAddr::from(([127, 0, 0, 1], port));
        let address =
            self.parsed_with(name, "is no address like 127.0.0.1:7400").unwrap_or(default);
        let allowed = (self.get)("SAGA_ALLOW_UNAUTHENTICATED").as_deref() == Some("yes");
        if !address.ip().is_loopback() && !allowed {
            self.wrong(
                name,
                "is not a loopback address; there is no authentication yet \
                 (SAGA_ALLOW_UNAUTHENTICATED=yes if the network itself keeps strangers out)",
            );
        }
        address
    }

    fn millis(&mut self, name: &str, default: u64) -> Duration {
        Duration::from_millis(self.number(name, 1, 600_000).unwrap_or(default))
    }

    fn number(&mut self, name: &str, least: u64, most: u64) -> Option<u64> {
        let text = (self.get)(name)?;
        match text.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Some(number),
            Ok(_) | Err(_) => {
                self.wrong(name, &format!("is {text:?}, not a number from {least} to {most}"));
                None
            }
        }
    }

    fn text(&self, name: &str, default: &str) -> String {
        (self.get)(name).unwrap_or_else(|| default.to_owned())
    }

    fn parsed<T: FromStr<Err = String>>(&mut self, name: &str) -> Option<T> {
        let text = (self.get)(name)?;
        text.parse().map_err(|why: String| self.wrong(name, &why)).ok()
    }

    fn parsed_with<T: FromStr>(&mut self, name: &str, why: &str) -> Option<T> {
        let text = (self.get)(name)?;
        text.parse().map_err(|_| self.wrong(name, why)).ok()
    }

    fn wrong(&mut self, name: &str, why: &str) {
        self.mistakes.push(format!("{name} {why}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn defaults_are_safe() {
        let get = of(&[
            ("SAGA_ORDER_DATABASE_URL", "postgres://o:secret@127.0.0.1/o"),
            ("SAGA_AMQP_URL", "amqp://a:secret@127.0.0.1"),
        ]);
        let order = read(&get, |env| env.order()).expect("complete");
        assert!(order.listen.ip().is_loopback());
        assert!(!format!("{order:?}").contains("secret"));
    }

    #[test]
    fn all_mistakes_are_listed_at_once_and_no_secret_is_shown() {
        let get = of(&[
            ("SAGA_ORCHESTRATOR_DATABASE_URL", "mysql://root:secret@127.0.0.1"),
            ("SAGA_ORCHESTRATOR_LISTEN", "0.0.0.0:7400"),
            ("SAGA_DATABASE_CONNECTIONS", "0"),
            ("SAGA_STEP_TIMEOUT_MILLIS", "-5s"),
            ("SAGA_CATALOGUE_CACHE_MILLIS", "1s"),
            ("SAGA_PAYMENT_URL", "https://127.0.0.1"),
        ]);
        let mistakes = read(&get, |env| env.orchestrator()).expect_err("seven mistakes");
        let text = mistakes.to_string();
        for name in [
            "SAGA_ORCHESTRATOR_DATABASE_URL",
            "SAGA_ORCHESTRATOR_LISTEN",
            "SAGA_AMQP_URL",
            "SAGA_DATABASE_CONNECTIONS",
            "SAGA_STEP_TIMEOUT_MILLIS",
            "SAGA_CATALOGUE_CACHE_MILLIS",
            "SAGA_PAYMENT_URL",
        ] {
            assert!(text.contains(name), "{name} in {text}");
        }
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn the_breakers_pauses_must_fit_each_other_and_are_listed_with_the_rest() {
        let mut pairs = vec![
            ("SAGA_PAYMENT_DATABASE_URL", "postgres://p:x@127.0.0.1/p"),
            ("SAGA_AMQP_URL", "amqp://127.0.0.1"),
            ("SAGA_PROVIDER_BREAKER_FIRST_PAUSE_MILLIS", "250"),
        ];
        let breaker = read(&of(&pairs), |env| env.payment(false)).expect("sound").account.breaker;
        assert_eq!(breaker.first_pause, Duration::from_millis(250));
        assert_eq!(breaker.longest_pause, BreakerSettings::default().longest_pause);
        pairs.push(("SAGA_PROVIDER_BREAKER_LONGEST_PAUSE_MILLIS", "200"));
        pairs.push(("SAGA_PROVIDER_BREAKER_FAILURES", "none"));
        let mistakes = read(&of(&pairs), |env| env.payment(false)).expect_err("two").to_string();
        for name in ["SAGA_PROVIDER_BREAKER_FIRST_PAUSE_MILLIS is longer", "BREAKER_FAILURES is"] {
            assert!(mistakes.contains(name), "{mistakes}");
        }
    }

    #[test]
    fn a_broker_that_the_adapter_would_refuse_is_a_mistake_among_the_others() {
        for (url, why) in [
            (
                "amqps://a:secret@127.0.0.1",
                "SAGA_AMQP_URL cannot be used: the broker's URL asks for amqps",
            ),
            ("amqp://a:secret@[::1]/%2f", "SAGA_AMQP_URL cannot be used"),
            ("http://a:secret@127.0.0.1", "SAGA_AMQP_URL does not begin with amqp://"),
        ] {
            let pairs = [("SAGA_AMQP_URL", url)];
            let mistakes = read(&of(&pairs), |env| env.order()).expect_err("two").to_string();
            assert!(mistakes.contains(why), "{mistakes}");
            assert!(mistakes.contains("SAGA_ORDER_DATABASE_URL is not set"), "{mistakes}");
            assert!(!mistakes.contains("secret"), "{mistakes}");
        }
    }

    #[test]
    fn the_catalogue_is_kept_for_a_second_or_as_set_or_not_at_all() {
        let read = |pairs: &[(&str, &str)]| read(&of(pairs), |env| env.front().catalogue_cache);
        let set = |millis| read(&[("SAGA_CATALOGUE_CACHE_MILLIS", millis)]);
        assert_eq!(read(&[]).expect("the default"), Duration::from_secs(1));
        assert_eq!(set("250").expect("set"), Duration::from_millis(250));
        assert_eq!(set("0").expect("off"), Duration::ZERO);
        for wrong in ["1s", "-1", "60001", "1.5"] {
            let mistakes = set(wrong).expect_err("no number").to_string();
            assert!(mistakes.contains("SAGA_CATALOGUE_CACHE_MILLIS"), "{mistakes}");
        }
    }

    #[test]
    fn a_url_may_come_from_a_file_but_not_from_two_places() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), "postgres://o:secret@127.0.0.1/o\n").expect("written");
        let path = file.path().to_str().expect("UTF-8");
        let mut pairs =
            vec![("SAGA_ORDER_DATABASE_URL_FILE", path), ("SAGA_AMQP_URL", "amqp://127.0.0.1")];
        let order = read(&of(&pairs), |env| env.order()).expect("complete");
        assert_eq!(order.database.0, "postgres://o:secret@127.0.0.1/o");
        pairs.push(("SAGA_ORDER_DATABASE_URL", "postgres://o:s3cret@127.0.0.1/o"));
        pairs.push(("SAGA_AMQP_URL_FILE", "/nowhere/at/all"));
        let mistakes = read(&of(&pairs), |env| env.order()).expect_err("two mistakes").to_string();
        assert_eq!(mistakes.matches("both set").count(), 2, "{mistakes}");
        assert!(!mistakes.contains("cret"), "{mistakes}");
    }

    #[test]
    fn an_auditor_needs_an_administrator() {
        let mut pairs = vec![
            ("SAGA_ORCHESTRATOR_DATABASE_URL", "postgres://s:x@127.0.0.1/s"),
            ("SAGA_ORDER_DATABASE_URL", "postgres://o:x@127.0.0.1/o"),
            ("SAGA_INVENTORY_DATABASE_URL", "postgres://i:x@127.0.0.1/i"),
            ("SAGA_PAYMENT_DATABASE_URL", "postgres://p:x@127.0.0.1/p"),
            ("SAGA_AMQP_URL", "amqp://127.0.0.1"),
            ("SAGA_DECLARE_TOPOLOGY", "no"),
            ("SAGA_AUDIT_PASSWORD", "s3cret"),
        ];
        let mistakes = read(&of(&pairs), |env| env.setup()).expect_err("one").to_string();
        assert!(mistakes.contains("SAGA_ADMIN_DATABASE_URL"), "{mistakes}");
        assert!(!mistakes.contains("s3cret"), "{mistakes}");
        pairs.push(("SAGA_ADMIN_DATABASE_URL", "postgres://a:x@127.0.0.1/a"));
        let setup = read(&of(&pairs), |env| env.setup()).expect("complete");
        assert_eq!(setup.auditor.expect("given").0, "s3cret");
        assert!(!setup.broker.declares);
    }

    #[test]
    fn what_is_kept_for_less_than_a_week_must_be_said_to_be_a_test() {
        let read = |pairs: &[(&str, &str)]| read(&of(pairs), |env| env.prune(true).retention);
        let day = Duration::from_secs(86_400);
        assert_eq!(read(&[]).expect("the default"), day * 7);
        assert_eq!(read(&[("SAGA_RETENTION_DAYS", "30")]).expect("longer"), day * 30);
        assert!(read(&[("SAGA_RETENTION_DAYS", "6")]).is_err());
        assert!(read(&[("SAGA_RETENTION_DAYS", "0")]).is_err());
        let test = ("SAGA_RETENTION_SECONDS_FOR_TESTS", "3");
        assert_eq!(read(&[test]).expect("a test"), Duration::from_secs(3));
        assert!(read(&[test, ("SAGA_RETENTION_DAYS", "7")]).is_err());
    }

    #[test]
    fn every_variable_is_in_the_help() {
        let source = include_str!("config.rs");
        let (code, _) = source.split_once("#[cfg(test)]").expect("this module");
        let words = code.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
        for name in words.filter(|word| word.starts_with("SAGA_")) {
            assert!(HELP.contains(name), "{name}");
        }
    }
}
