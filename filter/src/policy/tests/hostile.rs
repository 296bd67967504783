//! Any bytes at all, in both forms.

use proptest::prelude::*;

use super::super::proto::encode;
use super::*;

#[test]
fn json_and_struct_are_told_apart() {
    let check = |bytes: &[u8], expected: &str| {
        let said = Policy::from_bytes(bytes)
            .map_err(|e| e.to_string())
            .err()
            .unwrap_or_default();
        assert!(
            if expected.is_empty() {
                said.is_empty()
            } else {
                said.starts_with(expected)
            },
            "{said}\n{expected}"
        );
    };
    let json = base().to_string();
    check(format!("\n \t\r\n{json}\n").as_bytes(), "");
    check(format!("\u{feff}{json}").as_bytes(), "");
    check(&encode::structure(&base()), "");
    check(b"", "no policy: ");
    check(b" \n", "no policy: ");
    check(
        b"version: 1\ntiers: {}",
        "the policy is neither JSON text that starts with \"{\" nor a Struct; YAML",
    );
    check(
        b"\nversion: 1",
        "the policy is neither JSON text nor a valid Struct: cut short at byte 2",
    );
    check(b"[1]", "the policy is neither JSON");
    check(b"{\"version\": 1", "the policy is not valid JSON: EOF");
    check(b"\n{\"version\": 1", "the policy is not valid JSON: EOF");
    check(
        b"{\"version\": \"\xff\"}",
        "the policy is not valid JSON: it is not UTF-8",
    );
    check(
        &vec![b' '; (1 << 20) + 1],
        "the policy is larger than 1 MiB",
    );
    check(
        b"{\"version\": 1, \"version\": 1}",
        "version: given twice; providers: required",
    );
    check(
        json.replacen("\"cluster\"", "\"api\":\"openai\",\"cluster\"", 1)
            .as_bytes(),
        "providers.anthropic.api: given twice",
    );
}

/// A `Struct`'s second byte is a length, and 123 of it is `{`.
#[test]
fn a_struct_that_looks_like_json_text() {
    // An entry of 123 bytes, such as a long description at the top would be.
    let entry = encode::entry("q", &encode::value(&json!("x".repeat(123 - 3 - 2 - 2))));
    assert_eq!(&entry[..2], b"\n{");
    let said = Policy::from_bytes(&[entry, encode::structure(&base())].concat())
        .unwrap_err()
        .to_string();
    assert!(said.starts_with("q: unknown field"), "{said}");
    // Its keys come sorted, like any Struct's.
    let mut tiers = base()["tiers"].clone();
    tiers["a"] = tiers["fast"].clone();
    let policy = Policy::from_bytes(&encode::structure(&edited(
        base(),
        &[with("/tiers", tiers)],
    )))
    .unwrap();
    assert_eq!(
        policy
            .tiers
            .iter()
            .map(|tier| &*tier.name.0)
            .collect::<Vec<_>>(),
        ["a", "fast", "quality"]
    );
}

#[test]
fn a_struct_means_what_its_json_means() {
    for document in [base(), full()] {
        let from_struct = Policy::from_bytes(&encode::structure(&document)).unwrap();
        // serde_json's own map is sorted, as a Struct is.
        assert_eq!(
            format!("{from_struct:?}"),
            format!("{:?}", policy(&document))
        );
    }
    let mistaken = edited(
        full(),
        &[
            with("/tiers/fast/targets/1/provider", json!("azur")),
            with("/cache/ttl", json!(1)),
        ],
    );
    let from_struct = Policy::from_bytes(&encode::structure(&mistaken))
        .unwrap_err()
        .to_string();
    assert_eq!(from_struct, parse(&mistaken).unwrap_err());
}

/// No part of a value that may be a secret is repeated.
#[test]
fn errors_do_not_repeat_values() {
    let secret = "sk-secret\n";
    let mut places = Vec::new();
    pointers(&full(), String::new(), &mut places);
    for place in places {
        let mut document = full();
        *document.pointer_mut(&place).unwrap() = json!(secret);
        if let Err(said) = parse(&document) {
            assert!(!said.contains('\n'), "{said}");
            let names = [
                "provider", "tier", "model", "api", "path", "input", "fallback", "aliases",
                "callers", "paths",
            ];
            assert!(
                !said.contains("sk-secret") || names.iter().any(|name| place.contains(name)),
                "{place}: {said}"
            );
            assert!(
                !said.contains("sk-secret") || !place.contains("headers"),
                "{place}: {said}"
            );
        }
    }
}

/// Every node of `json` but the root.
fn pointers(json: &Json, at: String, out: &mut Vec<String>) {
    let children: Vec<(String, &Json)> = match json {
        Json::Object(map) => map
            .iter()
            .map(|(name, child)| (name.replace('~', "~0").replace('/', "~1"), child))
            .collect(),
        Json::Array(list) => list
            .iter()
            .enumerate()
            .map(|(i, child)| (i.to_string(), child))
            .collect(),
        _ => return,
    };
    for (name, child) in children {
        let path = format!("{at}/{name}");
        out.push(path.clone());
        pointers(child, path, out);
    }
}

fn junk() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Json::from),
        // Such as are read back to the last bit: the two forms are compared.
        any::<i32>().prop_map(|eighths| Json::from(f64::from(eighths) / 8.0)),
        prop::sample::select(vec![1e300, -1e300, 1e-300]).prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        ".{0,80}".prop_map(Json::from),
        "[a-z0-9./*-]{0,80}".prop_map(Json::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!({"a": {"b": [1]}})),
        Just(json!([[["x"]]])),
    ]
}

/// JSON cannot say these; a `Struct` can.
#[test]
fn numbers_that_are_none() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let value = [&[0x11][..], &number.to_le_bytes()].concat();
        let cache = encode::delimited(5, &encode::entry("max_bytes", &value));
        let bytes = [encode::structure(&base()), encode::entry("cache", &cache)].concat();
        let said = Policy::from_bytes(&bytes).unwrap_err().to_string();
        assert!(said.starts_with("cache.max_bytes: "), "{said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Policy::from_bytes(&bytes);
        let _ = Policy::from_bytes(&[b"\n", &bytes[..]].concat());
        let _ = Policy::from_bytes(&[b"{", &bytes[..]].concat());
    }

    /// A node of a whole policy replaced, in either form: one line and bounded, and the same from both forms.
    #[test]
    fn any_node_replaced(edits in proptest::collection::vec((any::<prop::sample::Index>(), junk()), 1..4)) {
        let mut document = full();
        for (index, value) in edits {
            let mut places = Vec::new();
            pointers(&document, String::new(), &mut places);
            if !places.is_empty() {
                *document.pointer_mut(index.get::<String>(&places)).unwrap() = value;
            }
        }
        let said = parse(&document).map(|policy| format!("{policy:?}"));
        let from_struct = Policy::from_bytes(&encode::structure(&document));
        let from_struct = from_struct.map(|policy| format!("{policy:?}")).map_err(|e| e.to_string());
        // Too long to be shown.
        prop_assert!(said == from_struct, "the two forms differ");
        if let Err(said) = said {
            prop_assert!(!said.contains('\n') && !said.is_empty() && said.len() < 50 * 1000);
        }
    }

    /// Bytes of a whole policy replaced, in either form.
    #[test]
    fn any_bytes_replaced(edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        for mut bytes in [full().to_string().into_bytes(), encode::structure(&full())] {
            for (index, byte) in &edits {
                let at = index.index(bytes.len());
                bytes[at] = *byte;
            }
            let _ = Policy::from_bytes(&bytes);
            bytes.truncate(edits[0].0.index(bytes.len()));
            let _ = Policy::from_bytes(&bytes);
        }
    }
}
