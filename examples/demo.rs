//! A first minute with the proxy: TLS servers on loopback, the real proxy in front of them, and commands to paste.
//!
//!     cargo run --release --example demo
use std::error::Error;
use std::fs;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeFrom;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fiscalismia_lb::access_log::{Backend, Messages};
use fiscalismia_lb::event_loop;

use fiscalismia_lb::wire::proxy_header::{self, Header, Parsed};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Map, Value, json};

/// Fiscalismia's own configuration, of which the demo takes the routes' names.
const REFERENCE: &str = include_str!("fiscalismia.json");
/// Where the proxy listens, unless the port is taken.
const PROXY_PORT: u16 = 8443;
/// Where the admin endpoints listen, unless the port is taken.
const ADMIN_PORT: u16 = 8404;
/// The route that gets two servers.
const TWO_SERVERS: &str = "frontend";
/// A route of which no server is up.
const DOWN: &str = "down";
/// Where the first origin listens, unless the port is taken; the others on the ports after it.
const FIRST_ORIGIN_PORT: u16 = 9441;
/// How long a client may keep an origin's thread busy.
const PATIENCE: Duration = Duration::from_secs(10);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Outcome<()> {
    let folder = Folder::create()?;
    let names = names()?;
    let tls = certificates(&folder, &names)?;
    let mut ports = FIRST_ORIGIN_PORT..;
    let mut routes = Map::new();
    for (route, sni) in &names {
        let servers = if route == DOWN { vec![free(&mut ports)?] } else { servers(route, &tls, &mut ports)? };
        routes.insert(route.clone(), json!({ "sni": [sni], "servers": servers }));
    }
    // Found free and let go again: the proxy opens them by itself, as everywhere.
    let proxy = listen(PROXY_PORT)?.local_addr()?;
    let admin = listen(ADMIN_PORT)?.local_addr()?;
    let credentials = json!({ "username_file": folder.secret(), "password_file": folder.secret() });
    fs::write(folder.secret(), "demo\n")?;
    let config = json!({
        "listen": [proxy],
        "routes": routes,
        "admin": { "listen": [admin], "stats_credentials": credentials },
    });
    fs::write(folder.config(), format!("{config:#}\n"))?;
    introduce(&folder, proxy, admin, &names, &config)?;
    // The program's own `run --config FILE`: it answers to Ctrl-C too.
    let backend: &Backend = Box::leak(Box::new(Backend::new(Box::new(Messages::default()))));
    log::set_logger(backend)?;
    log::set_max_level(log::LevelFilter::Info);
    event_loop::run(&folder.config(), backend).map_err(|errors| errors.join("\n").into())
}

/// Starts a route's servers: two for the first route, to see the turns that they take.
fn servers(route: &str, tls: &Arc<ServerConfig>, ports: &mut RangeFrom<u16>) -> Outcome<Vec<SocketAddr>> {
    let count = if route == TWO_SERVERS { 2 } else { 1 };
    let mut addresses = Vec::new();
    for port in ports.take(count) {
        let origin = listen(port)?;
        let address = origin.local_addr()?;
        addresses.push(address);
        let (route, tls) = (Arc::from(route), tls.clone());
        thread::spawn(move || serve(&route, address, &origin, &tls));
    }
    Ok(addresses)
}

/// An address where nothing listens.
fn free(ports: &mut RangeFrom<u16>) -> Outcome<SocketAddr> {
    let port = ports.next().ok_or("no port is left")?;
    Ok(listen(port)?.local_addr()?)
}

/// Each route with its name.
fn names() -> Outcome<Vec<(String, String)>> {
    let reference: Value = serde_json::from_str(REFERENCE)?;
    let routes = reference.get("routes").and_then(Value::as_object).ok_or("no routes")?;
    let name = |route: &Value| Some(route.pointer("/sni/0")?.as_str()?.to_owned());
    let mut names: Vec<_> = routes.iter().filter_map(|(route, keys)| Some((route.clone(), name(keys)?))).collect();
    names.push((DOWN.to_owned(), format!("{DOWN}.fiscalismia.com")));
    Ok(names)
}

fn introduce(
    folder: &Folder,
    proxy: SocketAddr,
    admin: SocketAddr,
    names: &[(String, String)],
    config: &Value,
) -> Outcome<()> {
    let (bold, plain) = if io::stdout().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let mut out = io::stdout().lock();
    writeln!(out, "\n{bold}fiscalismia-lb{plain} passes TLS through on {bold}{proxy}{plain}; it never decrypts it.")?;
    writeln!(out, "  page           http://{admin}/stats  (username demo, password demo)")?;
    writeln!(out, "  metrics        http://{admin}/metrics")?;
    writeln!(out, "  configuration  {}", folder.config().display())?;
    writeln!(out, "  certificate    {}\n", folder.ca().display())?;
    for (route, sni) in names {
        let servers = config.pointer(&format!("/routes/{route}/servers")).and_then(Value::as_array);
        let servers: Vec<&str> = servers.into_iter().flatten().filter_map(Value::as_str).collect();
        let down = if route == DOWN { "  (nothing listens there)" } else { "" };
        writeln!(out, "  {sni:<30} -> {route:<13} {}{down}", servers.join(", "))?;
    }
    writeln!(
        out,
        "\n{bold}Paste a line into another terminal.{plain} The server says what it learnt of the client.\n"
    )?;
    for (_, sni) in names {
        let (ip, port, ca) = (proxy.ip(), proxy.port(), folder.ca());
        writeln!(out, "curl --cacert {} --resolve {sni}:{port}:{ip} https://{sni}:{port}/", ca.display())?;
    }
    // `cargo run` says so by this variable; else the program is installed.
    let program = if std::env::var_os("CARGO").is_some() { "cargo run -qr --" } else { "fiscalismia-lb" };
    let file = folder.config();
    writeln!(out, "\n{program} check {}", file.display())?;
    for command in ["route", "try"] {
        let (_, sni) = names.first().ok_or("no routes")?;
        writeln!(out, "{program} {command} --config {} {sni}", file.display())?;
    }
    writeln!(out, "\nCtrl-C stops it. What follows is the proxy's log.\n")?;
    Ok(out.flush()?)
}

/// A listener on `port`, or on another one where that is taken.
fn listen(port: u16) -> io::Result<TcpListener> {
    let taken = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => port,
        other => return other,
    };
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("Port {taken} is taken; {} takes its place.", other.local_addr()?.port());
    Ok(other)
}

/// Makes a certificate authority, leaves its certificate in the folder, and answers what the origins show.
fn certificates(folder: &Folder, names: &[(String, String)]) -> Outcome<Arc<ServerConfig>> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "fiscalismia-lb demo");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    fs::write(folder.ca(), authority.pem())?;
    let key = KeyPair::generate()?;
    let names: Vec<String> = names.iter().map(|(_, sni)| sni.clone()).collect();
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.into()], key)?;
    Ok(Arc::new(config))
}

fn serve(route: &Arc<str>, address: SocketAddr, origin: &TcpListener, tls: &Arc<ServerConfig>) {
    for stream in origin.incoming().flatten() {
        let (route, tls) = (route.clone(), tls.clone());
        thread::spawn(move || {
            if let Err(error) = answer(&route, address, stream, tls) {
                eprintln!("origin of {route}: {error}");
            }
        });
    }
}

/// Reads the PROXY header, then TLS, then a request, and answers with what they said.
fn answer(route: &str, address: SocketAddr, mut stream: TcpStream, tls: Arc<ServerConfig>) -> Outcome<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let Some(client) = client(&mut stream)? else { return Ok(()) };
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(tls)?, stream));
    for line in stream.by_ref().lines() {
        if line?.is_empty() {
            break;
        }
    }
    let mut stream = stream.into_inner();
    let sni = stream.conn.server_name().unwrap_or("none").to_owned();
    let body = format!("route   {route}\nserver  {address}\nSNI     {sni}\nclient  {client}, by the PROXY header\n");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n", body.len());
    stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes())?;
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}

/// The client's address as the PROXY header has it; `None` when the proxy came by itself, to see that the origin is up.
fn client(stream: &mut TcpStream) -> Outcome<Option<SocketAddr>> {
    let mut header = Vec::new();
    loop {
        // Byte by byte: what follows the header is TLS's.
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        header.extend(byte);
        match proxy_header::parse(&header) {
            Parsed::Incomplete => {}
            Parsed::Header { header: Header::Client { source, .. }, .. } => return Ok(Some(source)),
            Parsed::Header { .. } => return Ok(None),
            broken => return Err(format!("no PROXY header: {broken:?}").into()),
        }
    }
}

/// What the demo writes; removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn create() -> io::Result<Folder> {
        let path = std::env::temp_dir().join(format!("fiscalismia-lb-demo-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Folder(path))
    }

    fn config(&self) -> PathBuf {
        self.0.join("lb.json")
    }

    fn secret(&self) -> PathBuf {
        self.0.join("secret")
    }

    fn ca(&self) -> PathBuf {
        self.0.join("ca.pem")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
