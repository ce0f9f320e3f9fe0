//! What commands print: tables for people, JSON for programs.
//!
//! Names that strangers chose are printed without control characters, so that no client can steer the operator's terminal.

use std::io::{ErrorKind, Write};

use deputy::domain::time::Timestamp;
use serde_json::Value;

use super::Failure;

/// Who reads what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    Person,
    Program,
}

/// A column: its heading, and the field it shows.
pub(crate) type Column = (&'static str, &'static str);

/// Prints to standard output. A reader that went away, such as `head`, is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::because("cannot write the answer", &error)),
        _ => Ok(()),
    }
}

/// A page of a list, `{items, next_cursor}`, as a table with a hint of how to see more.
pub(crate) fn page(page: &Value, columns: &[Column], reader: Reader) -> String {
    if reader == Reader::Program {
        return json(page);
    }
    let items = page["items"].as_array().map_or(&[][..], Vec::as_slice);
    let more = page["next_cursor"].as_str().map(|cursor| format!("\nThere are more: --cursor {}\n", plain(cursor)));
    match items {
        [] => "None.\n".to_owned(),
        items => table(items, columns) + &more.unwrap_or_default(),
    }
}

/// One object, a line for each field that has a value.
pub(crate) fn object(object: &Value, reader: Reader) -> String {
    if reader == Reader::Program {
        return json(object);
    }
    let fields = object.as_object().into_iter().flatten();
    let lines: Vec<(String, String)> =
        fields.filter(|(_, value)| !value.is_null()).map(|(name, value)| (plain(name), cell(name, value))).collect();
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    lines.iter().fold(String::new(), |text, (name, value)| text + &format!("{name:width$}  {value}\n"))
}

fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

fn table(items: &[Value], columns: &[Column]) -> String {
    let headings = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect::<Vec<_>>();
    let rows = items.iter().map(|item| columns.iter().map(|(_, field)| cell(field, &item[*field])).collect::<Vec<_>>());
    let rows: Vec<Vec<String>> = std::iter::once(headings).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// A value as people read it: moments as dates, lists as words, nothing as a dash.
fn cell(field: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => match (number.as_i64(), field) {
            // The two that RFC 7591 names are in seconds, with 0 for never.
            (Some(0), "client_secret_expires_at") => "never".to_owned(),
            (Some(seconds), "client_id_issued_at" | "client_secret_expires_at") => Timestamp::from_seconds(seconds).to_rfc3339(),
            (Some(milliseconds), field) if field.ends_with("_at") => Timestamp(milliseconds).to_rfc3339(),
            _ => number.to_string(),
        },
        Value::String(text) => plain(text),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items
            .iter()
            .map(|item| item.get("name").map_or_else(|| cell("", item), |name| cell("", name)))
            .collect::<Vec<_>>()
            .join(" "),
        Value::Object(_) => plain(&value.to_string()),
    }
}

/// The text with every character replaced that would steer a terminal or turn the direction of writing.
pub(crate) fn plain(text: &str) -> String {
    let steers =
        |c: char| c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_is_a_table_with_its_columns_aligned() {
        let page_given = json!({
            "items": [
                {"client_id": "cli_1", "client_name": "Notes", "created_at": 0, "disabled_at": null, "scopes": [{"name": "a"}, {"name": "b"}]},
                {"client_id": "https://app.example/client", "client_name": "\u{1b}[31mEvil\u{202e}", "created_at": 86_400_000, "disabled_at": 1000}
            ],
            "next_cursor": "abc"
        });
        let columns = [
            ("CLIENT", "client_id"),
            ("NAME", "client_name"),
            ("SINCE", "created_at"),
            ("DISABLED", "disabled_at"),
            ("SCOPES", "scopes"),
        ];
        insta::assert_snapshot!("page", page(&page_given, &columns, Reader::Person));
    }

    #[test]
    fn an_empty_page_says_so() {
        assert_eq!(page(&json!({"items": [], "next_cursor": null}), &[("CLIENT", "client_id")], Reader::Person), "None.\n");
    }

    #[test]
    fn an_object_is_a_line_for_each_field() {
        let given =
            json!({"client_id": "cli_1", "client_secret_expires_at": 0, "redirect_uris": ["http://127.0.0.1/cb"], "jwks": null});
        assert_eq!(
            object(&given, Reader::Person),
            "client_id                 cli_1\nclient_secret_expires_at  never\nredirect_uris             http://127.0.0.1/cb\n"
        );
    }

    #[test]
    fn programs_get_the_answer_as_it_is() {
        let given = json!({"name": "\u{1b}", "created_at": 5});
        let printed = object(&given, Reader::Program);
        assert!(!printed.contains('\u{1b}'));
        assert_eq!(serde_json::from_str::<Value>(&printed).ok(), Some(given));
    }
}
