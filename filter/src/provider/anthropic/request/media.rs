//! Media: data URLs and base64.
//!
//! A payload is copied as it came, and only decoded where the provider wants text.

use std::borrow::Cow;

/// A data URL, RFC 2397.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Data<'a> {
    /// In lower case, without parameters.
    pub(super) media_type: String,
    pub(super) encoding: Encoding,
    pub(super) payload: Cow<'a, str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Base64,
    Percent,
}

/// Longest head of a data URL that is looked at.
const MAX_HEAD: usize = 256;

// === impl Data ===

impl<'a> Data<'a> {
    /// `None` for what is no data URL.
    pub(super) fn of(url: Cow<'a, str>) -> Option<Self> {
        let comma = url.bytes().take(MAX_HEAD).position(|byte| byte == b',')?;
        let head = url.get(..comma)?;
        let (scheme, head) = head.split_at_checked(5)?;
        if !scheme.eq_ignore_ascii_case("data:") {
            return None;
        }
        let mut fields = head.split(';');
        let media_type = fields.next()?.trim().to_ascii_lowercase();
        let encoding = match fields.next_back() {
            Some(last) if last.trim().eq_ignore_ascii_case("base64") => Encoding::Base64,
            _ => Encoding::Percent,
        };
        let start = comma.checked_add(1)?;
        let payload = match url {
            Cow::Borrowed(url) => Cow::Borrowed(url.get(start..)?),
            Cow::Owned(url) => Cow::Owned(url.get(start..)?.to_owned()),
        };
        Some(Self {
            media_type,
            encoding,
            payload,
        })
    }
}

/// Text from base64, RFC 4648, with or without padding; `None` for what is neither base64 nor UTF-8.
pub(super) fn decode_text(base64: &str) -> Option<String> {
    let digits = base64.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(digits.len());
    for group in digits.chunks(4) {
        let mut bits = 0u32;
        for &digit in group {
            bits = bits.wrapping_shl(6) | sextet(digit)?;
        }
        let [_, a, b, c] = match group.len() {
            4 => bits.to_be_bytes(),
            3 => bits.wrapping_shl(6).to_be_bytes(),
            2 => bits.wrapping_shl(12).to_be_bytes(),
            _ => return None,
        };
        let bytes = [a, b, c];
        out.extend(bytes.iter().take(group.len().saturating_sub(1)));
    }
    String::from_utf8(out).ok()
}

fn sextet(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit.checked_sub(b'A')?,
        b'a'..=b'z' => digit.checked_sub(b'a')?.checked_add(26)?,
        b'0'..=b'9' => digit.checked_sub(b'0')?.checked_add(52)?,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}
