//! Bad configurations and exactly what is said of them.

use super::*;

/// What is said of `text`, a line each without the file's name.
fn said(text: &str) -> Vec<String> {
    let faults = parse(text).expect_err(text);
    faults.iter().map(|fault| fault.to_string().trim_start_matches("gateway.toml:").to_owned()).collect()
}

/// A service for the APIs below, in two lines.
const SERVICE: &str = "[service.users]\nendpoints = ['127.0.0.1:1']\n";

/// An API's keys from line 6 on.
fn api(keys: &str) -> String {
    format!("{SERVICE}[[api]]\nname = 'x'\nservice = 'users'\n{keys}")
}

/// A limit's keys from line 8 on.
fn limit(keys: &str) -> String {
    api(&format!("[[api.limit]]\nname = 'l'\n{keys}"))
}

#[test]
fn a_fault_shows_file_line_and_key() {
    let faults = parse("[service.users]\nendpoints = ['127.0.0.1:1', '127.0.0.1:2',\n 'foo']").unwrap_err();
    assert_eq!(faults[0].to_string(), "gateway.toml:3: `service.users.endpoints[2]`: not host:port");
}

#[test]
fn all_faults_come_at_once_in_the_order_of_lines() {
    let text = "what = 1\n[service.a]\n[server]\nworkers = 0\nlisten = 5\n[log]\nlevel = 'loud'\nacces = true";
    assert_eq!(
        said(text),
        [
            "1: `what`: unknown",
            "2: `service.a`: one of `endpoints`, `dns`, `endpoints_file` is missing",
            "4: `server.workers`: not from 1 to 1024",
            "5: `server.listen`: an integer where an address like `127.0.0.1:8080` belongs",
            "7: `log.level`: not one of `error`, `warn`, `info`, `debug`",
            "8: `log.acces`: unknown; did you mean `access`?",
        ]
    );
}

/// Checks a table of texts, each with its one fault.
fn each(table: &[(&str, &str)]) {
    for (text, fault) in table {
        assert_eq!(said(text), [*fault], "{text}");
    }
}

#[test]
fn what_is_not_toml_is_one_fault() {
    each(&[("[server]\nlisten = 'a", "2: invalid literal string, expected `'`"), ("a = 1\na = 2", "2: duplicate key")]);
}

#[test]
fn the_edge_is_checked() {
    each(&[
        ("[services.a]", "1: `services`: unknown; did you mean `service`?"),
        ("server = 1", "1: `server`: an integer where a table belongs"),
        ("[server]\nlisten = []", "2: `server.listen`: empty"),
        ("[server]\nlisten = ':80'", "2: `server.listen`: not host:port"),
        ("[server]\nlisten = '1.2.3.4:70000'", "2: `server.listen`: a port is at most 65535"),
        (
            "[server]\nlisten = 'a.example:80'",
            "2: `server.listen`: a name where an IP address belongs; the names of services are looked up by `dns`",
        ),
        ("[server]\nlisten = '::1:80'", "2: `server.listen`: an IPv6 address stands in brackets: `[::1]:8080`"),
        (
            "[server]\nlisten = 'localhost:1'\n[admin]\nlisten = '127.0.0.1:1'",
            "4: `admin.listen`: `127.0.0.1:1` is already taken by `server.listen` in line 2",
        ),
        ("[server]\ntrusted = ['10.0.0.0/33']", "2: `server.trusted[0]`: not a network like `10.0.0.0/8`"),
        (
            "[server]\ntrusted = ['10.1.0.0/8']",
            "2: `server.trusted[0]`: bits are set after the first 8; the network is `10.0.0.0/8`",
        ),
        ("[server]\nshutdown = 30", "2: `server.shutdown`: an integer where a duration like `10s` belongs"),
        ("[server]\nshutdown = '30'", "2: `server.shutdown`: not a duration like `10s`, `5ms` or `1h`"),
        ("[server]\nshutdown = '2d'", "2: `server.shutdown`: not from 0s to 1d"),
        ("[server]\nhead_timeout = '0s'", "2: `server.head_timeout`: not from 1ms to 1d"),
        ("[server]\nhead_bytes = '32KB'", "2: `server.head_bytes`: not a size like `64KiB`, `10MiB` or `1GiB`"),
        ("[server]\nhead_bytes = 1", "2: `server.head_bytes`: not from 8KiB to 1MiB"),
        ("[server]\nhead_fields = -1", "2: `server.head_fields`: not from 1 to 10000"),
        ("[server]\nfailed_auth = true", "2: `server.failed_auth`: a boolean where a table belongs"),
        ("[log]\naccess = 'yes'", "2: `log.access`: a string where `true` or `false` belongs"),
    ]);
}

#[test]
fn plugins_and_keys_are_checked() {
    let name = "a name has 1 to 64 of A-Z a-z 0-9 . _ - and starts with a letter or digit";
    each(&[
        ("[plugin.'a/b']", &format!("1: `plugin.\"a/b\"`: {name}")),
        ("[plugin.a]\nkeys = ['demo']", "2: `plugin.a.keys[0]`: there is no key set `demo`"),
        ("[plugin.a]\nsha256 = 'AB'", "2: `plugin.a.sha256`: not 64 lower-case hexadecimal digits"),
        ("[plugin.a]\nisolation = 'none'", "2: `plugin.a.isolation`: not one of `reused`, `fresh`"),
        ("[plugin.a]\ncall_time = '2m'", "2: `plugin.a.call_time`: not from 100us to 1m"),
        ("[keys.a]", "1: `keys.a`: one of `jwks`, `pem`, `secret_file`, `secret_env` is missing"),
        (
            "[keys.a]\njwks = 'a'\npem = 'b'",
            "1: `keys.a`: only one of `jwks`, `pem`, `secret_file`, `secret_env` can be there",
        ),
        ("[keys.a]\npem = 'b'", "1: `keys.a.algorithm`: missing: a `pem` key vouches for exactly one"),
        (
            "[keys.a]\npem = 'b'\nalgorithm = 'HS256'",
            "3: `keys.a.algorithm`: a public key is no secret: not one of HMAC's",
        ),
        (
            "[keys.a]\nsecret_env = 'B'\nalgorithm = 'RS256'",
            "3: `keys.a.algorithm`: a secret is for `HS256`, `HS384` or `HS512`",
        ),
        (
            "[keys.a]\njwks = 'b'\nalgorithm = 'RS256'",
            "3: `keys.a.algorithm`: a JWKS names the algorithms of its keys itself",
        ),
        ("[keys.a]\nsecret_env = 'B=C'", "2: `keys.a.secret_env`: not the name of an environment variable"),
        ("[keys.a]\njwks = ''", "2: `keys.a.jwks`: not a path"),
    ]);
}

#[test]
fn services_are_checked() {
    let service = |keys: &str| format!("{SERVICE}{keys}");
    for (keys, fault) in [
        (
            "balance = 'fair'",
            "3: `service.users.balance`: not one of `round-robin`, `least-busy`, `random`, `peak-ewma`, `maglev`",
        ),
        ("decay = '1s'", "3: `service.users.decay`: only with `balance = \"peak-ewma\"`"),
        ("affinity = 'address'", "3: `service.users.affinity`: only with `balance = \"maglev\"`"),
        ("idle_connections = 1\nwarm = 2", "4: `service.users.warm`: more than `idle_connections`, 1"),
        ("http2_ping = '1s'", "3: `service.users.http2_ping`: only with `http2 = true`"),
        ("connections = 0", "3: `service.users.connections`: not from 1 to 10000000"),
        ("pending = 0", "3: `service.users.pending`: not from 1 to 10000000"),
        (
            "balance = 'maglev'\nslow_start = '1s'",
            "4: `service.users.slow_start`: not with `balance = \"maglev\"`: keys would move twice",
        ),
        ("retry = { on = [] }", "3: `service.users.retry.on`: empty"),
        (
            "retry = { on = ['reset', 'refused'] }",
            "3: `service.users.retry.on[1]`: not `connect`, `reset`, `timeout` or statuses like `502-504`",
        ),
        ("retry = { backoff = '2s' }", "3: `service.users.retry.backoff`: `backoff` is longer than `most_backoff`"),
        ("probe = {}", "3: `service.users.probe`: one of `http`, `tcp`, `grpc` is missing"),
        (
            "probe = { tcp = false }",
            "3: `service.users.probe.tcp`: only `true` says anything; leave `probe` out to have none",
        ),
        ("probe = { tcp = true, host = 'a' }", "3: `service.users.probe.host`: only for an HTTP or gRPC probe"),
        ("probe = { grpc = '', body = 'a' }", "3: `service.users.probe.body`: only for an HTTP probe"),
        ("probe = { grpc = 'a b' }", "3: `service.users.probe.grpc`: not a service's name"),
        ("probe = { http = '/', body = '' }", "3: `service.users.probe.body`: every body holds nothing"),
        (
            "probe = { http = '/', headers = ['a'] }",
            "3: `service.users.probe.headers[0]`: not a field like `x-probe: yes`",
        ),
        (
            "probe = { http = '/', headers = ['Host: a'] }",
            "3: `service.users.probe.headers[0]`: `host` is the gateway's own",
        ),
        ("probe = { http = 'healthz' }", "3: `service.users.probe.http`: not a target like `/healthz`"),
        (
            "probe = { http = '/', status = '299-200' }",
            "3: `service.users.probe.status`: not a status or a range like `200-299`",
        ),
        ("ejection = { on = [] }", "3: `service.users.ejection.on`: empty"),
        ("ejection = { on = ['200-299'] }", "3: `service.users.ejection.on`: a status below 400 is no failure"),
        ("ejection = { time = '10m' }", "3: `service.users.ejection.time`: `time` is longer than `most_time`"),
        ("ejection = { most_percent = 101 }", "3: `service.users.ejection.most_percent`: not from 1 to 100"),
    ] {
        assert_eq!(said(&service(keys)), [fault], "{keys}");
    }
    for (affinity, fault) in [
        ("'caller'", "4: `service.users.affinity`: not one of `address`"),
        ("{}", "4: `service.users.affinity`: one of `header`, `cookie` is missing"),
        ("{ header = 'a', cookie = 'b' }", "4: `service.users.affinity`: only one of `header`, `cookie` can be there"),
        ("{ header = 'a b' }", "4: `service.users.affinity.header`: not a field's name"),
        ("{ cookie = 'a=b' }", "4: `service.users.affinity.cookie`: not a cookie's name"),
    ] {
        assert_eq!(said(&service(&format!("balance = 'maglev'\naffinity = {affinity}"))), [fault], "{affinity}");
    }
    each(&[
        (
            "[service.a]\nendpoints = ['127.0.0.1:1']\nendpoints_file = 'a'",
            "1: `service.a`: only one of `endpoints`, `dns`, `endpoints_file` can be there",
        ),
        ("[service.a]\ndns = { name = 'a' }", "2: `service.a.dns.port`: missing"),
        ("[service.a]\ndns = { name = 'a b', port = 1 }", "2: `service.a.dns.name`: not a name like `orders.internal`"),
        (
            "[service.a]\ndns = { srv = 'a', port = 1 }",
            "2: `service.a.dns.port`: only for `name`: SRV records have their ports",
        ),
        (
            "[service.a]\ndns = { srv = 'a', least_time = '2m', most_time = '1m' }",
            "2: `service.a.dns.most_time`: `least_time` is longer than `most_time`",
        ),
        ("[service.a]\nendpoints = []", "2: `service.a.endpoints`: empty"),
        ("[service.a]\nendpoints = ['127.0.0.1:0']", "2: `service.a.endpoints[0]`: port 0 is no endpoint's"),
        (
            "[service.a]\nendpoints = ['127.0.0.1:1',\n{ address = 'localhost:1' }]",
            "3: `service.a.endpoints[1].address`: `127.0.0.1:1` is already taken by `service.a.endpoints[0]` in line 2",
        ),
        (
            "[service.a]\nendpoints = [{ address = '127.0.0.1:1', weight = 0 }]",
            "2: `service.a.endpoints[0].weight`: not from 1 to 1000",
        ),
    ]);
}

#[test]
fn apis_are_checked() {
    for (keys, fault) in [
        ("services = ['users']", "6: `api[0].services`: only for a routing plugin"),
        ("routing = { plugin = 'a' }", "3: `api[0]`: only one of `service`, `routing` can be there"),
        ("anonymous = false", "6: `api[0].anonymous`: without auth plugins nobody else could pass"),
        ("body = true", "6: `api[0].body`: a boolean where a size like `64KiB` belongs"),
        ("hosts = ['a:80']", "6: `api[0].hosts[0]`: a host stands without a scheme and without a port"),
        ("hosts = ['a..b']", "6: `api[0].hosts[0]`: not a host like `api.example.org` or `*.example.org`"),
        ("hosts = ['a.*']", "6: `api[0].hosts[0]`: `*.` stands only in front of a name; leave `hosts` out to take all"),
        ("hosts = ['ä.example']", "6: `api[0].hosts[0]`: not ASCII; write the name in its `xn--` form"),
        ("hosts = ['a', 'A']", "3: `api[0]`: `a/` is already taken by `api[0]` in line 3"),
        ("paths = []", "6: `api[0].paths`: empty"),
        ("paths = ['a']", "6: `api[0].paths[0]`: a path starts with `/`"),
        ("paths = ['/a/']", "6: `api[0].paths[0]`: no `/` at the end: prefixes match whole segments anyway"),
        ("paths = ['/a/../b']", "6: `api[0].paths[0]`: a dot segment: requests never have one once they are cleaned"),
        ("paths = ['/a%2Fb']", "6: `api[0].paths[0]`: an escaped `/`, `\\` or NUL: such requests are refused"),
        ("paths = ['/%41']", "6: `api[0].paths[0]`: an escaped `A`: requests have it unescaped once they are cleaned"),
        ("paths = ['/a/;b']", "6: `api[0].paths[0]`: parameters of an empty segment: such requests are refused"),
        ("paths = ['/a b']", "6: `api[0].paths[0]`: holds what a path must escape with `%`"),
        (
            "auth = [{ plugin = 'a', on_failure = 'open' }]",
            "6: `api[0].auth[0].on_failure`: only a validation plugin can fail open",
        ),
        ("auth = [{}]", "6: `api[0].auth[0].plugin`: missing"),
        (
            "validation = [{ plugin = 'a', settings = { x = [1, nan] } }]",
            "6: `api[0].validation[0].settings.x[1]`: JSON has no such number",
        ),
    ] {
        assert_eq!(said(&api(keys)), [fault], "{keys}");
    }
    assert_eq!(
        said(&format!("{SERVICE}[[api]]\nname = 'x'\nservice = 'usres'")),
        ["5: `api[0].service`: there is no service `usres`; did you mean `users`?"]
    );
    assert_eq!(
        said(&api("[[api]]\nname = 'x'\nservice = 'users'")),
        [
            "6: `api[1]`: `*/` is already taken by `api[0]` in line 3",
            "7: `api[1].name`: `x` is already taken by `api[0].name` in line 4"
        ]
    );
}

#[test]
fn what_browsers_are_told_is_checked() {
    let origin = "not an origin like `https://shop.example`";
    for (text, fault) in [
        ("null", "`null` is what sandboxed documents of anybody are from"),
        ("shop.example", origin),
        ("https://", origin),
        ("https:///", "an origin ends before the path, without a `/`"),
        ("https://shop.example/", "an origin ends before the path, without a `/`"),
        ("https://user@shop.example", origin),
        ("1s://shop.example", origin),
        ("https://a..b", origin),
        ("https://[::1", origin),
        ("https://shop.*", "`*` stands alone, or as `*.` in front of a name"),
        ("https://*shop.example", "`*` stands alone, or as `*.` in front of a name"),
        ("https://*", "`*` stands alone, or as `*.` in front of a name"),
        ("https://shop.example:443", "browsers leave the scheme's own port out"),
        ("http://shop.example:", "a port is from 1 to 65535"),
        ("http://shop.example:080", "a port is from 1 to 65535"),
        ("http://shop.example:65536", "a port is from 1 to 65535"),
    ] {
        let said = said(&api(&format!("cors = {{ origins = ['{text}'] }}")));
        assert_eq!(said, [format!("6: `api[0].cors.origins[0]`: {fault}")], "{text}");
    }
    let starred = |key: &str| format!("7: `api[0].cors.{key}`: with `credentials` a browser takes no `*`: name them");
    for (keys, fault) in [
        ("", "6: `api[0].cors.origins`: missing".to_owned()),
        ("origins = []", "7: `api[0].cors.origins`: empty".into()),
        ("origins = ['*', 'https://a']", "7: `api[0].cors.origins`: `*` is everybody: it stands alone".into()),
        ("origins = ['*']\ncredentials = true", starred("origins")),
        ("methods = ['*']\norigins = ['https://a']\ncredentials = true", starred("methods")),
        ("headers = ['*']\norigins = ['https://a']\ncredentials = true", starred("headers")),
        ("expose = ['*']\norigins = ['https://a']\ncredentials = true", starred("expose")),
        (
            "methods = ['get']\norigins = ['*']",
            "7: `api[0].cors.methods[0]`: methods are in upper case, and their case counts".into(),
        ),
        ("headers = ['a b']\norigins = ['*']", "7: `api[0].cors.headers[0]`: not a field's name".into()),
    ] {
        assert_eq!(said(&api(&format!("[api.cors]\n{keys}"))), [fault], "{keys}");
    }
}

#[test]
fn limits_are_checked() {
    for (keys, fault) in [
        (
            "by = 'host'\nconcurrent = 1",
            "8: `api[0].limit[0].by`: not one of `api`, `address`, `caller`, `plan`, `attribute:NAME`",
        ),
        (
            "by = 'api'",
            "6: `api[0].limit[0]`: limits nothing: `requests` and `per`, `plans` or `concurrent` must be there",
        ),
        ("by = 'api'\nrequests = 1", "6: `api[0].limit[0].per`: missing: `requests` in how long?"),
        ("by = 'api'\nper = '1s'", "6: `api[0].limit[0].requests`: missing: how many `per` that time?"),
        ("by = 'api'\nconcurrent = 1\nburst = 2", "10: `api[0].limit[0].burst`: only with `requests` and `per`"),
        ("by = 'api'\nrequests = 2000000\nper = '1s'", "9: `api[0].limit[0].requests`: more than a million a second"),
        (
            "by = 'api'\nrequests = 1\nper = '1d'\nburst = 1000",
            "11: `api[0].limit[0].burst`: takes more than 366 days to come back",
        ),
        (
            "by = 'api'\nrequests = 1\nper = '1s'\nmost_delay = '1s'",
            "11: `api[0].limit[0].most_delay`: only with `over = \"delay\"`",
        ),
        ("by = 'api'\nconcurrent = 1\nover = 'delay'", "10: `api[0].limit[0].over`: there is no rate to wait for"),
        (
            "by = 'caller'\nplans = { gold = { requests = 1, per = '1s' } }",
            "9: `api[0].limit[0].plans.gold`: there is no plan `gold`",
        ),
    ] {
        assert_eq!(said(&limit(keys)), [fault], "{keys}");
    }
    let twice = limit("by = 'api'\nconcurrent = 1\n[[api.limit]]\nname = 'l'\nby = 'api'\nconcurrent = 1");
    assert_eq!(said(&twice), ["11: `api[0].limit[1].name`: `l` is already taken by `api[0].limit[0].name` in line 7"]);
    let plans = limit("by = 'address'\nplans = { gold = { requests = 1, per = '1s' } }");
    assert_eq!(
        said(&format!("plans = ['gold']\n{plans}")),
        ["10: `api[0].limit[0].plans`: a plan is a caller's: `by` must be `caller`, `plan` or an attribute"]
    );
}
