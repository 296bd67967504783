//! A file that was read: its name for people, its text, its documents, and where in it things stand.

use std::fs;
use std::io::{self, Read};

use super::Failure;
use super::document::{Node, documents, line_of};

#[derive(Debug)]
pub struct Source {
    /// As it was named on the command line.
    pub name: String,
    pub text: String,
    /// Of a text that is neither YAML nor JSON: why it is not.
    pub documents: Result<Vec<Node>, String>,
}

/// The bytes of a file; `-` is standard input.
pub fn read(name: &str) -> Result<Vec<u8>, Failure> {
    let read = if name == "-" {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(name)
    };
    read.map_err(|error| {
        let message = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file; check the path".to_owned(),
            io::ErrorKind::IsADirectory => "is a folder; name a file in it".to_owned(),
            io::ErrorKind::PermissionDenied => "may not be read; check its permissions".to_owned(),
            _ => format!("cannot be read: {error}"),
        };
        Failure::Unusable(format!("{}: {message}", shown(name)))
    })
}

pub fn shown(name: &str) -> &str {
    if name == "-" { "standard input" } else { name }
}

// === impl Source ===

impl Source {
    /// # Errors
    /// The file cannot be read, or is no text.
    pub fn open(name: &str) -> Result<Self, Failure> {
        let text = String::from_utf8(read(name)?).map_err(|_| {
            Failure::Unusable(format!(
                "{}: is not UTF-8; name a YAML or JSON file",
                shown(name)
            ))
        })?;
        Ok(Source {
            name: shown(name).to_owned(),
            documents: documents(&text),
            text,
        })
    }

    /// Every document with its path: several are told apart as `[0]`, `[1]`, one alone has none.
    pub fn roots(&self) -> Vec<(String, &Node)> {
        let documents = self.documents.as_deref().unwrap_or_default();
        let filled = documents.iter().filter(|d| **d != Node::Null).count();
        let path = |index: usize| match filled {
            ..=1 => String::new(),
            _ => format!("[{index}]"),
        };
        documents
            .iter()
            .enumerate()
            .filter(|(_, document)| **document != Node::Null)
            .map(|(index, document)| (path(index), document))
            .collect()
    }

    /// `file:line`, the line being that of the node at `path` or of the nearest that it is in.
    pub fn place(&self, path: &str) -> String {
        let documents = self.documents.as_deref().unwrap_or_default();
        let root = self
            .roots()
            .into_iter()
            .find(|(root, _)| root.is_empty() || path.starts_with(&**root));
        let line = root.and_then(|(root, node)| {
            let index = documents.iter().position(|d| std::ptr::eq(d, node))?;
            line_of(&self.text, (index, &root), path)
        });
        match line {
            Some(line) => format!("{}:{line}", self.name),
            None => self.name.clone(),
        }
    }
}
