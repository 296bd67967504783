//! Parts: a user's content blocks as the parts of a chat message, and tool results as text.
//!
//! A block that a chat completion cannot carry is refused, never left out: the answer depends on it. Hints on blocks
//! (`cache_control`, `transformations`) are left out silently: they change what an answer costs, not what it says.
//!
//! After <https://docs.claude.com/en/api/messages>, and on documents and search results
//! <https://docs.claude.com/en/docs/build-with-claude/pdf-support>,
//! <https://docs.claude.com/en/docs/build-with-claude/citations>,
//! <https://docs.claude.com/en/docs/build-with-claude/search-results>.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::read::{
    Field, Path, each, flag, is_list, is_text, object, optional_text, required, required_text, text,
};
use super::write::{File, ImageUrl, Losses, NO_COUNTERPART, Part, Url};
use crate::chat::error::ErrorReply;

/// Set before the text of a failed tool call: a chat completion has no field for it.
pub(super) const ERROR_MARK: &str = "[error] ";
/// Stands in a tool's text for what only a user's message can hold.
const IMAGE_MARK: &str = "[image: in the next user message]";
const DOCUMENT_MARK: &str = "[document: in the next user message]";
const PDF: &str = "application/pdf";

/// A content block of any type, with all that is read of any.
#[derive(Deserialize)]
pub(super) struct Block<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Field<'a>,
    #[serde(borrow)]
    pub(super) text: Field<'a>,
    #[serde(borrow)]
    source: Field<'a>,
    #[serde(borrow)]
    pub(super) content: Field<'a>,
    #[serde(borrow)]
    title: Field<'a>,
    #[serde(borrow)]
    context: Field<'a>,
    #[serde(borrow)]
    citations: Field<'a>,
    #[serde(borrow)]
    pub(super) tool_use_id: Field<'a>,
    #[serde(borrow)]
    is_error: Field<'a>,
    #[serde(borrow)]
    tool_name: Field<'a>,
    #[serde(borrow)]
    pub(super) id: Field<'a>,
    #[serde(borrow)]
    pub(super) name: Field<'a>,
    #[serde(borrow)]
    pub(super) input: Field<'a>,
    #[serde(borrow)]
    pub(super) thinking: Field<'a>,
    #[serde(borrow)]
    pub(super) signature: Field<'a>,
    #[serde(borrow)]
    pub(super) data: Field<'a>,
}

/// Of an image or a document.
#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow, rename = "type")]
    kind: Field<'a>,
    #[serde(borrow)]
    media_type: Field<'a>,
    #[serde(borrow)]
    data: Field<'a>,
    #[serde(borrow)]
    url: Field<'a>,
    #[serde(borrow)]
    content: Field<'a>,
}

#[derive(Deserialize)]
struct Citations<'a> {
    #[serde(borrow)]
    enabled: Field<'a>,
}

// === impl Block ===

impl<'a> Block<'a> {
    pub(super) fn read(raw: &'a RawValue, path: Path<'_>) -> Result<Self, ErrorReply> {
        object(raw, path)
    }

    pub(super) fn kind(&self, path: Path<'_>) -> Result<Cow<'a, str>, ErrorReply> {
        required_text(self.kind, path.key("type"))
    }

    pub(super) fn text(&self, path: Path<'_>) -> Result<Cow<'a, str>, ErrorReply> {
        required_text(self.text, path.key("text"))
    }

    /// Appends what a block of a user's content becomes.
    pub(super) fn parts(
        &self,
        path: Path<'_>,
        losses: &mut Losses,
        parts: &mut Vec<Part<'a>>,
    ) -> Result<(), ErrorReply> {
        match self.kind(path)?.as_ref() {
            "text" => {
                let text = self.text(path)?;
                parts.push(Part::Text { text });
            }
            "image" => parts.push(self.image(path)?),
            "document" => {
                self.without_citations(path, losses)?;
                self.document(path, parts)?;
            }
            "search_result" => {
                self.without_citations(path, losses)?;
                let text = self.search_result(path)?.into();
                parts.push(Part::Text { text });
            }
            _ => return Err(unknown(path)),
        }
        Ok(())
    }

    /// A tool result's text. What is none goes to `attached`, in order, and leaves a mark in the text.
    pub(super) fn tool_result(
        &self,
        path: Path<'_>,
        losses: &mut Losses,
        attached: &mut Vec<Part<'a>>,
    ) -> Result<Cow<'a, str>, ErrorReply> {
        let at = path.key("content");
        let result = match self.content {
            None => Cow::Borrowed(""),
            Some(raw) if is_text(raw) => text(raw, at)?,
            Some(raw) => {
                let mut lines = Vec::new();
                each_block(raw, at, |block, path| {
                    if block.kind(path)? == "tool_reference" {
                        lines.push(block.tool_reference(path)?.into());
                        return Ok(());
                    }
                    let mut parts = Vec::new();
                    block.parts(path, losses, &mut parts)?;
                    for part in parts {
                        lines.push(match part {
                            Part::Text { text } => text,
                            Part::ImageUrl { .. } => {
                                attached.push(part);
                                IMAGE_MARK.into()
                            }
                            Part::File { .. } => {
                                attached.push(part);
                                DOCUMENT_MARK.into()
                            }
                        });
                    }
                    Ok(())
                })?;
                joined(lines, "\n")
            }
        };
        if flag(self.is_error, path.key("is_error"))? {
            return Ok(format!("{ERROR_MARK}{result}").into());
        }
        Ok(result)
    }

    /// A client that searches tools itself answers with the names of those that the model may now use. In a chat
    /// completion every tool is declared from the start, so that the name is all it takes.
    fn tool_reference(&self, path: Path<'_>) -> Result<String, ErrorReply> {
        let name = required_text(self.tool_name, path.key("tool_name"))?;
        Ok(format!("Tool found: {name}"))
    }

    fn source(&self, path: Path<'_>) -> Result<Source<'a>, ErrorReply> {
        object(required(self.source, path)?, path)
    }

    fn image(&self, path: Path<'_>) -> Result<Part<'a>, ErrorReply> {
        let path = path.key("source");
        let source = self.source(path)?;
        let kind = path.key("type");
        let url = match required_text(source.kind, kind)?.as_ref() {
            "base64" => source.data_url(path)?,
            "url" => {
                let at = path.key("url");
                let url = required_text(source.url, at)?;
                if !is_web(&url) {
                    return Err(at.fault("invalid_value", "must be an https URL"));
                }
                Url::Plain(url)
            }
            _ => return Err(kind.unsupported("must be base64 or url at the chosen target")),
        };
        Ok(Part::ImageUrl {
            image_url: ImageUrl { url },
        })
    }

    fn document(&self, path: Path<'_>, parts: &mut Vec<Part<'a>>) -> Result<(), ErrorReply> {
        let title = optional_text(self.title, path.key("title"))?;
        let context = optional_text(self.context, path.key("context"))?;
        let path = path.key("source");
        let source = self.source(path)?;
        let kind = path.key("type");
        match required_text(source.kind, kind)?.as_ref() {
            "base64" => {
                let media_type = path.key("media_type");
                if required_text(source.media_type, media_type)? != PDF {
                    return Err(media_type.unsupported("must be application/pdf"));
                }
                parts.extend(context.map(|text| Part::Text { text }));
                let file = File {
                    filename: filename(title),
                    file_data: source.data_url(path)?,
                };
                parts.push(Part::File { file });
            }
            "text" => {
                let data = required_text(source.data, path.key("data"))?;
                let lines = title.into_iter().chain(context).chain([data]).collect();
                let text = joined(lines, "\n");
                parts.push(Part::Text { text });
            }
            "content" => {
                let heading = joined(title.into_iter().chain(context).collect(), "\n");
                if !heading.is_empty() {
                    parts.push(Part::Text { text: heading });
                }
                source.content(path.key("content"), parts)?;
            }
            _ => {
                let words = "must be base64, text or content at the chosen target; send the document itself";
                return Err(kind.unsupported(words));
            }
        }
        Ok(())
    }

    fn search_result(&self, path: Path<'_>) -> Result<String, ErrorReply> {
        let mut found = required_text(self.title, path.key("title"))?.into_owned();
        found.push('\n');
        found.push_str(&required_text(self.source, path.key("source"))?);
        let at = path.key("content");
        each_block(required(self.content, at)?, at, |block, path| {
            found.push('\n');
            found.push_str(&only_text(&block, path)?);
            Ok(())
        })?;
        Ok(found)
    }

    fn without_citations(&self, path: Path<'_>, losses: &mut Losses) -> Result<(), ErrorReply> {
        let path = path.key("citations");
        let Some(raw) = self.citations else {
            return Ok(());
        };
        let citations: Citations<'_> = object(raw, path)?;
        if flag(citations.enabled, path.key("enabled"))? {
            losses.lose("citations", path, NO_COUNTERPART)?;
        }
        Ok(())
    }
}

// === impl Source ===

impl<'a> Source<'a> {
    fn data_url(&self, path: Path<'_>) -> Result<Url<'a>, ErrorReply> {
        let at = path.key("media_type");
        let media_type = required_text(self.media_type, at)?;
        let clean = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'+' | b'-');
        if media_type.is_empty() || !media_type.bytes().all(clean) {
            return Err(at.fault("invalid_value", "must be a media type such as image/png"));
        }
        let data = required_text(self.data, path.key("data"))?;
        Ok(Url::Data { media_type, data })
    }

    /// A document's own blocks: text and images, and nothing that nests further.
    fn content(&self, path: Path<'_>, parts: &mut Vec<Part<'a>>) -> Result<(), ErrorReply> {
        let raw = required(self.content, path)?;
        if is_text(raw) {
            let text = text(raw, path)?;
            parts.push(Part::Text { text });
            return Ok(());
        }
        each_block(raw, path, |block, path| {
            parts.push(match block.kind(path)?.as_ref() {
                "image" => block.image(path)?,
                _ => Part::Text {
                    text: only_text(&block, path)?,
                },
            });
            Ok(())
        })
    }
}

/// A string, or an array of text blocks, which are set apart by `between`.
pub(super) fn text_blocks<'a>(
    raw: &'a RawValue,
    path: Path<'_>,
    between: &str,
) -> Result<Cow<'a, str>, ErrorReply> {
    if is_text(raw) {
        return text(raw, path);
    }
    let mut texts = Vec::new();
    each_block(raw, path, |block, path| {
        texts.push(only_text(&block, path)?);
        Ok(())
    })?;
    Ok(joined(texts, between))
}

/// Blocks, where a string was no choice or is handled already.
pub(super) fn each_block<'a>(
    raw: &'a RawValue,
    path: Path<'_>,
    mut take: impl FnMut(Block<'a>, Path<'_>) -> Result<(), ErrorReply>,
) -> Result<(), ErrorReply> {
    if !is_list(raw) {
        return Err(path.wrong_type("must be a string or an array of content blocks"));
    }
    each(raw, path, |raw, path| take(Block::read(raw, path)?, path))?;
    Ok(())
}

pub(super) fn unknown(path: Path<'_>) -> ErrorReply {
    path.key("type")
        .unsupported("is a kind of block that the chosen target cannot be given; leave it out")
}

fn only_text<'a>(block: &Block<'a>, path: Path<'_>) -> Result<Cow<'a, str>, ErrorReply> {
    if block.kind(path)? != "text" {
        return Err(unknown(path));
    }
    block.text(path)
}

/// A single text stays borrowed.
fn joined<'a>(mut texts: Vec<Cow<'a, str>>, between: &str) -> Cow<'a, str> {
    match texts.len() {
        0 | 1 => texts.pop().unwrap_or_default(),
        _ => Cow::Owned(texts.join(between)),
    }
}

/// A target beyond the web's schemes may know others; a client of Messages cannot mean them.
fn is_web(url: &str) -> bool {
    ["https://", "http://"].iter().any(|scheme| {
        url.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

/// OpenAI tells a file's type by its name.
fn filename(title: Option<Cow<'_, str>>) -> Cow<'_, str> {
    match title {
        None => "document.pdf".into(),
        Some(title) if title.is_empty() => "document.pdf".into(),
        Some(title) if title.ends_with(".pdf") => title,
        Some(title) => format!("{title}.pdf").into(),
    }
}
