//! What clients of gRPC get when the gateway refuses: a status of their own, where other clients get a problem document.

use gatewright_tests::frames::{END_HEADERS, END_STREAM, PREFACE, fields, frame, kind};
use gatewright_tests::{Answer, Call, Connection, Reply, gateway, setup, upstream};

const SHOP: &str = r#"
    [service.orders]
    timeout = "300ms"
    [[api]]
    name = "shop"
    paths = ["/shop.Orders"]
    service = "orders"
    auth = [{ plugin = "jwt", settings = { keys = "demo" } }]
    limit = [{ name = "few", by = "caller", requests = 4, per = "1h" }]
"#;

/// A request of gRPC: a message of no bytes.
fn grpc(connection: &Connection, target: &str) -> Call {
    let call = connection.call("POST", target).field("content-type", "application/grpc+proto").field("te", "trailers");
    call.body(&[0u8; 5][..])
}

/// It is refused with this code and message.
fn refused(answer: Answer, code: &str, message: &str) {
    let answer = answer.is(200).says("").has("content-type", "application/grpc+proto").has("grpc-status", code);
    let answer = answer.has("grpc-message", message).tells("proxy-status", "gatewright; error=");
    assert_eq!(answer.field("x-request-id").map(str::len), Some(32), "{answer}");
}

#[tokio::test]
async fn a_refusal_has_a_status_of_grpc_over_both_versions() {
    let orders = upstream("orders");
    for http2 in [true, false] {
        let gateway = gateway([&orders], SHOP);
        let connection = || async { if http2 { gateway.http2().await } else { gateway.http1().await } };
        let send = async |target: &str| grpc(&connection().await, target).await;
        let shop = async || grpc(&connection().await, "/shop.Orders/Get").as_caller("ada").await;
        refused(send("/shop.Orders/Get").await, "16", "A credential is needed");
        refused(send("/other.Service/Get").await, "12", "No API here");
        let unclean = "Malformed request target: the request target has a `%25` that begins no percent-encoded byte";
        refused(send("/shop.Orders/%zz").await, "13", unclean);
        orders.answers_once(Reply::close());
        refused(shop().await, "14", "The service broke off");
        let gate = orders.holds();
        refused(shop().await, "4", "The service did not answer in time");
        gate.open();
        shop().await.is(200).lacks("grpc-status").says("orders");
        shop().await.is(200);
        refused(shop().await, "8", "Too many requests");
    }
}

#[tokio::test]
async fn what_a_plugin_says_is_the_message() {
    let gateway = gateway([&upstream("orders")], SHOP);
    let answer = grpc(&gateway.http2().await, "/shop.Orders/Get").bearer("nonsense").await.is(200);
    let answer = answer.has("grpc-status", "16").tells("www-authenticate", "Bearer");
    assert!(!answer.field("grpc-message").unwrap_or_default().is_empty(), "{answer}");
}

#[tokio::test]
async fn a_plugin_that_is_missing_is_unavailable() {
    let gateway = setup(&SHOP.replace("jwt", "missing")).to(&upstream("orders")).start();
    let message = "The policy of this API is not available";
    refused(grpc(&gateway.http2().await, "/shop.Orders/Get").await, "14", message);
}

#[tokio::test]
async fn others_get_a_problem_document() {
    let gateway = gateway([&upstream("orders")], SHOP);
    let connection = gateway.http2().await;
    for media_type in ["application/json", "application/grpcx", "text/plain"] {
        let call = connection.call("POST", "/shop.Orders/Get").field("content-type", media_type).body("x");
        call.await.is(401).problem("A credential is needed").lacks("grpc-status");
    }
    let answer = connection.get("/shop.Orders/Get").field("content-type", "application/grpc").await;
    answer.is(401).problem("A credential is needed");
}

#[tokio::test]
async fn a_refusal_is_one_head_and_ends_the_stream() {
    let gateway = gateway([&upstream("orders")], SHOP);
    let mut raw = gateway.raw().await;
    let block = fields([
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/shop.Orders/Get"),
        (":authority", "shop.example"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]);
    // The stream of a client that has not sent its first message yet.
    raw.write([PREFACE, &frame(kind::HEADERS, END_HEADERS, 1, &block)].concat()).await;
    let head = raw.frame(|frame| frame.stream == 1).await.expect("an answer");
    assert_eq!((head.kind, head.status()), (kind::HEADERS, Some(200)));
    assert_eq!(head.flags & END_STREAM, END_STREAM, "a body or trailers follow");
}

#[tokio::test]
async fn grpc_passes_with_its_trailers() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let (reply, mut down) = Reply::streamed();
    orders.answers_once(
        reply.early().field("content-type", "application/grpc").field("trailer", "grpc-status, grpc-message"),
    );
    let call = gateway.http2().await.call("POST", "/shop.Orders/Watch").as_caller("ada").field("te", "trailers");
    let (call, mut up) = call.field("content-type", "application/grpc").streamed();
    let mut coming = tokio::spawn(call.coming()).await.unwrap().unwrap();
    up.write("question").await;
    orders.sees("a message", |seen| seen.text() == "question").await;
    down.write("answer").await;
    assert_eq!(coming.chunk().await.unwrap().as_deref(), Some("answer"));
    up.end();
    down.trailers(&[("grpc-status", "5"), ("grpc-message", "no such order")]).await;
    let answer = coming.whole().await.unwrap().is(200);
    let trailers = answer.trailers.unwrap();
    assert_eq!(
        (&trailers["grpc-status"], &trailers["grpc-message"]),
        (&"5".parse().unwrap(), &"no such order".parse().unwrap())
    );
    assert_eq!(orders.only().field("te"), Some("trailers"));
}
