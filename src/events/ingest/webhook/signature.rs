//! Whether a call was signed with the secret that its service and we know: HMAC-SHA256
//! ([RFC 2104](https://www.rfc-editor.org/rfc/rfc2104)), compared in constant time.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::domain::{
    refusal::{OAuthError, WEBHOOK_SIGNATURE, WEBHOOK_STALE},
    time::Timestamp,
    webhook::Scheme,
};

/// How far a signed time may be from now: what was overheard is of no use after it.
const TOLERANCE_S: i64 = 300;
/// Signatures that one header may offer, as while a secret is replaced.
const OFFERS_MAX: usize = 8;

/// Refuses what was not signed with this secret, or too long ago.
pub(super) fn verify(scheme: Scheme, secret: &[u8], header: &str, body: &[u8], now: Timestamp) -> Result<(), OAuthError> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    match scheme {
        Scheme::Stripe => stripe(&key, header, body, now),
        Scheme::Github => {
            let tag = header.strip_prefix("sha256=").and_then(hexadecimal).ok_or(WEBHOOK_SIGNATURE)?;
            hmac::verify(&key, body, &tag).map_err(|_| WEBHOOK_SIGNATURE)
        }
        Scheme::HmacSha256 => {
            let text = header.strip_prefix("sha256=").unwrap_or(header);
            let tag = hexadecimal(text).or_else(|| STANDARD.decode(text).ok()).ok_or(WEBHOOK_SIGNATURE)?;
            hmac::verify(&key, body, &tag).map_err(|_| WEBHOOK_SIGNATURE)
        }
        Scheme::None => Ok(()),
    }
}

/// `t=1492774577,v1=5257a8…,v0=…`: the time, and signatures of `time.body` of which one has to be right.
fn stripe(key: &hmac::Key, header: &str, body: &[u8], now: Timestamp) -> Result<(), OAuthError> {
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let mut times = parts().filter(|(name, _)| *name == "t").map(|(_, value)| value);
    let (Some(time), None) = (times.next(), times.next()) else { return Err(WEBHOOK_SIGNATURE) };
    let signed_at_s: i64 = time.parse().map_err(|_| WEBHOOK_SIGNATURE)?;
    let signed = [time.as_bytes(), b".", body].concat();
    let offers = parts().filter(|(name, _)| *name == "v1").take(OFFERS_MAX);
    let mut tags = offers.filter_map(|(_, value)| hexadecimal(value));
    if !tags.any(|tag| hmac::verify(key, &signed, &tag).is_ok()) {
        return Err(WEBHOOK_SIGNATURE);
    }
    // Told only to who knows the secret.
    if now.seconds().abs_diff(signed_at_s) > TOLERANCE_S.unsigned_abs() { Err(WEBHOOK_STALE) } else { Ok(()) }
}

/// The bytes of as many hexadecimal digits as a SHA-256 has.
fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let is_digits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok();
    if is_digits { (0..32).map(byte).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const BODY: &[u8] = b"{\"id\":\"evt_1\"}";

    fn tag(secret: &[u8], signed: &[u8]) -> String {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed);
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn verdict(scheme: Scheme, header: &str) -> Result<(), &'static str> {
        verify(scheme, b"secret", header, BODY, NOW).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn published_examples_verify() {
        // From GitHub's page on validating deliveries.
        let header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(verify(Scheme::Github, b"It's a Secret to Everybody", header, b"Hello, World!", NOW), Ok(()));
    }

    #[test]
    fn a_stripe_signature_is_of_time_and_body_and_grows_stale() {
        let at = |seconds: i64| {
            let time = NOW.seconds() + seconds;
            let signed = [time.to_string().as_bytes(), b".", BODY].concat();
            format!("t={time},v1={}", tag(b"secret", &signed))
        };
        assert_eq!(verdict(Scheme::Stripe, &at(0)), Ok(()));
        assert_eq!(verdict(Scheme::Stripe, &at(-300)), Ok(()));
        assert_eq!(verdict(Scheme::Stripe, &at(-301)), Err("webhook.stale"));
        assert_eq!(verdict(Scheme::Stripe, &at(301)), Err("webhook.stale"));
        // While a secret is replaced there are two; an unknown scheme beside them is left alone.
        let both = at(0).replace(",v1=", &format!(",v0=00,v1={},v1=", tag(b"another", BODY)));
        assert_eq!(verdict(Scheme::Stripe, &both), Ok(()));
        for header in [
            at(0).replace("t=", "t=0"),
            at(0).replace("v1=", "v0="),
            format!("t=1,{}", at(0)),
            format!("v1={}", tag(b"secret", BODY)),
            at(0)[..at(0).len() - 2].to_owned(),
            "t=soon,v1=".to_owned(),
            String::new(),
        ] {
            let verdict = verdict(Scheme::Stripe, &header);
            assert!(matches!(verdict, Err("webhook.signature")) || header.starts_with("t=0"), "{header}: {verdict:?}");
        }
    }

    #[test]
    fn a_signature_of_something_else_or_in_another_form_is_none() {
        let good = tag(b"secret", BODY);
        let base64 = STANDARD.encode(hexadecimal(&good).expect("it is hexadecimal"));
        assert_eq!(verdict(Scheme::Github, &format!("sha256={good}")), Ok(()));
        for header in [good.clone(), format!("sha256={good}"), good.to_uppercase(), base64.clone()] {
            assert_eq!(verdict(Scheme::HmacSha256, &header), Ok(()), "{header}");
        }
        for (scheme, header) in [
            (Scheme::Github, good.clone()),
            (Scheme::Github, format!("sha1={good}")),
            (Scheme::Github, format!("sha256={}", tag(b"another", BODY))),
            (Scheme::Github, format!("sha256={}", &good[..62])),
            (Scheme::Github, "sha256=".to_owned()),
            (Scheme::HmacSha256, tag(b"secret", b"another body")),
            (Scheme::HmacSha256, base64[..40].to_owned()),
            (Scheme::HmacSha256, String::new()),
        ] {
            assert_eq!(verdict(scheme, &header), Err("webhook.signature"), "{header}");
        }
    }
}
