use saga_messaging::Transport;

use super::bench::{Bench, Memory, Rabbit, commands, id, stock, take_one};

async fn holds(bench: impl Bench) {
    let transport = bench.process().await;
    let mut consumer = bench.process().await.consume(stock(), 16);
    let publishing = async {
        for part in 0..20 {
            let messages = commands(part * 25..(part + 1) * 25);
            transport.publish(messages).await.expect("confirmed");
        }
    };
    let consuming = async {
        for expected in 0..500 {
            let taken = take_one(&mut consumer).await;
            assert_eq!(id(&taken), expected.to_string());
            taken.ack.ack();
        }
    };
    tokio::join!(publishing, consuming);
}

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
