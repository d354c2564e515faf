//! The configurations under measurement. What they have in common: keep-alive on both sides, an access log to a file.

use std::net::SocketAddr;
use std::path::Path;

use super::tokens::Signature;

/// The secret of HS256 tokens.
pub(super) const SECRET: &str = "the secret of a measurement: 32 bytes or more";
/// The variable that the gateway takes it from.
pub(super) const SECRET_VARIABLE: &str = "GATEWRIGHT_BENCH_SECRET";

/// The path of one of the load's requests.
pub(super) fn path(index: usize) -> String {
    format!("/v2/orders/{index}")
}

/// An nginx that answers everything with the same KiB, without a log.
pub(super) fn upstream(folder: &Path, listen: SocketAddr) -> String {
    let body = "x".repeat(1024);
    let server = format!(
        "access_log off;
  server {{
    listen {listen};
    location / {{ default_type text/plain; return 200 \"{body}\"; }}
  }}"
    );
    whole_nginx(folder, &server)
}

/// How much an nginx under measurement says of a request that it passes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Says {
    /// What most configurations have: two fields, and a line in the `combined` format.
    Little,
    /// What the gateway says: seven fields to the service, two to the client, and a line of JSON.
    TheSame,
}

impl Says {
    /// Of the `http` block, and of the location.
    fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Little => ("", ""),
            Self::TheSame => (SAME_LOG, SAME_FIELDS),
        }
    }
}

/// The gateway's access line.
const SAME_LOG: &str = r#"
  log_format same escape=json '{"time":"$time_iso8601","id":"$request_id","trace":"$request_id","client":"$remote_addr",'
    '"method":"$request_method","path":"$uri","protocol":"$server_protocol","api":"everything","service":"fixed",'
    '"endpoint":"$upstream_addr","status":$status,"bytes":$body_bytes_sent,"seconds":$request_time,"outcome":"forwarded"}';"#;
/// The gateway's fields beside those that every nginx under measurement sets.
const SAME_FIELDS: &str = r#"
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header Forwarded "for=$remote_addr;proto=$scheme";
      proxy_set_header Via "1.1 nginx";
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header Traceparent "00-$request_id-00f067aa0ba902b7-01";
      add_header Via "1.1 nginx";
      add_header X-Request-Id $request_id;"#;

/// An nginx that passes everything on.
pub(super) fn nginx(folder: &Path, listen: SocketAddr, upstream: SocketAddr, says: Says) -> String {
    let log = folder.join("access.log");
    let (format, fields) = says.text();
    let name = if format.is_empty() { "combined" } else { "same" };
    let server = format!(
        "{format}
  access_log {} {name} buffer=32k flush=1s;
  upstream fixed {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen {listen};
    location / {{
      proxy_pass http://fixed;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;{fields}
    }}
  }}",
        log.display()
    );
    whole_nginx(folder, &server)
}

fn whole_nginx(folder: &Path, server: &str) -> String {
    let folder = folder.display();
    // As root, workers become another user, who may not enter our temporary folder.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    format!(
        "{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/client;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {server}
}}
"
    )
}

/// What a gateway under measurement is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gateway<'a> {
    /// What stands in a request's way.
    pub(super) policy: Policy,
    /// Threads that serve requests.
    pub(super) workers: usize,
    /// The folder with the plugins.
    pub(super) plugins: &'a Path,
    /// The JWKS document for [`Policy::Es256`].
    pub(super) jwks: &'a Path,
    /// Where everything goes.
    pub(super) upstream: SocketAddr,
    /// The build of it.
    pub(super) binary: &'a Path,
    /// Where it listens with TLS too, and a file with certificate and key.
    pub(super) tls: Option<(SocketAddr, &'a Path)>,
}

/// What stands in a request's way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Policy {
    /// Nothing.
    None,
    /// `jwt` with a shared secret, `json-schema` with schemas, `versions`, and a limit that nobody reaches.
    Hs256,
    /// The same with a key on P-256 and with rules that have no schema.
    Es256(Calls),
}

/// How often plugins are called, and in what.
#[derive(Clone, Copy, Debug)]
pub(super) enum Calls {
    /// Only for what is not remembered: the defaults.
    Remembered,
    /// For every request.
    Each,
    /// For every request, in a new instance.
    Fresh,
}

impl Gateway<'_> {
    /// Its configuration; `admin` is where `/readyz` and `/plugins` are.
    pub(super) fn text(&self, listen: SocketAddr, admin: SocketAddr) -> String {
        let Self { policy, workers, plugins, jwks, upstream, tls, .. } = self;
        format!(
            "[server]
listen = \"{listen}\"
workers = {workers}

[admin]
listen = \"{admin}\"

[log]
format = \"json\"

[plugins]
folder = \"{}\"

[service.fixed]
endpoints = [\"{upstream}\"]
idle_connections = 128
{}{}",
            plugins.display(),
            policy.text(jwks),
            tls.map(secure).unwrap_or_default()
        )
    }
}

impl Policy {
    /// How the tokens are signed that it takes; without policy all are as good.
    pub(super) fn signature(self) -> Signature {
        if matches!(self, Self::Hs256) { Signature::Hs256 } else { Signature::Es256 }
    }

    /// Whether a request is another matter when it has come before.
    pub(super) fn remembers(self) -> bool {
        matches!(self, Self::Hs256 | Self::Es256(Calls::Remembered))
    }

    fn text(self, jwks: &Path) -> String {
        match self {
            Self::None => EVERYTHING.to_owned(),
            Self::Hs256 => {
                let plugin = plugin("jwt", Calls::Remembered, KEYS);
                format!("{plugin}\n[keys.bench]\nsecret_env = \"{SECRET_VARIABLE}\"\n{AUTH}{SCHEMAS}{REST}")
            }
            Self::Es256(calls) => {
                let plugins = [("jwt", KEYS), ("json-schema", ""), ("versions", "")];
                let plugins = plugins.map(|(name, more)| plugin(name, calls, more)).concat();
                format!("{plugins}\n[keys.bench]\njwks = \"{}\"\n{AUTH}{PATHS}{REST}", jwks.display())
            }
        }
    }
}

fn secure((listen, pair): (SocketAddr, &Path)) -> String {
    let pair = pair.display();
    format!(
        "\n[server.tls]\nlisten = \"{listen}\"\ncertificates = [{{ certificate = \"{pair}\", key = \"{pair}\" }}]\n"
    )
}

/// What `jwt` may name.
const KEYS: &str = "keys = [\"bench\"]\n";

fn plugin(name: &str, calls: Calls, more: &str) -> String {
    let calls = match calls {
        Calls::Remembered => "",
        Calls::Each => "remember = \"0s\"\n",
        Calls::Fresh => "remember = \"0s\"\nisolation = \"fresh\"\n",
    };
    format!("\n[plugin.{name}]\n{calls}{more}")
}

/// An API without policy.
const EVERYTHING: &str = r#"
[[api]]
name = "everything"
service = "fixed"
"#;

/// An API and its auth stage.
const AUTH: &str = r#"
[[api]]
name = "orders"
services = ["fixed"]

[[api.auth]]
plugin = "jwt"

[api.auth.settings]
keys = "bench"
issuers = ["https://issuer.example"]
audiences = ["shop"]
scopes = ["orders:read"]
headers = { x-user = "sub", x-tenant = "tenant" }
"#;

/// Validation with schemas.
const SCHEMAS: &str = r#"
[[api.validation]]
plugin = "json-schema"

[[api.validation.settings.rules]]
methods = ["GET"]
path = "/v2/orders/{id}"
query = { page = { type = "integer", minimum = 1 } }
extra_query = "refuse"

[[api.validation.settings.rules]]
methods = ["POST"]
path = "/v2/orders"
body = '{ "type": "object", "required": ["item"], "properties": { "item": { "type": "string" } } }'
"#;

/// Validation without schemas: what is not a known method on a known path, or has a query, goes no further.
const PATHS: &str = r#"
[[api.validation]]
plugin = "json-schema"

[api.validation.settings]
other = "refuse"

[[api.validation.settings.rules]]
methods = ["GET"]
path = "/v2/orders/{id}"
extra_query = "refuse"

[[api.validation.settings.rules]]
methods = ["POST"]
path = "/v2/orders"
"#;

/// A versioned route, and a limit.
const REST: &str = r#"
[api.routing]
plugin = "versions"

[api.routing.settings]
from = { path = true }
strip = "version"

[api.routing.settings.versions.1]
deprecated = "2026-01-01"

[api.routing.settings.versions.2]

[[api.routing.settings.routes]]
path = "/orders/{*rest}"
service = "fixed"

[[api.limit]]
name = "per-caller"
by = "caller"
requests = 1000000
per = "1s"
"#;
