//! Whether the server can be reached where it says that it is.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use deputy::config::Settings;
use serde_json::Value;

use super::super::{Failure, wait_for};
use super::Finding;

pub(super) fn issuer(settings: &Settings) -> Finding {
    let (issuer, listen) = (&settings.issuer, settings.listen);
    match (issuer.is_loopback(), listen.ip().is_loopback()) {
        (true, false) => Finding::wrong(
            "issuer",
            format!("others can connect to {listen}, but the issuer {issuer} leads each of them to their own machine"),
            "set issuer to the https address that clients use, or listen on 127.0.0.1",
        ),
        (true, true) if issuer.url().scheme() == "http" && issuer.url().port_or_known_default() != Some(listen.port()) => {
            Finding::wrong(
                "issuer",
                format!("clients will go to {issuer}, but the server listens at {listen}"),
                "give issuer and listen the same port",
            )
        }
        (false, _) if issuer.url().scheme() == "https" => {
            Finding::fine("issuer", format!("{issuer}, which a proxy must serve from {listen}"))
        }
        _ => Finding::fine("issuer", issuer.to_string()),
    }
}

pub(super) fn proxies(settings: &Settings) -> Option<Finding> {
    let is_public = !settings.issuer.is_loopback();
    (is_public && settings.trusted_proxies.is_empty()).then(|| {
        Finding::doubtful(
            "proxies",
            "every request will seem to come from the proxy, and limits for one address will be limits for all",
            "name the proxy's address in trusted_proxies",
        )
    })
}

pub(super) fn port(settings: &Settings) -> Result<Finding, Failure> {
    let listen = settings.listen;
    let Err(error) = TcpListener::bind(listen) else { return Ok(Finding::fine("port", format!("{listen} is free"))) };
    Ok(match error.kind() {
        ErrorKind::AddrInUse if wait_for(is_served(settings))? => {
            Finding::fine("port", format!("this server is running at {listen}"))
        }
        ErrorKind::AddrInUse => {
            Finding::wrong("port", format!("another program uses {listen}"), "stop it, or set listen to another port")
        }
        ErrorKind::AddrNotAvailable => Finding::wrong(
            "port",
            format!("this machine has no address {}", listen.ip()),
            "set listen to an address of this machine",
        ),
        ErrorKind::PermissionDenied => {
            Finding::wrong("port", format!("this user may not listen on port {}", listen.port()), "set listen to a port above 1023")
        }
        _ => Finding::wrong("port", format!("{listen} cannot be listened on: {error}"), "set listen to another address"),
    })
}

/// Whether the program at our port is a server with our issuer.
async fn is_served(settings: &Settings) -> Result<bool, Failure> {
    const ANSWER_MAX: Duration = Duration::from_secs(3);
    let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).redirect(reqwest::redirect::Policy::none()).build();
    let client = client.map_err(|error| Failure::because("cannot make requests", &error))?;
    let metadata =
        format!("http://{}/.well-known/oauth-authorization-server{}", reachable(settings.listen), settings.issuer.path());
    let answer = async { client.get(metadata).send().await?.json::<Value>().await };
    Ok(answer.await.is_ok_and(|metadata| metadata["issuer"] == settings.issuer.as_str()))
}

/// The address by which this machine reaches a listener, which may listen on all of its addresses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address.ip(),
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::super::{
        Verdict,
        tests::{folder, settings},
    };
    use super::*;

    #[test]
    fn the_issuer_must_fit_where_the_server_listens() {
        let folder = folder();
        let table = [
            ("", Verdict::Fine, "http://127.0.0.1:9400"),
            ("listen = \"0.0.0.0:9400\"", Verdict::Wrong, "leads each of them to their own machine"),
            ("listen = \"127.0.0.1:9500\"", Verdict::Wrong, "listens at 127.0.0.1:9500"),
            ("issuer = \"https://id.example\"", Verdict::Fine, "a proxy must serve"),
        ];
        for (text, verdict, what) in table {
            let finding = issuer(&settings(text, folder.path()));
            assert!(finding.verdict == verdict && finding.what.contains(what), "{finding}");
        }
    }

    #[test]
    fn a_public_server_without_a_named_proxy_is_doubtful() {
        let folder = folder();
        let public = "issuer = \"https://id.example\"";
        assert_eq!(proxies(&settings(public, folder.path())).map(|finding| finding.verdict), Some(Verdict::Doubtful));
        assert_eq!(proxies(&settings(&format!("{public}\ntrusted_proxies = [\"10.0.0.1\"]"), folder.path())), None);
    }

    #[test]
    fn a_used_port_is_told() {
        let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
        // It answers as some other program would: not at all like us.
        let address = holder.local_addr().expect("it is bound");
        let answering = std::thread::spawn(move || drop(holder.accept()));
        let finding = port(&settings(&format!("listen = \"{address}\""), folder().path())).expect("it is examined");
        answering.join().expect("it does not panic");
        assert!(finding.verdict == Verdict::Wrong && finding.what == format!("another program uses {address}"), "{finding}");
    }
}
