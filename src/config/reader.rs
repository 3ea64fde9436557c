//! Reads settings once from the environment, and lists all mistakes at once.

use std::{
    collections::BTreeSet, fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration,
};

use saga_core::{Hosted, LEAST_RETENTION};
use saga_identity::{AUDITOR, CLIENT, Roles, VIEW};
use saga_payment::BreakerSettings;
use saga_telemetry::Format;

use super::{
    Account, All, Broker, Embedded, Front, Orchestrator, Payment, Provider, Prune, Service, Setup,
};
use crate::secrets::{self, Secret};

/// The environment, and the mistakes that were found in it so far.
pub struct Environment<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    mistakes: Vec<String>,
}

/// Reads one role's settings.
///
/// # Errors
/// All mistakes in the settings.
pub fn read<T>(
    get: &dyn Fn(&str) -> Option<String>,
    role: impl FnOnce(&mut Environment<'_>) -> T,
) -> Result<T, Mistakes> {
    let mut environment = Environment { get, mistakes: Vec::new() };
    let settings = role(&mut environment);
    if environment.mistakes.is_empty() { Ok(settings) } else { Err(Mistakes(environment.mistakes)) }
}

/// Returns a variable of the process's environment. An empty variable counts as missing.
pub fn process(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The mistakes in the environment, as one sentence for each variable.
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

    pub(super) fn front(&mut self) -> Front {
        Front {
            listen: self.listen("SAGA_ORCHESTRATOR_LISTEN", 7400),
            elsewhere: self.anonymous_roles(),
            hosted: self.hosted(),
            order_deadline: Duration::from_secs(
                self.number("SAGA_ORDER_DEADLINE_SECONDS", 1, 86_400).unwrap_or(60),
            ),
            max_in_flight: self.number("SAGA_MAX_IN_FLIGHT", 1, 10_000_000).unwrap_or(4_000),
            catalogue_cache: self
                .number("SAGA_CATALOGUE_CACHE_MILLIS", 0, 60_000)
                .map_or(saga_front::DEFAULT_CATALOGUE_CACHE, Duration::from_millis),
            retention: self.retention(),
            accepts_unproven_replies: self.yes_or_no("SAGA_ACCEPT_UNPROVEN_REPLIES", false),
        }
    }

    /// Returns the roles of callers without credentials that are not on this machine. They can
    /// never have roles of operators who act, because the history would not know who acted.
    fn anonymous_roles(&mut self) -> Roles {
        let name = "SAGA_ANONYMOUS_ROLES";
        let allowed = [CLIENT, VIEW, AUDITOR, saga_front::STOCK, saga_front::STOCK_PRICE];
        let text = self.text(name, CLIENT.0);
        let mut names = text.split_ascii_whitespace();
        if names.any(|name| allowed.iter().all(|role| role.0 != name)) {
            let allowed = allowed.map(|role| role.0).join(", ");
            self.wrong(name, &format!("may hold only {allowed}, with spaces in between"));
        }
        Roles::named(text.split_ascii_whitespace())
    }

    /// Returns the definitions, and the versions under which new sagas begin.
    fn hosted(&mut self) -> Hosted {
        let step_timeout_millis = self.number("SAGA_STEP_TIMEOUT_MILLIS", 50, 600_000);
        let mut hosted = saga_definitions::hosted(step_timeout_millis);
        let names: BTreeSet<&str> = hosted.names().map(|(name, _)| name).collect();
        for name in names {
            let variable = format!("SAGA_BEGIN_{}", name.to_uppercase().replace('-', "_"));
            let Some(version) = self.number(&variable, 1, u32::MAX.into()) else { continue };
            match hosted.clone().beginning(name, version as u32) {
                Ok(beginning) => hosted = beginning,
                Err(why) => self.wrong(&variable, &format!("cannot be used: {why}")),
            }
        }
        hosted
    }

    fn retention(&mut self) -> Duration {
        let least = LEAST_RETENTION;
        let days = self.number("SAGA_RETENTION_DAYS", least.as_secs() / 86_400, 36_500);
        let kept = days.map_or(least, |days| Duration::from_secs(days * 86_400));
        let short = self.short_retention();
        if short.is_some() && days.is_some() {
            self.wrong("SAGA_RETENTION_DAYS", "and SAGA_RETENTION_SECONDS_FOR_TESTS are both set");
        }
        short.unwrap_or(kept)
    }

    /// Reads a retention that is only for tests: below [`LEAST_RETENTION`], promises are not kept.
    fn short_retention(&mut self) -> Option<Duration> {
        self.number("SAGA_RETENTION_SECONDS_FOR_TESTS", 1, 86_400).map(Duration::from_secs)
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

    /// Settings of the payment service. `http2` is the default for the connection to its provider.
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
            // The provider that `saga all` starts supports HTTP/2.
            payment: self.payment(true),
            provider: self.provider(),
        };
        // Several roles read the same variables, and each mistake is reported only once.
        self.mistakes.sort();
        self.mistakes.dedup();
        all
    }

    /// The databases that `saga audit` reads. A role with read access only is enough.
    pub(crate) fn audit(&mut self) -> crate::audit::Servers {
        crate::audit::Servers {
            orchestrator: self.database("SAGA_ORCHESTRATOR_DATABASE_URL"),
            order: self.database("SAGA_ORDER_DATABASE_URL"),
            inventory: self.database("SAGA_INVENTORY_DATABASE_URL"),
            payment: self.database("SAGA_PAYMENT_DATABASE_URL"),
            provider_data_dir: self.provider().data_dir,
        }
    }

    /// Settings of `saga reconcile`.
    pub(crate) fn reconcile(&mut self) -> crate::reconcile::Settings {
        let (servers, broker) = (self.audit(), self.broker());
        crate::reconcile::Settings { servers, broker, hosted: self.hosted() }
    }

    /// Settings of an embedded system. All services share one process, so they need no settings to
    /// find each other. All durable data is below one directory.
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
            least_retention: self.short_retention().unwrap_or(LEAST_RETENTION),
        }
    }

    pub(super) fn prefix(&mut self) -> String {
        let prefix = self.text("SAGA_PREFIX", "");
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
        if prefix.len() > 60 || !prefix.bytes().all(allowed) {
            self.wrong("SAGA_PREFIX", "may hold up to 60 of a-z, 0-9, '.', '-' and '_'");
        }
        prefix
    }

    fn broker(&mut self) -> Broker {
        let prefix = self.prefix();
        Broker {
            url: self.broker_url("SAGA_AMQP_URL"),
            prefix,
            declares: self.yes_or_no("SAGA_DECLARE_TOPOLOGY", true),
            users: self.broker_users("SAGA_BROKER_USERS"),
        }
    }

    /// Reads the broker's URL. Also checks it as the adapter will, so that this mistake is reported
    /// together with the others.
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

    /// Reads a required URL. It may hold a password, so it is never printed.
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

    /// Reads an optional secret. It is never printed.
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

    pub(super) fn text(&self, name: &str, default: &str) -> String {
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

    pub(super) fn wrong(&mut self, name: &str, why: &str) {
        self.mistakes.push(format!("{name} {why}"));
    }
}
