//! Connections, health and reflection.

use std::time::Duration;

use saga_proto::shop::v1::ListProductsRequest;
use saga_proto::shop::v1::catalogue_client::CatalogueClient;
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::world::{PATIENCE, World, channel};

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_and_idle_ones_give_their_place_back() {
    let world = World::with(|s| s.desk.max_connections = 3).await;
    let address = world.url.trim_start_matches("http://").to_owned();
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(TcpStream::connect(&address).await.expect("a place"));
    }
    let mut one_more = TcpStream::connect(&address).await.expect("the kernel takes it");
    let mut byte = [0];
    let closed = tokio::time::timeout(PATIENCE, one_more.read(&mut byte)).await.expect("at once");
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    drop(idle);
    let answered = async {
        loop {
            let mut catalogue = CatalogueClient::new(channel(&world.url));
            if catalogue.list_products(ListProductsRequest::default()).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("a place is free again");
}

#[tokio::test]
async fn health_is_told_for_the_server_and_for_each_service() {
    let world = World::new().await;
    let mut health = HealthClient::new(world.channel.clone());
    for service in ["", "saga.shop.v1.Orders", "saga.shop.v1.Catalogue", "saga.operations.v1.Sagas"]
    {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(request).await.expect("known").into_inner();
        assert_eq!(answer.status().as_str_name(), "SERVING", "{service}");
    }
}

#[tokio::test]
async fn health_follows_the_store() {
    let world = World::with(|s| s.desk.most_store_age = Duration::from_secs(2)).await;
    let until = async |wanted: &str| {
        let mut health = HealthClient::new(world.channel.clone());
        let answered = async {
            loop {
                let request = HealthCheckRequest { service: String::new() };
                let answer = health.check(request).await.expect("known").into_inner();
                if answer.status().as_str_name() == wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or_else(|_| panic!("never {wanted}"));
    };
    until("SERVING").await;
    world.store.be_away(true);
    until("NOT_SERVING").await;
    world.store.be_away(false);
    until("SERVING").await;
}

#[tokio::test]
async fn the_contract_can_be_reflected() {
    let world = World::new().await;
    let mut reflection = ServerReflectionClient::new(world.channel.clone());
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .expect("an answer")
        .into_inner();
    let answer = answers.message().await.expect("sound").expect("one");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for name in ["saga.shop.v1.Orders", "saga.shop.v1.Catalogue", "saga.operations.v1.Sagas"] {
        assert!(names.iter().any(|n| n == name), "{names:?}");
    }
}
