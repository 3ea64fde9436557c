//! The bench against a server whose answers the test controls: its counts, and its checks of the
//! catalogue.

use std::process::Command;

use saga_proto::inventory::v1::Product;
use saga_test_support::scripted_shop::open;
use serde_json::Value;

/// The result of a command line.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the bench to its end.
async fn bench(server: &str, arguments: &[&str]) -> Ran {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_saga-bench"));
    bench.args(arguments).args(["--server", server]);
    let output =
        tokio::task::spawn_blocking(move || bench.output()).await.expect("it does not panic");
    let output = output.expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bench_measures_each_level_and_checks_the_books() {
    let (shop, server) = open().await;
    let args = [
        "--in-flight",
        "1,4",
        "--open",
        "50,0.5x",
        "--orders",
        "100",
        "--seconds",
        "0.5",
        "--warm-up",
        "0.1",
        "--rounds",
        "2",
        "--skus",
        "7",
        "--json",
    ];
    let ran = bench(&server, &args).await;
    let answer: Value = serde_json::from_str(&ran.out).expect("one JSON object");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{answer}");
    for (level, in_flight) in [(0, 1), (1, 4)] {
        let level = &answer["levels"][level];
        assert_eq!(level["inFlight"], in_flight);
        let count = |what: &str| level[what].as_u64().expect("a count");
        let (confirmed, declined) = (count("confirmed"), count("declined"));
        // There were two rounds, each of at least a hundred orders or half a second.
        assert!(confirmed >= 20, "{level}");
        assert!((confirmed / 15..=confirmed / 5).contains(&declined), "{level}");
        assert_eq!(level["rounds"].as_array().map(Vec::len), Some(2));
        let (rate, local) = (&level["sagasPerSecond"], &level["localTransactionsPerSaga"]);
        assert!(rate.as_f64() > Some(0.0) && local.as_f64() > Some(5.8), "{level}");
    }
    let rate = &answer["rates"][0];
    assert_eq!(rate["offeredPerSecond"], 50.0);
    let sent = rate["sent"].as_u64().expect("a count");
    assert!((40..=60).contains(&sent), "50 a second, twice for half a second: {rate}");
    assert_eq!(answer["rates"][1]["shareOfSaturation"], 0.5);
    assert_eq!(answer["limits"], Value::Null);

    let sell = |product: &mut Product| product.sold += 1;
    shop.products.lock().expect("the server is idle").values_mut().for_each(sell);
    let ran = bench(&server, &args[..args.len() - 1]).await;
    assert_eq!(ran.code, Some(1), "seven were sold that nobody received:\n{}", ran.out);
    assert!(ran.out.contains("It does not add up:\n  Of 7 products"), "{}", ran.out);
}
