//! Media: a user's images, audio and files as Gemini's `inlineData` and `fileData`.
//!
//! Base64 is passed on as it came, not decoded: the provider says what is wrong with it.

use super::chat::{File, ImageUrl, InputAudio, Part};
use super::fault::{self, Losses, Refused};
use super::place::At;
use super::wire::{Blob, Data, FileData};

const STRING: &str = "must be a string";
const OBJECT: &str = "must be an object";

/// A part of a user's message; `None` is an empty text.
pub(super) fn user_part<'a>(
    at: At,
    part: &'a Part<'a>,
    losses: &mut Losses,
) -> Result<Option<Data<'a>>, Refused> {
    let kind = part.kind.need(at.dot("type"), STRING)?;
    match kind.as_ref() {
        "text" => {
            let text = part.text.need(at.dot("text"), STRING)?;
            Ok((!text.is_empty()).then_some(Data::Text(text)))
        }
        "image_url" => image(
            at,
            part.image_url.need(at.dot("image_url"), OBJECT)?,
            losses,
        )
        .map(Some),
        "input_audio" => audio(at, part.input_audio.need(at.dot("input_audio"), OBJECT)?).map(Some),
        "file" => file(at, part.file.need(at.dot("file"), OBJECT)?).map(Some),
        _ => Err(fault::content(
            at.dot("type"),
            "is not a kind of content that this model can be given; send text, image_url, input_audio or file",
        )),
    }
}

fn image<'a>(at: At, image: &'a ImageUrl<'a>, losses: &mut Losses) -> Result<Data<'a>, Refused> {
    let path = at.dot("image_url.url");
    let url = image.url.need(path, STRING)?;
    let detail = at.dot("image_url.detail");
    if image
        .detail
        .get(detail, STRING)?
        .is_some_and(|detail| detail != "auto")
    {
        losses.lose("messages[].content[].image_url.detail", detail)?;
    }
    if let Some(blob) = data_url(url) {
        return Ok(Data::Inline(blob));
    }
    if has_scheme(url, "data:") {
        return Err(fault::invalid(
            path,
            "must be a data URL like data:image/png;base64,…",
        ));
    }
    if !["https://", "http://", "gs://"]
        .iter()
        .any(|scheme| has_scheme(url, scheme))
    {
        return Err(fault::invalid(path, "must be an https URL or a data URL"));
    }
    Ok(Data::File(FileData {
        mime_type: mime_of_extension(url),
        file_uri: url,
    }))
}

/// The MIME types are the ones that <https://ai.google.dev/gemini-api/docs/audio#supported-formats> lists.
fn audio<'a>(at: At, audio: &'a InputAudio<'a>) -> Result<Data<'a>, Refused> {
    let data = audio.data.need(at.dot("input_audio.data"), STRING)?;
    let format = at.dot("input_audio.format");
    let mime_type = match audio.format.need(format, STRING)?.as_ref() {
        "wav" => "audio/wav",
        "mp3" => "audio/mp3",
        _ => return Err(fault::invalid(format, "must be \"wav\" or \"mp3\"")),
    };
    Ok(Data::Inline(Blob { mime_type, data }))
}

fn file<'a>(at: At, file: &'a File<'a>) -> Result<Data<'a>, Refused> {
    let path = at.dot("file.file_data");
    match file.file_data.get(path, STRING)? {
        Some(data) => data_url(data).map(Data::Inline).ok_or_else(|| {
            fault::invalid(
                path,
                "must be a data URL like data:application/pdf;base64,…",
            )
        }),
        None if file.file_id.is_some() => Err(fault::content(
            at.dot("file.file_id"),
            "names a file that only OpenAI has; send its content as file_data",
        )),
        None => Err(fault::missing(path, STRING)),
    }
}

/// `data:<media type>[;parameters];base64,<data>`, <https://www.rfc-editor.org/rfc/rfc2397>. Without a media type, or
/// not in base64, it is none that Gemini could be given.
fn data_url(url: &str) -> Option<Blob<'_>> {
    let rest = has_scheme(url, "data:").then(|| url.get("data:".len()..))??;
    let (header, data) = rest.split_once(',')?;
    let (types, encoding) = header.rsplit_once(';')?;
    let mime_type = types.split(';').next().unwrap_or_default().trim();
    if !encoding.trim().eq_ignore_ascii_case("base64") || mime_type.is_empty() {
        return None;
    }
    // A common slip that OpenAI forgives; the registered name is image/jpeg.
    let mime_type = if mime_type == "image/jpg" {
        "image/jpeg"
    } else {
        mime_type
    };
    Some(Blob { mime_type, data })
}

fn has_scheme(url: &str, scheme: &str) -> bool {
    url.get(..scheme.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// Gemini looks for itself where this does not know.
fn mime_of_extension(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next()?;
    let (_, name) = path.rsplit_once('/')?;
    let (_, extension) = name.rsplit_once('.')?;
    let types = [
        ("png", "image/png"),
        ("jpg", "image/jpeg"),
        ("jpeg", "image/jpeg"),
        ("webp", "image/webp"),
        ("heic", "image/heic"),
        ("heif", "image/heif"),
        ("gif", "image/gif"),
        ("bmp", "image/bmp"),
        ("pdf", "application/pdf"),
    ];
    types
        .into_iter()
        .find(|(known, _)| extension.eq_ignore_ascii_case(known))
        .map(|(_, mime_type)| mime_type)
}
