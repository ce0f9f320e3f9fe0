//! The bytes of a request, as they were before they were compressed.
//! [RFC 9110 §8.4](https://www.rfc-editor.org/rfc/rfc9110#section-8.4)

use std::{borrow::Cow, io::Read as _};

use flate2::read::GzDecoder;

use crate::domain::refusal::{OAuthError, TRACKING_ENCODING, TRACKING_TOO_LARGE};

/// The largest body, compressed or not: a batch of 500 KiB, as senders count its messages, and what stands between and around them.
pub const BODY_BYTES_MAX: usize = 512 * 1024;

/// Undoes the encoding that the request names; none, or gzip.
pub fn inflate<'b>(content_encoding: Option<&str>, body: &'b [u8]) -> Result<Cow<'b, [u8]>, OAuthError> {
    match content_encoding.map(|word| word.trim().to_ascii_lowercase()).as_deref() {
        None | Some("" | "identity") => Ok(Cow::Borrowed(body)),
        Some("gzip" | "x-gzip") => {
            let mut inflated = Vec::new();
            // One byte more than there may be, to see whether there is more.
            let mut reader = GzDecoder::new(body).take(BODY_BYTES_MAX as u64 + 1);
            reader.read_to_end(&mut inflated).map_err(|_| TRACKING_ENCODING)?;
            if inflated.len() > BODY_BYTES_MAX { Err(TRACKING_TOO_LARGE) } else { Ok(Cow::Owned(inflated)) }
        }
        Some(_) => Err(TRACKING_ENCODING),
    }
}
