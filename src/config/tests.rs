use std::time::Duration;

use saga_payment::BreakerSettings;

use super::read;

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
fn new_sagas_begin_under_the_newest_version_or_under_a_hosted_one_that_is_set() {
    let begins = |pairs: &[(&str, &str)]| {
        let front = read(&of(pairs), |env| env.front());
        front.map(|front| front.hosted.begins("place-order").expect("hosted").version())
    };
    assert_eq!(begins(&[]).expect("the default"), 2);
    assert_eq!(begins(&[("SAGA_BEGIN_PLACE_ORDER", "1")]).expect("an older one"), 1);
    let other = [("SAGA_BEGIN_RETURN_ORDER", "2"), ("SAGA_BEGIN_PLACE_ORDER", "3")];
    let mistakes = begins(&other).expect_err("two mistakes").to_string();
    for mistake in [
        "SAGA_BEGIN_PLACE_ORDER cannot be used: place-order 3 is not hosted; hosted are [1, 2]",
        "SAGA_BEGIN_RETURN_ORDER cannot be used: return-order 2 is not hosted; hosted are [1]",
    ] {
        assert!(mistakes.contains(mistake), "{mistakes}");
    }
}

#[test]
fn callers_elsewhere_are_clients_and_can_never_act() {
    let elsewhere = |pairs: &[(&str, &str)]| {
        let front = read(&of(pairs), |env| env.front());
        front.map(|front| front.elsewhere.names().map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(elsewhere(&[]).expect("the default"), ["client"]);
    let more = [("SAGA_ANONYMOUS_ROLES", "client  stock.price stock")];
    assert_eq!(elsewhere(&more).expect("allowed"), ["client", "stock", "stock.price"]);
    for wrong in ["act", "client act", "approve", "admin", "client,view"] {
        let mistakes = elsewhere(&[("SAGA_ANONYMOUS_ROLES", wrong)]).expect_err(wrong);
        assert!(mistakes.to_string().contains("SAGA_ANONYMOUS_ROLES may hold only"), "{mistakes}");
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
