//! The configurations under measurement. What they have in common: one worker, keep-alive on both sides, an access log to a
//! file.

use std::net::SocketAddr;
use std::path::Path;

/// The secret of the load's tokens.
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

/// An nginx that passes everything on.
pub(super) fn nginx(folder: &Path, listen: SocketAddr, upstream: SocketAddr) -> String {
    let log = folder.join("access.log");
    let server = format!(
        "access_log {} combined buffer=32k flush=1s;
  upstream fixed {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen {listen};
    location / {{
      proxy_pass http://fixed;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
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

/// A gateway that passes everything on.
pub(super) fn pass_through(listen: SocketAddr, admin: SocketAddr, upstream: SocketAddr, plugins: &Path) -> String {
    let edge = edge(listen, admin, upstream, plugins);
    format!(
        "{edge}
[[api]]
name = \"everything\"
service = \"fixed\"
"
    )
}

/// A gateway with the three reference plugins and a limit that nobody reaches.
pub(super) fn plugins(listen: SocketAddr, admin: SocketAddr, upstream: SocketAddr, plugins: &Path) -> String {
    let edge = edge(listen, admin, upstream, plugins);
    format!(
        "{edge}
[plugin.jwt]
keys = [\"bench\"]

[keys.bench]
secret_env = \"{SECRET_VARIABLE}\"
{API}"
    )
}

fn edge(listen: SocketAddr, admin: SocketAddr, upstream: SocketAddr, plugins: &Path) -> String {
    format!(
        "[server]
listen = \"{listen}\"
workers = 1

[admin]
listen = \"{admin}\"

[log]
format = \"json\"

[plugins]
folder = \"{}\"

[service.fixed]
endpoints = [\"{upstream}\"]
idle_connections = 128
",
        plugins.display()
    )
}

/// The API of [`plugins`].
const API: &str = r#"
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
