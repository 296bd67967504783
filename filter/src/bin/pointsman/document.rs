//! A YAML or JSON document as it is written: keys in their order, and a key that is given twice there twice, so that the filter's own
//! validation sees both.
//!
//! Pure. Bounded by the parsers' own limits on depth and on aliases.

use std::fmt;

use pointsman::policy::{field_path, item_path};
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, IgnoredAny, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::ser::{Serialize, SerializeMap, Serializer};

#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    String(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// A map's key; what is no string becomes one, as it does on the way to JSON.
struct Key(String);

/// Looks for the line of a node: parses until it is there, and fails at it on purpose, for only an error has a line.
struct Seek<'a> {
    wanted: &'a str,
    /// The path of the node that is next.
    here: String,
}

/// Reads a key, and fails if it is the wanted one's.
struct SeekKey<'a> {
    wanted: &'a str,
    parent: &'a str,
}

/// Fails at whatever is next.
struct Stop;

// === impl Node ===

impl Node {
    /// The first entry of this name.
    pub fn get(&self, name: &str) -> Option<&Node> {
        let entry = self.entries().iter().find(|(key, _)| key == name)?;
        Some(&entry.1)
    }

    /// Through maps, by name.
    pub fn at(&self, names: &[&str]) -> Option<&Node> {
        names.iter().try_fold(self, |node, name| node.get(name))
    }

    /// A string under a name.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Node::String(text) => Some(text),
            _ => None,
        }
    }

    /// A map's; of anything else none.
    pub fn entries(&self) -> &[(String, Node)] {
        match self {
            Node::Map(entries) => entries,
            _ => &[],
        }
    }

    /// A list's; of anything else none.
    pub fn items(&self) -> &[Node] {
        match self {
            Node::List(items) => items,
            _ => &[],
        }
    }

    /// Whether the message's type, without its package, is this one.
    pub fn is_message(&self, name: &str) -> bool {
        self.text("@type")
            .and_then(|url| url.rsplit('.').next())
            .is_some_and(|found| found == name)
    }

    /// Calls `visit` for this node and all in it, each with its path, as long as it says so.
    pub fn walk<'n>(&'n self, path: &str, visit: &mut dyn FnMut(&str, &'n Node) -> bool) {
        if !visit(path, self) {
            return;
        }
        for (name, node) in self.entries() {
            node.walk(&field_path(path, name), visit);
        }
        for (index, node) in self.items().iter().enumerate() {
            node.walk(&item_path(path, index), visit);
        }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Node::Null => s.serialize_unit(),
            Node::Bool(value) => s.serialize_bool(*value),
            Node::Number(value) => value.serialize(s),
            Node::String(value) => s.serialize_str(value),
            Node::List(items) => s.collect_seq(items),
            Node::Map(entries) => {
                let mut map = s.serialize_map(Some(entries.len()))?;
                for (key, node) in entries {
                    map.serialize_entry(key, node)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Number(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Number(value.into()))
            }

            /// JSON has neither infinity nor not-a-number.
            fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
                let number = serde_json::Number::from_f64(value);
                Ok(number.map_or(Node::Null, Node::Number))
            }

            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::String(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Node::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some((Key(key), node)) = map.next_entry()? {
                    entries.push((key, node));
                }
                Ok(Node::Map(entries))
            }

            /// A tag of YAML says nothing here.
            fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
                let (_, value) = tagged.variant::<IgnoredAny>()?;
                value.newtype_variant()
            }
        }
        d.deserialize_any(Any)
    }
}

// === impl Key ===

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Node::deserialize(d)? {
            Node::String(key) => Ok(Key(key)),
            Node::Bool(key) => Ok(Key(key.to_string())),
            Node::Number(key) => Ok(Key(key.to_string())),
            Node::Null => Ok(Key("null".to_owned())),
            Node::List(_) | Node::Map(_) => Err(de::Error::custom("a key must be a string")),
        }
    }
}

// === reading ===

/// Whether the text is JSON. Else it is YAML, or nothing.
fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The documents of a text, YAML or JSON; the error is one line.
pub fn documents(text: &str) -> Result<Vec<Node>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if is_json(text) {
        return match serde_json::from_str(text) {
            Ok(node) => Ok(vec![node]),
            Err(error) => Err(one_line(&error.to_string())),
        };
    }
    serde_norway::Deserializer::from_str(text)
        .map(|document| Node::deserialize(document).map_err(|e| one_line(&e.to_string())))
        .collect()
}

/// The line of a node, or of the nearest that it is in; `path` in document `document`, whose own path is `root`.
pub fn line_of(text: &str, (document, root): (usize, &str), path: &str) -> Option<usize> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_json = is_json(text);
    let mut wanted = path;
    while wanted.len() > root.len() {
        let seek = Seek {
            wanted,
            here: root.to_owned(),
        };
        let line = if is_json {
            let mut json = serde_json::Deserializer::from_str(text);
            let stopped = seek.deserialize(&mut json).err();
            stopped.map(|error| error.line())
        } else {
            let document = serde_norway::Deserializer::from_str(text).nth(document)?;
            let stopped = seek.deserialize(document).err();
            stopped
                .and_then(|error| error.location())
                .map(|at| at.line())
        };
        if line.is_some() {
            return line;
        }
        wanted = wanted.get(..wanted.rfind(['.', '['])?)?;
    }
    None
}

pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

// === impl Seek ===

/// Whether the node at `here` is, or holds, the one at `wanted`.
fn leads_to(here: &str, wanted: &str) -> bool {
    match wanted.strip_prefix(here) {
        Some(rest) => here.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']),
        None => false,
    }
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        if self.here == self.wanted {
            d.deserialize_any(Stop)
        } else if leads_to(&self.here, self.wanted) {
            d.deserialize_any(self)
        } else {
            IgnoredAny::deserialize(d).map(|_| ())
        }
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0;
        loop {
            let here = item_path(&self.here, index);
            let wanted = self.wanted;
            if seq.next_element_seed(Seek { wanted, here })?.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let wanted = self.wanted;
        let parent = &*self.here;
        while let Some(here) = map.next_key_seed(SeekKey { wanted, parent })? {
            map.next_value_seed(Seek { wanted, here })?;
        }
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let (_, value) = tagged.variant::<IgnoredAny>()?;
        value.newtype_variant_seed(self)
    }
}

impl<'de> DeserializeSeed<'de> for SeekKey<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<String, D::Error> {
        struct At<'a>(SeekKey<'a>);
        impl<'de> Visitor<'de> for At<'_> {
            type Value = String;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: de::Error>(self, key: &str) -> Result<String, E> {
                let here = field_path(self.0.parent, key);
                match here == self.0.wanted {
                    true => Err(E::custom("here")),
                    false => Ok(here),
                }
            }

            fn visit_bool<E: de::Error>(self, key: bool) -> Result<String, E> {
                self.visit_str(&key.to_string())
            }

            fn visit_i64<E: de::Error>(self, key: i64) -> Result<String, E> {
                self.visit_str(&key.to_string())
            }

            fn visit_u64<E: de::Error>(self, key: u64) -> Result<String, E> {
                self.visit_str(&key.to_string())
            }

            fn visit_f64<E: de::Error>(self, key: f64) -> Result<String, E> {
                self.visit_str(&key.to_string())
            }

            fn visit_unit<E: de::Error>(self) -> Result<String, E> {
                self.visit_str("null")
            }
        }
        d.deserialize_any(At(self))
    }
}

/// Every visit of it fails: "invalid type".
impl<'de> Visitor<'de> for Stop {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing")
    }
}
