//! Content: a chat message's content, a string or an array of parts, into blocks.
//!
//! What the Messages API cannot carry is refused, never left out: an answer to half a question misleads.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::block::{Block, Source};
use super::fault::{Path, Read, bad, uncarried, wrong_type};
use super::media::{Data, Encoding, decode_text};
use super::read::{list, object, text, word};

/// Parts that a place takes beside text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parts {
    /// System messages.
    Text,
    /// Assistant messages.
    Refusals,
    /// User messages and tool results.
    Media,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    image_url: Option<&'a RawValue>,
    #[serde(borrow)]
    file: Option<&'a RawValue>,
}

/// `detail` is left out: Claude reads every image as it is.
#[derive(Deserialize)]
struct Image<'a> {
    #[serde(borrow)]
    url: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    file_data: Option<&'a RawValue>,
    #[serde(borrow)]
    file_id: Option<&'a RawValue>,
    #[serde(borrow)]
    filename: Option<&'a RawValue>,
}

/// Base64 of `%PDF-`, for file data that comes without a data URL.
const PDF_IN_BASE64: &str = "JVBERi";

/// Appends a message's content to `out`.
pub(super) fn read_content<'a>(
    raw: &'a RawValue,
    at: &Path<'_>,
    parts: Parts,
    out: &mut Vec<Block<'a>>,
) -> Read<()> {
    if raw.get().starts_with('"') {
        out.extend(Block::text(text(raw, at)?));
        return Ok(());
    }
    if !raw.get().starts_with('[') {
        return Err(wrong_type(at, "must be a string or an array of parts"));
    }
    for (i, part) in list(raw, at)?.into_iter().enumerate() {
        out.extend(read_part(part, &at.index(i), parts)?);
    }
    Ok(())
}

fn read_part<'a>(raw: &'a RawValue, at: &Path<'_>, parts: Parts) -> Read<Option<Block<'a>>> {
    let part: Part<'a> = object(raw, at)?;
    let kind = word(part.kind, &at.field("type"))?;
    match (kind.as_ref(), parts) {
        ("text", _) => {
            let at = at.field("text");
            let raw = part.text.ok_or_else(|| missing(&at))?;
            Ok(Block::text(text(raw, &at)?))
        }
        ("refusal", Parts::Refusals) => {
            let at = at.field("refusal");
            let raw = part.refusal.ok_or_else(|| missing(&at))?;
            Ok(Block::text(text(raw, &at)?))
        }
        ("image_url", Parts::Media) => {
            let at = at.field("image_url");
            image(part.image_url.ok_or_else(|| missing(&at))?, &at).map(Some)
        }
        ("file", Parts::Media) => {
            let at = at.field("file");
            file(part.file.ok_or_else(|| missing(&at))?, &at)
        }
        ("input_audio", _) => Err(uncarried(
            at,
            "is audio, which this provider does not read; send its text",
        )),
        (_, Parts::Media) => Err(uncarried(
            at,
            "is of a type that this provider does not read; send text, image_url or file parts",
        )),
        _ => Err(uncarried(
            at,
            "is of a type that this provider does not read in a message of this role; send text parts",
        )),
    }
}

fn missing(at: &Path<'_>) -> crate::chat::error::ErrorReply {
    wrong_type(at, "is missing")
}

/// <https://platform.claude.com/docs/en/build-with-claude/vision>
fn image<'a>(raw: &'a RawValue, at: &Path<'_>) -> Read<Block<'a>> {
    let image: Image<'a> = object(raw, at)?;
    let at = at.field("url");
    let url = word(image.url, &at)?;
    let source = if url.starts_with("https://") {
        Source::Url { url }
    } else {
        let data = Data::of(url).ok_or_else(|| {
            let words = "must be an https URL or a data URL with base64 data";
            bad("invalid_value", &at, words)
        })?;
        let media_type = match (data.media_type.as_str(), data.encoding) {
            ("image/jpeg" | "image/jpg", Encoding::Base64) => "image/jpeg",
            ("image/png", Encoding::Base64) => "image/png",
            ("image/gif", Encoding::Base64) => "image/gif",
            ("image/webp", Encoding::Base64) => "image/webp",
            _ => {
                let words = "is of a media type that this provider does not read; \
                             send JPEG, PNG, GIF or WebP in base64";
                return Err(uncarried(&at, words));
            }
        };
        Source::Base64 {
            media_type,
            data: data.payload,
        }
    };
    Ok(Block::Image {
        source,
        cache_control: None,
    })
}

/// PDF as it comes, text decoded. <https://platform.claude.com/docs/en/build-with-claude/pdf-support>
fn file<'a>(raw: &'a RawValue, at: &Path<'_>) -> Read<Option<Block<'a>>> {
    let file: File<'a> = object(raw, at)?;
    let Some(raw) = file.file_data else {
        if file.file_id.is_some() {
            let words = "names a file that was uploaded to OpenAI, which this provider cannot read; \
                         send its content in file_data";
            return Err(uncarried(&at.field("file_id"), words));
        }
        return Err(missing(&at.field("file_data")));
    };
    let title = match file.filename {
        Some(raw) => Some(text(raw, &at.field("filename"))?).filter(|title| !title.is_empty()),
        None => None,
    };
    let at = at.field("file_data");
    let data = text(raw, &at)?;
    let source = if data.starts_with(PDF_IN_BASE64) {
        pdf(data)
    } else {
        let data = Data::of(data).ok_or_else(|| {
            let words = "must be a data URL, such as data:application/pdf;base64,…";
            bad("invalid_value", &at, words)
        })?;
        match data.encoding {
            Encoding::Base64 if data.media_type == "application/pdf" => pdf(data.payload),
            Encoding::Base64 if data.media_type.starts_with("text/") => {
                let text = decode_text(&data.payload).ok_or_else(|| {
                    let words = "must be UTF-8 text in base64";
                    bad("invalid_value", &at, words)
                })?;
                if text.trim().is_empty() {
                    return Ok(None);
                }
                Source::Text {
                    media_type: "text/plain",
                    data: Cow::Owned(text),
                }
            }
            _ => {
                let words = "is of a media type that this provider does not read; \
                             send PDF or text in base64";
                return Err(uncarried(&at, words));
            }
        }
    };
    Ok(Some(Block::Document {
        source,
        title,
        cache_control: None,
    }))
}

fn pdf(data: Cow<'_, str>) -> Source<'_> {
    Source::Base64 {
        media_type: "application/pdf",
        data,
    }
}
