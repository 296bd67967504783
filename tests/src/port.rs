//! Ports for programs that have to be told one.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the system gives ports away, and so not taken between this look and its use.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 400).unwrap_or(0);
    loop {
        let port = 12000 + process * 40 + NEXT.fetch_add(1, Ordering::Relaxed) % 40;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
