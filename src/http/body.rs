//! Request bodies: read within a bound on size and time, and of the media type that the endpoint reads.

use std::{error::Error, pin::pin, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Collected, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::arriving::Crowded;
use crate::{
    domain::refusal::{
        OAuthError, OVERLOADED, REQUEST_JSON, REQUEST_JSON_MEDIA_TYPE, REQUEST_MALFORMED, REQUEST_MEDIA_TYPE, REQUEST_TOO_LARGE,
    },
    events::ingest::place::Place,
};

/// The largest body that is read from anybody.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The largest body of somebody who is known by then: a tracking plan may be long.
pub(crate) const BODY_BYTES_MAX_KNOWN: usize = 1024 * 1024;
/// How long a sender may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The bytes of a client's form.
pub(crate) async fn form(headers: &HeaderMap, body: Body) -> Result<Bytes, OAuthError> {
    if !is_media_type(headers, "application/x-www-form-urlencoded") {
        return Err(REQUEST_MEDIA_TYPE);
    }
    read(body, BODY_BYTES_MAX).await.map_err(OAuthError::in_words_of_the_registry)
}

/// A JSON document. The refusal names what is wrong with it.
pub(crate) async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, OAuthError> {
    serde_json::from_slice(&json_bytes(headers, body, BODY_BYTES_MAX).await?)
        .map_err(|error| REQUEST_JSON.because(format!("The request body is not what this endpoint reads: {error}.")))
}

/// The bytes of what says to be a JSON object.
pub(crate) async fn json_bytes(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Bytes, OAuthError> {
    if !is_media_type(headers, "application/json") {
        return Err(REQUEST_JSON_MEDIA_TYPE);
    }
    let bytes = read(body, bytes_max).await?;
    // The library would also take an array for a type of ours, by the order of its members.
    if bytes.trim_ascii_start().starts_with(b"{") {
        Ok(bytes)
    } else {
        Err(REQUEST_JSON.because("The request body is not a JSON object."))
    }
}

async fn read(body: Body, bytes_max: usize) -> Result<Bytes, OAuthError> {
    whole(body, bytes_max).await.map_err(|unread| match unread {
        Unread::Refused(refusal) => refusal,
        Unread::TooLarge => REQUEST_TOO_LARGE,
        Unread::BrokeOff => REQUEST_MALFORMED.because("The request body broke off."),
        Unread::TooSlow => REQUEST_MALFORMED.because("The request body took too long to arrive."),
    })
}

/// Why a body is not there.
pub(crate) enum Unread {
    /// There was no room for it.
    Refused(OAuthError),
    TooLarge,
    BrokeOff,
    TooSlow,
}

/// A body of at most so many bytes, if it comes in time.
pub(crate) async fn whole(body: Body, bytes_max: usize) -> Result<Bytes, Unread> {
    in_time(async { Limited::new(body, bytes_max).collect().await.map(Collected::to_bytes).map_err(|error| unread(&*error)) }).await
}

/// The same, where each part of it takes room as it arrives.
pub(crate) async fn placed(body: Body, bytes_max: usize, place: &mut Place<'_>) -> Result<Bytes, Unread> {
    let mut body = Limited::new(body, bytes_max);
    in_time(async {
        let mut whole: Vec<u8> = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(part) = frame.map_err(|error| unread(&*error))?.into_data() else { continue };
            place.widen(part.len()).await.map_err(Unread::Refused)?;
            whole.extend_from_slice(&part);
        }
        Ok(Bytes::from(whole))
    })
    .await
}

fn unread(error: &(dyn Error + Send + Sync + 'static)) -> Unread {
    if error.is::<LengthLimitError>() {
        return Unread::TooLarge;
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if current.is::<Crowded>() {
            return Unread::Refused(OVERLOADED);
        }
        cause = current.source();
    }
    Unread::BrokeOff
}

async fn in_time(reading: impl Future<Output = Result<Bytes, Unread>>) -> Result<Bytes, Unread> {
    let mut reading = pin!(reading);
    // Nearly always the body came with the head, and needs no timer.
    match reading.as_mut().now_or_never() {
        Some(read) => read,
        None => tokio::time::timeout(BODY_TIMEOUT, reading).await.unwrap_or(Err(Unread::TooSlow)),
    }
}

/// Whether there is one Content-Type and it is this one, whatever its parameters.
fn is_media_type(headers: &HeaderMap, expected: &str) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    value.to_str().is_ok_and(|text| text.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(expected))
}
