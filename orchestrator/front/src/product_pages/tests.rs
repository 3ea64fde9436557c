use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::{sync::Semaphore, task::JoinHandle};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// The cached pages of a shop. Each read of its stock waits for a permit.
#[derive(Clone)]
struct Shop {
    pages: ProductPages,
    stock: Arc<Mutex<Vec<Product>>>,
    reads: Arc<AtomicUsize>,
    permits: Arc<Semaphore>,
}

fn product(sku: &str, available: i64) -> Product {
    Product { sku: sku.to_owned(), available, ..Product::default() }
}

impl Shop {
    fn new(time_to_live: Duration) -> Self {
        let stock = ["cup", "pot", "tray"].map(|sku| product(sku, 1));
        Self {
            pages: ProductPages::new(time_to_live),
            stock: Arc::new(Mutex::new(stock.into())),
            reads: Arc::default(),
            permits: Arc::new(Semaphore::new(1_000)),
        }
    }

    /// Creates a shop whose reads wait until the test calls [`Self::answer`].
    fn slow() -> Self {
        Self { permits: Arc::new(Semaphore::new(0)), ..Self::new(SECOND) }
    }

    /// Returns the available quantities of the products on a page, in order.
    async fn list(&self, after: &str, limit: i32) -> Result<Vec<i64>, Status> {
        let (shop, page) = (self.clone(), Page { after: after.to_owned(), limit });
        let wanted = page.clone();
        let read = async move {
            shop.reads.fetch_add(1, Ordering::Relaxed);
            let stock = shop.stock.lock().expect("sound").clone();
            shop.permits.acquire().await.expect("open").forget();
            let take = usize::try_from(wanted.limit).expect("positive");
            Ok(stock.into_iter().filter(|p| p.sku > wanted.after).take(take).collect())
        };
        let products = self.pages.get(page, read).await?;
        Ok(products.iter().map(|product| product.available).collect())
    }

    /// Begins a call, and waits until it has begun its read.
    async fn begin(&self) -> JoinHandle<Result<Vec<i64>, Status>> {
        let shop = self.clone();
        let call = tokio::spawn(async move { shop.list("", 50).await });
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        call
    }

    fn answer(&self, reads: usize) {
        self.permits.add_permits(reads);
    }

    fn set(&self, sku: &str, available: i64) -> Product {
        let mut stock = self.stock.lock().expect("sound");
        stock.retain(|product| product.sku != sku);
        stock.push(product(sku, available));
        stock.sort_by(|a, b| a.sku.cmp(&b.sku));
        product(sku, available)
    }

    /// Restocks a product, with the answer at once.
    fn restock(&self, sku: &str, available: i64) {
        let restocking = self.pages.restocking();
        let product = self.set(sku, available);
        self.pages.restocked(&restocking, &product);
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_is_read_once_within_its_time_and_again_after_it() {
    let shop = Shop::new(SECOND);
    assert_eq!(shop.list("", 50).await.expect("read"), [1, 1, 1]);
    shop.set("cup", 0);
    tokio::time::advance(Duration::from_millis(999)).await;
    assert_eq!(shop.list("", 50).await.expect("kept"), [1, 1, 1]);
    assert_eq!(shop.reads(), 1);
    assert_eq!(shop.list("cup", 50).await.expect("another page"), [1, 1]);
    assert_eq!(shop.list("", 1).await.expect("another size"), [0]);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(shop.list("", 50).await.expect("read"), [0, 1, 1]);
    assert_eq!(shop.reads(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_page_is_as_old_as_the_beginning_of_its_read() {
    let shop = Shop::slow();
    let first = shop.begin().await;
    tokio::time::advance(SECOND).await;
    // The second call must not join the first read, whose answer may be too old for it.
    shop.set("cup", 0);
    let second = shop.begin().await;
    shop.answer(2);
    assert_eq!(first.await.expect("no panic").expect("read"), [1, 1, 1]);
    assert_eq!(second.await.expect("no panic").expect("read"), [0, 1, 1]);
    assert_eq!(shop.list("", 50).await.expect("kept"), [0, 1, 1]);
    assert_eq!(shop.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn callers_at_once_read_once_also_when_the_first_goes_away() {
    let shop = Shop::slow();
    let first = shop.begin().await;
    let others = [shop.begin().await, shop.begin().await];
    first.abort();
    shop.answer(1);
    for call in others {
        assert_eq!(call.await.expect("no panic").expect("read"), [1, 1, 1]);
    }
    assert_eq!(shop.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_by_those_who_wait_and_not_kept() {
    let shop = Shop::slow();
    let page = || Page { after: String::new(), limit: 50 };
    let permits = Arc::clone(&shop.permits);
    let failing = async move {
        permits.acquire().await.expect("open").forget();
        Err(Status::unavailable("away"))
    };
    let pages = shop.pages.clone();
    let first = tokio::spawn(async move { pages.get(page(), failing).await });
    tokio::task::yield_now().await;
    let second = shop.begin().await;
    shop.answer(1);
    assert_eq!(first.await.expect("no panic").expect_err("failed").message(), "away");
    assert_eq!(second.await.expect("no panic").expect_err("failed").message(), "away");
    assert_eq!(shop.reads(), 0, "the second has asked too");
    shop.answer(1);
    assert_eq!(shop.list("", 50).await.expect("read anew"), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_panics_fails_those_who_wait_and_nobody_else() {
    let shop = Shop::new(SECOND);
    let page = Page { after: String::new(), limit: 50 };
    let panics = async { panic!("as planned") };
    let status = shop.pages.get(page, panics).await.expect_err("no answer");
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(shop.list("", 50).await.expect("read anew"), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_restock_is_written_into_the_pages_that_hold_it_and_drops_those_that_may_miss_it() {
    let shop = Shop::new(SECOND);
    for (after, limit) in [("", 50), ("", 1), ("cup", 1)] {
        shop.list(after, limit).await.expect("read");
    }
    shop.restock("pot", 7);
    assert_eq!(shop.list("", 50).await.expect("kept"), [1, 7, 1]);
    assert_eq!(shop.list("", 1).await.expect("kept"), [1]);
    assert_eq!(shop.list("cup", 1).await.expect("kept"), [7]);
    assert_eq!(shop.reads(), 3);
    // A new product: no page holds it yet, and it sorts after the last product of the full page.
    shop.restock("spoon", 9);
    assert_eq!(shop.list("", 1).await.expect("kept"), [1]);
    assert_eq!(shop.list("cup", 1).await.expect("kept"), [7]);
    assert_eq!(shop.reads(), 3);
    assert_eq!(shop.list("", 50).await.expect("read anew"), [1, 7, 9, 1]);
    // Writing a product into a page does not make the page younger.
    tokio::time::advance(SECOND).await;
    shop.set("pot", 5);
    assert_eq!(shop.list("cup", 1).await.expect("read anew"), [5]);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_began_before_a_restock_does_not_put_the_older_state_back() {
    let shop = Shop::slow();
    let before = shop.begin().await;
    shop.restock("pot", 7);
    // This call does not join the read that began before the restock. When that read ends, its
    // result does not replace the restocked page.
    let after = shop.begin().await;
    shop.answer(2);
    assert_eq!(before.await.expect("no panic").expect("read"), [1, 1, 1]);
    assert_eq!(after.await.expect("no panic").expect("read"), [1, 7, 1]);
    assert_eq!(shop.list("", 50).await.expect("kept"), [1, 7, 1]);
    assert_eq!(shop.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_of_a_restock_does_not_hide_what_has_happened_since() {
    let shop = Shop::new(SECOND);
    let restocking = shop.pages.restocking();
    let answer = shop.set("pot", 7);
    // A sale and a read happen before the restock's answer arrives.
    shop.set("pot", 2);
    assert_eq!(shop.list("", 50).await.expect("read"), [1, 2, 1]);
    shop.pages.restocked(&restocking, &answer);
    assert_eq!(shop.list("", 50).await.expect("read anew"), [1, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn of_two_restocks_at_once_the_later_one_shows_whichever_is_answered_last() {
    let shop = Shop::new(SECOND);
    shop.list("", 50).await.expect("read");
    let (first, second) = (shop.pages.restocking(), shop.pages.restocking());
    let (one, both) = (shop.set("pot", 6), shop.set("pot", 11));
    shop.pages.restocked(&second, &both);
    shop.pages.restocked(&first, &one);
    assert_eq!(shop.list("", 50).await.expect("read anew"), [1, 11, 1]);
}

#[tokio::test(start_paused = true)]
async fn pages_are_bounded_in_number_and_in_bytes() {
    let shop = Shop::new(SECOND);
    for number in 0..2 * MAX_CACHED_PAGES {
        shop.list(&format!("{number}"), 1).await.expect("read");
    }
    assert_eq!(shop.pages.lock().entries.len(), MAX_CACHED_PAGES);
    let large = Product { name: "x".repeat(MAX_CACHED_CATALOGUE_BYTES / 3), ..product("vat", 1) };
    shop.stock.lock().expect("sound").push(large);
    for after in ["a", "b", "c", "cup", "pot"] {
        shop.list(after, 4).await.expect("read");
        assert!(shop.pages.lock().bytes() <= MAX_CACHED_CATALOGUE_BYTES);
    }
    assert_eq!(shop.pages.lock().entries.len(), 2, "the oldest ones went first");
    let reads = shop.reads();
    shop.list("pot", 4).await.expect("kept");
    assert_eq!(shop.reads(), reads);
}

#[tokio::test(start_paused = true)]
async fn without_a_time_to_live_every_call_reads() {
    let shop = Shop::new(Duration::ZERO);
    assert_eq!(shop.list("", 50).await.expect("read"), [1, 1, 1]);
    shop.set("cup", 0);
    assert_eq!(shop.list("", 50).await.expect("read"), [0, 1, 1]);
    shop.restock("cup", 4);
    assert_eq!(shop.list("", 50).await.expect("read"), [4, 1, 1]);
    assert!(shop.pages.lock().entries.is_empty());
}
