//! Which endpoint, and why.

use gatewright_tests::{Gate, Upstream, gateway, setup, token, until, upstream};

use super::{SHOP, bearer, explained, get, hides, refused, says};

#[tokio::test]
async fn the_busier_endpoint_is_named_beside_the_one_that_is_chosen() {
    let orders = [(); 2].map(|()| upstream("orders"));
    let gateway = gateway(&orders, &SHOP.replace("concurrent = 2", ""));
    let gates = orders.each_ref().map(|one| one.holds());
    let held = tokio::spawn(gateway.get("/shop/orders/1").as_caller("ada").into_future());
    until("a request at a service", async || orders.iter().any(|one| one.count() == 1).then_some(())).await;
    let busy = orders.iter().position(|one| one.count() == 1).unwrap();
    let (busy, idle) = (orders[busy].address().to_string(), orders[1 - busy].address().to_string());
    let explanation = explained(&gateway, get("/shop/orders/7", &bearer(&token("bob").signed()))).await;
    let why = format!("less busy for its weight than {busy} (0 against 1 in flight)");
    says(&explanation, "balance", &idle, &why);
    let endpoints = explanation["service"]["endpoints"].as_array().unwrap();
    assert!(endpoints.iter().any(|one| one["address"] == *busy && one["in_flight"] == 1), "{explanation:#}");
    gates.iter().for_each(Gate::open);
    held.await.unwrap().is(200);
}

#[tokio::test]
async fn where_no_endpoint_is_healthy_it_says_why_of_each() {
    let orders = [(); 2].map(|()| upstream("orders"));
    let text = "service.orders.probe = { tcp = true, interval = \"20ms\", rise = 1, fall = 1 }\n[[api]]\nname = \"shop\"\nservice = \"orders\"";
    let gateway = gateway(&orders, text);
    for one in &orders {
        one.kill().await;
        gateway.endpoint_is("orders", one.address(), "unhealthy").await;
    }
    let explanation = explained(&gateway, get("/", "")).await;
    refused(&explanation, 503, &[]);
    says(&explanation, "balance", "refused", "there is no healthy endpoint");
    for endpoint in explanation["service"]["endpoints"].as_array().unwrap() {
        assert_eq!(endpoint["state"], "unhealthy", "{explanation:#}");
        assert!(endpoint["reason"].as_str().unwrap().contains("connect failed"), "{explanation:#}");
    }
}

#[tokio::test]
async fn a_key_says_where_it_is_from_and_a_tier_what_it_gets() {
    let orders = [(); 3].map(|()| upstream("orders"));
    let [one, two, spare] = &orders;
    let text = format!(
        "[service.orders]\nendpoints = [\"{one}\", \"{two}\", {{ address = \"{spare}\", tier = 2 }}]\n\
         balance = \"maglev\"\naffinity = {{ header = \"x-cart\" }}\n[[api]]\nname = \"shop\"\nservice = \"orders\""
    );
    let gateway = setup(&text).start();
    let explanation = explained(&gateway, get("/", "x-cart: of-the-cart\n")).await;
    let service = &explanation["service"];
    assert_eq!(service["key"], "the field `x-cart`", "{service:#}");
    assert_eq!(service["why"], "the owner of the request's key", "{service:#}");
    assert_eq!(service["tiers"], serde_json::json!([[1, 1.0], [2, 0.0]]), "{service:#}");
    hides(&explanation.to_string(), &["of-the-cart"]);
    // It is the one that the request then gets.
    gateway.get("/").field("x-cart", "of-the-cart").await.is(200);
    let asked = orders.iter().find(|one| one.count() == 1).unwrap();
    assert_eq!(service["endpoint"], asked.address().to_string());
    let keyless = explained(&gateway, get("/", "")).await;
    assert_eq!(keyless["service"]["why"], "drawn at random: the request has no key", "{keyless:#}");
}

#[tokio::test]
async fn a_turn_that_is_explained_is_not_used_up() {
    let orders = [(); 3].map(|()| upstream("orders"));
    let gateway = gateway(&orders, "server.workers = 1\n[[api]]\nname = \"shop\"\nservice = \"orders\"");
    for asked in 0..6 {
        let turns = [explained(&gateway, get("/", "")).await, explained(&gateway, get("/", "")).await];
        let before = orders.each_ref().map(Upstream::count);
        gateway.get("/").await.is(200);
        let got = (0..3).find(|at| orders[*at].count() > before[*at]).unwrap();
        for turn in turns {
            says(&turn, "balance", &orders[got].address().to_string(), "round-robin: its turn");
        }
        assert_eq!(before.iter().sum::<usize>(), asked);
    }
}
