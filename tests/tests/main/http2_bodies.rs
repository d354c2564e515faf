//! HTTP/2 with prior knowledge: bodies both ways, windows, and how streams and connections end.

use std::time::Duration;

use gatewright_tests::frames::{END_HEADERS, END_STREAM, PREFACE, fields, frame, kind};
use gatewright_tests::{Progress, Raw, Reply, gateway, raw_upstream, setup, upstream};

use crate::command::gatewright;
use crate::http2::{GOOD, SHOP, connect, is_served, request, without};

#[tokio::test]
async fn bodies_stream_both_ways_at_once_with_their_trailers() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let (reply, mut down) = Reply::streamed();
    orders.answers_once(reply.early().field("trailer", "x-status"));
    let call = gateway.http2().await.call("POST", "/").field("te", "trailers");
    let (call, mut up) = call.field("trailer", "x-sum").streamed();
    let mut coming = tokio::spawn(call.coming()).await.unwrap().unwrap();
    for round in 0..3 {
        up.write(format!("up {round};")).await;
        orders.sees("what the client wrote", |seen| seen.text().ends_with(&format!("up {round};"))).await;
        down.write(format!("down {round}")).await;
        assert_eq!(coming.chunk().await.unwrap(), Some(format!("down {round}")));
    }
    up.trailers(&[("x-sum", "3")]).await;
    orders.sees("the end", |seen| seen.progress == Progress::Whole).await;
    down.trailers(&[("x-status", "fine")]).await;
    let answer = coming.whole().await.unwrap().is(200);
    assert_eq!(answer.trailers.unwrap()["x-status"], "fine");
    assert_eq!(orders.only().trailers.unwrap()["x-sum"], "3");
}

#[tokio::test]
async fn a_stream_that_is_not_read_holds_its_service_back_and_nobody_else() {
    const PART: usize = 256 * 1024;
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let (reply, mut writer) = Reply::streamed();
    orders.answers_once(reply);
    let connection = gateway.http2().await;
    let mut coming = connection.get("/").coming().await.unwrap();
    let mut offered = 0;
    while writer.offer(vec![b'x'; PART], Duration::from_millis(500)).await {
        offered += PART;
        assert!(offered < 64 << 20, "it takes everything");
    }
    connection.get("/other").await.is(200).says("orders");
    let mut read = 0;
    while read < offered {
        read += coming.bytes().await.expect("more").len();
    }
    assert!(writer.offer("more", Duration::from_secs(10)).await);
}

#[tokio::test]
async fn a_client_that_resets_its_stream_ends_its_request_at_the_service() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let gate = orders.holds();
    let connection = gateway.http2().await;
    let leaving = tokio::spawn(connection.get("/slow").tried());
    orders.sees_requests(1).await;
    leaving.abort();
    gateway
        .metric_is(r#"gatewright_requests_total{api="shop",outcome="left",status="none"}"#, |count| count == 1.0)
        .await;
    gate.open();
    connection.get("/").await.is(200);
}

#[tokio::test]
async fn a_stream_whose_client_opens_no_window_is_reset_and_the_others_go_on() {
    /// RFC 9113, section 7.
    const CANCEL: u32 = 8;
    let orders = upstream("orders");
    let text = format!("server = {{ send_timeout = \"300ms\" }}\n{SHOP}");
    let mut program = gatewright().start(setup(&text).to(&orders)).await;
    let mut raw = Raw::connect(program.address).await;
    raw.write(PREFACE).await;
    // No window for any stream.
    raw.write(frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    is_served(&mut raw, 1).await;
    // This one's service takes its time, which is not the client's fault.
    let gate = orders.holds();
    raw.write(request(3, &fields(GOOD))).await;
    let reset = raw.frame(|frame| frame.kind == kind::RST_STREAM).await.expect("a reset");
    assert_eq!((reset.stream, reset.code()), (1, Some(CANCEL)));
    let line = program.line().await;
    assert_eq!(line["reason"], "the client's side ended before the response", "{line}");
    gate.open();
    raw.write(frame(kind::WINDOW_UPDATE, 0, 3, &[0, 0, 1, 0])).await;
    let data = raw.frame(|frame| frame.kind == kind::DATA || frame.kind == kind::RST_STREAM).await.expect("an answer");
    assert_eq!((data.kind, data.stream, data.payload.as_slice()), (kind::DATA, 3, &b"orders"[..]));
}

#[tokio::test]
async fn a_stream_whose_client_opens_too_small_a_window_is_reset_too() {
    const PART: usize = 64 * 1024;
    let orders = upstream("orders");
    let gateway = gateway([&orders], &format!("server = {{ send_timeout = \"300ms\" }}\n{SHOP}"));
    let (reply, mut writer) = Reply::streamed();
    orders.answers_once(reply);
    let mut raw = connect(&gateway).await;
    // Ten bytes for each stream: all else that its answer has waits in the gateway.
    raw.write(frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 10])).await;
    raw.write(request(1, &fields(GOOD))).await;
    while writer.offer(vec![b'x'; PART], Duration::from_millis(100)).await {}
    let reset = raw.frame(|frame| frame.kind == kind::RST_STREAM).await.expect("a reset");
    assert_eq!((reset.stream, reset.code()), (1, Some(8)));
    raw.write(frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])).await;
    is_served(&mut raw, 3).await;
}

#[tokio::test]
async fn an_answer_of_one_part_with_too_small_a_window_is_reset_too() {
    let orders = raw_upstream("orders");
    let text = format!("server = {{ send_timeout = \"300ms\" }}\n{SHOP}");
    let mut program = gatewright().start(setup(&text).to(&orders)).await;
    for answer in ["content-length: 5\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"] {
        let mut raw = Raw::connect(program.address).await;
        // One byte, and then one more again and again.
        raw.write(PREFACE).await.write(frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1])).await;
        raw.write(request(1, &fields(GOOD))).await;
        let mut service = orders.accept().await;
        service.head().await;
        service.write(format!("HTTP/1.1 200 OK\r\n{answer}")).await;
        for _ in 0..3 {
            let data = raw.frame(|frame| frame.kind == kind::DATA).await.expect("a byte");
            assert_eq!((data.payload.len(), data.flags), (1, 0), "{answer}");
            raw.write(frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])).await;
        }
        let reset = raw.frame(|frame| frame.kind == kind::RST_STREAM).await.expect("a reset");
        assert_eq!((reset.stream, reset.code()), (1, Some(8)));
        let line = program.line().await;
        assert_eq!(line["reason"], "the client's side ended before the response", "{line}");
    }
}

#[tokio::test]
async fn an_answer_that_has_no_body_ends_with_its_head() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let head = without(":method", &[(":method", "HEAD")]);
    let lost = fields([(":method", "HEAD"), (":scheme", "http"), (":authority", "shop.example"), (":path", "/%2f")]);
    for (what, reply, block, status) in [
        ("HEAD", Some(Reply::text("orders")), head, 200),
        ("HEAD, refused", None, lost, 400),
        ("204", Some(Reply::status(204)), fields(GOOD), 204),
        ("304", Some(Reply::status(304)), fields(GOOD), 304),
        ("an empty body", Some(Reply::text("")), fields(GOOD), 200),
    ] {
        reply.into_iter().for_each(|reply| orders.answers_once(reply));
        let mut raw = connect(&gateway).await;
        raw.write(request(1, &block)).await;
        let answer = raw.frame(|frame| frame.stream == 1 && frame.kind != kind::WINDOW_UPDATE).await.expect(what);
        assert_eq!((answer.kind, answer.status()), (kind::HEADERS, Some(status)), "{what}");
        assert_eq!(answer.flags & END_STREAM, END_STREAM, "{what}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_wanted_is_ended_without_an_error() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let mut raw = connect(&gateway).await;
    let block = without(":path", &[(":path", "/%2f"), ("content-length", "5")]);
    raw.write(frame(kind::HEADERS, END_HEADERS, 1, &block)).await;
    let answer = raw.frame(|frame| frame.kind == kind::HEADERS).await.expect("an answer");
    assert_eq!((answer.stream, answer.status()), (1, Some(400)));
    let reset = raw.frame(|frame| frame.kind == kind::RST_STREAM).await.expect("a reset");
    assert_eq!((reset.stream, reset.code()), (1, Some(0)), "RFC 9113, section 8.1");
    is_served(&mut raw, 3).await;
}

#[tokio::test]
async fn a_body_that_its_client_breaks_off_never_arrives_whole() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let block = without(":method", &[(":method", "POST")]);
    // Whatever the client says of it, that there is no error too.
    for (code, answered) in [(0, false), (8, false), (0, true), (8, true)] {
        let mut raw = connect(&gateway).await;
        raw.write(frame(kind::HEADERS, END_HEADERS, 1, &block)).await;
        raw.write(frame(kind::DATA, 0, 1, b"half")).await;
        let mut service = orders.accept().await;
        service.until("half\r\n").await;
        if answered {
            service.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            raw.frame(|frame| frame.kind == kind::DATA).await.expect("the answer");
        }
        raw.write(frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, code])).await;
        assert_eq!(String::from_utf8_lossy(&service.end().await), "", "{code}, answered: {answered}");
    }
}

#[tokio::test]
async fn bodies_that_nobody_reads_leave_the_others_their_window() {
    const PART: usize = 16 * 1024;
    const BYTES: usize = 16 * PART;
    let orders = upstream("orders");
    let gateway = gateway([&orders], &format!("{SHOP}body = \"100KiB\""));
    let mut raw = connect(&gateway).await;
    let refused = without(":path", &[(":path", "/%2f")]);
    let said_too_long = without(":method", &[(":method", "POST"), ("content-length", "9000000")]);
    let too_long = without(":method", &[(":method", "POST")]);
    let mut window = 65_535;
    // In all six times what a connection may send unasked.
    for number in 0..24 {
        let (stream, block) = (2 * number + 1, [&refused, &said_too_long, &too_long][number as usize % 3]);
        while window < BYTES {
            let update = raw.frame(|frame| frame.kind == kind::WINDOW_UPDATE && frame.stream == 0).await.expect("room");
            window += usize::try_from(u32::from_be_bytes(update.payload.try_into().unwrap())).unwrap();
        }
        window -= BYTES;
        raw.write(frame(kind::HEADERS, END_HEADERS, stream, block)).await;
        for _ in 0..BYTES / PART {
            raw.write(frame(kind::DATA, 0, stream, &[b'x'; PART])).await;
        }
    }
    is_served(&mut raw, 49).await;
}

#[tokio::test]
async fn sigterm_lets_streams_in_flight_end_and_idle_connections_go() {
    let orders = upstream("orders");
    let program = gatewright().start(setup(SHOP).to(&orders)).await;
    let (mut busy, mut idle) = (Raw::connect(program.address).await, Raw::connect(program.address).await);
    for raw in [&mut busy, &mut idle] {
        raw.write(PREFACE).await;
        is_served(raw, 1).await;
    }
    let gate = orders.holds();
    busy.write(request(3, &fields(GOOD))).await;
    orders.sees_requests(3).await;
    program.terminate();
    for raw in [&mut idle, &mut busy] {
        let goaway = raw.frame(|frame| frame.kind == kind::GOAWAY).await.expect("a warning");
        assert_eq!(goaway.code(), Some(0));
        let ping = raw.frame(|frame| frame.kind == kind::PING && frame.flags == 0).await.expect("a ping");
        raw.write(frame(kind::PING, 1, 0, &ping.payload)).await;
    }
    assert_eq!(idle.frame(|frame| frame.kind == kind::HEADERS).await, None);
    gate.open();
    let data = busy.frame(|frame| frame.kind == kind::DATA).await.expect("an answer");
    assert_eq!((data.stream, data.payload.as_slice()), (3, &b"orders"[..]));
    busy.end().await;
    assert_eq!(program.ended().await.code, Some(0));
}

#[tokio::test]
async fn an_answer_with_trailers_is_whole_in_the_access_log() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n";
    let orders = raw_upstream("orders");
    let mut program = gatewright().start(setup(SHOP).to(&orders)).await;
    for client in [program.http2().await, program.http1().await] {
        let call = tokio::spawn(client.get("/").field("te", "trailers").into_future());
        let mut service = orders.accept().await;
        service.head().await;
        service.write([CHUNKED, "0\r\nx-sum: 1\r\n\r\n"].concat()).await;
        assert_eq!(call.await.unwrap().is(200).trailers.unwrap()["x-sum"], "1");
        let line = program.line().await;
        assert_eq!(line["reason"], serde_json::Value::Null, "{line}");
        // hyper may have lost what came behind them.
        assert!(service.end().await.is_empty());
    }
}
