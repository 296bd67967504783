//! Models: the answers to `GET /v1/models` and `GET /v1/models/{id}`, in OpenAI's form.

use serde::Serialize;

/// `created` of every model: the policy does not know when a provider made it, and SDKs require the field.
const CREATED: u64 = 0;

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
}

/// A list of `(id, owned_by)`, in the order given.
pub fn models_list<'a>(ids: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let list = List {
        object: "list",
        data: ids.map(|(id, owned_by)| model(id, owned_by)).collect(),
    };
    serde_json::to_vec(&list).unwrap_or_default()
}

/// One model.
pub fn model_object(id: &str, owned_by: &str) -> Vec<u8> {
    serde_json::to_vec(&model(id, owned_by)).unwrap_or_default()
}

fn model<'a>(id: &'a str, owned_by: &'a str) -> Model<'a> {
    Model {
        id,
        object: "model",
        created: CREATED,
        owned_by,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let check = |ids: &[(&str, &str)], expected: &str| {
            let list = models_list(ids.iter().copied());
            assert_eq!(String::from_utf8(list).unwrap(), expected);
        };
        check(&[], r#"{"object":"list","data":[]}"#);
        check(
            &[("fast", "pointsman"), ("gpt-5-nano", "openai")],
            concat!(
                r#"{"object":"list","data":[{"id":"fast","object":"model","created":0,"owned_by":"pointsman"},"#,
                r#"{"id":"gpt-5-nano","object":"model","created":0,"owned_by":"openai"}]}"#
            ),
        );
    }

    #[test]
    fn one() {
        assert_eq!(
            String::from_utf8(model_object("a\"b", "x")).unwrap(),
            r#"{"id":"a\"b","object":"model","created":0,"owned_by":"x"}"#
        );
    }
}
