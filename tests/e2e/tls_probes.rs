//! The hello of a `tls` probe, against servers that accept few algorithms: each of them is up for `openssl s_client`
//! and HAProxy.
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls::crypto::{ActiveKeyExchange, CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::PrivateKeyDer;
use rustls::{NamedGroup, ServerConfig, ServerConnection};
use serde_json::{Value, json};

use crate::kit::namespace::skip;
use crate::kit::origin::{Expect, Origin};
use crate::kit::places::{Folder, free_address};
use crate::kit::proxy::Proxy;
use crate::kit::wait_until;

/// Key, and what `s_server` is told beside it.
const SERVERS: [(&str, &str); 14] = [
    ("rsa", "-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256"),
    ("rsa", "-tls1_2 -cipher DHE-RSA-AES256-SHA256"),
    ("rsa", "-tls1_2 -cipher DHE-RSA-CHACHA20-POLY1305"),
    ("rsa", "-tls1_2 -cipher AES128-SHA"),
    ("rsa", "-tls1_2 -cipher AES256-SHA256"),
    ("rsa", "-tls1_2 -cipher ECDHE-RSA-AES256-SHA384"),
    ("ec", "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA"),
    ("rsa", "-tls1_3 -groups X448"),
    ("rsa", "-tls1_2 -groups X448"),
    ("rsa", "-tls1_3 -groups ffdhe3072"),
    ("ed448", "-tls1_3"),
    ("ed448", "-tls1_2"),
    ("rsa-pss", "-tls1_3"),
    ("rsa-pss", "-tls1_2"),
];

/// Without this, a server that accepts only one version, cipher or key type fails every `tls` probe.
#[test]
fn servers_of_one_kind_each() {
    if !Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success()) {
        return skip("servers_of_one_kind_each", "openssl is not installed");
    }
    let folder = Folder::new();
    // A build's sandbox has no configuration of OpenSSL's own.
    folder.write("req.conf", "[req]\ndistinguished_name = name\n[name]\n");
    for key in ["rsa", "ec -pkeyopt ec_paramgen_curve:P-256", "ed448", "rsa-pss"] {
        let name = key.split(' ').next().unwrap();
        let files = format!("-keyout {name}.key -out {name}.pem");
        let made =
            openssl(&folder, &format!("req -config req.conf -x509 -nodes -newkey {key} -subj /CN=a.test {files}"));
        assert!(made.wait_with_output().unwrap().status.success(), "{key}");
    }
    let servers: Vec<Server> = SERVERS.iter().map(|(key, more)| Server::start(&folder, key, more)).collect();
    let routes: Vec<_> = servers.iter().map(|server| (server.name.as_str(), json!(server.address))).collect();
    assert_all_pass(&routes);
}

/// Without this, a server that accepts only post-quantum key shares is down, as it answers with `HelloRetryRequest`.
#[test]
fn a_server_that_asks_for_another_key_share() {
    let own = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
    let provider = CryptoProvider { kx_groups: vec![&PostQuantum], ..ring::default_provider() };
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let origin = Origin::serve(Expect::Nothing, move |mut visit| {
        let mut tls = ServerConnection::new(config.clone()).unwrap();
        // Ends with the probe's reset, or with an alert.
        drop(tls.complete_io(&mut visit.stream));
    });
    assert_all_pass(&[("X25519MLKEM768", origin.server())]);
}

/// A group that a server asks for, and never gets to use.
#[derive(Debug)]
struct PostQuantum;

impl SupportedKxGroup for PostQuantum {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, rustls::Error> {
        Err(rustls::Error::General("no key is ever made".into()))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }
}

struct Server {
    name: String,
    address: SocketAddr,
    process: Child,
}

impl Server {
    fn start(folder: &Folder, key: &str, more: &str) -> Server {
        let address = free_address();
        let command = format!("s_server -quiet -accept {address} -key {key}.key -cert {key}.pem {more}");
        let process = openssl(folder, &command);
        wait_until(more, || TcpStream::connect(address).is_ok());
        Server { name: format!("{key} {more}").replace([' ', '-'], "_"), address, process }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn openssl(folder: &Folder, command: &str) -> Child {
    let command: Vec<&str> = command.split(' ').collect();
    let (input, output) = (Stdio::null(), Stdio::null());
    Command::new("openssl")
        .args(command)
        .current_dir(folder.path())
        .stdin(input)
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Holds that the first probe of each server passes.
fn assert_all_pass(servers: &[(&str, Value)]) {
    let admin = free_address();
    let routes: serde_json::Map<String, Value> = servers
        .iter()
        .map(|(name, address)| {
            let servers = [json!({ "name": name, "address": address })];
            ((*name).to_owned(), json!({ "sni": [format!("{}.test", name.to_lowercase())], "servers": servers, "proxy_protocol": "off" }))
        })
        .collect();
    let proxy = Proxy::start(json!({
        "routes": routes,
        "admin": { "listen": [admin] },
        "health_check": { "type": "tls", "interval": "60s", "timeout": "30s" }
    }));
    let is = |state: &str, metrics: &str, name: &str| {
        let line = format!("haproxy_server_check_status{{proxy=\"{name}\",server=\"{name}\",state=\"{state}\"}} 1");
        metrics.lines().any(|other| other == line)
    };
    let metrics = std::cell::RefCell::new(String::new());
    wait_until("every server is probed", || {
        *metrics.borrow_mut() = get(admin, "/metrics");
        servers.iter().all(|(name, _)| !is("INI", &metrics.borrow(), name))
    });
    let failed: Vec<_> = servers.iter().filter(|(name, _)| !is("L6OK", &metrics.borrow(), name)).collect();
    assert!(failed.is_empty(), "{failed:#?}\n{:#?}", proxy.other_lines());
}

pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The value of a series of whole numbers on /metrics, by its name and labels.
pub(crate) fn metric(admin: SocketAddr, name: &str) -> u64 {
    let page = get(admin, "/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse().unwrap()
}
