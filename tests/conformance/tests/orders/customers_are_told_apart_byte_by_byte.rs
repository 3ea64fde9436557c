//! Case, spaces and the two spellings of an accent make different customers.

use saga_kit::Store;
use saga_order::table::{Orders, Page, Reads};

use super::{Book, everything, order, saga};

async fn property<S: Store<Tx: Orders>, R: Reads>(book: &Book<S, R>) {
    let customers = [
        "",
        " ",
        "Ada",
        "ada",
        "ADA",
        "Ada ",
        " Ada",
        "Ad\u{e1}",
        "Ada\u{301}",
        "Stra\u{df}e",
        "Strasse",
        "%",
        "_",
        "A%",
        "1",
        "01",
        "1.0",
        "\u{1F375}",
    ];
    for customer in customers {
        book.insert(&[order(saga(), customer, &[])]).await.expect("it is new");
    }
    for customer in customers {
        let page = Page { customer: Some(customer.to_owned()), ..everything() };
        let found: Vec<_> = book.page(&page).await.into_iter().map(|o| o.customer).collect();
        assert_eq!(found, [customer]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    property(&Book::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    property(&Book::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory() {
    property(&Book::in_memory()).await;
}
