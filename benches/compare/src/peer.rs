//! The compared proxies: how each is found, configured and started.
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

/// A kind of proxy, and with it the language of its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    FiscalismiaLb,
    Haproxy,
    Nginx,
    Sniproxy,
    Sozu,
    Bare,
}

/// Which lines a proxy logs for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logs {
    Off,
    /// One, at the end.
    Close,
    /// One each at accept, connect and close.
    All,
}

/// One program of the comparison.
#[derive(Clone, Debug)]
pub struct Peer {
    pub kind: Kind,
    /// Name and version, as the tables call it.
    pub label: String,
    program: PathBuf,
    /// Splice bulk transfers where the proxy can choose.
    pub splice: bool,
    version: (u32, u32),
}

/// What a proxy is to do in one measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    pub routes: usize,
    /// Servers of each route.
    pub servers: usize,
    pub logs: Logs,
    /// It is to be reloaded: with a master process, where it needs one for that.
    pub master: bool,
}

/// The job of most measurements: as many routes as the deployment that the project comes from.
pub const USUAL: Setup = Setup { routes: 5, servers: 1, logs: Logs::Off, master: false };

const MAX_CONNECTIONS: usize = 5000;

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::FiscalismiaLb => "fiscalismia-lb",
            Kind::Haproxy => "haproxy",
            Kind::Nginx => "nginx",
            Kind::Sniproxy => "sniproxy",
            Kind::Sozu => "sozu",
            Kind::Bare => "bare",
        }
    }
}

/// Servers' addresses all lead to the one origin: 127.0.1.1, 127.0.1.2 and so on.
pub fn server(index: usize, origin_port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 1 + (index / 250) as u8, 1 + (index % 250) as u8), origin_port))
}

/// The name that route `index` serves.
pub fn sni(index: usize) -> String {
    format!("site{index}.bench.example")
}

impl Peer {
    /// The proxy at `program`, which is asked for its version.
    pub fn at(kind: Kind, program: PathBuf) -> io::Result<Peer> {
        let flag = match kind {
            Kind::FiscalismiaLb | Kind::Sozu => "--version",
            Kind::Haproxy | Kind::Nginx => "-v",
            Kind::Sniproxy => "-V",
            Kind::Bare => return Ok(Peer { kind, label: "bare loop".into(), program, splice: false, version: (0, 0) }),
        };
        let output = Command::new(&program).arg(flag).output()?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let (text, version) = version(&said).ok_or_else(|| io::Error::other(format!("no version in {said:?}")))?;
        let name = match kind {
            Kind::Haproxy => "HAProxy",
            other => other.name(),
        };
        // The last part of a version says nothing about what a connection costs.
        let label = if kind == Kind::FiscalismiaLb { name.into() } else { format!("{name} {text}") };
        Ok(Peer { kind, label, program, splice: kind == Kind::FiscalismiaLb, version })
    }

    /// The same program, told the other thing about splice, where that makes a difference.
    pub fn other_way(&self) -> Option<Peer> {
        let label = match self.kind {
            Kind::FiscalismiaLb => format!("{}, copying", self.label),
            Kind::Haproxy | Kind::Bare => format!("{}, splice", self.label),
            Kind::Nginx | Kind::Sniproxy | Kind::Sozu => return None,
        };
        Some(Peer { label, splice: !self.splice, ..self.clone() })
    }

    /// Whether this proxy can log as asked.
    pub fn can(&self, logs: Logs) -> bool {
        match self.kind {
            Kind::FiscalismiaLb => true,
            Kind::Bare | Kind::Sozu => logs == Logs::Off,
            Kind::Haproxy => logs != Logs::All || self.version >= (3, 1),
            Kind::Nginx | Kind::Sniproxy => logs != Logs::All,
        }
    }

    /// Whether it can read its configuration anew, or start again, while it serves.
    pub fn can_reload(&self) -> bool {
        matches!(self.kind, Kind::FiscalismiaLb | Kind::Haproxy | Kind::Nginx)
    }

    /// The command that serves on 127.0.0.1:`port`; its configuration goes to `dir`.
    pub fn command(&self, setup: Setup, port: u16, origin_port: u16, dir: &Path) -> io::Result<Command> {
        let file = dir.join(format!("{}.conf", self.kind.name()));
        let mut command = Command::new(&self.program);
        let text = match self.kind {
            Kind::FiscalismiaLb => {
                command.args(["run", "--config"]).arg(&file);
                self.own(setup, port, origin_port)
            }
            Kind::Haproxy => {
                let map = dir.join("names.map");
                fs::write(&map, lines(setup.routes, |index| format!("{} r{index}", sni(index))))?;
                command.args(setup.master.then_some("-W")).args(["-db", "-f"]).arg(&file);
                self.haproxy(setup, port, origin_port, &map)
            }
            Kind::Nginx => {
                command.args(["-e", "stderr", "-p"]).arg(dir).arg("-c").arg(&file);
                nginx(setup, port, origin_port)
            }
            Kind::Sniproxy => {
                command.args(["-f", "-c"]).arg(&file);
                sniproxy(setup, port, origin_port)
            }
            Kind::Sozu => {
                command.args(["start", "-c"]).arg(&file);
                sozu(setup, port, origin_port, dir)
            }
            Kind::Bare => {
                command.args(["bare", &format!("127.0.0.1:{port}"), &server(0, origin_port).to_string()]);
                command.args(self.splice.then_some("--splice"));
                return Ok(command);
            }
        };
        fs::write(&file, text)?;
        Ok(command)
    }

    fn own(&self, setup: Setup, port: u16, origin_port: u16) -> String {
        let routes = (0..setup.routes).map(|index| {
            let servers: Vec<_> = (0..setup.servers).map(|other| server(other, origin_port).to_string()).collect();
            (format!("r{index}"), serde_json::json!({ "sni": [sni(index)], "servers": servers }))
        });
        serde_json::json!({
            "listen": [format!("127.0.0.1:{port}")],
            "routes": routes.collect::<serde_json::Map<_, _>>(),
            "health_check": { "type": "off" },
            "limits": { "connections": MAX_CONNECTIONS },
            "log": { "connections": match setup.logs { Logs::Off => "off", Logs::Close => "close", Logs::All => "all" } },
            "zero_copy": if self.splice { "auto" } else { "off" },
        })
        .to_string()
    }

    fn haproxy(&self, setup: Setup, port: u16, origin_port: u16, map: &Path) -> String {
        let all = setup.logs == Logs::All;
        let mut text = String::new();
        let log = match setup.logs {
            Logs::Off => "",
            Logs::Close => " log stdout format raw local0\n",
            Logs::All => " log stdout format raw profile steps local0\n",
        };
        let _ = write!(text, "global\n nbthread 1\n maxconn {MAX_CONNECTIONS}\n{log}");
        if all {
            text += "log-profile steps\n on accept format \"%ci:%cp [%t] %f ACCEPT ac=%ac fc=%fc\"\n";
            text += " on connect format \"%ci:%cp [%t] %ft %b/%s CONNECT Tw=%Tw Tc=%Tc Tt=%Tt B=%B ts=%ts\"\n";
            text += " on close format \"%ci:%cp [%t] %ft %b/%s CLOSE Tw=%Tw Tc=%Tc Tt=%Tt B=%B ts=%ts\"\n";
        }
        text += "defaults\n mode tcp\n timeout connect 5s\n timeout client 5m\n timeout server 5m\n";
        if setup.logs != Logs::Off {
            text += " log global\n option tcplog\n";
        }
        if self.splice {
            text += " option splice-auto\n";
        }
        let _ = write!(text, "frontend in\n bind 127.0.0.1:{port}\n");
        text += if all { " log-steps accept,connect,close\n" } else { "" };
        text += " tcp-request inspect-delay 5s\n tcp-request content accept if { req.ssl_hello_type 1 }\n";
        // A chain of conditions is how few routes are written; a map is how many are.
        text += &if setup.routes <= 10 {
            lines(setup.routes, |index| format!(" use_backend r{index} if {{ req.ssl_sni -i {} }}", sni(index)))
        } else {
            format!(" use_backend %[req.ssl_sni,lower,map({})]\n", map.display())
        };
        text + &lines(setup.routes, |index| {
            let servers =
                lines(setup.servers, |other| format!(" server s{other} {} send-proxy-v2", server(other, origin_port)));
            format!("backend r{index}\n balance roundrobin\n{servers}")
        })
    }
}

fn nginx(setup: Setup, port: u16, origin_port: u16) -> String {
    let names = lines(setup.routes, |index| format!("  {} r{index};", sni(index)));
    let upstreams = lines(setup.routes, |index| {
        let servers = lines(setup.servers, |other| format!("  server {};", server(other, origin_port)));
        format!(" upstream r{index} {{\n{servers} }}")
    });
    let log = match setup.logs {
        Logs::Off => "access_log off;",
        _ => "access_log /dev/stdout line;",
    };
    let master = if setup.master { "on" } else { "off" };
    format!(
        "daemon off;\nmaster_process {master};\nworker_processes 1;\nworker_rlimit_nofile 20000;\npid nginx.pid;\n\
         load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
         events {{ worker_connections 19000; }}\nstream {{\n \
         log_format line '$remote_addr:$remote_port [$time_local] $ssl_preread_server_name $upstream_addr \
         $status $bytes_sent $session_time';\n \
         map_hash_max_size 65536;\n map_hash_bucket_size 128;\n map $ssl_preread_server_name $route {{\n{names} }}\n\
         {upstreams} server {{\n  listen 127.0.0.1:{port} backlog=4096;\n  ssl_preread on;\n  proxy_protocol on;\n  \
         tcp_nodelay on;\n  {log}\n  proxy_pass $route;\n }}\n}}\n"
    )
}

fn sniproxy(setup: Setup, port: u16, origin_port: u16) -> String {
    let log = match setup.logs {
        Logs::Off => "",
        _ => " access_log {\n  filename /dev/stdout\n }\n",
    };
    let names = lines(setup.routes, |index| {
        format!(" ^{}$ {} proxy_protocol", sni(index).replace('.', "\\\\."), server(0, origin_port))
    });
    format!(
        "user root\nerror_log {{\n filename /dev/stderr\n priority warning\n}}\n\
         listen 127.0.0.1:{port} {{\n proto tls\n table names\n{log}}}\ntable names {{\n{names}}}\n"
    )
}

fn sozu(setup: Setup, port: u16, origin_port: u16, dir: &Path) -> String {
    let clusters = lines(setup.routes, |index| {
        let backends: Vec<_> =
            (0..setup.servers).map(|other| format!("{{ address = \"{}\" }}", server(other, origin_port))).collect();
        format!(
            "[clusters.r{index}]\nprotocol = \"tcp\"\nsend_proxy = true\n\
             frontends = [{{ address = \"127.0.0.1:{port}\", hostname = \"{}\" }}]\nbackends = [{}]",
            sni(index),
            backends.join(", ")
        )
    });
    format!(
        "command_socket = \"{}\"\nlog_level = \"error\"\nlog_target = \"stdout\"\nworker_count = 1\n\
         worker_automatic_restart = false\nmax_connections = {MAX_CONNECTIONS}\nbuffer_size = 20000\n\
         max_buffers = 12000\n[[listeners]]\nprotocol = \"tcp\"\naddress = \"127.0.0.1:{port}\"\n{clusters}",
        dir.join("sozu.sock").display()
    )
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(|index| line(index) + "\n").collect()
}

/// The first thing like 1.2 or 1.2.3 in what a program says of itself.
fn version(said: &str) -> Option<(&str, (u32, u32))> {
    said.split(|letter: char| !letter.is_ascii_digit() && letter != '.').find_map(|word| {
        let mut parts = word.split('.').map(str::parse);
        match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Some((word.trim_end_matches('.'), (major, minor))),
            _ => None,
        }
    })
}
