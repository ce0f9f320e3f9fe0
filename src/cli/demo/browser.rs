//! A person with a browser that runs no JavaScript: keeps cookies, reads pages, fills in forms.

use std::collections::BTreeMap;

use reqwest::RequestBuilder;
use reqwest::header::{COOKIE, SET_COOKIE};
use url::Url;

use super::super::Failure;
use super::exchange::Answer;

pub(super) struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(super) fn new(http: reqwest::Client) -> Browser {
        Browser { http, cookies: BTreeMap::new() }
    }

    pub(super) async fn open(&mut self, url: &Url) -> Result<Answer, Failure> {
        self.send(self.http.get(url.clone())).await
    }

    pub(super) async fn submit(&mut self, url: Url, form: &[(&str, &str)]) -> Result<Answer, Failure> {
        self.send(self.http.post(url).form(form)).await
    }

    async fn send(&mut self, request: RequestBuilder) -> Result<Answer, Failure> {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = Answer::to(request.header(COOKIE, cookies.join("; "))).await?;
        for header in answer.headers.get_all(SET_COOKIE).iter().filter_map(|header| header.to_str().ok()) {
            let Some((name, value)) = header.split(';').next().and_then(|pair| pair.split_once('=')) else { continue };
            match value {
                "" => self.cookies.remove(name),
                value => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        Ok(answer)
    }
}

/// What a person reads on a page.
pub(super) struct Page<'a>(pub(super) &'a str);

/// A scope as the consent page offers it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) scope: String,
    /// As people read it.
    pub(super) words: String,
    /// What the page notes beside it: whether it is new, or was allowed before.
    pub(super) tag: Option<String>,
}

impl Page<'_> {
    pub(super) fn is_sign_in(&self) -> bool {
        self.0.contains("name=\"password\"")
    }

    pub(super) fn is_consent(&self) -> bool {
        self.0.contains("name=\"decision\"")
    }

    /// The value of the first field of this name.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let inputs = self.0.split("<input").skip(1).filter_map(|rest| rest.split('>').next());
        let mut named = inputs.filter(|input| attribute(input, "name").as_deref() == Some(name));
        named.find_map(|input| attribute(input, "value"))
    }

    /// What stands in the first element that begins with `opening`, up to `closing`.
    pub(super) fn text(&self, opening: &str, closing: &str) -> Option<String> {
        let (_, rest) = self.0.split_once(opening)?;
        let (_, rest) = rest.split_once('>')?;
        Some(visible(rest.split(closing).next()?))
    }

    /// The first paragraph under the heading of these words.
    pub(super) fn below(&self, heading: &str) -> Option<String> {
        let (_, rest) = self.0.split_once(&format!("{heading}</h2>"))?;
        Page(rest).text("<p", "</p>")
    }

    pub(super) fn offers(&self) -> Vec<Offer> {
        let inputs = self.0.split("<input").skip(1).filter(|rest| rest.contains("class=\"words\""));
        let offers = inputs.filter_map(|rest| {
            let input = rest.split('>').next()?;
            let scope = attribute(input, "value").filter(|_| attribute(input, "name").as_deref() == Some("scope"))?;
            let label = Page(rest.split("</li>").next()?);
            Some(Offer { scope, words: label.text("<bdi", "</bdi>")?, tag: label.text("class=\"tag", "</span>") })
        });
        offers.collect()
    }
}

fn attribute(input: &str, name: &str) -> Option<String> {
    let (_, value) = input.split_once(&format!(" {name}=\""))?;
    Some(unescape(value.split('"').next()?))
}

/// Markup without its tags, on one line.
fn visible(markup: &str) -> String {
    let mut text = String::new();
    for part in markup.split('<') {
        text.push_str(part.split_once('>').map_or(part, |(_, after)| after));
    }
    unescape(&text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Only the characters that the pages' templates escape.
fn unescape(text: &str) -> String {
    let named = [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")];
    named.iter().fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<h1>Let <bdi class="agent">A &#38; B</bdi> act for you?</h1>
        <form><input type="hidden" name="seal" value="s&#34;1">
        <li><input type="checkbox" name="scope" value="notes:read" id="scope-1" checked>
          <label class="words" for="scope-1"><bdi>Read your notes</bdi> <span class="tag">already allowed</span> <code>notes:read</code></label></li>
        <li><input type="hidden" name="scope" value="openid"><p class="words"><bdi>Know who you are</bdi> <code>openid</code></p></li>
        <h2>For how long</h2> <p>Access lasts <strong>10 minutes</strong>
          at a time.</p><button name="decision" value="allow">Allow</button></form>"#;

    #[test]
    fn a_page_is_read_as_a_person_reads_it() {
        let page = Page(PAGE);
        assert!(page.is_consent() && !page.is_sign_in());
        assert_eq!(page.field("seal").as_deref(), Some("s\"1"));
        assert_eq!(page.text("<h1", "</h1>").as_deref(), Some("Let A & B act for you?"));
        assert_eq!(page.below("For how long").as_deref(), Some("Access lasts 10 minutes at a time."));
        let offer = |scope: &str, words: &str, tag: Option<&str>| Offer {
            scope: scope.to_owned(),
            words: words.to_owned(),
            tag: tag.map(str::to_owned),
        };
        let expected = [offer("notes:read", "Read your notes", Some("already allowed")), offer("openid", "Know who you are", None)];
        assert_eq!(page.offers(), expected);
    }
}
