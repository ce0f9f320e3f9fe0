//! From where a request comes, as far as that is to be believed.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{Extensions, HeaderMap, HeaderName, request::Parts},
};
use ipnet::IpNet;

use crate::{config::Settings, world::World};

/// The address that a request comes from.
pub(crate) struct Address(pub(crate) IpAddr);

impl FromRequestParts<Arc<World>> for Address {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, world: &Arc<World>) -> Result<Address, Infallible> {
        Ok(Address(of(&parts.extensions, &parts.headers, &world.settings)))
    }
}

/// The address that a request of this connection, with these headers, comes from.
pub(super) fn of(extensions: &Extensions, headers: &HeaderMap, settings: &Settings) -> IpAddr {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    believed(peer.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), headers, &settings.trusted_proxies)
}

/// The address that a request comes from: the peer's, or, behind proxies that we trust, the last one that they did not add
/// themselves. Everything further left in the list is the visitor's own claim.
fn believed(peer: IpAddr, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> IpAddr {
    const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    let is_trusted = |address: &IpAddr| trusted_proxies.iter().any(|network| network.contains(&address.to_canonical()));
    if !is_trusted(&peer) {
        return peer;
    }
    let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok()).collect();
    let mut nearest = peer;
    for hop in lines.iter().flat_map(|line| line.split(',')).rev() {
        // What is no address ends the list: the nearest proxy that we trust is all that we know.
        let Ok(address) = hop.trim().parse() else { return nearest };
        if !is_trusted(&address) {
            return address;
        }
        nearest = address;
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed_and_only_about_who_reached_them() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "192.0.2.1/32"].iter().map(|text| text.parse().expect("a network")).collect();
        for (peer, forwarded, expected) in [
            ("203.0.113.9", "198.51.100.7", "203.0.113.9"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "1.1.1.1, 198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.9.9.9, 192.0.2.1", "198.51.100.7"),
            ("10.0.0.1", "10.2.2.2, 10.3.3.3", "10.2.2.2"),
            ("10.0.0.1", "198.51.100.7, unknown", "10.0.0.1"),
            ("::ffff:10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ] {
            let mut headers = HeaderMap::new();
            if !forwarded.is_empty() {
                headers.insert("x-forwarded-for", forwarded.parse().expect("a header value"));
            }
            let peer = peer.parse().expect("an address");
            assert_eq!(believed(peer, &headers, &trusted).to_string(), expected, "{peer} {forwarded}");
        }
    }
}
