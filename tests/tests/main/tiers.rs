//! Who gets requests where too few endpoints of the first tier are left.

use gatewright_tests::{Gateway, Upstream, setup, upstream};

/// A gateway for one service with two endpoints of tier 1 and one of tier 2, in this order.
fn tiered(orders: &[Upstream; 3]) -> Gateway {
    let [one, two, spare] = orders;
    setup(&format!(
        r#"server = {{ workers = 1 }}
        [service.orders]
        endpoints = ["{one}", "{two}", {{ address = "{spare}", tier = 2 }}]
        probe = {{ tcp = true, interval = "20ms", rise = 1, fall = 1 }}
        [[api]]
        name = "shop"
        service = "orders""#
    ))
    .start()
}

async fn get(gateway: &Gateway, times: usize) {
    for _ in 0..times {
        gateway.get("/").await.is(200);
    }
}

async fn takes_out(gateway: &Gateway, endpoint: &Upstream) {
    endpoint.kill().await;
    gateway.endpoint_is("orders", endpoint.address(), "unhealthy").await;
}

#[tokio::test]
async fn the_second_tier_takes_a_part_then_all_and_gives_it_back() {
    let orders = [(); 3].map(|()| upstream("orders"));
    let gateway = tiered(&orders);
    let [one, two, spare] = &orders;
    get(&gateway, 40).await;
    assert_eq!((one.count(), two.count(), spare.count()), (20, 20, 0));
    takes_out(&gateway, one).await;
    get(&gateway, 100).await;
    // Half of tier 1 is left, and seven tenths would be enough: it carries five sevenths.
    let tiers = gateway.service("orders").await["tiers"].clone();
    assert!((tiers[1]["share"].as_f64().unwrap() - 2.0 / 7.0).abs() < 1e-9, "{tiers}");
    assert!(spare.count() > 5 && two.count() > 40 && spare.count() + two.count() == 120);
    takes_out(&gateway, two).await;
    let before = spare.count();
    get(&gateway, 20).await;
    assert_eq!(spare.count(), before + 20);
    assert_eq!(gateway.metric("gatewright_tier_share{service=\"orders\",tier=\"2\"}").await, 1.0);
    for back in [one, two] {
        back.start();
        gateway.endpoint_is("orders", back.address(), "healthy").await;
    }
    get(&gateway, 20).await;
    assert_eq!(spare.count(), before + 20);
}

#[tokio::test]
async fn a_request_that_the_first_tier_cannot_take_is_tried_at_the_second() {
    let orders = [(); 3].map(|()| upstream("orders"));
    let [one, two, spare] = &orders;
    let text = format!(
        "[service.orders]\nendpoints = [\"{one}\", \"{two}\", {{ address = \"{spare}\", tier = 2 }}]\nejection = false\n\
         [[api]]\nname = \"shop\"\nservice = \"orders\""
    );
    let gateway = setup(&text).start();
    one.kill().await;
    two.kill().await;
    get(&gateway, 4).await;
    assert_eq!(spare.count(), 4);
}

#[tokio::test]
async fn where_no_tier_has_an_endpoint_it_is_503_at_once() {
    let orders = [(); 3].map(|()| upstream("orders"));
    let gateway = tiered(&orders);
    for endpoint in &orders {
        takes_out(&gateway, endpoint).await;
    }
    gateway.get("/").await.is(503).problem("The service is not available").has("retry-after", "1");
}
