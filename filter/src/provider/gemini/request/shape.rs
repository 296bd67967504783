//! Shape: JSON read in one pass into typed structs, and checked later, where the path of the mistake is known.
//!
//! A value of the wrong type never stops the parser: it becomes [`Field::Wrong`], its content is skipped, and whoever
//! looks at the field says where it is. So no error text of serde, which would quote the value, is ever shown.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::fault::{self, Refused};

/// A member of an object. `null` is as good as none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Field<T> {
    #[default]
    Absent,
    Is(T),
    /// There, but of another JSON type.
    Wrong,
}

/// A list whose items are checked one by one, in order. It ends with the first that is bound to be refused: a struct is
/// many times the size of a wrong item's text, and memory is to stay a small multiple of the body.
pub(super) type List<T> = Vec<Field<T>>;

/// What a type makes of a JSON value; `None` is the wrong type. Numbers fit no shape: they are kept raw.
pub(super) trait Shape<'de>: Sized {
    fn text(_text: Cow<'de, str>) -> Option<Self> {
        None
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Option<Self>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    /// What has to be there in an item of a list is not.
    fn lacks(&self) -> bool {
        false
    }
}

/// For what is read from an object by its derived `Deserialize`, and from nothing else: serde alone would take a list.
pub(super) trait Object<'de>: Deserialize<'de> {
    /// See [`Shape::lacks`].
    fn lacks(&self) -> bool {
        false
    }
}

// === impl Field ===

impl<T> Field<T> {
    pub(super) fn is(&self) -> bool {
        matches!(self, Self::Is(_))
    }

    pub(super) fn is_there(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// `want` says what it has to be, as `must be a string`.
    pub(super) fn get(&self, path: impl Display, want: &str) -> Result<Option<&T>, Refused> {
        match self {
            Self::Absent => Ok(None),
            Self::Is(value) => Ok(Some(value)),
            Self::Wrong => Err(fault::wrong_type(path, want)),
        }
    }

    pub(super) fn need(&self, path: impl Display, want: &str) -> Result<&T, Refused> {
        match self {
            Self::Absent => Err(fault::missing(path, want)),
            Self::Is(value) => Ok(value),
            Self::Wrong => Err(fault::wrong_type(path, want)),
        }
    }
}

impl<'de, T: Shape<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Any(PhantomData))
    }
}

struct Any<T>(PhantomData<T>);

impl<'de, T: Shape<'de>> Visitor<'de> for Any<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Field<T>, E> {
        Ok(Field::Absent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Field<T>, E> {
        Ok(Field::Wrong)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Field<T>, E> {
        Ok(Field::Wrong)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Field<T>, E> {
        Ok(Field::Wrong)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Field<T>, E> {
        Ok(Field::Wrong)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Field<T>, E> {
        Ok(T::text(Cow::Borrowed(text)).map_or(Field::Wrong, Field::Is))
    }

    fn visit_str<E>(self, text: &str) -> Result<Field<T>, E> {
        Ok(T::text(Cow::Owned(text.to_owned())).map_or(Field::Wrong, Field::Is))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Field<T>, A::Error> {
        Ok(T::list(list)?.map_or(Field::Wrong, Field::Is))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Field<T>, A::Error> {
        Ok(T::object(object)?.map_or(Field::Wrong, Field::Is))
    }
}

// === impl Shape ===

impl<'de: 'a, 'a> Shape<'de> for Cow<'a, str> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(text)
    }
}

impl<'de, T: Shape<'de>> Shape<'de> for List<T> {
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<Field<T>>()? {
            let last = !matches!(&item, Field::Is(item) if !item.lacks());
            items.push(item);
            if last {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                break;
            }
        }
        Ok(Some(items))
    }
}

impl<'de, T: Object<'de>> Shape<'de> for T {
    fn object<A: MapAccess<'de>>(object: A) -> Result<Option<Self>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(object)).map(Some)
    }

    fn lacks(&self) -> bool {
        Object::lacks(self)
    }
}
