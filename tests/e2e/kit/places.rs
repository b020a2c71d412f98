//! Addresses and folders that no other test uses.
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

static NEXT_PORT: AtomicU16 = AtomicU16::new(10_000);
static NEXT_FOLDER: AtomicU16 = AtomicU16::new(0);

/// An address that is free until the process ends: loopback has 2^24 addresses, so each test process takes one of its
/// own, and no outgoing connection ever takes a port there, because Linux sends those from 127.0.0.1.
pub(crate) fn free_address() -> SocketAddr {
    let [_, b, c, d] = (std::process::id() & 0x003f_ffff | 0x0040_0000).to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, b, c, d), NEXT_PORT.fetch_add(1, Ordering::Relaxed)))
}

/// A free address of `ip`. Another process may take it first: for addresses of a namespace of the test's own.
pub(crate) fn free_address_of(ip: IpAddr) -> SocketAddr {
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// A folder of the test's own, removed when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        let name = format!("lb-e2e-{}-{}", std::process::id(), NEXT_FOLDER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        // One that a process with the same number has left behind.
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file of the folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
