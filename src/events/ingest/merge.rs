//! What a batch says for all its messages, under what each says for itself.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// An object as it was written, or one put together.
pub(super) enum Merged<'m> {
    Written(&'m RawValue),
    Together { members: Vec<(Cow<'m, str>, &'m RawValue)>, address: Option<&'m str> },
}

impl<'m> Merged<'m> {
    /// The message's own members, then those of the batch that it does not have, then the address as `ip` if neither has one. `None`
    /// if there is nothing of all that. What is no object stays as it was written.
    pub(super) fn of(own: Option<&'m RawValue>, batch: Option<&'m RawValue>, address: Option<&'m str>) -> Option<Merged<'m>> {
        let own = own.filter(|own| own.get() != "null");
        if batch.is_none() && address.is_none() {
            return own.map(Merged::Written);
        }
        let read = |object: &'m RawValue| serde_json::from_str::<Members<'m>>(object.get()).ok();
        let mut members = match own {
            Some(own) => match read(own) {
                Some(Members(members)) => members,
                None => return Some(Merged::Written(own)),
            },
            None => Vec::new(),
        };
        for (name, value) in batch.and_then(read).into_iter().flat_map(|Members(members)| members) {
            if !members.iter().any(|(known, _)| *known == name) {
                members.push((name, value));
            }
        }
        let address = address.filter(|_| !members.iter().any(|(known, _)| known == "ip"));
        Some(Merged::Together { members, address })
    }
}

impl Serialize for Merged<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Merged::Written(object) => object.serialize(serializer),
            Merged::Together { members, address } => {
                use serde::ser::SerializeMap as _;
                let mut map = serializer.serialize_map(None)?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                if let Some(address) = address {
                    map.serialize_entry("ip", address)?;
                }
                map.end()
            }
        }
    }
}

/// The members of an object, values as they were written.
struct Members<'m>(Vec<(Cow<'m, str>, &'m RawValue)>);

/// A member's name, borrowed where it is written plainly.
#[derive(Deserialize)]
pub(super) struct Name<'n>(#[serde(borrow)] pub(super) Cow<'n, str>);

/// The most members of one object that are merged: more are no context, and finding each among the others would take too long.
const MEMBERS_MAX: usize = 256;

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'de>, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object of at most {MEMBERS_MAX} members")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    if members.len() == MEMBERS_MAX {
                        return Err(serde::de::Error::invalid_length(members.len() + 1, &self));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(own: Option<&str>, batch: Option<&str>, address: Option<&str>) -> Option<String> {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).expect("it is JSON");
        let (own, batch) = (own.map(raw), batch.map(raw));
        let merged = Merged::of(own.as_deref(), batch.as_deref(), address);
        merged.map(|merged| serde_json::to_string(&merged).expect("it serialises"))
    }

    #[test]
    fn the_message_wins_over_the_batch_and_both_over_the_address() {
        let table = [
            ((None, None, None), None),
            ((Some("{\"a\": 1 }"), None, None), Some("{\"a\": 1 }")),
            ((Some("null"), None, None), None),
            ((None, Some("{\"a\":1}"), None), Some("{\"a\":1}")),
            ((Some("{\"a\":1.0}"), Some("{\"a\":2,\"b\":3}"), None), Some("{\"a\":1.0,\"b\":3}")),
            ((Some("null"), None, Some("192.0.2.1")), Some("{\"ip\":\"192.0.2.1\"}")),
            ((Some("{\"ip\":\"0.0.0.0\"}"), None, Some("192.0.2.1")), Some("{\"ip\":\"0.0.0.0\"}")),
            ((None, Some("{\"ip\":\"0.0.0.0\"}"), Some("192.0.2.1")), Some("{\"ip\":\"0.0.0.0\"}")),
            ((Some("7"), Some("{\"b\":3}"), Some("192.0.2.1")), Some("7")),
            ((Some("{\"a\":1}"), Some("[]"), None), Some("{\"a\":1}")),
        ];
        for ((own, batch, address), expected) in table {
            assert_eq!(merged(own, batch, address).as_deref(), expected, "{own:?} {batch:?} {address:?}");
        }
    }

    #[test]
    fn an_object_too_large_to_merge_stays_as_it_was() {
        let members = |count: usize| format!("{{{}}}", (0..count).map(|n| format!("\"m{n}\":{n}")).collect::<Vec<_>>().join(","));
        let (fits, too_many) = (members(MEMBERS_MAX), members(MEMBERS_MAX + 1));
        assert!(merged(Some(&fits), Some("{\"b\":3}"), None).expect("an object").ends_with("\"b\":3}"));
        assert_eq!(merged(Some(&too_many), Some("{\"b\":3}"), None), Some(too_many));
    }
}
