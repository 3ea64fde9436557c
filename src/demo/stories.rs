//! Chooses three sagas whose histories are worth reading.

use saga_operations::v1::{GetSagaRequest, GetSagaResponse, sagas_client::SagasClient};
use saga_proto::order::v1::OrderStatus;
use tonic::transport::Channel;

use super::{
    mix::Kind,
    orders::{Placed, Tally},
};

/// How many histories are read at most to find an order whose outcome was unknown.
const MOST_LOOKS: usize = 300;

/// Returns three sagas with titles: one that succeeded, one that was undone in reverse, and one
/// whose outcome was unknown for a while.
pub(super) async fn choose(
    sagas: &mut SagasClient<Channel>,
    tally: &Tally,
) -> anyhow::Result<Vec<(String, GetSagaResponse)>> {
    let mut stories = Vec::new();
    let confirmed = |placed: &&Placed| placed.status == OrderStatus::Confirmed;
    // The first orders were placed before any role was killed.
    if let Some(plain) = of(tally, Kind::Plain).find(confirmed) {
        stories.push(("An order that went through".to_owned(), get(sagas, plain).await?));
    }
    if let Some(declined) = of(tally, Kind::CaptureDeclined).find(|placed| placed.as_asked()) {
        let title = "An order that was undone in reverse: the card was declined at the last moment";
        stories.push((title.to_owned(), get(sagas, declined).await?));
    }
    if let Some((placed, saga)) = unknown(sagas, tally).await? {
        let title = format!(
            "An order that was asked about again, since no answer came ({})",
            placed.kind.name()
        );
        stories.push((title, saga));
    }
    Ok(stories)
}

/// Finds an order for whose payment the provider, or the payment service, was asked more than once,
/// because an answer was lost or a role was killed.
async fn unknown<'a>(
    sagas: &mut SagasClient<Channel>,
    tally: &'a Tally,
) -> anyhow::Result<Option<(&'a Placed, GetSagaResponse)>> {
    let likely = of(tally, Kind::AnswerLost).chain(of(tally, Kind::CaptureAnswerLost));
    let others = tally.placed.iter();
    for placed in likely.chain(others).take(MOST_LOOKS) {
        let saga = get(sagas, placed).await?;
        let sent = saga.history.iter().flat_map(|transition| &transition.sent);
        let mut again = sent.filter(|sent| !sent.ends_with("#1"));
        if again.any(|sent| sent.contains("payment/")) && placed.status == OrderStatus::Confirmed {
            return Ok(Some((placed, saga)));
        }
    }
    Ok(None)
}

fn of(tally: &Tally, kind: Kind) -> impl Iterator<Item = &Placed> {
    tally.placed.iter().filter(move |placed| placed.kind == kind)
}

async fn get(sagas: &mut SagasClient<Channel>, placed: &Placed) -> anyhow::Result<GetSagaResponse> {
    let request = GetSagaRequest { saga_id: placed.order_id.clone() };
    Ok(sagas.get_saga(request).await?.into_inner())
}
