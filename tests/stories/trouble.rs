//! Promise 12: when something we need is down we say so, and never with an error that makes a client throw its credentials away.

use deputy::outbound;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{Agent, Answer, CALLBACK, Installation, PANIC, Person, agent::Tokens, each_engine, each_engine_with, until};

/// Documents that are fetched at once.
const FETCHES_MAX: usize = 16;
/// How often to look for a full house.
const LOOKS_MAX: u32 = 10_000;
fn is_transient(answer: &Answer) -> bool {
    answer.status == 503 && answer.header("retry-after").is_some() && answer.json()["error"] == "temporarily_unavailable"
}

/// The request itself was never looked at.
fn is_overload(answer: &Answer) -> bool {
    is_transient(answer) && answer.json()["error_description"].as_str().is_some_and(|text| text.contains("Too many requests"))
}

#[tokio::test]
async fn a_panic_costs_one_answer_and_tells_nothing() {
    let deputy = Installation::start().await;
    deputy.resource().await;
    let service = deputy.service("notes:read").await;
    let source = deputy.source(json!({})).await;
    let counted = deputy.refusals_counted("server.internal").await;
    let is_silent = |answer: &Answer| !answer.body.contains(PANIC) && !format!("{:?}", answer.headers).contains(PANIC);

    deputy.entropy.panic_once();
    let answer = service.client_credentials(&[]).await.refused(500, "server_error");
    assert!(is_silent(&answer), "{answer:?}");
    service.client_credentials(&[]).await.ok();

    // A client in a browser may read it, an SDK is told in its own words, and a person sees a page with a reference.
    let register = || {
        let request = deputy.http.post(format!("{}/register", deputy.issuer)).header("origin", "https://app.example");
        Answer::of(request.json(&json!({"redirect_uris": [CALLBACK]})))
    };
    deputy.entropy.panic_once();
    let answer = register().await.refused(500, "server_error");
    assert!(is_silent(&answer) && answer.header("access-control-allow-origin") == Some("*"), "{answer:?}");
    register().await.ok();

    let track = || {
        let event = json!({"userId": "ada", "event": "Opened", "writeKey": source["write_key"]});
        Answer::of(deputy.http.post(format!("{}/v1/track", deputy.issuer)).json(&event))
    };
    deputy.entropy.panic_once();
    let answer = track().await;
    assert!(answer.status == 500 && answer.json()["code"] == "server_error" && is_silent(&answer), "{answer:?}");
    track().await.ok();

    deputy.entropy.panic_once();
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = deputy.http.get(format!("{}/sign-in", deputy.issuer));
    let page = Answer::of(request.header("traceparent", format!("00-{trace_id}-00f067aa0ba902b7-00"))).await;
    let page = page.refused_on_page(500, "server.internal");
    assert!(is_silent(&page) && page.body.contains(trace_id), "{page:?}");
    deputy.get("/sign-in").await.ok();
    assert!(deputy.refusals_counted("server.internal").await >= counted + 4);
}

#[tokio::test]
async fn broken_connections_are_503_and_heal() {
    let deputy = Installation::start_on_postgres("").await;
    let resource = deputy.resource().await;
    let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
    let mut tokens = agent.authorize(&ada, "notes:read").await;
    let (id, secret) = (resource["resource_id"].as_str().expect("text"), resource["secret"].as_str());
    for _ in 0..3 {
        deputy.database().break_connections().await;
        let request = deputy.http.post(format!("{}/introspect", deputy.issuer)).basic_auth(id, secret);
        let introspected = Answer::of(request.form(&[("token", &tokens.access_token)])).await;
        assert!(introspected.json()["active"] == true || is_transient(&introspected), "{introspected:?}");
        deputy.database().break_connections().await;
        // The pool may still hold some of the broken connections; each costs at most one answer.
        let mut answer = agent.refresh(tokens.refresh_token()).await;
        for _ in 0..8 {
            if answer.status.is_success() {
                break;
            }
            assert!(is_transient(&answer), "{answer:?}");
            answer = agent.refresh(tokens.refresh_token()).await;
        }
        tokens = Tokens::of(answer);
    }
}

#[tokio::test]
async fn a_crowded_pool_is_503_and_nobody_loses_anything() {
    let deputy = Installation::start_on_postgres("").await;
    deputy.resource().await;
    let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
    let tokens = agent.authorize(&ada, "notes:read").await;
    let before = deputy.refusals_counted("server.busy").await;
    // One transaction holds the grant's row; everybody else waits for it, with a connection each, until the pool is empty.
    let held = deputy.database().hold_rows("UPDATE grants SET used_at = used_at").await;
    let crowd = futures_util::future::join_all((0..24).map(|_| agent.refresh(tokens.refresh_token()))).await;
    assert!(crowd.iter().all(is_transient), "{crowd:?}");
    assert!(deputy.refusals_counted("server.busy").await > before);
    held.release().await;
    Tokens::of(agent.refresh(tokens.refresh_token()).await);
}

#[tokio::test]
async fn too_many_requests_at_once_are_503_in_oauth_json() {
    let deputy = Installation::start_on_postgres("requests_in_flight_max = 1\n").await;
    deputy.resource().await;
    let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
    let tokens = agent.authorize(&ada, "notes:read").await;
    let before = deputy.refusals_counted("server.overloaded").await;
    // The first refresh waits for a row that somebody holds; the second finds no place.
    let held = deputy.database().hold_rows("UPDATE grants SET used_at = used_at").await;
    let crowd = futures_util::future::join_all((0..4).map(|_| agent.refresh(tokens.refresh_token()))).await;
    held.release().await;
    let refused: Vec<_> = crowd.into_iter().filter(is_overload).collect();
    assert_eq!(refused.len(), 3);
    for answer in refused {
        answer.refused(503, "temporarily_unavailable");
    }
    // Whoever else is turned away in this process is counted too.
    assert!(deputy.refusals_counted("server.overloaded").await >= before + 3);
    Tokens::of(agent.refresh(tokens.refresh_token()).await);
}

#[tokio::test]
async fn too_many_requests_at_once_are_told_to_browsers_too() {
    let deputy = Installation::start_on_postgres("requests_in_flight_max = 1\n").await;
    deputy.resource().await;
    let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
    let tokens = agent.authorize(&ada, "notes:read").await;
    let held = deputy.database().hold_rows("UPDATE grants SET used_at = used_at").await;
    let crossing = |method: Method, path: &str| {
        let request = deputy.http.request(method, format!("{}{path}", deputy.issuer)).header("origin", "https://client.example");
        Answer::of(request.header("access-control-request-method", "POST").header("accept", "text/html"))
    };
    let looking = async {
        let keys = || crossing(Method::GET, "/jwks");
        let mut refused = keys().await;
        for _ in 0..LOOKS_MAX {
            if refused.status == 503 {
                break;
            }
            refused = keys().await;
        }
        assert!(is_overload(&refused), "a client in a browser reads it as any other: {refused:?}");
        assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
        assert!(refused.header("access-control-expose-headers").is_some_and(|names| names.contains("Retry-After")));
        let allowed = crossing(Method::OPTIONS, "/token").await;
        assert_eq!((allowed.status.as_u16(), allowed.header("access-control-allow-origin")), (204, Some("*")), "{allowed:?}");
        for path in ["/", "/authorize", "/sign-in", "/account/sessions", "/invitation/none"] {
            let page = crossing(Method::GET, path).await.refused_on_page(503, "server.overloaded");
            assert!(page.header("retry-after").is_some() && page.header("access-control-allow-origin").is_none(), "{page:?}");
            let preflight = crossing(Method::OPTIONS, path).await;
            assert_eq!(preflight.header("access-control-allow-origin"), None, "{path}");
        }
        held.release().await;
    };
    futures_util::future::join(agent.refresh(tokens.refresh_token()), looking).await;
    Tokens::of(agent.refresh(tokens.refresh_token()).await);
}

/// A token request that comes through a proxy and of whose body the last byte is missing.
async fn unfinished(deputy: &Installation, address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(deputy.address()).await.expect("it listens");
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 12";
    let head = format!("POST /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: {address}\r\n{form}\r\n\r\n");
    stream.write_all(format!("{head}grant_type=").as_bytes()).await.expect("it reads");
    stream
}

/// What is answered before the request is finished, and the connection.
async fn answered(mut stream: TcpStream) -> (String, TcpStream) {
    let mut told = [0; 12];
    stream.read_exact(&mut told).await.expect("it answers");
    (String::from_utf8_lossy(&told).into_owned(), stream)
}

#[tokio::test]
async fn whoever_sends_slowly_takes_nobodys_place() {
    let deputy = Installation::start_with("requests_in_flight_max = 8\ntrusted_proxies = [\"127.0.0.1\"]\n").await;
    let (mut slow, mut refused) = (FuturesUnordered::new(), 0);
    let crowd =
        ["192.0.2.1", "192.0.2.2", "192.0.2.3", "198.51.100.1", "198.51.100.2", "198.51.100.3", "203.0.113.1", "203.0.113.2"];
    for address in crowd {
        slow.push(answered(unfinished(&deputy, address).await));
    }
    // Of eight places four are for those whose bodies are waited for, and two of these for one network.
    while refused < crowd.len() - 4 {
        let (told, _) = slow.next().await.expect("somebody finds no place");
        assert_eq!(told, "HTTP/1.1 503");
        refused += 1;
    }
    deputy.get("/jwks").await.ok();
    let late = answered(unfinished(&deputy, "203.0.113.9").await).await;
    assert_eq!(late.0, "HTTP/1.1 503", "no more of them are waited for");
    drop(slow);
    // Whoever waited has gone, which is noticed at some time.
    let mut finished = late;
    for _ in 0..LOOKS_MAX {
        if finished.0 != "HTTP/1.1 503" {
            break;
        }
        let mut stream = unfinished(&deputy, "203.0.113.9").await;
        stream.write_all(b"x").await.expect("it reads");
        finished = answered(stream).await;
    }
    let mut told = String::new();
    finished.1.read_to_string(&mut told).await.expect("it answers");
    assert!(told.contains("unsupported_grant_type"), "it is read: {told}");
}

#[tokio::test]
async fn too_many_passwords_at_once_are_503_and_count_as_no_wrong_one() {
    each_engine(async |deputy| {
        let ada = deputy.person("ada@example.com").await;
        let before = deputy.refusals_counted("server.busy").await;
        let places = deputy.all_password_places();
        let page = ada.sign_in().await.refused_on_page(503, "server.busy");
        assert!(page.header("retry-after").is_some(), "{page:?}");
        assert!(deputy.refusals_counted("server.busy").await > before);
        drop(places);
        ada.sign_in().await.ok();
    })
    .await;
}

/// Hosts that never answer tie up every place to fetch documents: who is new waits, who is known goes on.
#[tokio::test]
async fn too_many_documents_at_once_are_503_for_who_is_new_only() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let documented = |host: &str| {
            let id = format!("https://{host}.example/client.json");
            let document = json!({"client_id": id, "client_name": host, "redirect_uris": [CALLBACK],
                "grant_types": ["authorization_code", "refresh_token"]});
            deputy.web.answer(&id.parse().expect("a URL"), outbound::Answer::json(&document));
            Agent::known(&deputy, &id)
        };
        let (ada, known, new) = (deputy.person("ada@example.com").await, documented("known"), documented("new"));
        let tokens = known.authorize(&ada, "notes:read").await;
        // Long enough for the document to be asked for anew.
        deputy.later(2 * 86_400);
        let fetched = deputy.web.calls().len();
        let silent = (0..FETCHES_MAX).map(|number| {
            let id = format!("https://silent-{number}.example/client.json");
            deputy.web.answer(&id.parse().expect("a URL"), outbound::Answer::Silent);
            tokio::spawn(deputy.http.get(Agent::known(&deputy, &id).authorization_url("notes:read", &[])).send())
        });
        let silent: Vec<_> = silent.collect();
        until(|| deputy.web.calls().len() == fetched + FETCHES_MAX).await;
        let page = Person::new(&deputy, "nobody", "").open(&new.authorization_url("notes:read", &[])).await.page();
        assert!(page.status == 503 && page.body.contains("server.busy") && page.header("retry-after").is_some(), "{page:?}");
        let tokens = Tokens::of(known.refresh(tokens.refresh_token()).await);
        assert_eq!(deputy.web.calls().len(), fetched + FETCHES_MAX, "nobody else was asked");

        // Whoever waited has gone.
        silent.iter().for_each(tokio::task::JoinHandle::abort);
        until(|| deputy.world().memory.fetch_permits.available_permits() == FETCHES_MAX).await;
        new.authorize(&ada, "notes:read").await;
        known.refresh(tokens.refresh_token()).await.ok();
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_is_503_and_heals() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let tokens = agent.authorize(&ada, "notes:read").await;
        let faults = deputy.world().storage.faults().clone();
        let before = deputy.refusals_counted("storage.full").await;
        faults.fail_commits(1);
        let answer = agent.refresh(tokens.refresh_token()).await;
        assert!(is_transient(&answer), "{answer:?}");
        assert!(deputy.refusals_counted("storage.full").await > before);
        assert_eq!(answer.json()["error_description"].as_str().map(|text| text.contains("full")), Some(true));
        let again = Tokens::of(agent.refresh(tokens.refresh_token()).await);
        assert_ne!(again.refresh_token, tokens.refresh_token);
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_away_is_503_and_the_same_request_works_when_it_is_back() {
    let deputy = Installation::start_on_postgres("").await;
    deputy.resource().await;
    let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
    let tokens = agent.authorize(&ada, "notes:read").await;
    let before = deputy.refusals_counted("storage.unavailable").await;
    let answer = deputy.without_storage(agent.refresh(tokens.refresh_token())).await;
    assert!(is_transient(&answer), "{answer:?}");
    assert!(deputy.refusals_counted("storage.unavailable").await > before);
    Tokens::of(agent.refresh(tokens.refresh_token()).await);
}

#[tokio::test]
async fn no_token_leaves_when_its_fact_cannot_be_written() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let service = deputy.service("notes:read").await;
        service.client_credentials(&[]).await.ok();
        deputy.later(10);
        deputy.world().log.close().await.expect("the log closes");
        let before = deputy.refusals_counted("log.unavailable").await;
        let answer = service.client_credentials(&[]).await;
        assert!(is_transient(&answer), "{answer:?}");
        assert!(deputy.refusals_counted("log.unavailable").await > before);
    })
    .await;
}

/// Anybody may ask, and to find out costs a transaction.
#[tokio::test]
async fn whether_it_is_ready_is_found_out_once_a_second() {
    each_engine(async |deputy| {
        let is_ready = async || deputy.get("/readyz").await.status.as_u16() == 200;
        assert!(is_ready().await);
        deputy
            .without_storage(async {
                assert!(is_ready().await, "known since this second");
                deputy.later(1);
                assert!(!is_ready().await, "found out anew");
            })
            .await;
        assert!(!is_ready().await, "known since this second");
        deputy.later(1);
        assert!(is_ready().await);
    })
    .await;
}

#[tokio::test]
async fn a_node_whose_log_cannot_be_written_is_not_ready() {
    let deputy = Installation::start().await;
    deputy.get("/readyz").await.ok();
    deputy.later(1);
    deputy.world().log.close().await.expect("the log closes");
    let answer = deputy.get("/readyz").await;
    assert_eq!((answer.status.as_u16(), answer.text("part")), (503, "log".to_owned()));
}

/// Whoever asks for nothing but refusals has them counted; what others are refused meanwhile is on record all the same.
#[tokio::test]
async fn a_flood_of_refusals_does_not_fill_the_disk() {
    let configuration = "recorded_refusals_per_second_max = 4\ntrusted_proxies = [\"127.0.0.1\"]\n";
    each_engine_with(configuration, async |deputy| {
        let from = async |address: &str| {
            let form = [("grant_type", "authorization_code"), ("code", "x"), ("client_id", "nobody"), ("redirect_uri", CALLBACK)];
            let request = deputy.http.post(format!("{}/token", deputy.issuer)).header("x-forwarded-for", address).form(&form);
            Answer::of(request).await.refused(401, "invalid_client");
        };
        let recorded = async || deputy.facts_of("request.refused.v1").await.len();
        const FLOOD: usize = 200;
        for number in 0..FLOOD {
            from(&format!("192.0.2.{number}")).await;
        }
        let of_flood = recorded().await;
        assert!((60..FLOOD / 2).contains(&of_flood), "a minute's worth of a network's share, and not much more: {of_flood}");
        from("198.51.100.1").await;
        assert_eq!((recorded().await, deputy.last_reason().await), (of_flood + 1, "client.unknown".to_owned()));
        let left_out = deputy.facts_of("refusals.left_out.v1").await;
        let counted: u64 = left_out.iter().filter_map(|told| told["reasons"]["client.unknown"].as_u64()).sum();
        assert_eq!(counted, (FLOOD - of_flood) as u64, "{left_out:?}");
    })
    .await;
}

#[tokio::test]
async fn a_refusal_names_only_a_client_that_there_is() {
    each_engine(async |deputy| {
        let agent = deputy.agent().await;
        let long = format!("https://agent.example/{}", "x".repeat(1900));
        for client in [agent.client_id.as_str(), "nobody", &long] {
            deputy.post("/token", &[("grant_type", "password"), ("client_id", client)]).await;
            deputy.get(&format!("/authorize?response_type=token&client_id={client}")).await;
        }
        let refused = deputy.facts_of("request.refused.v1").await;
        let named: Vec<_> = refused.iter().map(|refused| refused["client"].as_str()).collect();
        assert_eq!(named, [Some(agent.client_id.as_str()), Some(&agent.client_id), None, None, None, None]);
    })
    .await;
}
