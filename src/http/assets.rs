//! The files that the pages load, carried in the binary and cached for good under a path that names their contents.
//!
//! They are public, the same for everybody, and never hold anything about a person or a request.

use axum::extract::Path;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

struct Asset {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

const ASSETS: [Asset; 4] = [
    Asset {
        name: "deputy.css",
        media_type: "text/css; charset=utf-8",
        bytes: include_bytes!("../../consent-ui/assets/deputy.css"),
    },
    Asset {
        name: "deputy.js",
        media_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../consent-ui/assets/deputy.js"),
    },
    Asset { name: "mark.svg", media_type: "image/svg+xml", bytes: include_bytes!("../../consent-ui/assets/mark.svg") },
    Asset { name: "guilloche.svg", media_type: "image/svg+xml", bytes: include_bytes!("../../consent-ui/assets/guilloche.svg") },
];

/// Names the contents of all assets together, so that those that refer to each other by relative URL change as one.
const EDITION: &str = match str::from_utf8(&EDITION_DIGITS) {
    Ok(digits) => digits,
    Err(_) => panic!("hexadecimal digits are ASCII"),
};
const EDITION_DIGITS: [u8; 16] = hexadecimal(fingerprint(&ASSETS));

const FOR_GOOD: &str = "public, max-age=31536000, immutable";
const A_DAY: &str = "public, max-age=86400";

/// Serves `/assets/{edition}/{name}` and the icon that browsers ask for unbidden.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> axum::Router<S> {
    axum::Router::new().route("/assets/{edition}/{name}", get(asset)).route("/favicon.ico", get(icon))
}

/// The path of the style sheet.
pub(crate) fn style() -> String {
    path("deputy.css")
}

/// The path of the script, which no page needs.
pub(crate) fn script() -> String {
    path("deputy.js")
}

/// The path of the badge, which is also the icon.
pub(crate) fn mark() -> String {
    path("mark.svg")
}

fn path(name: &str) -> String {
    format!("/assets/{EDITION}/{name}")
}

async fn asset(Path((edition, name)): Path<(String, String)>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // During a rolling upgrade a page of one release may load from a node of another: it gets our edition, but must not keep it.
    let caching = if edition == EDITION { FOR_GOOD } else { "no-store" };
    respond(asset, caching)
}

async fn icon() -> Response {
    match ASSETS.iter().find(|asset| asset.name == "mark.svg") {
        Some(mark) => respond(mark, A_DAY),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn respond(asset: &Asset, caching: &'static str) -> Response {
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, caching),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // An SVG opened by itself is a document; it may do nothing.
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    (headers, asset.bytes).into_response()
}

/// FNV-1a: it only has to differ when a release differs, and it can be computed while compiling.
const fn fingerprint(assets: &[Asset]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut asset = 0;
    while asset < assets.len() {
        let bytes = assets[asset].bytes;
        let mut at = 0;
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
            at += 1;
        }
        asset += 1;
    }
    hash
}

const fn hexadecimal(number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    let mut at = 0;
    while at < 16 {
        digits[at] = b"0123456789abcdef"[(number >> (60 - 4 * at)) as usize & 0xf];
        at += 1;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    async fn ask(path: &str) -> Response {
        let request = Request::get(path).body(Body::empty()).expect("the paths in these tests are valid");
        router::<()>().oneshot(request).await.expect("a router never fails")
    }

    fn told<'a>(answer: &'a Response, name: &str) -> &'a str {
        answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    #[tokio::test]
    async fn every_path_that_a_page_names_is_served_for_good() {
        for (path, media_type) in
            [(style(), "text/css; charset=utf-8"), (script(), "text/javascript; charset=utf-8"), (mark(), "image/svg+xml")]
        {
            let answer = ask(&path).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            assert_eq!(told(&answer, "content-type"), media_type);
            assert_eq!(told(&answer, "cache-control"), FOR_GOOD);
            assert_eq!(told(&answer, "x-content-type-options"), "nosniff");
        }
    }

    #[tokio::test]
    async fn another_edition_is_served_but_not_kept() {
        let answer = ask("/assets/0000000000000000/deputy.css").await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(told(&answer, "cache-control"), "no-store");
    }

    #[tokio::test]
    async fn unknown_names_are_not_found() {
        for path in ["/assets/0000000000000000/Cargo.toml", "/assets/0000000000000000/..%2FCargo.toml", "/assets/deputy.css"] {
            assert_eq!(ask(path).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn what_the_style_sheet_names_is_an_asset() {
        let style = str::from_utf8(ASSETS[0].bytes).expect("the style sheet is UTF-8");
        let named: Vec<&str> = style.split("url(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(!named.is_empty());
        for name in named {
            assert!(ASSETS.iter().any(|asset| asset.name == name), "{name}");
        }
    }
}
