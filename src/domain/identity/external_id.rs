//! External ids: what others call a person, an account or an agent, by type and value.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::domain::profile::Collection;

const TYPE_BYTES_MAX: usize = 50;
/// A longer value names nobody: it is text that got into the wrong field.
const VALUE_BYTES_MAX: usize = 500;
/// An agent may be known by the address of its metadata document; none that was admitted may go without a profile.
const AGENT_VALUE_BYTES_MAX: usize = 2_000;
/// [E.164 §6.2.1](https://www.itu.int/rec/T-REC-E.164): at most 15 digits with the country code.
const PHONE_DIGITS_MAX: usize = 15;
const PHONE_DIGITS_MIN: usize = 7;

/// The type of an external id: one that is built in, or an organisation's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExternalIdType(Cow<'static, str>);

impl ExternalIdType {
    pub const USER_ID: ExternalIdType = ExternalIdType::built_in("user_id");
    pub const ANONYMOUS_ID: ExternalIdType = ExternalIdType::built_in("anonymous_id");
    pub const EMAIL: ExternalIdType = ExternalIdType::built_in("email");
    pub const PHONE: ExternalIdType = ExternalIdType::built_in("phone");
    pub const ANDROID_ID: ExternalIdType = ExternalIdType::built_in("android.id");
    pub const ANDROID_IDFA: ExternalIdType = ExternalIdType::built_in("android.idfa");
    pub const ANDROID_PUSH_TOKEN: ExternalIdType = ExternalIdType::built_in("android.push_token");
    pub const IOS_ID: ExternalIdType = ExternalIdType::built_in("ios.id");
    pub const IOS_IDFA: ExternalIdType = ExternalIdType::built_in("ios.idfa");
    pub const IOS_PUSH_TOKEN: ExternalIdType = ExternalIdType::built_in("ios.push_token");
    pub const GA_CLIENT_ID: ExternalIdType = ExternalIdType::built_in("ga_client_id");
    pub const GROUP_ID: ExternalIdType = ExternalIdType::built_in("group_id");
    /// The client identifier of an agent.
    pub const CLIENT_ID: ExternalIdType = ExternalIdType::built_in("client_id");
    /// One instance of an agent.
    pub const AGENT_ID: ExternalIdType = ExternalIdType::built_in("agent_id");
    /// The thumbprint of an agent's key ([RFC 9449 §6.1](https://www.rfc-editor.org/rfc/rfc9449#section-6.1)).
    pub const JKT: ExternalIdType = ExternalIdType::built_in("jkt");

    const BUILT_IN: [ExternalIdType; 15] = [
        Self::USER_ID,
        Self::ANONYMOUS_ID,
        Self::EMAIL,
        Self::PHONE,
        Self::ANDROID_ID,
        Self::ANDROID_IDFA,
        Self::ANDROID_PUSH_TOKEN,
        Self::IOS_ID,
        Self::IOS_IDFA,
        Self::IOS_PUSH_TOKEN,
        Self::GA_CLIENT_ID,
        Self::GROUP_ID,
        Self::CLIENT_ID,
        Self::AGENT_ID,
        Self::JKT,
    ];

    const fn built_in(name: &'static str) -> ExternalIdType {
        ExternalIdType(Cow::Borrowed(name))
    }

    /// Reads a type; capital letters become small ones. `None` unless it is a letter and then letters, digits, `_`, `.` or `-`, at
    /// most 50 in all.
    pub fn parse(text: &str) -> Option<ExternalIdType> {
        if let Some(known) = Self::BUILT_IN.into_iter().find(|known| known.as_str() == text) {
            return Some(known);
        }
        let name = text.to_ascii_lowercase();
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let is_name = name.len() <= TYPE_BYTES_MAX && name.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
        let known = Self::BUILT_IN.into_iter().find(|known| known.as_str() == name);
        (is_name && name.bytes().all(is_word)).then(|| known.unwrap_or(ExternalIdType(Cow::Owned(name))))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the type has a meaning here, and is not an organisation's own.
    pub fn is_built_in(&self) -> bool {
        Self::BUILT_IN.contains(self)
    }

    /// Whether ids of this type name members of the collection. What names an agent never names a person, so that no event can make
    /// the two one.
    pub fn is_of(&self, collection: Collection) -> bool {
        match self.as_str() {
            "client_id" | "agent_id" | "jkt" => collection == Collection::Agents,
            "group_id" => collection == Collection::Accounts,
            "user_id" | "anonymous_id" | "ga_client_id" => collection == Collection::Users,
            name if name.starts_with("android.") || name.starts_with("ios.") => collection == Collection::Users,
            _ => collection != Collection::Agents,
        }
    }
}

impl TryFrom<String> for ExternalIdType {
    type Error = &'static str;

    fn try_from(text: String) -> Result<ExternalIdType, &'static str> {
        ExternalIdType::parse(&text)
            .ok_or("a type of external ids is a letter and then letters, digits, '_', '.' or '-', at most 50 in all")
    }
}
impl From<ExternalIdType> for String {
    fn from(id_type: ExternalIdType) -> String {
        id_type.0.into_owned()
    }
}
impl fmt::Display for ExternalIdType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An external id. The value is in its normal form, so that two spellings of one thing are equal. Clones share it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExternalId {
    collection: Collection,
    id_type: ExternalIdType,
    value: Arc<str>,
}

impl ExternalId {
    /// Brings `text` into the type's normal form. `None` if it has none, or if ids of the type do not name members of the collection.
    ///
    /// E-mail addresses are compared in small letters. A telephone number counts only in its international form: a national one
    /// means somebody else in each country.
    pub fn new(collection: Collection, id_type: ExternalIdType, text: &str) -> Option<ExternalId> {
        let text = text.trim();
        let value = match id_type.as_str() {
            "email" => email(text)?,
            "phone" => phone(text)?,
            _ => text.to_owned(),
        };
        let bytes_max = if collection == Collection::Agents { AGENT_VALUE_BYTES_MAX } else { VALUE_BYTES_MAX };
        let is_name = !value.is_empty() && value.len() <= bytes_max && !value.chars().any(char::is_control);
        (is_name && id_type.is_of(collection)).then(|| ExternalId { collection, id_type, value: value.into() })
    }

    /// Reads `type:value`, as the Profile API spells external ids.
    pub fn parse(collection: Collection, text: &str) -> Option<ExternalId> {
        let (id_type, value) = text.split_once(':')?;
        ExternalId::new(collection, ExternalIdType::parse(id_type)?, value)
    }

    /// An external id as an earlier [`new`](Self::new) made it, perhaps that of an earlier version.
    pub fn stored(collection: Collection, id_type: ExternalIdType, value: String) -> ExternalId {
        ExternalId { collection, id_type, value: value.into() }
    }

    pub fn collection(&self) -> Collection {
        self.collection
    }

    pub fn id_type(&self) -> &ExternalIdType {
        &self.id_type
    }

    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id_type, self.value)
    }
}

fn email(text: &str) -> Option<String> {
    let (local, host) = text.rsplit_once('@')?;
    let is_address = !local.is_empty() && !host.is_empty() && !text.contains(char::is_whitespace);
    is_address.then(|| text.to_lowercase())
}

fn phone(text: &str) -> Option<String> {
    let international = text.strip_prefix('+').or_else(|| text.strip_prefix("00"))?;
    // The zero in "+49 (0)30" is dialled only inside the country.
    let dialled = international.replacen("(0)", "", 1);
    let digits: String = dialled.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '/' | '(' | ')' | '\u{a0}')).collect();
    let is_number = (PHONE_DIGITS_MIN..=PHONE_DIGITS_MAX).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0');
    is_number.then(|| format!("+{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_has_one_spelling() {
        for (id_type, text, expected) in [
            (ExternalIdType::EMAIL, " Jane@Example.COM ", Some("jane@example.com")),
            (ExternalIdType::EMAIL, "jane at example.com", None),
            (ExternalIdType::EMAIL, "@example.com", None),
            (ExternalIdType::EMAIL, "n/a", None),
            (ExternalIdType::PHONE, "+49 (0)30 901820", Some("+4930901820")),
            (ExternalIdType::PHONE, "0049-30-901820", Some("+4930901820")),
            (ExternalIdType::PHONE, "030 901820", None),
            (ExternalIdType::PHONE, "+1 555 CALL NOW", None),
            (ExternalIdType::USER_ID, " Abc ", Some("Abc")),
            (ExternalIdType::USER_ID, "  ", None),
            (ExternalIdType::USER_ID, "a\0b", None),
        ] {
            let id = ExternalId::new(Collection::Users, id_type, text);
            assert_eq!(id.as_ref().map(ExternalId::value), expected, "{text}");
        }
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        assert_eq!(ExternalId::new(Collection::Users, ExternalIdType::USER_ID, &long), None);
    }

    #[test]
    fn types_are_words_in_small_letters() {
        for (text, expected) in
            [("crm_ID", Some("crm_id")), ("USER_ID", Some("user_id")), ("", None), ("1st", None), ("a b", None), ("a:b", None)]
        {
            assert_eq!(ExternalIdType::parse(text).as_ref().map(ExternalIdType::as_str), expected);
        }
    }

    #[test]
    fn what_names_an_agent_never_names_a_person() {
        let names = |collection, text| ExternalId::parse(collection, text).is_some();
        assert!(names(Collection::Agents, "client_id:cli_1") && names(Collection::Agents, "jkt:x"));
        assert!(!names(Collection::Users, "client_id:cli_1") && !names(Collection::Users, "jkt:x"));
        assert!(
            !names(Collection::Agents, "user_id:u")
                && !names(Collection::Agents, "email:a@b")
                && !names(Collection::Agents, "crm_id:7")
        );
        assert!(!names(Collection::Users, "group_id:g") && names(Collection::Accounts, "group_id:g"));
        assert!(names(Collection::Users, "crm_id:7") && names(Collection::Accounts, "crm_id:7"));
    }
}
