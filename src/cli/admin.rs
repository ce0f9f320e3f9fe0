//! The running server's admin API, as the command line speaks it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use deputy::config::{Issuer, Settings};
use deputy::domain::secret::Secret;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use url::Url;

use super::Failure;
use super::output::{self, Column, Reader};

/// Where the server is and who asks.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    /// The server to ask [default: the issuer of the configuration]
    #[arg(long, value_name = "URL", help_heading = "Server", value_parser = server)]
    server: Option<Issuer>,
    /// The file of the operator's token [default: operator.token in data_dir; DEPUTY_OPERATOR_TOKEN holds a token itself]
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    operator_token_file: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long, help_heading = "Server")]
    json: bool,
}

/// Which part of a list.
#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Where the list before this one ended
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// A conversation with the admin API. Paths are given in segments, which are encoded one by one: a `client_id` may be a URL.
pub(crate) struct Admin {
    server: Issuer,
    token: Secret<String>,
    http: reqwest::Client,
    reader: Reader,
}

/// The server answers at once or not at all; longer means that something is in the way.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How many pages a search walks before it asks for an identifier instead.
const PAGES_MAX: usize = 40;
const PAGE_ITEMS_MAX: &str = "500";

impl Admin {
    pub(crate) fn open(args: &AdminArgs, settings: &Settings) -> Result<Admin, Failure> {
        let server = args.server.clone().unwrap_or_else(|| settings.issuer.clone());
        let http = reqwest::Client::builder().timeout(ANSWER_MAX).redirect(reqwest::redirect::Policy::none());
        // A proxy from the environment must not see the operator's token.
        let http = http.no_proxy().build().map_err(|error| Failure::because("cannot make requests", &error))?;
        let reader = if args.json { Reader::Program } else { Reader::Person };
        Ok(Admin { server, token: operator_token(args, settings)?, http, reader })
    }

    /// The admin API of the server that these settings are for, with the token that its first start wrote.
    pub(crate) fn of_this_machine(settings: &Settings) -> Result<Admin, Failure> {
        let args = AdminArgs { server: None, operator_token_file: Some(settings.operator_token_path()), json: false };
        Admin::open(&args, settings)
    }

    pub(crate) async fn get(&self, path: &[&str]) -> Result<Value, Failure> {
        self.send(self.request(Method::GET, path, &[])).await
    }

    pub(crate) async fn post(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        self.send(self.request(Method::POST, path, &[]).json(body)).await
    }

    pub(crate) async fn put(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        self.send(self.request(Method::PUT, path, &[]).json(body)).await
    }

    pub(crate) async fn patch(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        self.send(self.request(Method::PATCH, path, &[]).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &[&str]) -> Result<Value, Failure> {
        self.send(self.request(Method::DELETE, path, &[])).await
    }

    /// The first item of a list that `is_meant` accepts.
    pub(crate) async fn find(&self, path: &[&str], is_meant: impl Fn(&Value) -> bool) -> Result<Option<Value>, Failure> {
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = self.page(path, PAGE_ITEMS_MAX, cursor.as_deref()).await?;
            if let Some(item) = page["items"].as_array().into_iter().flatten().find(|item| is_meant(item)) {
                return Ok(Some(item.clone()));
            }
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                return Ok(None);
            }
        }
        Err(Failure("there are too many to search through; give the identifier instead".to_owned()))
    }

    /// Prints one object.
    pub(crate) fn show(&self, object: &Value) -> Result<(), Failure> {
        output::print(&output::object(object, self.reader))
    }

    /// Prints what was done: the sentence for people, the answer for programs.
    pub(crate) fn done(&self, sentence: &str, answer: &Value) -> Result<(), Failure> {
        match self.reader {
            Reader::Person => output::print(&format!("{}\n", output::plain(sentence))),
            Reader::Program => self.show(answer),
        }
    }

    async fn page(&self, path: &[&str], limit: &str, cursor: Option<&str>) -> Result<Value, Failure> {
        let query: Vec<(&str, &str)> = [("limit", limit)].into_iter().chain(cursor.map(|cursor| ("cursor", cursor))).collect();
        self.send(self.request(Method::GET, path, &query)).await
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut url: Url = self.server.url().clone();
        let segments = ["admin", "v1"].iter().chain(path);
        url.path_segments_mut().expect("an issuer has a host, and so a path").pop_if_empty().extend(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, url).bearer_auth(self.token.reveal())
    }

    async fn send(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let server = &self.server;
        let response = request.send().await.map_err(|error| match error {
            error if error.is_connect() => {
                Failure(format!("no server answers at {server}; start it with `deputy serve`, or name another with --server"))
            }
            error if error.is_timeout() => {
                Failure(format!("the server at {server} did not answer within {} seconds", ANSWER_MAX.as_secs()))
            }
            error => Failure::because(format!("cannot ask the server at {server}"), &error.without_url()),
        })?;
        let status = response.status();
        let body = response
            .bytes()
            .await
            .map_err(|error| Failure::because(format!("the answer of the server at {server} broke off"), &error.without_url()))?;
        match (status.is_success(), serde_json::from_slice(&body)) {
            (true, _) if body.is_empty() => Ok(Value::Null),
            (true, Ok(answer)) => Ok(answer),
            (true, Err(_)) => Err(Failure(format!("what answers at {server} is not Deputy's admin API"))),
            (false, answer) => Err(refusal(server, status, &answer.unwrap_or_default())),
        }
    }
}

/// Prints a page of a list.
pub(crate) async fn list(path: &[&str], args: &PageArgs, columns: &[Column], settings: &Settings) -> Result<(), Failure> {
    let admin = Admin::open(&args.admin, settings)?;
    let page = admin.page(path, &args.limit.to_string(), args.cursor.as_deref()).await?;
    output::print(&output::page(&page, columns, admin.reader))
}

/// An issuer's form is what keeps the operator's token from crossing a network in the clear.
fn server(text: &str) -> Result<Issuer, &'static str> {
    text.trim_end_matches('/').parse().map_err(|_| "give an https URL, or an http URL of a loopback address")
}

fn refusal(server: &Issuer, status: StatusCode, answer: &Value) -> Failure {
    let told = answer["error_description"].as_str().or(answer["error"].as_str()).map(output::plain);
    let told = told.unwrap_or_default();
    Failure(match status {
        StatusCode::UNAUTHORIZED => {
            format!("the server at {server} does not accept this operator's token; is it the token of another data_dir?")
        }
        status if status.is_redirection() => format!("what answers at {server} is not Deputy's admin API: it redirects"),
        status if told.is_empty() => format!("the server at {server} answered {status}"),
        _ => told.trim_end_matches('.').to_owned(),
    })
}

#[expect(clippy::disallowed_methods, reason = "a secret of the command line, not a setting of the server")]
fn operator_token(args: &AdminArgs, settings: &Settings) -> Result<Secret<String>, Failure> {
    let from_environment = std::env::var("DEPUTY_OPERATOR_TOKEN").ok().filter(|token| !token.is_empty());
    if let (None, Some(token)) = (&args.operator_token_file, from_environment) {
        return Ok(Secret::new(token));
    }
    let path = args.operator_token_file.clone().unwrap_or_else(|| settings.operator_token_path());
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => Ok(Secret::new(text.trim().to_owned())),
        Ok(_) => Err(Failure(format!("{} is empty; an operator's token should be in it", path.display()))),
        Err(error) => Err(Failure(format!(
            "cannot read the operator's token in {} ({error}); the server writes it at its first start, and its own user may read it",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;
    use crate::cli::wait_for;

    /// A server for one request: its address, and then the first line and the headers of what was asked.
    fn server_that_answers(answer: &'static str) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the client connects");
            let mut request = Vec::new();
            let mut part = [0; 1024];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let count = stream.read(&mut part).expect("the client sends");
                assert!(count > 0, "the request ended early");
                request.extend_from_slice(&part[..count]);
            }
            stream.write_all(answer.as_bytes()).expect("the client listens");
            String::from_utf8(request).expect("a request without a body is ASCII")
        });
        (address, asked)
    }

    fn admin_of(server: &str) -> Admin {
        Admin {
            server: server.parse().expect("a loopback issuer"),
            token: Secret::new("s3cret".to_owned()),
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
            reader: Reader::Program,
        }
    }

    #[test]
    fn a_client_id_that_is_a_url_is_one_segment_and_the_token_goes_along() {
        let (server, asked) = server_that_answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        let admin = admin_of(&format!("{server}/tenant"));
        let answer = wait_for(admin.get(&["clients", "https://app.example/c?x=1&y=%2F"]));
        assert_eq!(answer, Ok(serde_json::json!({})));
        let asked = asked.join().expect("the server's assertions hold");
        let line = "GET /tenant/admin/v1/clients/https:%2F%2Fapp.example%2Fc%3Fx=1&y=%252F HTTP/1.1\r\n";
        assert!(asked.starts_with(line) && asked.contains("authorization: Bearer s3cret\r\n"), "{asked}");
    }

    #[test]
    fn every_refusal_is_one_sentence() {
        let table = [
            (
                "HTTP/1.1 404 Not Found\r\ncontent-length: 68\r\n\r\n{\"error\":\"not_found\",\"error_description\":\"There is no such client.\"}",
                "There is no such client",
            ),
            ("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", "does not accept this operator's token"),
            ("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 4\r\n\r\noops", "answered 502 Bad Gateway"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>", "is not Deputy's admin API"),
        ];
        for (answer, told) in table {
            let (server, asked) = server_that_answers(answer);
            let failure = wait_for(admin_of(&server).delete(&["clients", "x"])).expect_err("it is refused").to_string();
            asked.join().expect("the server's assertions hold");
            assert!(failure.contains(told) && failure.lines().count() == 1, "{failure}");
        }
    }

    #[test]
    fn a_server_that_does_not_run_is_told_with_what_to_do() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = format!("http://{}", listener.local_addr().expect("it is bound"));
        drop(listener);
        let failure = wait_for(admin_of(&server).get(&["keys"])).expect_err("nobody answers");
        assert_eq!(
            failure.to_string(),
            format!("no server answers at {server}; start it with `deputy serve`, or name another with --server")
        );
    }

    #[test]
    fn the_operators_token_never_crosses_a_network_in_the_clear() {
        assert!(server("http://id.example").is_err());
        assert!(server("https://id.example/").is_ok_and(|server| server.as_str() == "https://id.example"));
    }
}
