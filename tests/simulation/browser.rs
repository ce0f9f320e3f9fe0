//! A person's browser: keeps cookies, and sends forms without JavaScript.

use std::collections::BTreeMap;

use super::request::{Caller, Request};
use crate::support::Answer;

#[derive(Default)]
pub struct Browser {
    cookies: BTreeMap<String, String>,
}

impl Browser {
    /// A request with this browser's cookies.
    pub fn get(&self, path: &str) -> Request {
        self.dress(Request::get(path))
    }

    /// A form with this browser's cookies.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> Request {
        self.dress(Request::form(path, Caller::InForm, fields))
    }

    /// Keeps the cookies of an answer; tells the secrets that it got.
    pub fn keep(&mut self, answer: &Answer) -> Vec<String> {
        let mut got = Vec::new();
        for header in answer.headers.get_all("set-cookie") {
            let text = header.to_str().expect("cookies are text");
            let (name, value) = text.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie has a name");
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                got.push(value.to_owned());
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        got
    }

    fn dress(&self, request: Request) -> Request {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        request.with("cookie", cookies.join("; "))
    }
}
