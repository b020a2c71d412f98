//! Certificates for servers behind the proxy: real ACME clients, with Pebble as the CA, which asks through the proxy.
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::kit::namespace::{in_namespace, skip};
use crate::kit::places::Folder;
use crate::kit::proxy::{Launch, Proxy};
use crate::kit::wait_until;

const DIRECTORY: &str = "https://localhost:14000/dir";
const CHALLENGES: &str = "/.well-known/acme-challenge/";
const CERTBOT: &str = "certbot certonly --config-dir certbot --work-dir work --logs-dir logs --no-verify-ssl --agree-tos \
                       --register-unsafely-without-email --non-interactive";
const LEGO: &str = "env LEGO_CA_CERTIFICATES=cert.pem lego --accept-tos --email a@a.test --path lego";

/// Without this, one of the ways in docs/certificates.md does not get a server its certificate, and the old one runs
/// out.
#[test]
fn certificates_are_issued() {
    let test = concat!(module_path!(), "::certificates_are_issued");
    for program in ["pebble", "pebble-challtestsrv", "certbot", "lego", "dehydrated", "nginx"] {
        let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).stdout(Stdio::null()).status();
        if !found.unwrap().success() {
            return skip(test, &format!("{program} is not installed"));
        }
    }
    in_namespace(test, || {
        let folder = Folder::new();
        let _authority = authority(&folder);
        let _nginx = nginx(&folder);
        let _proxy = Proxy::launch(config(), Launch::default());
        let run = |line: &str| issue(&folder, line);
        let certbot = |rest: &str| run(&format!("{CERTBOT} --server {DIRECTORY} {rest}"));
        let lego = |rest: &str| run(&format!("{LEGO} --server {DIRECTORY} {rest} run"));

        // A client waits most of the time.
        thread::scope(|scope| {
            scope.spawn(|| {
                // HTTP-01: a client that listens itself, without a header; a folder behind nginx, which expects one;
                // and a name whose server has a certificate of any kind, to which the authority follows the redirect.
                certbot("--standalone --http-01-address 127.0.0.2 --http-01-port 80 -d alone.test").unwrap();
                certbot("--webroot -w www -d web.test -d www.web.test").unwrap();
                certbot("--webroot -w www -d redirected.test").unwrap();
                // Nobody gets one for a name of another's: the token is not where the name leads.
                certbot("--webroot -w www -d tls.test").unwrap_err();
            });
            scope.spawn(|| {
                lego("--http --http.port 127.0.0.6:80 -d other.test").unwrap();
                // TLS-ALPN-01: at the name's own server, and at another program than the one that has the name.
                lego("--tls --tls.port 127.0.0.4:443 -d tls.test").unwrap();
                lego("--tls --tls.port 127.0.0.5:443 -d web.test").unwrap();
                lego("--tls --tls.port 127.0.0.5:443 -d alone.test").unwrap_err();
            });
            run("dehydrated -f dehydrated.conf --register --accept-terms").unwrap();
            run("dehydrated -f dehydrated.conf -x -c -d web.test").unwrap();
        });

        for (place, name) in [
            ("certbot/live/alone.test/cert.pem", "alone.test"),
            ("certbot/live/web.test/cert.pem", "www.web.test"),
            ("certbot/live/redirected.test/cert.pem", "redirected.test"),
            ("lego/certificates/other.test.crt", "other.test"),
            ("lego/certificates/tls.test.crt", "tls.test"),
            ("lego/certificates/web.test.crt", "web.test"),
            ("dehydrated/certs/web.test/cert.pem", "web.test"),
        ] {
            let names = run(&format!("openssl x509 -in {place} -noout -ext subjectAltName")).unwrap();
            assert!(names.contains(&format!("DNS:{name}")), "{place}: {names}");
        }
    });
}

fn config() -> Value {
    let off = json!({ "type": "off" });
    let http = json!({ "port": 80, "paths": [CHALLENGES] });
    json!({
        "listen": ["127.0.0.1:443"],
        "redirect": { "listen": ["127.0.0.1:80"] },
        "health_check": off,
        "routes": {
            "alone": { "sni": ["alone.test"], "servers": ["127.0.0.2:443"], "proxy_protocol": "off", "http": http },
            "other": { "sni": ["other.test"], "servers": ["127.0.0.6:443"], "proxy_protocol": "off", "http": http },
            "web": { "sni": ["web.test", "www.web.test"], "servers": ["127.0.0.3:443"], "http": http },
            "redirected": { "sni": ["redirected.test"], "servers": ["127.0.0.3:443"] },
            "tls": { "sni": ["tls.test"], "servers": ["127.0.0.4:443"], "proxy_protocol": "off" },
            "web-acme": { "sni": ["web.test"], "alpn": ["acme-tls/1"], "servers": ["127.0.0.5:443"], "proxy_protocol": "off" }
        }
    })
}

/// What the program prints, if it says that it went well.
fn issue(folder: &Folder, line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).current_dir(folder.path()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(said) } else { Err(format!("{line}:\n{said}")) }
}

/// Ended when dropped.
struct Peer(Child);

impl Peer {
    fn start(folder: &Folder, program: &str, arguments: &[&str], ready: &str) -> Peer {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        // Neither waits like a real authority nor refuses good requests now and then.
        let mut child = command
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .env("PEBBLE_AUTHZREUSE", "0")
            .spawn()
            .unwrap();
        wait_until(program, || {
            assert!(child.try_wait().unwrap().is_none(), "{program} has ended");
            std::net::TcpStream::connect(ready).is_ok()
        });
        Peer(child)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Pebble, and a name server for it that has 127.0.0.1 for every name.
fn authority(folder: &Folder) -> [Peer; 2] {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    folder.write("cert.pem", &own.cert.pem());
    folder.write("key.pem", &own.signing_key.serialize_pem());
    let pebble = json!({ "pebble": {
        "listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
        "certificate": "cert.pem", "privateKey": "key.pem", "httpPort": 80, "tlsPort": 443
    } });
    folder.write("pebble.json", &pebble.to_string());
    let dehydrated = format!(
        "CA={DIRECTORY}\nCURL_OPTS=-k\nBASEDIR={0}/dehydrated\nWELLKNOWN={0}/www{CHALLENGES}\nIP_VERSION=4\n",
        folder.path().display()
    );
    folder.write("dehydrated.conf", &dehydrated);
    for made in [folder.path().join("dehydrated"), folder.path().join(format!("www{CHALLENGES}"))] {
        std::fs::create_dir_all(made).unwrap();
    }
    let names = ["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""];
    let places = ["-dns01", "127.0.0.1:8053", "-management", "127.0.0.1:8055"];
    let names = Peer::start(folder, "pebble-challtestsrv", &[&names[..], &places].concat(), "127.0.0.1:8055");
    let arguments = ["-config", "pebble.json", "-dnsserver", "127.0.0.1:8053"];
    [Peer::start(folder, "pebble", &arguments, "127.0.0.1:14000"), names]
}

/// A server that waits for the header on both ports, with a certificate that nobody trusts.
fn nginx(folder: &Folder) -> Peer {
    let path: &Path = folder.path();
    let path = path.display();
    let config = format!(
        "daemon off; master_process off; user root; pid {path}/nginx.pid; error_log {path}/nginx-error.log; events {{}}
         http {{ access_log off; client_body_temp_path {path}/t1; proxy_temp_path {path}/t2; fastcgi_temp_path {path}/t3;
                 uwsgi_temp_path {path}/t4; scgi_temp_path {path}/t5;
             server {{ listen 127.0.0.3:80 proxy_protocol; listen 127.0.0.3:443 ssl proxy_protocol;
                 ssl_certificate {path}/cert.pem; ssl_certificate_key {path}/key.pem;
                 location {CHALLENGES} {{ root {path}/www; }} }} }}"
    );
    folder.write("nginx.conf", &config);
    let file = folder.path().join("nginx.conf");
    let prefix = folder.path().to_str().unwrap();
    Peer::start(folder, "nginx", &["-c", file.to_str().unwrap(), "-p", prefix], "127.0.0.3:443")
}
