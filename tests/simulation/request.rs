//! A request that can be sent again.

use axum::http::Method;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

/// As whom a client's request is made.
#[derive(Debug, Clone, Copy)]
pub enum Caller<'c> {
    /// Authenticates with Basic.
    Confidential { id: &'c str, secret: &'c str },
    /// Names itself in the form.
    Public { id: &'c str },
    /// What it says of itself is in the form already.
    InForm,
}

impl Request {
    pub fn get(path: &str) -> Request {
        Request { method: Method::GET, path: path.to_owned(), headers: Vec::new(), body: String::new() }
    }

    pub fn form(path: &str, caller: Caller<'_>, fields: &[(&str, &str)]) -> Request {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        let mut headers = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
        match caller {
            Caller::Confidential { id, secret } => {
                headers.push(("authorization", format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))));
            }
            Caller::Public { id } => {
                form.append_pair("client_id", id);
            }
            Caller::InForm => {}
        }
        Request { method: Method::POST, path: path.to_owned(), headers, body: form.finish() }
    }

    pub fn json(method: Method, path: &str, body: &Value) -> Request {
        let headers = vec![("content-type", "application/json".to_owned())];
        Request { method, path: path.to_owned(), headers, body: if body.is_null() { String::new() } else { body.to_string() } }
    }

    pub fn with(mut self, name: &'static str, value: String) -> Request {
        self.headers.push((name, value));
        self
    }
}
