//! How long connections to services are kept.

use gatewright_tests::{gateway, until, upstream};

use crate::balancing::shop;
use crate::warm::has_connections;

#[tokio::test]
async fn a_connection_that_was_idle_for_long_is_closed() {
    for http2 in ["", "http2 = true"] {
        let orders = upstream("orders");
        let gateway = gateway([&orders], &shop(&format!("idle_timeout = \"100ms\"\n{http2}")));
        gateway.get("/").await.is(200);
        has_connections(&gateway, 0).await;
        gateway.get("/").await.is(200);
        assert_eq!(orders.connections(), 2, "{http2}");
    }
}

#[tokio::test]
async fn a_connection_that_is_too_old_ends_what_it_has_and_takes_nothing_else() {
    for http2 in ["", "http2 = true"] {
        let orders = upstream("orders");
        let gateway = gateway([&orders], &shop(&format!("connection_lifetime = \"1ms\"\n{http2}")));
        let gate = orders.holds();
        let mut held = vec![tokio::spawn(gateway.get("/").into_future())];
        orders.sees_requests(1).await;
        until("another connection", async || {
            held.push(tokio::spawn(gateway.get("/").into_future()));
            (orders.connections() > 1).then_some(())
        })
        .await;
        gate.open();
        for held in held {
            held.await.unwrap().is(200);
        }
        has_connections(&gateway, 0).await;
    }
}
