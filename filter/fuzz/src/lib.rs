//! What the targets share: how they take the fuzzer's bytes, and what must hold of more than one format.
//!
//! The seeds are made with the same words ([`seeds`]), so that both agree on what the first bytes choose.

pub mod answers;
pub mod asks;
pub mod json;
pub mod local;
pub mod requests;
pub mod seeds;
pub mod streams;

/// Bytes that a target looks at; more only cost time.
pub const MAX: usize = 64 * 1024;

/// The first `N` bytes, which choose, and the rest, which is the subject; `None` for an input that is too short or long.
pub fn choices<const N: usize>(bytes: &[u8]) -> Option<(&[u8; N], &[u8])> {
    if bytes.len() > MAX {
        return None;
    }
    bytes.split_first_chunk()
}

/// The subject in chunks, their sizes one after the other those of `sizes`, at least 1, and again.
pub fn chunks<'a>(subject: &'a [u8], sizes: &[u8]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    let mut rest = subject;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = usize::from(*sizes.next().unwrap_or(&1)).clamp(1, rest.len());
        let (chunk, tail) = rest.split_at(size);
        chunks.push(chunk);
        rest = tail;
    }
    chunks
}

/// One of a list, whatever the byte.
pub fn pick<T: Copy>(list: &[T], byte: u8) -> T {
    list[usize::from(byte) % list.len()]
}
