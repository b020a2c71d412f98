//! What the kernel knows of sockets, by /proc/net/tcp.
use std::net::SocketAddr;

const ESTABLISHED: &str = "01";
const LISTEN: &str = "0A";

/// The bytes that wait, unread, in each connection that was made to `address`.
pub(crate) fn unread(address: SocketAddr) -> Vec<usize> {
    // tx_queue:rx_queue
    rows(address, ESTABLISHED)
        .iter()
        .map(|row| usize::from_str_radix(row[4].split_once(':').unwrap().1, 16).unwrap())
        .collect()
}

/// The number of the socket that listens at `address`.
pub(crate) fn listening(address: SocketAddr) -> String {
    let rows = rows(address, LISTEN);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0][9].clone()
}

/// Columns of the sockets in one state: number, local address, remote address, state, queues, timer, retransmits, user,
/// timeout, inode.
fn rows(local: SocketAddr, state: &str) -> Vec<Vec<String>> {
    let SocketAddr::V4(v4) = local else { panic!("{local} is not IPv4") };
    let local = format!("{:08X}:{:04X}", u32::from_le_bytes(v4.ip().octets()), v4.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().map(|row| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    rows.filter(|row| row[1] == local && row[3] == state).collect()
}
