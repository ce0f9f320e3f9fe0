//! Which external ids a customer's event carries
//! ([Segment: identity resolution](https://segment.com/docs/unify/identity-resolution/externalids/)).
//!
//! A field that does not hold what it should names nobody; it never makes the event unreadable. What agents are, Deputy's own facts
//! say: a customer's event names one only if the agent itself sent it, with an access token of its own, and says which instance it is.
//! Nobody has another agent's name so, and a key's thumbprint comes from proofs alone.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    external_id::{ExternalId, ExternalIdType},
    resolve::{Subject, Weight},
    rules::Rules,
};
use crate::domain::{call::Call, client::ClientId, profile::Collection, time::Timestamp};

/// Entries of `context.externalIds` that are read; nobody has more names than this.
const EXTERNAL_IDS_MAX: usize = 50;

/// A customer's message, its members unread.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Message<'a> {
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow)]
    user_id: Raw<'a>,
    #[serde(borrow)]
    anonymous_id: Raw<'a>,
    #[serde(borrow)]
    previous_id: Raw<'a>,
    #[serde(borrow)]
    group_id: Raw<'a>,
    #[serde(borrow)]
    event: Raw<'a>,
    #[serde(borrow)]
    name: Raw<'a>,
    #[serde(borrow)]
    timestamp: Raw<'a>,
    /// What an identify or group call says about its subject.
    #[serde(borrow)]
    pub traits: Raw<'a>,
    /// What belongs to a track, page or screen call.
    #[serde(borrow)]
    pub properties: Raw<'a>,
    #[serde(borrow)]
    context: Raw<'a>,
    #[serde(borrow)]
    integrations: Raw<'a>,
}

impl<'a> Message<'a> {
    /// What is no message is one without members.
    pub fn of(text: &'a str) -> Message<'a> {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// Which call it came by, if it is one that exists.
    pub fn call(&self) -> Option<Call> {
        Call::parse(&text(self.kind)?)
    }

    /// When it happened, if it says so.
    pub fn timestamp(&self) -> Option<Timestamp> {
        Timestamp::parse_iso_8601(&text(self.timestamp)?)
    }

    /// What was done: the event of a track call; a page or a screen is seen under its name, else under the name of its kind.
    pub fn event(&self) -> Option<Cow<'a, str>> {
        match self.call()? {
            Call::Track => text(self.event),
            call @ (Call::Page | Call::Screen) => text(self.name).or(Some(Cow::Borrowed(call.as_str()))),
            Call::Identify | Call::Group | Call::Alias => None,
        }
    }

    /// The person and the account that it speaks of, as far as it names them; each with the ids in the order of the fields. And the
    /// client that sent it, if one did and says which instance of it.
    pub fn subjects(&self, rules: &Rules, sender: Option<&ClientId>) -> Vec<Subject> {
        let context: Context<'_> = object(self.context);
        let mut found = Found::default();
        found.add(Collection::Users, ExternalIdType::USER_ID, self.user_id);
        found.add(Collection::Users, ExternalIdType::ANONYMOUS_ID, self.anonymous_id);
        found.add(Collection::Accounts, ExternalIdType::GROUP_ID, self.group_id);
        found.add(Collection::Accounts, ExternalIdType::GROUP_ID, context.group_id);
        // `alias` says that who was known by one id has now another; the earlier one is that of an anonymous visitor.
        if self.call() == Some(Call::Alias) {
            found.add(Collection::Users, ExternalIdType::ANONYMOUS_ID, self.previous_id);
        }
        // The traits of `group` are the account's, which has no address of its own to be known by.
        let is_group = self.call() == Some(Call::Group);
        let of_traits = if is_group { Collection::Accounts } else { Collection::Users };
        found.add_traits(of_traits, self.traits, rules);
        found.add_traits(Collection::Users, context.traits, rules);
        found.add_promoted(Collection::Users, self.properties, rules);
        found.add_device(&context);
        for integrations in [self.integrations, context.integrations] {
            let analytics: Integrations<'_> = object(integrations);
            found.add(
                Collection::Users,
                ExternalIdType::GA_CLIENT_ID,
                object::<Analytics<'_>>(analytics.google_analytics).client_id,
            );
        }
        found.add_listed(context.external_ids);
        let agents = match sender {
            Some(client) if !found.agents.is_empty() => {
                let client = ExternalId::new(Collection::Agents, ExternalIdType::CLIENT_ID, client.as_str());
                client.into_iter().chain(found.agents).collect()
            }
            _ => Vec::new(),
        };
        let named = [found.users, found.accounts, agents].into_iter().filter(|ids| !ids.is_empty());
        named.map(|ids| Subject { ids, weight: Weight::Binding }).collect()
    }
}

type Raw<'a> = Option<&'a RawValue>;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Context<'a> {
    #[serde(borrow)]
    traits: Raw<'a>,
    #[serde(borrow)]
    group_id: Raw<'a>,
    #[serde(borrow)]
    device: Raw<'a>,
    #[serde(borrow)]
    os: Raw<'a>,
    #[serde(borrow)]
    external_ids: Raw<'a>,
    #[serde(borrow)]
    integrations: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Traits<'a> {
    #[serde(borrow)]
    email: Raw<'a>,
    #[serde(borrow)]
    phone: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Device<'a> {
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow)]
    advertising_id: Raw<'a>,
    #[serde(borrow)]
    ad_tracking_enabled: Raw<'a>,
    #[serde(borrow)]
    token: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OperatingSystem<'a> {
    #[serde(borrow)]
    name: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Integrations<'a> {
    #[serde(borrow, rename = "Google Analytics")]
    google_analytics: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Analytics<'a> {
    #[serde(borrow)]
    client_id: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Listed<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow, rename = "type")]
    id_type: Raw<'a>,
    #[serde(borrow)]
    collection: Raw<'a>,
    #[serde(borrow)]
    encoding: Raw<'a>,
}

#[derive(Default)]
struct Found {
    users: Vec<ExternalId>,
    accounts: Vec<ExternalId>,
    /// The instances that an agent says it is.
    agents: Vec<ExternalId>,
}

impl Found {
    fn add(&mut self, collection: Collection, id_type: ExternalIdType, raw: Raw<'_>) {
        let Some(id) = scalar(raw).and_then(|text| ExternalId::new(collection, id_type, &text)) else { return };
        let ids = match collection {
            Collection::Users => &mut self.users,
            Collection::Accounts => &mut self.accounts,
            Collection::Agents => &mut self.agents,
        };
        if !ids.contains(&id) {
            ids.push(id);
        }
    }

    fn add_traits(&mut self, collection: Collection, raw: Raw<'_>, rules: &Rules) {
        if collection == Collection::Users {
            let traits: Traits<'_> = object(raw);
            self.add(collection, ExternalIdType::EMAIL, traits.email);
            self.add(collection, ExternalIdType::PHONE, traits.phone);
        }
        self.add_promoted(collection, raw, rules);
    }

    fn add_promoted(&mut self, collection: Collection, raw: Raw<'_>, rules: &Rules) {
        if rules.promoted_keys().is_empty() {
            return;
        }
        let values: BTreeMap<String, &RawValue> = object(raw);
        for (key, id_type) in rules.promoted_keys() {
            self.add(collection, id_type.clone(), values.get(key).copied());
        }
    }

    /// Ids of a device whose platform nobody names are not promoted: the same text may stand for another device elsewhere.
    fn add_device(&mut self, context: &Context<'_>) {
        let device: Device<'_> = object(context.device);
        let platform = scalar(device.kind).or_else(|| scalar(object::<OperatingSystem<'_>>(context.os).name));
        let [id, idfa, push_token] = match platform.map(|name| name.to_ascii_lowercase()).as_deref() {
            Some("android") => [ExternalIdType::ANDROID_ID, ExternalIdType::ANDROID_IDFA, ExternalIdType::ANDROID_PUSH_TOKEN],
            Some("ios" | "ipados") => [ExternalIdType::IOS_ID, ExternalIdType::IOS_IDFA, ExternalIdType::IOS_PUSH_TOKEN],
            _ => return,
        };
        self.add(Collection::Users, id, device.id);
        if device.ad_tracking_enabled.is_some_and(|raw| raw.get() == "true") {
            self.add(Collection::Users, idfa, device.advertising_id);
        }
        self.add(Collection::Users, push_token, device.token);
    }

    fn add_listed(&mut self, raw: Raw<'_>) {
        let listed: Vec<&RawValue> = object(raw);
        for entry in listed.into_iter().take(EXTERNAL_IDS_MAX).map(|raw| object::<Listed<'_>>(Some(raw))) {
            let collection = match scalar(entry.collection).as_deref() {
                None | Some("users") => Collection::Users,
                Some("accounts") => Collection::Accounts,
                Some("agents") => Collection::Agents,
                Some(_) => continue,
            };
            let is_plain = scalar(entry.encoding).is_none_or(|encoding| encoding == "none");
            let is_allowed = |id_type: &ExternalIdType| collection != Collection::Agents || *id_type == ExternalIdType::AGENT_ID;
            let id_type = scalar(entry.id_type).and_then(|text| ExternalIdType::parse(&text)).filter(is_allowed);
            if let Some(id_type) = id_type.filter(|_| is_plain) {
                self.add(collection, id_type, entry.id);
            }
        }
    }
}

/// A structure, or its default where the message holds something else.
fn object<'a, T: Deserialize<'a> + Default>(raw: Raw<'a>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// A text, and nothing else.
fn text(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    raw.filter(|raw| raw.get().starts_with('"')).and_then(|raw| scalar(Some(raw)))
}

/// A text, or the digits of a whole number: some callers send ids as numbers.
fn scalar(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    let json = raw?.get();
    match json.as_bytes().first()? {
        b'"' if !json.contains('\\') => Some(Cow::Borrowed(&json[1..json.len() - 1])),
        b'"' => serde_json::from_str(json).ok().map(Cow::Owned),
        b'-' | b'0'..=b'9' if !json.contains(['.', 'e', 'E']) => Some(Cow::Borrowed(json)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::identity::rules::RuleSettings;

    fn found(message: &str) -> Vec<String> {
        found_from(None, message)
    }

    fn found_from(sender: Option<&str>, message: &str) -> Vec<String> {
        let sender = sender.and_then(ClientId::parse);
        let promoted = ["crm_id"].iter().filter_map(|name| ExternalIdType::parse(name)).collect();
        let rules = Rules::new(RuleSettings { promoted, ..RuleSettings::default() }).expect("valid");
        let subjects = Message::of(message).subjects(&rules, sender.as_ref());
        let ids = subjects.iter().flat_map(|subject| &subject.ids);
        ids.map(|id| format!("{}/{id}", id.collection().as_str())).collect()
    }

    #[test]
    fn every_field_that_names_somebody() {
        let ids = found(
            r#"{"type": "identify", "userId": 97980, "anonymousId": "a\u0031", "traits": {"email": " Jane@X.example", "crmId": 12, "age": 3},
                "context": {"groupId": "g1", "traits": {"phone": "+49 30 901820", "email": "jane@x.example"},
                  "device": {"type": "iOS", "id": "D1", "advertisingId": "AD", "adTrackingEnabled": true, "token": "T"},
                  "externalIds": [{"id": "v1", "type": "Vip", "collection": "users", "encoding": "none"},
                                  {"id": "x", "type": "tenant", "collection": "accounts"},
                                  {"id": "y", "type": "vip", "encoding": "base64"}, "nonsense"]},
                "integrations": {"Google Analytics": {"clientId": "GA1"}, "All": true}}"#,
        );
        let expected = [
            "users/user_id:97980",
            "users/anonymous_id:a1",
            "users/email:jane@x.example",
            "users/crm_id:12",
            "users/phone:+4930901820",
            "users/ios.id:D1",
            "users/ios.idfa:AD",
            "users/ios.push_token:T",
            "users/ga_client_id:GA1",
            "users/vip:v1",
            "accounts/group_id:g1",
            "accounts/tenant:x",
        ];
        assert_eq!(ids, expected);
    }

    #[test]
    fn an_advertising_id_counts_only_while_tracking_is_allowed() {
        for (device, expected) in [
            (r#"{"type": "android", "id": "D", "advertisingId": "A"}"#, vec!["users/android.id:D"]),
            (r#"{"type": "android", "advertisingId": "A", "adTrackingEnabled": false}"#, vec![]),
            (r#"{"type": "android", "advertisingId": "A", "adTrackingEnabled": true}"#, vec!["users/android.idfa:A"]),
            (r#"{"type": "toaster", "id": "D"}"#, vec![]),
            (r#"{"id": "D"}"#, vec!["users/android.id:D"]),
        ] {
            let message = format!(r#"{{"type": "track", "context": {{"os": {{"name": "Android"}}, "device": {device}}}}}"#);
            assert_eq!(found(&message), expected, "{device}");
        }
    }

    #[test]
    fn the_traits_of_a_group_are_not_the_persons() {
        let ids =
            found(r#"{"type": "group", "userId": "u", "groupId": "g", "traits": {"email": "office@x.example", "crm_id": "7"}}"#);
        assert_eq!(ids, ["users/user_id:u", "accounts/group_id:g", "accounts/crm_id:7"]);
    }

    #[test]
    fn an_alias_names_the_visitor_that_was() {
        assert_eq!(found(r#"{"type": "alias", "userId": "u", "previousId": "a"}"#), ["users/user_id:u", "users/anonymous_id:a"]);
        assert_eq!(found(r#"{"type": "track", "userId": "u", "previousId": "a"}"#), ["users/user_id:u"]);
    }

    #[test]
    fn an_agent_says_which_instance_it_is_and_nobody_else_does() {
        let listed = r#"[{"id": "laptop", "type": "agent_id", "collection": "agents"},
            {"id": "cli_2", "type": "client_id", "collection": "agents"}, {"id": "k", "type": "jkt", "collection": "agents"},
            {"id": "desk", "type": "agent_id"}, {"id": "u", "type": "user_id", "collection": "agents"}]"#;
        let message = format!(r#"{{"type": "track", "userId": "ada", "context": {{"externalIds": {listed}}}}}"#);
        assert_eq!(found(&message), ["users/user_id:ada"]);
        let expected = ["users/user_id:ada", "agents/client_id:cli_1", "agents/agent_id:laptop"];
        assert_eq!(found_from(Some("cli_1"), &message), expected);
        let silent = r#"{"type": "track", "userId": "ada"}"#;
        assert_eq!(found_from(Some("cli_1"), silent), ["users/user_id:ada"], "a back end speaks of people, and not of itself");
    }

    #[test]
    fn what_does_not_hold_what_it_should_names_nobody() {
        for message in [
            "",
            "[]",
            r#"{"userId": null, "anonymousId": {"a": 1}, "groupId": [], "traits": "x", "context": 7}"#,
            r#"{"userId": true, "anonymousId": 1.5, "context": {"device": [], "traits": [], "externalIds": {"id": "x"}}}"#,
            r#"{"context": {"externalIds": [{"id": "cli_1", "type": "client_id"}, {"id": "x", "type": "jkt", "collection": "agents"}]}}"#,
        ] {
            assert_eq!(found(message), [""; 0], "{message}");
        }
    }
}
