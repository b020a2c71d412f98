//! Shared parts of the benchmarks of one running proxy: an echo behind it, a client that pings through it, and the
//! statistics of its times.
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use serde_json::Value;

/// A client's rest after each ping.
const REST: Duration = Duration::from_micros(500);

/// How long an echo of 64 bytes takes; a rest follows.
pub fn ping(stream: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    ask(stream, &[7; 64]);
    let took = begun.elapsed();
    thread::sleep(REST);
    took
}

/// A client of the proxy that is through to its server.
pub fn connect(tls: SocketAddr, hello: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(tls).expect("the proxy lets clients in");
    stream.set_nodelay(true).expect("an option of every socket");
    ask(&mut stream, hello);
    stream
}

/// Sends bytes and reads as many.
pub fn ask(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("the proxy takes bytes");
    stream.read_exact(&mut vec![0; bytes.len()]).expect("an echo answers");
}

/// Median, 99 of 100, 999 of 1,000, and the longest.
pub fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at =
        |share: f64| times.get((times.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or_default();
    let [median, most, nearly_all, all] = [0.5, 0.99, 0.999, 1.0].map(|share| at(share).as_secs_f64() * 1000.0);
    format!("p50 {median:.3} ms, p99 {most:.3} ms, p99.9 {nearly_all:.3} ms, max {all:.3} ms ({})", times.len())
}

/// Another process, which ends with this.
pub struct Process(pub Child);

impl Process {
    /// Starts it.
    pub fn start(command: &mut Command) -> Process {
        Process(command.spawn().expect("the program, and chrt and taskset of util-linux"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().expect("a process of our own");
        self.0.wait().expect("a process of our own");
    }
}

/// A configuration file, removed when dropped.
pub struct File(pub PathBuf);

impl File {
    /// One for a benchmark of that name; it is not there before it is written.
    pub fn new(name: &str) -> File {
        File(env::temp_dir().join(format!("lb-{name}-{}.json", process::id())))
    }

    /// Writes it anew.
    pub fn write(&self, config: &Value) {
        fs::write(&self.0, config.to_string()).expect("a temporary file");
    }
}

impl Drop for File {
    fn drop(&mut self) {
        fs::remove_file(&self.0).expect("the temporary file");
    }
}

/// Sends back whatever comes, on a thread for each connection.
pub fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut room = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut room) {
                    if stream.write_all(room.get(..n).unwrap_or_default()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// An address that was free a moment ago.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("an address")
}
