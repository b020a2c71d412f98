//! The kernel's figures of sockets, by /proc/net/tcp.
use std::net::SocketAddr;

const ESTABLISHED: &str = "01";
const SYN_SENT: &str = "02";
const LISTEN: &str = "0A";

/// Columns of the table.
const LOCAL: usize = 1;
const REMOTE: usize = 2;
const STATE: usize = 3;
/// `tx_queue:rx_queue`
const QUEUES: usize = 4;
const INODE: usize = 9;

/// The bytes that wait, unread, in each connection that was made to `address`.
pub(crate) fn unread(address: SocketAddr) -> Vec<usize> {
    received(&rows(LOCAL, address, ESTABLISHED))
}

/// The bytes that wait, unread, in each connection to `address` at the end that made it.
pub(crate) fn unread_of(address: SocketAddr) -> Vec<usize> {
    received(&rows(REMOTE, address, ESTABLISHED))
}

fn received(rows: &[Vec<String>]) -> Vec<usize> {
    rows.iter().map(|row| usize::from_str_radix(row[QUEUES].split_once(':').unwrap().1, 16).unwrap()).collect()
}

/// How many sockets are connecting to `address`.
pub(crate) fn connecting(address: SocketAddr) -> usize {
    rows(REMOTE, address, SYN_SENT).len()
}

/// The number of the socket that listens at `address`.
pub(crate) fn listening(address: SocketAddr) -> String {
    let rows = rows(LOCAL, address, LISTEN);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0][INODE].clone()
}

/// The sockets in one state with `address` at one end.
fn rows(end: usize, address: SocketAddr, state: &str) -> Vec<Vec<String>> {
    let SocketAddr::V4(v4) = address else { panic!("{address} is not IPv4") };
    let address = format!("{:08X}:{:04X}", u32::from_le_bytes(v4.ip().octets()), v4.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().map(|row| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    rows.filter(|row| row[end] == address && row[STATE] == state).collect()
}
