//! The table where all workers of one Envoy see it: read once per request, changed by compare-and-swap.
//!
//! Pure: the host does both.

use std::time::Duration;

use super::rules::{Cooldown, millis};
use super::table::Table;
use super::{Key, Millis};
use crate::http::Host;

/// What the table is shared under. One table for all policies of an Envoy: a target is the same in each.
pub const KEY: &str = "pointsman.health";

/// Times that a change is tried anew when another worker was faster. Beyond it the news is lost: the next failure tells the same.
const TRIES: usize = 8;

/// Beyond its timeout a probe may take as long as this, until it is thought lost: its worker's VM may have died.
const LEASE_SLACK: Duration = Duration::from_secs(5);

pub fn read(host: &dyn Host) -> Table {
    Table::decode(&host.shared(KEY).0)
}

/// Change the table; `None`: nothing was to be changed, or the change was lost.
pub fn change<T>(host: &dyn Host, mut change: impl FnMut(&mut Table) -> Option<T>) -> Option<T> {
    let mut result = None;
    let is_written = write(host, &mut |table| {
        result = change(table);
        result.is_some()
    });
    result.filter(|_| is_written)
}

/// `change` says whether there is something to be written.
fn write(host: &dyn Host, change: &mut dyn FnMut(&mut Table) -> bool) -> bool {
    for _ in 0..TRIES {
        let (bytes, token) = host.shared(KEY);
        let mut table = Table::decode(&bytes);
        if !change(&mut table) {
            return false;
        }
        if host.share(KEY, &table.encode(), token) {
            return true;
        }
    }
    false
}

/// Takes the one place of a probe of a target that is due, for an attempt that may take as long as its timeout.
pub fn claim(
    host: &dyn Host,
    key: Key,
    timeout: Duration,
    now: Millis,
    cooldown: &Cooldown,
) -> bool {
    let lease = timeout.saturating_add(LEASE_SLACK);
    let claimed = change(host, |table| {
        let record = table.get_mut(key)?;
        record.claim(lease, now, cooldown).then_some(())
    });
    claimed.is_some()
}

/// Forgets what is long past, so that a fleet that has recovered costs as little as one that never failed.
pub fn forget(host: &dyn Host, now: Millis, cooldown: &Cooldown) {
    change(host, |table| {
        table.forget(now, cooldown);
        Some(())
    });
}

/// Now, as records have it.
pub fn now(host: &dyn Host) -> Millis {
    millis(host.now())
}
