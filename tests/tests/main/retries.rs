//! What is tried again, where, how often, and what never is.

use gatewright_tests::{Gateway, Reply, Upstream, gateway, until, upstream};

/// One API for one service with this `retry`, on one worker. Nothing is ejected.
fn shop(retry: &str) -> String {
    format!(
        "server = {{ workers = 1 }}\n[service.orders]\nejection = false\ntimeout = \"60s\"\nretry = {{ backoff = \"1ms\", {retry} }}\n\
         [[api]]\nname = \"shop\"\nservice = \"orders\"\n"
    )
}

/// Endpoints of one service of which the first closes without an answer.
fn broken_and_well() -> [Upstream; 2] {
    let orders = [(); 2].map(|()| upstream("orders"));
    orders[0].answers(|_| Reply::close());
    orders
}

async fn retries(gateway: &Gateway, event: &str) -> f64 {
    gateway.metric(&format!("gatewright_service_retries_total{{service=\"orders\",event=\"{event}\"}}")).await
}

#[tokio::test]
async fn a_get_whose_connection_breaks_off_is_answered_by_another_endpoint() {
    let orders = broken_and_well();
    let gateway = gateway(&orders, &shop("on = [\"connect\", \"reset\"]"));
    for _ in 0..6 {
        gateway.get("/").field("x-mark", "kept").await.is(200);
    }
    assert_eq!((orders[0].count(), orders[1].count()), (3, 6));
    assert!(orders[1].seen().iter().all(|seen| seen.field("x-mark") == Some("kept")));
    assert_eq!(retries(&gateway, "made").await, 3.0);
    assert_eq!(gateway.service("orders").await["retries"], 3);
}

#[tokio::test]
async fn what_cannot_be_tried_elsewhere_counts_as_no_retry() {
    for (count, made) in [(1, 0.0), (2, 4.0)] {
        let orders: Vec<_> = (0..count).map(|_| upstream("orders")).collect();
        for one in &orders {
            one.kill().await;
        }
        let gateway = gateway(&orders, &shop("on = [\"connect\"]"));
        for _ in 0..4 {
            gateway.get("/").await.is(502);
        }
        assert_eq!(retries(&gateway, "made").await, made, "{count} endpoints");
    }
}

#[tokio::test]
async fn a_post_that_may_have_been_sent_is_never_sent_twice() {
    let orders = broken_and_well();
    let gateway = gateway(&orders, &shop("on = [\"connect\", \"reset\", \"timeout\", \"500-599\"]"));
    let mut failed = 0;
    // One without a body could be sent again as it is, one with a body only if it were held.
    for (turn, body) in ["", "", "once", "once"].into_iter().cycle().take(8).enumerate() {
        failed += usize::from(gateway.post(&format!("/{turn}")).body(body).await.status == 502);
    }
    let targets = |upstream: &Upstream| upstream.seen().into_iter().map(|seen| seen.target).collect::<Vec<_>>();
    let mut all = [targets(&orders[0]), targets(&orders[1])].concat();
    all.sort();
    assert_eq!(all, ["/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7"]);
    assert_eq!(failed, 4);
}

#[tokio::test]
async fn a_post_that_never_left_is_sent_elsewhere() {
    let orders = broken_and_well();
    orders[0].kill().await;
    let gateway = gateway(&orders, &shop("on = [\"connect\"]"));
    for _ in 0..4 {
        gateway.post("/").body("once").await.is(200);
    }
    assert_eq!(orders[1].count(), 4);
}

#[tokio::test]
async fn a_post_is_sent_twice_where_the_service_or_the_api_says_that_it_may_be() {
    let marked_api = shop("most = 1") + "repeatable = true\n";
    for text in [shop("repeatable = true"), marked_api] {
        let orders = broken_and_well();
        let gateway = gateway(&orders, &text);
        for _ in 0..4 {
            gateway.post("/").body("twice").await.is(200);
        }
        assert_eq!((orders[0].count(), orders[1].count()), (2, 4));
        assert!(orders[1].seen().iter().all(|seen| seen.text() == "twice"));
    }
}

#[tokio::test]
async fn a_put_is_sent_twice_only_where_its_body_is_small() {
    let orders = broken_and_well();
    let gateway = gateway(&orders, &shop("body = \"8B\""));
    let (mut small, mut large) = (vec![], vec![]);
    for _ in 0..4 {
        small.push(gateway.call("PUT", "/").body("12345678").await.status);
    }
    for _ in 0..4 {
        large.push(gateway.call("PUT", "/").body("123456789").await.status);
    }
    assert_eq!(small, [200; 4]);
    assert_eq!(large.iter().filter(|status| **status == 502).count(), 2);
}

#[tokio::test]
async fn a_put_whose_length_nobody_knows_is_sent_once() {
    let orders = broken_and_well();
    let gateway = gateway(&orders, &shop("most = 1"));
    let mut statuses = vec![];
    for _ in 0..4 {
        let (call, mut body) = gateway.call("PUT", "/").streamed();
        let call = tokio::spawn(call.into_future());
        body.write("small").await;
        body.end();
        statuses.push(call.await.unwrap().status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!((statuses.as_slice(), orders[0].count(), orders[1].count()), ([200, 200, 502, 502].as_slice(), 2, 2));
}

#[tokio::test]
async fn a_chosen_status_is_tried_again_and_the_last_one_goes_to_the_client() {
    let orders = [(); 2].map(|()| upstream("orders"));
    orders[0].answers(|_| Reply::status(500));
    let gateway = gateway(&orders, &shop("on = [\"500\", \"503\"]"));
    for _ in 0..4 {
        gateway.get("/").await.is(200);
    }
    orders[1].answers(|_| Reply::status(503).field("x-from", "the last"));
    orders[0].answers(|_| Reply::status(503).field("x-from", "the last"));
    let before = orders[0].count() + orders[1].count();
    gateway.get("/").await.is(503).has("x-from", "the last");
    assert_eq!(orders[0].count() + orders[1].count(), before + 2, "each endpoint once, not more");
    orders.iter().for_each(|orders| orders.answers(|_| Reply::status(502)));
    gateway.get("/").await.is(502);
    assert_eq!(orders[0].count() + orders[1].count(), before + 3, "502 is not chosen");
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_costs_one_try() {
    let orders = [(); 2].map(|()| upstream("orders"));
    let gate = orders[0].holds();
    let gateway = gateway(&orders, &shop("try_timeout = \"100ms\""));
    for _ in 0..4 {
        gateway.get("/").await.is(200);
    }
    assert_eq!(orders[0].count(), 2);
    assert_eq!(gateway.service("orders").await["endpoints"][0]["failures"]["timeout"], 2);
    gate.open();
}

#[tokio::test]
async fn all_tries_together_end_in_the_services_time() {
    let orders = [(); 3].map(|()| upstream("orders"));
    let gates = orders.each_ref().map(Upstream::holds);
    let text = shop("try_timeout = \"150ms\"").replace("\"60s\"", "\"200ms\"");
    let gateway = gateway(&orders, &text);
    gateway.get("/").await.is(504);
    assert_eq!(orders.iter().map(Upstream::count).sum::<usize>(), 2);
    gates.iter().for_each(gatewright_tests::Gate::open);
}

#[tokio::test]
async fn only_so_many_are_tried_again_at_one_time() {
    let orders = [(); 2].map(|()| upstream("orders"));
    let gates = orders.each_ref().map(Upstream::holds);
    let text =
        shop("try_timeout = \"1s\", budget_percent = 0, budget_least = 1, most = 1").replace("\"60s\"", "\"20s\"");
    let gateway = gateway(&orders, &text);
    let calls: Vec<_> = (0..6).map(|_| tokio::spawn(gateway.get("/").into_future())).collect();
    until("all but one were refused a second try", async || {
        (gateway.service("orders").await["refused_retries"] == 5).then_some(())
    })
    .await;
    until("the one second try", async || (orders.iter().map(Upstream::count).sum::<usize>() == 7).then_some(())).await;
    gates.iter().for_each(gatewright_tests::Gate::open);
    let mut statuses = vec![];
    for call in calls {
        statuses.push(call.await.unwrap().status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 504, 504, 504, 504, 504]);
    assert_eq!((retries(&gateway, "made").await, retries(&gateway, "refused").await), (1.0, 5.0));
}
