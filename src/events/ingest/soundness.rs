//! Whether every reader can take what the ingest only copies.
//!
//! Well-formed JSON may still be poison for whoever reads it next: nested without end, half of a surrogate pair, a number beyond all
//! numbers. One look at a request's text tells that there is none of that, as is nearly always so; else each message is read for a trial.

/// How deep a message may be nested, the event around it included.
const NESTING_MAX: usize = 64;
/// A number with so many digits may be none that a reader can hold.
const DIGITS_MAX: usize = 200;

/// Whether nothing in this JSON text can trouble a reader. `false` if it might.
pub(super) fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => match end_of_text(bytes, at) {
                Some(end) => at = end,
                None => return false,
            },
            b'{' | b'[' if depth == NESTING_MAX => return false,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'0'..=b'9' => {
                let more = bytes[at..].iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'.')).count();
                at += more;
                if more >= DIGITS_MAX || matches!(bytes.get(at), Some(b'e' | b'E')) {
                    return false;
                }
            }
            _ => {}
        }
    }
    true
}

/// Whether a reader takes the text as a whole.
pub(super) fn is_readable(payload: &[u8]) -> bool {
    is_shallow(payload) && serde_json::from_slice::<serde_json::Value>(payload).is_ok()
}

/// Behind the closing quotation mark of the text that begins here; `None` if a surrogate is in it.
fn end_of_text(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += plain_bytes(&bytes[at..]);
        if *bytes.get(at)? == b'"' {
            return Some(at + 1);
        }
        let is_surrogate = matches!(bytes.get(at + 1..at + 4)?, [b'u', b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F']);
        if is_surrogate {
            return None;
        }
        at += 2;
    }
}

/// How many bytes come before the next quotation mark or backslash: eight are looked at together, as most bytes stand in texts.
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    // The highest bit of each byte that is 0; those behind the first may be wrong, and are not asked for.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let (chunks, rest) = bytes.as_chunks::<8>();
    for (place, chunk) in chunks.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk);
        let found = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return place * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |byte: &&u8| !matches!(byte, b'"' | b'\\');
    bytes.len() - rest.len() + rest.iter().take_while(is_plain).count()
}

fn is_shallow(payload: &[u8]) -> bool {
    let (mut depth, mut is_in_text, mut is_escaped) = (0_usize, false, false);
    for byte in payload {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_in_text,
            b'"' => is_in_text = !is_in_text,
            b'{' | b'[' if !is_in_text => depth += 1,
            b'}' | b']' if !is_in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_usual_is_plain() {
        for text in ["{}", "{\"a\":[1,2.5,-3,true,false,null,\"e9 { [ \\\" \\\\ \\u00e9\"]}", "{\"a\":0.1}"] {
            assert!(is_plain(text) && is_readable(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_may_be_poison_is_looked_at_again_and_refused_if_it_is() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let long = "1".repeat(400);
        for (text, is_good) in [
            ("\"\\ud83d\\ude00\"", true),
            ("\"\\ud83d\"", false),
            ("\"\\uDEAD\"", false),
            ("[1e5]", true),
            ("[1e999]", false),
            (long.as_str(), false),
            (&nested(65), false),
            (&nested(100_000), false),
        ] {
            assert!(!is_plain(text), "{text}");
            assert_eq!(is_readable(text.as_bytes()), is_good, "{text}");
        }
        assert!(is_plain(&nested(64)));
    }

    proptest! {
        #[test]
        fn eight_at_once_are_as_good_as_one_by_one(text in "[a\"\\\\\u{a2}\u{80}\u{5d}#!]{0,40}") {
            let one_by_one = text.bytes().take_while(|byte| !matches!(byte, b'"' | b'\\')).count();
            prop_assert_eq!(plain_bytes(text.as_bytes()), one_by_one);
        }

        #[test]
        fn what_is_plain_can_be_read(text in "[\\[\\]{}\":,0-9eE.ud8\\\\ a-]{0,40}") {
            if is_plain(&text) && serde_json::from_str::<Box<serde_json::value::RawValue>>(&text).is_ok() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
            }
        }
    }
}
