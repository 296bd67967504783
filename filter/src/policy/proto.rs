//! A serialized `google.protobuf.Struct`, which is what a plugin gets when its configuration is written as YAML.
//!
//! Decoded by hand, for it is three small messages. By protobuf's rules: what is not known is skipped, a field that may occur
//! once is merged or the last one counts, map entries have no order (here: by name). Bounded in depth; every read is checked.

use std::collections::BTreeMap;

use super::value::{MAX_DEPTH, Value};

/// What is wrong with the bytes, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at byte {offset}")]
pub struct ProtoError {
    pub offset: usize,
    pub message: &'static str,
}

/// Decodes a `Struct` into a [`Value::Map`], sorted by key.
pub fn decode_struct(bytes: &[u8]) -> Result<Value, ProtoError> {
    let mut map = BTreeMap::new();
    read_struct(
        Bytes {
            rest: bytes,
            offset: 0,
        },
        1,
        &mut map,
    )?;
    Ok(sorted(map))
}

/// What is left of a message, and where in the whole it starts.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    rest: &'a [u8],
    offset: usize,
}

/// A field's payload, by wire type.
enum Payload<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Delimited(Bytes<'a>),
    /// A group or a fixed32; no field that we know is one.
    Other,
}

type Map = BTreeMap<String, Value>;

/// A `Value` while its fields are read: a later `struct_value` is merged into an earlier one.
enum Partial {
    Unset,
    Scalar(Value),
    Struct(Map),
    List(Vec<Value>),
}

fn sorted(map: Map) -> Value {
    Value::Map(map.into_iter().collect())
}

fn read_struct(mut message: Bytes<'_>, depth: usize, into: &mut Map) -> Result<(), ProtoError> {
    message.check_depth(depth)?;
    while let Some((field, payload)) = message.next_field()? {
        if let (1, Payload::Delimited(entry)) = (field, payload) {
            let (key, value) = read_entry(entry, depth)?;
            into.insert(key, value);
        }
    }
    Ok(())
}

fn read_entry(mut message: Bytes<'_>, depth: usize) -> Result<(String, Value), ProtoError> {
    let start = message;
    let mut key = String::new();
    let mut value = Partial::Unset;
    while let Some((field, payload)) = message.next_field()? {
        match (field, payload) {
            (1, Payload::Delimited(text)) => key = text.string()?,
            (2, Payload::Delimited(fields)) => read_value(fields, depth, &mut value)?,
            _ => {}
        }
    }
    let value = value
        .finish()
        .ok_or(start.error("a field without a value"))?;
    Ok((key, value))
}

fn read_value(mut message: Bytes<'_>, depth: usize, into: &mut Partial) -> Result<(), ProtoError> {
    while let Some((field, payload)) = message.next_field()? {
        match (field, payload) {
            (1, Payload::Varint(_)) => *into = Partial::Scalar(Value::Null),
            (2, Payload::Fixed64(bits)) => {
                *into = Partial::Scalar(Value::Number(f64::from_le_bytes(bits)))
            }
            (3, Payload::Delimited(text)) => *into = Partial::Scalar(Value::String(text.string()?)),
            (4, Payload::Varint(bit)) => *into = Partial::Scalar(Value::Bool(bit != 0)),
            (5, Payload::Delimited(fields)) => {
                let mut map = match std::mem::replace(into, Partial::Unset) {
                    Partial::Struct(map) => map,
                    _ => Map::new(),
                };
                read_struct(fields, depth.saturating_add(1), &mut map)?;
                *into = Partial::Struct(map);
            }
            (6, Payload::Delimited(items)) => {
                let mut list = match std::mem::replace(into, Partial::Unset) {
                    Partial::List(list) => list,
                    _ => Vec::new(),
                };
                read_list(items, depth.saturating_add(1), &mut list)?;
                *into = Partial::List(list);
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_list(
    mut message: Bytes<'_>,
    depth: usize,
    into: &mut Vec<Value>,
) -> Result<(), ProtoError> {
    message.check_depth(depth)?;
    while let Some((field, payload)) = message.next_field()? {
        if let (1, Payload::Delimited(fields)) = (field, payload) {
            let mut value = Partial::Unset;
            read_value(fields, depth, &mut value)?;
            into.push(
                value
                    .finish()
                    .ok_or(fields.error("a list item without a value"))?,
            );
        }
    }
    Ok(())
}

// === impl Partial ===

impl Partial {
    /// `None`: no variant was set, which `Struct`'s definition calls an error.
    fn finish(self) -> Option<Value> {
        match self {
            Self::Unset => None,
            Self::Scalar(value) => Some(value),
            Self::Struct(map) => Some(sorted(map)),
            Self::List(list) => Some(Value::List(list)),
        }
    }
}

// === impl Bytes ===

impl<'a> Bytes<'a> {
    fn error(&self, message: &'static str) -> ProtoError {
        ProtoError {
            offset: self.offset,
            message,
        }
    }

    fn check_depth(&self, depth: usize) -> Result<(), ProtoError> {
        if depth > MAX_DEPTH {
            Err(self.error("nested too deep"))
        } else {
            Ok(())
        }
    }

    fn string(&self) -> Result<String, ProtoError> {
        match std::str::from_utf8(self.rest) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.error("a string that is not UTF-8")),
        }
    }

    fn take(&mut self, len: u64) -> Result<Bytes<'a>, ProtoError> {
        let split = usize::try_from(len)
            .ok()
            .and_then(|len| self.rest.split_at_checked(len));
        let (taken, rest) = split.ok_or(self.error("cut short"))?;
        let offset = self.offset;
        *self = Bytes {
            rest,
            offset: offset.saturating_add(taken.len()),
        };
        Ok(Bytes {
            rest: taken,
            offset,
        })
    }

    fn varint(&mut self) -> Result<u64, ProtoError> {
        let start = *self;
        let mut value: u64 = 0;
        for shift in (0..70).step_by(7) {
            let Some((&byte, rest)) = self.rest.split_first() else {
                return Err(self.error("cut short"));
            };
            *self = Bytes {
                rest,
                offset: self.offset.saturating_add(1),
            };
            // Bits beyond the 64th are dropped, as protobuf does.
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(start.error("a number longer than 10 bytes"))
    }

    fn tag(&mut self) -> Result<(u64, u64), ProtoError> {
        let start = *self;
        let tag = self.varint()?;
        if tag > u64::from(u32::MAX) || tag >> 3 == 0 {
            return Err(start.error("not a field"));
        }
        Ok((tag >> 3, tag & 7))
    }

    /// The next field's number and payload; `None` at the message's end.
    fn next_field(&mut self) -> Result<Option<(u64, Payload<'a>)>, ProtoError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let start = *self;
        let (field, wire_type) = self.tag()?;
        let payload = match wire_type {
            0 => Payload::Varint(self.varint()?),
            1 => {
                let eight = self.take(8)?;
                Payload::Fixed64(
                    eight
                        .rest
                        .try_into()
                        .map_err(|_| eight.error("cut short"))?,
                )
            }
            2 => {
                let len = self.varint()?;
                Payload::Delimited(self.take(len)?)
            }
            3 => {
                self.skip_group(field)?;
                Payload::Other
            }
            5 => {
                self.take(4)?;
                Payload::Other
            }
            _ => return Err(start.error("not a field")),
        };
        Ok(Some((field, payload)))
    }

    /// Skips to the end of the group `field`, and the groups in it.
    fn skip_group(&mut self, field: u64) -> Result<(), ProtoError> {
        let mut open = vec![field];
        while let Some(&innermost) = open.last() {
            let start = *self;
            let (field, wire_type) = self.tag()?;
            match wire_type {
                0 => {
                    self.varint()?;
                }
                1 => {
                    self.take(8)?;
                }
                2 => {
                    let len = self.varint()?;
                    self.take(len)?;
                }
                3 if open.len() >= MAX_DEPTH => return Err(start.error("nested too deep")),
                3 => open.push(field),
                4 if field == innermost => {
                    open.pop();
                }
                5 => {
                    self.take(4)?;
                }
                _ => return Err(start.error("not a field")),
            }
        }
        Ok(())
    }
}

/// The encoder that the tests need: a `Struct` from JSON.
#[cfg(test)]
pub(super) mod encode {
    use serde_json::Value as Json;

    fn varint(mut value: u64, out: &mut Vec<u8>) {
        while value >= 0x80 {
            out.push((value as u8) | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    pub(in super::super) fn delimited(field: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![(field << 3) | 2];
        varint(payload.len() as u64, &mut out);
        out.extend_from_slice(payload);
        out
    }

    pub(in super::super) fn value(json: &Json) -> Vec<u8> {
        match json {
            Json::Null => vec![0x08, 0],
            Json::Bool(b) => vec![0x20, u8::from(*b)],
            Json::Number(n) => [&[0x11][..], &n.as_f64().unwrap().to_le_bytes()].concat(),
            Json::String(s) => delimited(3, s.as_bytes()),
            Json::Object(_) => delimited(5, &structure(json)),
            Json::Array(items) => delimited(
                6,
                &items
                    .iter()
                    .flat_map(|item| delimited(1, &value(item)))
                    .collect::<Vec<_>>(),
            ),
        }
    }

    pub(in super::super) fn entry(key: &str, value: &[u8]) -> Vec<u8> {
        delimited(
            1,
            &[delimited(1, key.as_bytes()), delimited(2, value)].concat(),
        )
    }

    pub(in super::super) fn structure(json: &Json) -> Vec<u8> {
        json.as_object()
            .unwrap()
            .iter()
            .flat_map(|(key, field)| entry(key, &value(field)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::encode::{delimited, entry, structure, value};
    use super::*;
    use serde_json::json;

    fn check(bytes: &[u8], expected: Result<serde_json::Value, &str>) {
        let decoded = decode_struct(bytes).map_err(|e| e.to_string());
        let expected = expected.map_err(str::to_owned).map(|json| {
            let mut errors = super::super::error::Errors::default();
            Value::from_json(&json.to_string(), &mut errors).unwrap()
        });
        assert_eq!(decoded, expected, "{bytes:02x?}");
    }

    #[test]
    fn what_was_encoded() {
        for json in [
            json!({}),
            json!({"a": null, "b": true, "c": false, "d": -0.5, "e": "text \u{e9}", "f": [], "g": {}}),
            json!({"list": [1, [2, [3, {"x": "y"}]]], "map": {"a": {"b": {"c": "d"}}}}),
            json!({"long": "x".repeat(1000)}),
        ] {
            check(&structure(&json), Ok(json));
        }
    }

    #[test]
    fn keys_are_sorted_and_the_last_of_two_counts() {
        let bytes = [
            entry("b", &value(&json!(1))),
            entry("a", &value(&json!(2))),
            entry("b", &value(&json!(3))),
        ]
        .concat();
        check(&bytes, Ok(json!({"a": 2, "b": 3})));
    }

    #[test]
    fn repeated_fields_merge() {
        let twice = [value(&json!({"x": 1, "y": 1})), value(&json!({"y": 2}))].concat();
        check(&entry("a", &twice), Ok(json!({"a": {"x": 1, "y": 2}})));
        let twice = [value(&json!([1])), value(&json!([2]))].concat();
        check(&entry("a", &twice), Ok(json!({"a": [1, 2]})));
        let other = [value(&json!({"x": 1})), value(&json!("s"))].concat();
        check(&entry("a", &other), Ok(json!({"a": "s"})));
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let known = entry("a", &value(&json!(true)));
        let unknown: &[&[u8]] = &[
            &[0x10, 0xff, 0x01],                         // varint
            &[0x11, 1, 2, 3, 4, 5, 6, 7, 8],             // fixed64
            &[0x1a, 2, 9, 9],                            // delimited
            &[0x25, 1, 2, 3, 4],                         // fixed32
            &[0x2b, 0x10, 1, 0x33, 0x34, 0x1a, 0, 0x2c], // a group with a group in it
            &[0x08, 1],                                  // field 1, but a varint
        ];
        for bytes in unknown {
            check(&[bytes, &known[..]].concat(), Ok(json!({"a": true})));
            check(&[&known[..], bytes].concat(), Ok(json!({"a": true})));
            let inside = [*bytes, &value(&json!(true))].concat();
            if bytes[0] == 0x2b {
                check(&entry("a", &inside), Ok(json!({"a": true})));
            }
        }
    }

    #[test]
    fn broken_bytes() {
        check(&[0x0a], Err("cut short at byte 1"));
        check(&[0x0a, 5, 0x0a], Err("cut short at byte 2"));
        check(
            &[0x0a, 3, 0x0a, 1, b'a'],
            Err("a field without a value at byte 2"),
        );
        check(&entry("a", &[]), Err("a field without a value at byte 2"));
        check(
            &entry("a", &delimited(6, &delimited(1, &[]))),
            Err("a list item without a value at byte 11"),
        );
        check(
            &delimited(1, &delimited(1, &[0xff])),
            Err("a string that is not UTF-8 at byte 4"),
        );
        check(&[0x0f], Err("not a field at byte 0"));
        check(&[0x00], Err("not a field at byte 0"));
        check(&[0x0c], Err("not a field at byte 0"));
        check(&[0x0b, 0x14], Err("not a field at byte 1"));
        check(&[0xff; 11], Err("a number longer than 10 bytes at byte 0"));
        check(&[0x0b; 1000], Err("nested too deep at byte 64"));
    }

    #[test]
    fn depth_is_that_of_json() {
        let nested = |depth: usize| (1..depth).fold(json!({}), |inner, _| json!({"a": inner}));
        check(&structure(&nested(MAX_DEPTH)), Ok(nested(MAX_DEPTH)));
        assert_eq!(
            decode_struct(&structure(&nested(MAX_DEPTH + 1)))
                .unwrap_err()
                .message,
            "nested too deep"
        );
        let mut hostile = value(&json!({}));
        for _ in 0..2000 {
            hostile = delimited(5, &entry("", &hostile));
        }
        assert_eq!(
            decode_struct(&entry("", &hostile)).unwrap_err().message,
            "nested too deep"
        );
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = decode_struct(&bytes);
        }
    }
}
