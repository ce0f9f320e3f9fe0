//! Which URLs and addresses may be called.
//! [IANA IPv4](https://www.iana.org/assignments/iana-ipv4-special-registry), [IANA IPv6](https://www.iana.org/assignments/iana-ipv6-special-registry)

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::OutboundPolicy;

/// Why a URL is not called. Stable texts without the URL itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the scheme is neither https, nor http to loopback where that is allowed")]
    Scheme,
    #[error("the URL has no host")]
    NoHost,
    #[error("the URL has a user name or password")]
    UserInfo,
    #[error("the host is at a special-use address: {0}")]
    SpecialUse(&'static str),
    #[error("the host has no address")]
    NoAddress,
}

/// Judges all of a URL that can be judged without a name look-up.
pub(super) fn check_url(url: &Url, policy: OutboundPolicy) -> Result<(), Refusal> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refusal::UserInfo);
    }
    let host = url.host().ok_or(Refusal::NoHost)?;
    let http_is_allowed = match policy {
        OutboundPolicy::PublicOnly => false,
        OutboundPolicy::AllowLoopback => names_loopback(&host),
        OutboundPolicy::OperatorNamed => true,
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && http_is_allowed) {
        return Err(Refusal::Scheme);
    }
    // The HTTP client connects to literals without asking its resolver, so they are judged here.
    match host {
        Host::Domain(_) => Ok(()),
        Host::Ipv4(ip) => check_address(&host, ip.into(), policy),
        Host::Ipv6(ip) => check_address(&host, ip.into(), policy),
    }
}

/// The addresses among `found` that may be connected to for `host`, a name. At least one, or why the last was refused.
pub(super) fn allowed(host: &str, found: impl Iterator<Item = IpAddr>, policy: OutboundPolicy) -> Result<Vec<IpAddr>, Refusal> {
    let host = Host::Domain(host);
    let mut refusal = Refusal::NoAddress;
    let mut allowed = Vec::new();
    for ip in found {
        match check_address(&host, ip, policy) {
            Ok(()) => allowed.push(ip),
            Err(why) => refusal = why,
        }
    }
    if allowed.is_empty() { Err(refusal) } else { Ok(allowed) }
}

fn check_address(host: &Host<&str>, ip: IpAddr, policy: OutboundPolicy) -> Result<(), Refusal> {
    match policy {
        OutboundPolicy::OperatorNamed => Ok(()),
        // Loopback by another's name is rebinding, and what calls itself loopback must not lead outside in plain text.
        OutboundPolicy::AllowLoopback if names_loopback(host) && ip.is_loopback() => Ok(()),
        OutboundPolicy::AllowLoopback if names_loopback(host) => Err(Refusal::SpecialUse("localhost that is not loopback")),
        OutboundPolicy::AllowLoopback | OutboundPolicy::PublicOnly => {
            special_use(ip).map_or(Ok(()), |use_| Err(Refusal::SpecialUse(use_)))
        }
    }
}

fn names_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

/// What an address is reserved for, unless it is an ordinary public one.
fn special_use(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => special_use_v4(ip),
        IpAddr::V6(ip) => special_use_v6(ip),
    }
}

fn special_use_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let within = |(network, prefix, _): &&(Ipv4Addr, u32, _)| (ip.to_bits() ^ network.to_bits()) >> (32 - prefix) == 0;
    SPECIAL_V4.iter().find(within).map(|(_, _, use_)| *use_)
}

fn special_use_v6(ip: Ipv6Addr) -> Option<&'static str> {
    // A translator sends this to the IPv4 address in its last 32 bits, so that is the one to judge (RFC 6052).
    if ip.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        let [.., a, b, c, d] = ip.octets();
        return special_use_v4(Ipv4Addr::new(a, b, c, d));
    }
    // Global unicast is all that IANA has given out. What is outside embeds, scopes or reserves: refused without exception.
    if ip.segments()[0] & 0xe000 != 0x2000 {
        return Some(if ip.is_loopback() { "loopback" } else { "outside global unicast" });
    }
    let within = |(network, prefix, _): &&(Ipv6Addr, u32, _)| (ip.to_bits() ^ network.to_bits()) >> (128 - prefix) == 0;
    SPECIAL_V6.iter().find(within).map(|(_, _, use_)| *use_)
}

const SPECIAL_V4: &[(Ipv4Addr, u32, &str)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private use"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "carrier-grade NAT"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, "cloud host agent"), // public by number, yet answered by the machine's own cloud
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private use"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "protocol assignments"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 31, 196, 0), 24, "AS112"),
    (Ipv4Addr::new(192, 52, 193, 0), 24, "multicast tunnelling"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private use"),
    (Ipv4Addr::new(192, 175, 48, 0), 24, "AS112"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// Inside global unicast, 2000::/3.
const SPECIAL_V6: &[(Ipv6Addr, u32, &str)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "protocol assignments"), // Teredo, benchmarking, ORCHID and more
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "documentation"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4"),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48, "AS112"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "documentation"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::outbound::OutboundPolicy::{AllowLoopback, OperatorNamed, PublicOnly};

    #[test]
    fn urls_are_judged_by_scheme_userinfo_and_literal_address() {
        let special = |use_| Err(Refusal::SpecialUse(use_));
        let table = [
            ("https://agent.example/client.json", PublicOnly, Ok(())),
            ("https://8.8.8.8/", PublicOnly, Ok(())),
            ("https://[2606:4700::1111]/", PublicOnly, Ok(())),
            ("http://agent.example/", PublicOnly, Err(Refusal::Scheme)),
            ("ftp://agent.example/", OperatorNamed, Err(Refusal::Scheme)),
            ("file:///etc/passwd", OperatorNamed, Err(Refusal::NoHost)),
            ("data:text/plain,x", OperatorNamed, Err(Refusal::NoHost)),
            ("https://user@agent.example/", OperatorNamed, Err(Refusal::UserInfo)),
            ("https://:secret@agent.example/", OperatorNamed, Err(Refusal::UserInfo)),
            ("https://127.0.0.1/", PublicOnly, special("loopback")),
            ("https://127.1/", PublicOnly, special("loopback")),
            ("https://0x7f.0.0.1/", PublicOnly, special("loopback")),
            ("https://2130706433/", PublicOnly, special("loopback")),
            ("https://0177.0.0.1/", PublicOnly, special("loopback")),
            ("https://127.0.0.1./", PublicOnly, special("loopback")),
            ("https://①②⑦.0.0.1/", PublicOnly, special("loopback")),
            ("https://169.254.169.254/latest/meta-data", PublicOnly, special("link local")),
            ("https://100.100.100.200/", PublicOnly, special("carrier-grade NAT")),
            ("https://168.63.129.16/", PublicOnly, special("cloud host agent")),
            ("https://[::1]/", PublicOnly, special("loopback")),
            ("https://[::ffff:10.0.0.1]/", PublicOnly, special("outside global unicast")),
            ("https://[::ffff:8.8.8.8]/", PublicOnly, special("outside global unicast")),
            ("https://[::10.0.0.1]/", PublicOnly, special("outside global unicast")),
            ("https://[64:ff9b::a00:1]/", PublicOnly, special("private use")),
            ("https://[64:ff9b::808:808]/", PublicOnly, Ok(())),
            ("https://[64:ff9b:1::808:808]/", PublicOnly, special("outside global unicast")),
            ("https://[2002:a00:1::]/", PublicOnly, special("6to4")),
            ("https://[2001:0:a00:1::]/", PublicOnly, special("protocol assignments")),
            ("https://[fd00:ec2::254]/", PublicOnly, special("outside global unicast")),
            ("https://[fe80::1]/", PublicOnly, special("outside global unicast")),
            ("http://127.0.0.1:9400/", AllowLoopback, Ok(())),
            ("http://[::1]:9400/", AllowLoopback, Ok(())),
            ("http://localhost:9400/", AllowLoopback, Ok(())),
            ("http://LOCALHOST:9400/", AllowLoopback, Ok(())),
            ("http://localhost.evil.example/", AllowLoopback, Err(Refusal::Scheme)),
            ("http://notlocalhost/", AllowLoopback, Err(Refusal::Scheme)),
            ("http://8.8.8.8/", AllowLoopback, Err(Refusal::Scheme)),
            ("https://10.0.0.1/", AllowLoopback, special("private use")),
            ("http://10.0.0.1/", OperatorNamed, Ok(())),
        ];
        for (url, policy, expected) in table {
            let parsed = Url::parse(url).expect("a URL of the table");
            assert_eq!(check_url(&parsed, policy), expected, "{url} under {policy:?}");
        }
    }

    #[test]
    fn a_name_leads_only_to_its_allowed_addresses() {
        let public: IpAddr = Ipv4Addr::new(8, 8, 8, 8).into();
        let private: IpAddr = Ipv4Addr::new(10, 0, 0, 1).into();
        let loopback: IpAddr = Ipv6Addr::LOCALHOST.into();
        let special = |use_| Err(Refusal::SpecialUse(use_));
        let table = [
            ("agent.example", vec![public], PublicOnly, Ok(vec![public])),
            ("agent.example", vec![private, public, loopback], PublicOnly, Ok(vec![public])),
            ("agent.example", vec![private], PublicOnly, special("private use")),
            ("agent.example", vec![loopback], AllowLoopback, special("loopback")),
            ("agent.example", vec![], PublicOnly, Err(Refusal::NoAddress)),
            ("localhost", vec![loopback, public], AllowLoopback, Ok(vec![loopback])),
            ("localhost", vec![loopback], PublicOnly, special("loopback")),
            ("deep.localhost", vec![private], AllowLoopback, special("localhost that is not loopback")),
            ("intranet", vec![private], OperatorNamed, Ok(vec![private])),
        ];
        for (host, found, policy, expected) in table {
            assert_eq!(allowed(host, found.clone().into_iter(), policy), expected, "{host} at {found:?} under {policy:?}");
        }
    }

    /// The standard library's own idea of special use, written by others.
    fn std_calls_v4_special(ip: Ipv4Addr) -> bool {
        ip.is_private()
            || ip.is_loopback()
            || ip.is_link_local()
            || ip.is_broadcast()
            || ip.is_documentation()
            || ip.is_unspecified()
            || ip.is_multicast()
    }

    /// Mostly near the edges of the special networks, where masks go wrong.
    fn any_v4() -> impl Strategy<Value = Ipv4Addr> {
        let near = (0..SPECIAL_V4.len(), -2_i64..=2, any::<bool>()).prop_map(|(index, step, from_end)| {
            let (network, prefix, _) = SPECIAL_V4[index];
            let size = 1_i64 << (32 - prefix);
            let edge = i64::from(network.to_bits()) + if from_end { size - 1 } else { 0 };
            Ipv4Addr::from_bits((edge + step).rem_euclid(1 << 32).try_into().expect("reduced to 32 bits"))
        });
        prop_oneof![near, any::<u32>().prop_map(Ipv4Addr::from_bits)]
    }

    proptest! {
        #[test]
        fn no_special_v4_address_passes_in_any_disguise(ip in any_v4()) {
            let [a, b, c, d] = ip.octets();
            let pair = |high: u8, low: u8| u16::from_be_bytes([high, low]);
            let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, pair(a, b), pair(c, d));
            let sixto4 = Ipv6Addr::new(0x2002, pair(a, b), pair(c, d), 0, 0, 0, 0, 1);
            let teredo = Ipv6Addr::new(0x2001, 0, pair(a, b), pair(c, d), 0, 0, 0, 0);
            prop_assert!(!std_calls_v4_special(ip) || special_use_v4(ip).is_some());
            prop_assert_eq!(special_use_v6(nat64), special_use_v4(ip));
            for disguise in [ip.to_ipv6_mapped(), ip.to_ipv6_compatible(), sixto4, teredo] {
                prop_assert!(special_use_v6(disguise).is_some(), "{} passes", disguise);
            }
        }

        #[test]
        fn only_global_unicast_v6_passes(bits in any::<u128>()) {
            let ip = Ipv6Addr::from_bits(bits);
            let std_calls_special = ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip.is_unique_local()
                || ip.is_unicast_link_local() || ip.to_ipv4().is_some();
            prop_assert!(!std_calls_special || special_use_v6(ip).is_some());
            prop_assert!(special_use_v6(ip).is_some() || bits >> 125 == 1);
        }

        #[test]
        fn every_literal_url_is_judged_like_its_address(ip in any_v4()) {
            let url = Url::parse(&format!("https://{ip}/")).expect("an address makes a URL");
            let expected = special_use_v4(ip).map_or(Ok(()), |use_| Err(Refusal::SpecialUse(use_)));
            prop_assert_eq!(check_url(&url, PublicOnly), expected);
        }
    }
}
