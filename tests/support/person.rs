//! A person with a browser that runs no JavaScript: follows redirects within Deputy, keeps cookies, fills in forms.

use std::{collections::BTreeMap, sync::Mutex};

use reqwest::Url;

use super::{Answer, Installation};

pub struct Person<'i> {
    pub login: String,
    pub password: String,
    installation: &'i Installation,
    cookies: Mutex<BTreeMap<String, String>>,
}

/// Where a walk through our pages ended.
#[derive(Debug)]
pub enum Arrived {
    /// A page of ours.
    Page(Answer),
    /// Sent away from us, to here.
    Away(Url),
}

impl Arrived {
    #[track_caller]
    pub fn page(self) -> Answer {
        match self {
            Arrived::Page(answer) => answer,
            Arrived::Away(url) => panic!("sent away to {url}"),
        }
    }

    #[track_caller]
    pub fn away(self) -> Url {
        match self {
            Arrived::Away(url) => url,
            Arrived::Page(answer) => panic!("still on our page: {} {}", answer.status, answer.body),
        }
    }

    /// A parameter of the address that the person was sent to.
    #[track_caller]
    pub fn parameter(self, name: &str) -> Option<String> {
        let url = self.away();
        url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }
}

impl<'i> Person<'i> {
    pub fn new(installation: &'i Installation, login: &str, password: &str) -> Person<'i> {
        Person { login: login.to_owned(), password: password.to_owned(), installation, cookies: Mutex::default() }
    }

    /// The same person at another browser.
    pub fn at_another_browser(&self) -> Person<'i> {
        Person::new(self.installation, &self.login, &self.password)
    }

    /// The same browser in the hands of somebody else.
    pub fn takes_over(&self, other: &Person<'i>) -> Person<'i> {
        let person = other.at_another_browser();
        person.jar().clone_from(&self.jar());
        person
    }

    /// The values of all cookies.
    pub fn cookies(&self) -> Vec<String> {
        self.jar().values().cloned().collect()
    }

    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar().get(name).cloned()
    }

    pub fn set_cookie(&self, name: &str, value: &str) {
        self.jar().insert(name.to_owned(), value.to_owned());
    }

    pub async fn open(&self, url: &str) -> Arrived {
        let url = if url.starts_with('/') { format!("{}{url}", self.installation.issuer) } else { url.to_owned() };
        self.follow(self.send(self.installation.http.get(&url)).await, &url).await
    }

    /// Posts a form to a path of ours.
    pub async fn submit(&self, path: &str, form: &[(&str, &str)]) -> Arrived {
        let url = format!("{}{path}", self.installation.issuer);
        self.follow(self.send(self.installation.http.post(&url).form(form)).await, &url).await
    }

    /// Signs in on the sign-in page at hand.
    pub async fn sign_in_on(&self, page: &Answer) -> Arrived {
        let seal = field(page, "seal");
        self.submit("/sign-in", &[("seal", &seal), ("login", &self.login), ("password", &self.password)]).await
    }

    /// Opens the account page and signs in there.
    pub async fn sign_in(&self) -> Answer {
        let page = self.open("/account").await.page();
        self.sign_in_on(&page).await.page()
    }

    /// Answers the consent page at hand with all its scopes.
    pub async fn allow_on(&self, page: &Answer) -> Arrived {
        let (seal, scopes) = (field(page, "seal"), fields(page, "scope"));
        let mut form = vec![("seal", seal.as_str()), ("decision", "allow")];
        form.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
        self.submit("/consent", &form).await
    }

    /// Opens an authorization request and does what is asked: signs in, allows everything.
    pub async fn authorize(&self, url: &str) -> Url {
        let mut arrived = self.open(url).await;
        for _ in 0..3 {
            arrived = match arrived {
                Arrived::Away(url) => return url,
                Arrived::Page(page) if page.body.contains("name=\"password\"") => self.sign_in_on(&page).await,
                Arrived::Page(page) if page.body.contains("name=\"decision\"") => self.allow_on(&page).await,
                Arrived::Page(page) => panic!("neither sign-in nor consent: {} {}", page.status, page.body),
            };
        }
        arrived.away()
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let cookies = self.jar().iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let answer = Answer::of(request.header("cookie", cookies)).await;
        for header in answer.headers.get_all("set-cookie") {
            let text = header.to_str().expect("cookies are text");
            let (name, value) = text.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie has a name");
            if text.contains("Max-Age=0") {
                self.jar().remove(name);
            } else {
                self.jar().insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    async fn follow(&self, mut answer: Answer, from: &str) -> Arrived {
        let mut at = Url::parse(from).expect("an absolute URL");
        for _ in 0..10 {
            let Some(location) = answer.header("location") else { return Arrived::Page(answer) };
            at = at.join(location).expect("a location is a URL");
            if !at.as_str().starts_with(&self.installation.issuer) {
                return Arrived::Away(at);
            }
            answer = self.send(self.installation.http.get(at.clone())).await;
        }
        panic!("redirected ten times, at last to {at}");
    }

    fn jar(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.cookies.lock().expect("no test panics while it holds the cookies")
    }
}

/// The value of the first field of this name.
#[track_caller]
pub fn field(page: &Answer, name: &str) -> String {
    fields(page, name).into_iter().next().unwrap_or_else(|| panic!("no field {name} on {}", page.body))
}

/// The values of all fields of this name.
pub fn fields(page: &Answer, name: &str) -> Vec<String> {
    let inputs = page.body.split("<input").skip(1).map(|rest| rest.split('>').next().unwrap_or_default());
    let attribute = |input: &str, key: &str| {
        let start = input.find(&format!("{key}=\""))? + key.len() + 2;
        input[start..].split('"').next().map(|value| value.replace("&#38;", "&").replace("&amp;", "&"))
    };
    inputs.filter(|input| attribute(input, "name").as_deref() == Some(name)).filter_map(|input| attribute(input, "value")).collect()
}
