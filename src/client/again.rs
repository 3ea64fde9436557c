//! Repeats calls under the same idempotency key, for as long as that may help. Only by repeating
//! can a client be sure that its write was done.

use std::time::{Duration, Instant};

use saga_proto::shop::v1::{
    PlaceOrderRequest, PlaceOrderResponse, Return, ReturnOrderRequest, ReturnStatus,
    orders_client::OrdersClient,
};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt as _;

use saga_cli::{may_retry, retry_delay, told_apart};

use super::orders;

/// Time limit for one call. After that the call is made again.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// The limits on repeating a call.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// No call is repeated after this time.
    pub limit: Duration,
    /// The pause before the first repetition, unless the server names one. It doubles each time.
    pub first_pause: Duration,
    /// The longest pause, even if the server asks for more.
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            limit: Duration::from_secs(60),
            first_pause: Duration::from_millis(20),
            longest_pause: Duration::from_secs(2),
        }
    }
}

/// Makes a call until it is answered, or refused for good. Adds the number of repetitions to
/// `repeats`.
pub async fn until_answered<R, F>(
    patience: Patience,
    repeats: &mut u64,
    mut call: impl FnMut() -> F,
) -> Result<R, Status>
where
    F: Future<Output = Result<R, Status>>,
{
    let (began, mut pause) = (Instant::now(), patience.first_pause);
    loop {
        let status = match call().await {
            Ok(answer) => return Ok(answer),
            Err(status) => told_apart(status),
        };
        if !may_retry(&status) || began.elapsed() >= patience.limit {
            return Err(status);
        }
        *repeats += 1;
        let advice = retry_delay(&status.get_error_details());
        tokio::time::sleep(advice.unwrap_or(pause).min(patience.longest_pause)).await;
        pause = (pause * 2).min(patience.longest_pause);
    }
}

/// Places an order. If the request asks to wait, the answer is the order's end.
pub async fn place(
    client: &OrdersClient<Channel>,
    order: &PlaceOrderRequest,
    patience: Patience,
    repeats: &mut u64,
) -> Result<PlaceOrderResponse, Status> {
    until_answered(patience, repeats, || place_once(client.clone(), order.clone())).await
}

/// Places an order with a single call. If the server stops waiting before the order has ended, the
/// result is DEADLINE_EXCEEDED. Calling again then continues to wait.
pub async fn place_once(
    mut client: OrdersClient<Channel>,
    order: PlaceOrderRequest,
) -> Result<PlaceOrderResponse, Status> {
    let wait = order.wait;
    let answer = client.place_order(limited(order)).await?.into_inner();
    if wait && !orders::has_ended(answer.status) {
        return Err(Status::new(Code::DeadlineExceeded, "the order has not ended"));
    }
    Ok(answer)
}

/// Asks for a return with a single call. If the server stops waiting before the return has ended,
/// the result is DEADLINE_EXCEEDED. Calling again then continues to wait.
pub async fn give_back_once(
    mut client: OrdersClient<Channel>,
    asked: ReturnOrderRequest,
) -> Result<Return, Status> {
    let answer = client.return_order(limited(asked)).await?.into_inner();
    let ended = |details: &Return| details.status() != ReturnStatus::Pending;
    let details = answer.details.filter(ended);
    details.ok_or_else(|| Status::deadline_exceeded("the return has not ended"))
}

/// Wraps a message in a request with the time limit [`CALL_LIMIT`].
pub fn limited<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_LIMIT);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Patience = Patience {
        limit: Duration::from_secs(5),
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(2),
    };

    #[tokio::test]
    async fn what_may_pass_is_tried_again_and_counted() {
        let (mut calls, mut repeats) = (0, 0);
        let answer = until_answered(SHORT, &mut repeats, || {
            calls += 1;
            let away = calls < 3;
            async move { if away { Err(Status::unavailable("away")) } else { Ok(7) } }
        });
        assert_eq!(answer.await.expect("the third call is answered"), 7);
        assert_eq!((calls, repeats), (3, 2));
    }

    #[tokio::test]
    async fn a_no_is_taken_for_an_answer() {
        let mut repeats = 0;
        let answer: Result<(), _> = until_answered(SHORT, &mut repeats, || async {
            Err(Status::invalid_argument("never"))
        })
        .await;
        assert_eq!(answer.expect_err("refused").code(), Code::InvalidArgument);
        assert_eq!(repeats, 0);
    }

    #[tokio::test]
    async fn patience_ends() {
        let patience = Patience { limit: Duration::ZERO, ..SHORT };
        let mut repeats = 0;
        let answer: Result<(), _> =
            until_answered(patience, &mut repeats, || async { Err(Status::unavailable("away")) })
                .await;
        assert_eq!(answer.expect_err("given up").code(), Code::Unavailable);
        assert_eq!(repeats, 0);
    }
}
