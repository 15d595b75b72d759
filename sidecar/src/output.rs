//! The one place that prints: tables, JSON and plain lines for commands, over any writer.
//!
//! May import: std, serde_json. Deliberately absent: what is printed, and logging (`telemetry`).

use std::io::{self, Write};

use serde_json::{Value, json};

/// How a command answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one document.
    Json,
}

/// Where a command's answer goes.
pub struct Output {
    writer: Box<dyn Write + Send>,
    format: Format,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("format", &self.format).finish_non_exhaustive()
    }
}

impl Output {
    /// To standard output.
    #[must_use]
    pub fn stdout(format: Format) -> Self {
        Self { writer: Box::new(io::stdout()), format }
    }

    /// To any writer.
    #[must_use]
    pub fn to(writer: Box<dyn Write + Send>, format: Format) -> Self {
        Self { writer, format }
    }

    /// How it is to be printed.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// One line.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.writer, "{text}")
    }

    /// Bytes as they are and a line's end.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)?;
        self.writer.write_all(b"\n")
    }

    /// One JSON document, indented.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn json(&mut self, value: &Value) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.writer, value)?;
        self.writer.write_all(b"\n")
    }

    /// A table with columns as wide as their widest cell, two spaces between them.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn table(&mut self, header: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
        let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        self.row(header.iter().copied(), &widths)?;
        for row in rows {
            self.row(row.iter().map(String::as_str), &widths)?;
        }
        Ok(())
    }

    fn row<'a>(&mut self, cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> io::Result<()> {
        let mut line = String::new();
        for (cell, width) in cells.zip(widths) {
            line.push_str(cell);
            let padding = (width + 2).saturating_sub(cell.chars().count());
            line.extend(std::iter::repeat_n(' ', padding));
        }
        self.line(line.trim_end())
    }
}

/// An error on standard error, with its chain of causes.
pub fn complain(error: &dyn std::error::Error) {
    // Nobody is left to be told when standard error itself fails.
    drop(writeln!(io::stderr(), "error: {}", chain(error)));
}

/// The error and its causes in one line. A cause that repeats what is there already (some libraries' do) is left out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

/// Bytes as a field: `name` with a text where they are one, else `name_base64`, so that each field has one form and
/// nothing is lost or guessed.
pub fn insert_bytes(fields: &mut serde_json::Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => fields.insert(name.to_owned(), json!(text)),
        Err(_) => fields.insert(format!("{name}_base64"), json!(base64(bytes))),
    };
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32, place: u32| {
        let index = (bits >> (18 - 6 * place)) & 63;
        ALPHABET.get(index as usize).map_or('=', |byte| char::from(*byte))
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |place: usize| chunk.get(place).map_or(0, |byte| u32::from(*byte));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for place in 0..4 {
            // Three bytes are four digits; what is missing at the end is filled up.
            text.push(if place as usize <= chunk.len() { digit(bits, place) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A writer whose bytes a test can read.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(crate) fn output(&self, format: Format) -> Output {
            Output::to(Box::new(self.clone()), format)
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_table_is_as_wide_as_its_cells_and_has_no_trailing_spaces() {
        let captured = Captured::default();
        let rows = [vec!["orders-10".to_owned(), "leader".to_owned()], vec!["ö".to_owned(), String::new()]];
        captured.output(Format::Table).table(&["NAME", "ROLE"], &rows).unwrap();
        assert_eq!(captured.text(), "NAME       ROLE\norders-10  leader\nö\n");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn a_chain_of_causes_is_one_line_that_repeats_nothing() {
        let refused = Layer("connection refused", None);
        let again = Layer("tcp connect error", Some(Box::new(refused)));
        let connect = Layer("tcp connect error", Some(Box::new(again)));
        let top = Layer("nobody answers", Some(Box::new(connect)));
        assert_eq!(chain(&top), "nobody answers: tcp connect error: connection refused");
    }

    #[test]
    fn base64_agrees_with_the_standards_vectors() {
        // RFC 4648 §10.
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_told_as_base64() {
        let mut fields = serde_json::Map::new();
        insert_bytes(&mut fields, "key", b"plain");
        insert_bytes(&mut fields, "value", &[0xff, 0xfe]);
        assert_eq!(Value::Object(fields), json!({ "key": "plain", "value_base64": "//4=" }));
    }
}
