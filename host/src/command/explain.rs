//! One request: what would become of it, and why?

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::report::Report;
use super::{configuration, print, read_request, show_log};
use crate::admin::{MOST_BYTES, TEXT_TYPE};
use crate::control;
use crate::explain::{By, End, Explanation};
use crate::gateway;
use crate::plugin::STACK_BYTES;
use crate::request::RequestText;

mod rows;

/// A gateway of this machine accepts at once.
const CONNECT: Duration = Duration::from_secs(2);
/// Longer than the gateway itself takes for its answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than any explanation: a plugin's answer is the most of it.
const ANSWER_BYTES: usize = 64 << 20;

/// What `gatewright explain` is given.
#[derive(Debug, clap::Args)]
pub struct Explain {
    /// The configuration, in TOML: it names the running gateway's admin listener.
    #[arg(short, long, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
    /// The request, as the text of HTTP/1.1: `GET /orders HTTP/1.1`, a line for each header field, an empty line, the body.
    /// What is missing of empty line and `content-length` is added. `-`: standard input.
    #[arg(short, long, value_name = "FILE")]
    request: PathBuf,
    /// The address that the request comes from.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    client: IpAddr,
    /// The gateway's admin listener, where it is not the one that the configuration names.
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "offline")]
    admin: Option<SocketAddr>,
    /// Explain by the configuration and its plugin folder alone: no limit is used up, every endpoint is healthy and idle.
    #[arg(long)]
    offline: bool,
    /// Print the explanation as JSON.
    #[arg(long)]
    json: bool,
}

impl Explain {
    /// Asks, and prints the explanation. The exit status is 0 where the request would be forwarded or answered as it should,
    /// 1 where it is refused, and 2 where it is not explained.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        show_log();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().thread_stack_size(STACK_BYTES).build().map_err(Into::into);
        let explained = runtime.and_then(|runtime| runtime.block_on(self.explained()));
        let explanation = match explained {
            Ok(explanation) => explanation,
            Err(fault) => {
                eprintln!("{fault:#}");
                return ExitCode::from(2);
            }
        };
        let mut report = Report::default();
        match self.json {
            true => report.verbatim(&format!("{}\n", serde_json::to_string_pretty(&explanation).unwrap_or_default())),
            false => rows::write(&explanation, &mut report),
        }
        print(&report);
        ExitCode::from(u8::from(explanation.end == End::Refused))
    }

    async fn explained(&self) -> anyhow::Result<Explanation> {
        let file = self.request.display().to_string();
        let text = read_request(&self.request).with_context(|| file.clone())?;
        if text.len() > MOST_BYTES {
            bail!("{file}: longer than {MOST_BYTES} bytes");
        }
        if self.offline {
            let text = RequestText::new(&text).with_context(|| file.clone())?;
            let worker = Box::pin(control::alone(configuration(&self.config)?)).await?;
            return gateway::explain(&worker, By::Configuration, &text, self.client).await.context(file);
        }
        let admin = match self.admin {
            Some(admin) => admin,
            None => configuration(&self.config)?.admin.with_context(|| {
                format!(
                    "{}: there is no `admin.listen` to ask; `--offline` explains without a gateway",
                    self.config.display()
                )
            })?,
        };
        let (status, answer) = tokio::time::timeout(PATIENCE, ask(reachable(admin), self.client, text))
            .await
            .with_context(|| format!("{admin}: no answer in {} s", PATIENCE.as_secs()))??;
        if status == StatusCode::OK {
            return serde_json::from_slice(&answer).with_context(|| format!("{admin}: an answer of another version"));
        }
        let problem: Option<serde_json::Value> = serde_json::from_slice(&answer).ok();
        let detail = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
        match (status, detail) {
            (StatusCode::BAD_REQUEST, Some(detail)) => bail!("{file}: {detail}"),
            (_, Some(detail)) => bail!("{admin}: {detail}"),
            _ => bail!("{admin}: {status}: not the admin listener of a gateway that explains requests"),
        }
    }
}

/// An address to connect to for one to listen on.
fn reachable(mut admin: SocketAddr) -> SocketAddr {
    match admin.ip() {
        IpAddr::V4(address) if address.is_unspecified() => admin.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(address) if address.is_unspecified() => admin.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    admin
}

async fn ask(admin: SocketAddr, client: IpAddr, text: Vec<u8>) -> anyhow::Result<(StatusCode, Bytes)> {
    let no_gateway = || format!("no gateway answers at {admin}; `--offline` explains without one");
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect(admin)).await.with_context(no_gateway)?;
    let stream = stream.with_context(no_gateway)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("/explain?client={client}"))
        .header(header::HOST, admin.to_string())
        .header(header::CONTENT_TYPE, TEXT_TYPE)
        .body(Full::new(Bytes::from(text)))?;
    let response = sender.send_request(request).await.with_context(no_gateway)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
    connection.abort();
    Ok((status, body.map_err(anyhow::Error::from_boxed)?.to_bytes()))
}
