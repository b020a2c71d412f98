//! Real peers: nginx and HAProxy as servers that require a PROXY header, curl and openssl as clients.
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::namespace::{add_ipv6, in_namespace, skip};
use crate::kit::places::{Folder, free_address, free_address_of};
use crate::kit::proxy::{Launch, Proxy};
use crate::kit::wait_until;

/// Without this, curl or openssl gets no answer, or nginx or HAProxy logs another address than the client's.
#[test]
fn servers_see_the_client_s_address_and_port() {
    with_peers(concat!(module_path!(), "::servers_see_the_client_s_address_and_port"), |peers| {
        add_ipv6(&["2001:db8::1"]);
        let v4 = free_address();
        let v6 = free_address_of("2001:db8::1".parse().unwrap());
        let both = free_address_of("::".parse().unwrap());
        for (server, version) in
            [(&peers.nginx, "v2"), (&peers.haproxy, "v2"), (&peers.nginx, "v1"), (&peers.haproxy, "v1")]
        {
            let config = json!({
                "listen": [v4, v6, both],
                "routes": { "a": { "sni": ["a.test"], "servers": [server.address], "proxy_protocol": version } }
            });
            let proxy = Proxy::launch(config, Launch::with_socket(both));
            let v4_mapped = SocketAddr::from(([127, 0, 0, 1], both.port()));
            for to in [v4, v6, v4_mapped] {
                let client = peers.curl(to, server);
                assert_eq!(client.is_ipv4(), to.is_ipv4());
                assert_eq!(proxy.entry(client, "ACCEPT").client, client);
                assert_eq!(peers.s_client(to), server.name);
            }
        }
    });
}

/// Without this, a server that requires a PROXY header fails probes, or logs errors for them.
#[test]
fn servers_that_insist_on_a_header_stay_up() {
    with_peers(concat!(module_path!(), "::servers_that_insist_on_a_header_stay_up"), |peers| {
        let probed = |version| ["tcp", "tls", "http"].map(|kind| peers.probed(kind, version));
        let proxies: Vec<Proxy> = ["v2", "v1"].into_iter().flat_map(probed).collect();
        std::thread::sleep(Duration::from_secs(2));
        for proxy in &proxies {
            assert!(!proxy.other_lines().iter().any(|line| line.contains("DOWN")), "{:?}", proxy.lines);
        }
        assert_eq!(peers.faults(), 0);
        // They were probed all the while: when the servers end, that is noticed.
        drop(peers);
        for proxy in &proxies {
            proxy.wait_for_notice("Server r/nginx is DOWN");
            proxy.wait_for_notice("Server r/haproxy is DOWN");
        }
    });
}

/// Servers that are running, and the certificate that they and their clients share.
pub(crate) struct Peers {
    pub(crate) folder: Folder,
    certificate: PathBuf,
    pub(crate) nginx: Server,
    pub(crate) haproxy: Server,
}

pub(crate) struct Server {
    name: &'static str,
    /// For TLS.
    pub(crate) address: SocketAddr,
    /// For plain HTTP.
    pub(crate) plain: SocketAddr,
    log: PathBuf,
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

pub(crate) fn with_peers(test: &str, body: impl FnOnce(Peers)) {
    for program in ["nginx", "haproxy", "curl", "openssl"] {
        if !Command::new("sh").args(["-c", "command -v $0", program]).stdout(Stdio::null()).status().unwrap().success()
        {
            return skip(test, &format!("{program} is not installed"));
        }
    }
    in_namespace(test, || body(Peers::start()));
}

impl Peers {
    fn start() -> Peers {
        let folder = Folder::new();
        let own = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
        let certificate = folder.write("cert.pem", &own.cert.pem());
        folder.write("key.pem", &own.signing_key.serialize_pem());
        folder.write("both.pem", &format!("{}{}", own.cert.pem(), own.signing_key.serialize_pem()));
        let (nginx, haproxy) = (Server::nginx(&folder), Server::haproxy(&folder));
        Peers { folder, certificate, nginx, haproxy }
    }

    /// Connections of which nginx says that they began with no header.
    fn faults(&self) -> usize {
        let log = std::fs::read_to_string(self.folder.path().join("nginx-error.log")).unwrap();
        log.lines().filter(|line| line.contains("broken header")).count()
    }

    /// A proxy that probes both servers often, and for which one failure is enough.
    fn probed(&self, kind: &str, version: &str) -> Proxy {
        let servers: Vec<Value> = [&self.nginx, &self.haproxy]
            .map(|server| json!({ "name": server.name, "address": if kind == "http" { server.plain } else { server.address } }))
            .into();
        Proxy::start(json!({
            "routes": { "r": { "sni": ["a.test"], "servers": servers, "proxy_protocol": version } },
            "health_check": { "type": kind, "interval": "100ms", "timeout": "30s", "fall": 1 }
        }))
    }

    /// Asks with curl through the proxy at `to`; holds what `server` answers and logs to what curl says of itself.
    pub(crate) fn curl(&self, to: SocketAddr, server: &Server) -> SocketAddr {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--write-out", "%{local_ip} %{local_port}\n"])
            .args(["--cacert", self.certificate.to_str().unwrap()])
            .args(["--resolve", &format!("a.test:{}:[{}]", to.port(), to.ip())])
            .arg(format!("https://a.test:{}/", to.port()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let (answer, own) = text.trim_end().split_once('\n').unwrap();
        assert_eq!(answer, format!("{} a.test {own}", server.name));
        wait_until("the server logs the client", || {
            std::fs::read_to_string(&server.log).unwrap().lines().any(|line| line == format!("from {own}"))
        });
        let (ip, port) = own.split_once(' ').unwrap();
        SocketAddr::new(ip.parse().unwrap(), port.parse().unwrap())
    }

    /// Asks with openssl through the proxy at `to`; answers the name of the server that answered.
    pub(crate) fn s_client(&self, to: SocketAddr) -> String {
        let script = "printf 'GET / HTTP/1.0\\r\\nHost: a.test\\r\\n\\r\\n' | \"$0\" \"$@\"";
        let output = Command::new("sh")
            .args(["-c", script, "openssl", "s_client", "-quiet", "-verify_return_error", "-servername", "a.test"])
            .args(["-CAfile", self.certificate.to_str().unwrap(), "-connect", &to.to_string()])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find(|line| line.contains(" a.test "));
        let line = line.unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)));
        line.split(' ').next().unwrap().to_owned()
    }
}

impl Server {
    fn nginx(folder: &Folder) -> Server {
        let (address, plain, path) = (free_address(), free_address(), folder.path().display());
        let config = format!(
            r#"
            daemon off; master_process off; user root; pid {path}/nginx.pid; error_log {path}/nginx-error.log info;
            events {{ }}
            http {{
                client_body_temp_path {path}/b; proxy_temp_path {path}/p; fastcgi_temp_path {path}/f;
                uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;
                log_format peers 'from $proxy_protocol_addr $proxy_protocol_port';
                access_log {path}/nginx.log peers;
                server {{
                    listen {address} ssl proxy_protocol;
                    listen {plain} proxy_protocol;
                    ssl_certificate {path}/cert.pem; ssl_certificate_key {path}/key.pem;
                    ssl_protocols TLSv1.3;
                    set_real_ip_from 127.0.0.0/8; real_ip_header proxy_protocol;
                    location / {{ return 200 "nginx $ssl_server_name $remote_addr $proxy_protocol_port\n"; }}
                }}
            }}"#
        );
        let file = folder.write("nginx.conf", &config);
        let process = Command::new("nginx").arg("-c").arg(file).arg("-p").arg(folder.path()).spawn().unwrap();
        Server::ready("nginx", [address, plain], folder.path().join("nginx.log"), process)
    }

    fn haproxy(folder: &Folder) -> Server {
        let (address, plain, path) = (free_address(), free_address(), folder.path().display());
        let config = format!(
            r#"
            global
                log stdout format raw daemon
            defaults
                mode http
                timeout client 20s
                timeout server 20s
                timeout connect 20s
            frontend peers
                bind {address} ssl crt {path}/both.pem accept-proxy
                bind {plain} accept-proxy
                log global
                log-format "from %ci %cp"
                http-request return status 200 content-type text/plain lf-string "haproxy %[ssl_fc_sni] %ci %cp\n"
"#
        );
        let file = folder.write("haproxy.cfg", &config);
        let log = folder.write("haproxy.log", "");
        let out = std::fs::File::create(&log).unwrap();
        let process = Command::new("haproxy").arg("-db").arg("-f").arg(file).stdout(out).spawn().unwrap();
        Server::ready("haproxy", [address, plain], log, process)
    }

    fn ready(name: &'static str, [address, plain]: [SocketAddr; 2], log: PathBuf, process: Child) -> Server {
        // With a header: nginx may complain of one that is missing when a test has begun to count.
        let greets =
            |address| TcpStream::connect(address).and_then(|mut stream| stream.write_all(b"PROXY UNKNOWN\r\n"));
        for address in [address, plain] {
            wait_until(name, || greets(address).is_ok());
        }
        Server { name, address, plain, log, process }
    }
}
