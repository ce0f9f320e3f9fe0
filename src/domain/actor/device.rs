//! What a customer's message tells of the device that it comes from: a person's browser, or a program that passes for one
//! ([User-Agent, RFC 9110 §10.1.5](https://www.rfc-editor.org/rfc/rfc9110#section-10.1.5)).
//!
//! Only what a program says of itself, or what no browser says, counts against it: nobody is called a bot for an odd browser. Whoever
//! tells the lie well is found by other evidence, or not.

/// What a message's library and user agent come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// A person's own, as far as anybody can tell.
    Own,
    /// A browser that says that a program drives it, or a crawler.
    Automated,
    /// The library of a browser, in something that is none.
    Scripted,
    /// Somebody's server speaks of people; of their devices this tells nothing.
    Elsewhere,
}

/// The library that runs in browsers, as it calls itself.
const BROWSER_LIBRARY: &str = "analytics.js";
/// How the libraries that run in apps on a person's device begin their names.
const APP_LIBRARIES: [&str; 6] =
    ["analytics-ios", "analytics-android", "analytics-swift", "analytics-kotlin", "analytics-react-native", "analytics-flutter"];

/// What automation and crawlers say of themselves, in small letters. `bot` alone is in the names of telephones.
const AUTOMATION: [&str; 16] = [
    "headlesschrome",
    "phantomjs",
    "slimerjs",
    "puppeteer",
    "playwright",
    "selenium",
    "webdriver",
    "jsdom",
    "happydom",
    "lighthouse",
    "crawler",
    "spider",
    "slurp",
    "bot/",
    // Where to complain: crawlers give it, browsers never.
    "+http",
    "bot.html",
];

/// How every browser's user agent begins.
const BROWSERS: [&str; 2] = ["Mozilla/", "Opera/"];

impl Device {
    /// Judges what a message says in `context.library.name` and `context.userAgent`.
    pub fn of(library: Option<&str>, user_agent: Option<&str>) -> Device {
        let is_browser_library = library == Some(BROWSER_LIBRARY);
        let is_own = is_browser_library || library.is_some_and(|name| APP_LIBRARIES.iter().any(|known| name.starts_with(known)));
        match user_agent {
            Some(user_agent) if is_automation(user_agent) => Device::Automated,
            Some(user_agent) if is_browser_library && !BROWSERS.iter().any(|known| user_agent.starts_with(known)) => {
                Device::Scripted
            }
            _ if is_own => Device::Own,
            _ => Device::Elsewhere,
        }
    }
}

fn is_automation(user_agent: &str) -> bool {
    let text = user_agent.to_ascii_lowercase();
    AUTOMATION.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHROME: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";

    #[test]
    fn what_a_message_tells_of_its_device() {
        let headless = CHROME.replace("Chrome/", "HeadlessChrome/");
        let telephone = "Mozilla/5.0 (Linux; Android 9; CUBOT X19 Build/PPR1) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36";
        let google = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
        let table = [
            (Some("analytics.js"), Some(CHROME), Device::Own),
            (Some("analytics.js"), Some(telephone), Device::Own),
            (Some("analytics.js"), None, Device::Own),
            (Some("analytics-swift"), Some("MyApp/3 CFNetwork/1490 Darwin/23"), Device::Own),
            (Some("analytics.js"), Some(&headless), Device::Automated),
            (Some("analytics.js"), Some("Mozilla/5.0 (linux) AppleWebKit/537.36 jsdom/20.0.3"), Device::Automated),
            (Some("@segment/analytics-node"), Some(google), Device::Automated),
            (Some("analytics.js"), Some("python-requests/2.32"), Device::Scripted),
            (Some("analytics.js"), Some(""), Device::Scripted),
            (Some("analytics-python"), Some("python-requests/2.32"), Device::Elsewhere),
            (Some("@segment/analytics-node"), Some(CHROME), Device::Elsewhere),
            (None, None, Device::Elsewhere),
        ];
        for (library, user_agent, expected) in table {
            assert_eq!(Device::of(library, user_agent), expected, "{library:?} {user_agent:?}");
        }
    }
}
