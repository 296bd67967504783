//! Table: the records of all targets that are not plainly healthy, as the bytes that the workers share.
//!
//! Pure, and total: bytes of another version of this filter, or of anyone else, are an empty table. Bounded: where there is no room
//! the record that is nearest to healthy goes.

use super::record::Record;
use super::rules::Cooldown;
use super::window::{BUCKETS, Bucket, Window};
use super::{Key, Kind, Millis};

/// Targets in trouble at a time.
pub const MAX_RECORDS: usize = 256;

/// The first byte; changes with the layout.
pub(super) const VERSION: u8 = 2;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    records: Vec<Record>,
}

// The version, then records of one size. Numbers in little-endian order. No record, no byte.

/// Bytes of a record.
pub(super) const SIZE: usize = 3 + 6 * size_of::<u64>() + BUCKETS * 2 * size_of::<u16>();

// === impl Table ===

impl Table {
    pub fn decode(bytes: &[u8]) -> Self {
        Self::read(bytes).unwrap_or_default()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (version, records) = bytes.split_first()?;
        let (records, []) = records.as_chunks::<SIZE>() else {
            return None;
        };
        if *version != VERSION || records.len() > MAX_RECORDS {
            return None;
        }
        let records = records.iter().map(|bytes| Reader(bytes).record());
        Some(Table {
            records: records.collect::<Option<_>>()?,
        })
    }

    pub fn encode(&self) -> Vec<u8> {
        if self.records.is_empty() {
            return Vec::new();
        }
        let size = SIZE.saturating_mul(self.records.len()).saturating_add(1);
        let mut out = Vec::with_capacity(size);
        out.push(VERSION);
        for record in &self.records {
            push(record, &mut out);
        }
        out
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub fn records(&self) -> &[Record] {
        &self.records
    }

    pub fn get(&self, key: Key) -> Option<&Record> {
        self.records.iter().find(|record| record.key == key)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut Record> {
        self.records.iter_mut().find(|record| record.key == key)
    }

    /// Does this to a target's record, which is a new one if there is none.
    pub fn with<T>(&mut self, key: Key, change: impl FnOnce(&mut Record) -> T) -> T {
        if let Some(known) = self.get_mut(key) {
            return change(known);
        }
        let mut record = Record::new(key);
        let result = change(&mut record);
        if self.records.len() >= MAX_RECORDS {
            let records = self.records.iter().enumerate();
            let least = records.min_by_key(|(_, record)| record.worth());
            if let Some((at, _)) = least {
                self.records.swap_remove(at);
            }
        }
        self.records.push(record);
        result
    }

    /// Whether there is something to forget.
    pub fn is_stale(&self, now: Millis, cooldown: &Cooldown) -> bool {
        self.records
            .iter()
            .any(|record| record.is_forgotten(now, cooldown))
    }

    pub fn forget(&mut self, now: Millis, cooldown: &Cooldown) {
        self.records
            .retain(|record| !record.is_forgotten(now, cooldown));
    }
}

fn push(record: &Record, out: &mut Vec<u8>) {
    let Record {
        key,
        kind,
        in_a_row,
        opened,
        failed_at,
        row_begun,
        open_until,
        probe_until,
        window,
    } = record;
    out.extend_from_slice(&[kind.to_byte(), *in_a_row, *opened]);
    let numbers = [
        key.0,
        *failed_at,
        *row_begun,
        *open_until,
        *probe_until,
        window.begun,
    ];
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for bucket in window.buckets {
        for number in [bucket.failures, bucket.successes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// What is not read yet.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn bucket(&mut self) -> Option<Bucket> {
        Some(Bucket {
            failures: self.take().map(u16::from_le_bytes)?,
            successes: self.take().map(u16::from_le_bytes)?,
        })
    }

    fn record(mut self) -> Option<Record> {
        let [kind, in_a_row, opened] = self.take()?;
        let mut record = Record {
            kind: Kind::from_byte(kind)?,
            in_a_row,
            opened,
            key: Key(self.long()?),
            failed_at: self.long()?,
            row_begun: self.long()?,
            open_until: self.long()?,
            probe_until: self.long()?,
            window: Window {
                begun: self.long()?,
                ..Window::default()
            },
        };
        for bucket in &mut record.window.buckets {
            *bucket = self.bucket()?;
        }
        Some(record)
    }
}
