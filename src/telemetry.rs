//! What the process shows of itself: lines on standard error, traces for a collector, metrics for a scraper.
//! [W3C Trace Context](https://www.w3.org/TR/trace-context/),
//! [Prometheus text format](https://prometheus.io/docs/instrumenting/exposition_formats/)
//!
//! Nothing here ever sees a token, a code, a phone number or a body: spans carry method, route, status and trace id only.

use std::collections::BTreeMap;
use std::fmt;
use std::io::IsTerminal;
use std::panic::AssertUnwindSafe;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{HeaderMap, Method, StatusCode};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, Sampler, SdkTracerProvider};
use tracing::field::Empty;
use tracing::{Event, Instrument, Span, Subscriber, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::fmt::format::{DefaultFields, Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use url::Url;

use crate::config::{LogFormat, Settings};

/// Sends what is still waiting when it is dropped; hold it until the process ends.
#[derive(Debug)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Why the process cannot show itself.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("traces cannot be sent to otlp_endpoint: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("log lines have been set up already")]
    AlreadyStarted(#[from] tracing_subscriber::util::TryInitError),
}

/// How long the end of the process waits for the collector.
const LAST_EXPORT_MAX: Duration = Duration::from_secs(3);

impl Telemetry {
    /// Turns on log lines as `settings` say, and traces if they name a collector. Call it once, before anything is to be seen.
    ///
    /// # Errors
    /// The exporter cannot be built, or this was called before.
    pub fn start(settings: &Settings) -> Result<Telemetry, TelemetryError> {
        let traces = settings.otlp_endpoint.as_ref().map(provider).transpose()?;
        let ink = if std::io::stderr().is_terminal() { Ink::Colour } else { Ink::Plain };
        subscriber(settings, std::io::stderr, ink, traces.as_ref()).try_init()?;
        Ok(Telemetry { traces })
    }

    /// As [`Telemetry::start`], with the log lines at the end of a file.
    ///
    /// # Errors
    /// As there.
    pub fn start_in_file(settings: &Settings, file: std::fs::File) -> Result<Telemetry, TelemetryError> {
        let traces = settings.otlp_endpoint.as_ref().map(provider).transpose()?;
        subscriber(settings, file, Ink::Plain, traces.as_ref()).try_init()?;
        Ok(Telemetry { traces })
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(traces) = &self.traces
            && let Err(error) = traces.shutdown_with_timeout(LAST_EXPORT_MAX)
        {
            tracing::warn!(%error, "the last traces were not delivered");
        }
    }
}

/// By what a request is found again in lines, in traces and by whoever was shown it: 32 hexadecimal digits, not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl TraceId {
    /// `None` for the one that means that there is no trace.
    fn known(id: opentelemetry::trace::TraceId) -> Option<TraceId> {
        (id != opentelemetry::trace::TraceId::INVALID).then(|| TraceId(id.to_bytes()))
    }
}

/// That a request's work ended in a panic, which is told already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked;

tokio::task_local! {
    /// The trace of the request that this task works on, for its lines.
    static CURRENT: TraceId;
}

/// One request as logs, traces and metrics see it.
#[derive(Debug)]
pub struct RequestTrace {
    /// The caller's trace if it sent one, else a new one. Fit to be shown as a reference.
    pub trace_id: TraceId,
    /// For the collector; without one it is none and costs nothing.
    span: Span,
    method: &'static str,
}

impl RequestTrace {
    /// Begins the trace of a request, continuing the one that a `traceparent` header names.
    pub fn begin(method: &Method, headers: &HeaderMap) -> RequestTrace {
        let span = info_span!(
            "request",
            otel.kind = "server",
            http.request.method = Empty,
            http.route = Empty,
            http.response.status_code = Empty
        );
        let mut known = None;
        if headers.contains_key("traceparent") {
            let context = TraceContextPropagator::new().extract(&Headers(headers));
            known = TraceId::known(context.span().span_context().trace_id());
            // Refused when no traces are sent: then there is nothing to connect.
            let _ = span.set_parent(context);
        }
        if !span.is_disabled() {
            known = TraceId::known(span.context().span().span_context().trace_id()).or(known);
        }
        let trace_id = known.unwrap_or_else(|| TraceId(RandomIdGenerator::default().new_trace_id().to_bytes()));
        RequestTrace { trace_id, span, method: known_method(method) }
    }

    /// Runs the request's work, so that each of its lines carries the trace id. A panic ends the work and nothing else: what it says
    /// stands where the process writes panics, and one line tells whose it was.
    pub fn cover<F: Future>(&self, work: F) -> impl Future<Output = Result<F::Output, Panicked>> + use<F> {
        let told = async move {
            AssertUnwindSafe(work).catch_unwind().await.map_err(|_| {
                tracing::error!("a request ended in a panic");
                Panicked
            })
        };
        CURRENT.scope(self.trace_id, told.instrument(self.span.clone()))
    }

    /// Ends it with what came of it. `route` is the pattern that matched, never the path, so that metrics stay bounded.
    pub fn end(self, route: Option<&str>, status: StatusCode, took: Duration) {
        let route = route.unwrap_or("unmatched");
        if !self.span.is_disabled() {
            self.span.record("http.request.method", self.method);
            self.span.record("http.route", route);
            self.span.record("http.response.status_code", status.as_u16());
        }
        count(route, self.method, status, took);
    }
}

/// What is counted of one route. These are handles: to find them by their labels would cost more than to count.
struct Counted {
    durations: metrics::Histogram,
    answers: Vec<(&'static str, StatusCode, metrics::Counter)>,
}

/// By route: the process's, as the collector is.
static COUNTED: RwLock<BTreeMap<String, Counted>> = RwLock::new(BTreeMap::new());

fn count(route: &str, method: &'static str, status: StatusCode, took: Duration) {
    let is_it = |(known_method, known_status, _): &&(&str, StatusCode, _)| *known_method == method && *known_status == status;
    if let Some(counted) = COUNTED.read().unwrap_or_else(PoisonError::into_inner).get(route)
        && let Some((.., answers)) = counted.answers.iter().find(is_it)
    {
        counted.durations.record(took.as_secs_f64());
        answers.increment(1);
        return;
    }
    // A handle that is asked for before there is a collector counts nothing, for ever.
    metrics();
    let mut all = COUNTED.write().unwrap_or_else(PoisonError::into_inner);
    let counted = all.entry(route.to_owned()).or_insert_with(|| Counted {
        durations: metrics::histogram!("http_request_duration_seconds", "route" => route.to_owned()),
        answers: Vec::new(),
    });
    let labels = [("route", route.to_owned()), ("status", status.as_str().to_owned()), ("method", method.to_owned())];
    let answers = metrics::counter!("http_requests_total", &labels);
    counted.durations.record(took.as_secs_f64());
    answers.increment(1);
    // Twice if two met here, which harms nobody: both count the same.
    counted.answers.push((method, status, answers));
}

/// Bounds of the duration histogram in seconds, from a cached answer to a client's patience.
const DURATION_BUCKETS_S: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];

/// How often observed durations are folded into the histograms; between, each one takes eight bytes.
const FOLD_INTERVAL: Duration = Duration::from_secs(5);

/// The metrics of this process; the first call begins to collect them. `render` gives the page that a scraper reads.
///
/// The collector is the process's, as the `metrics` crate wants it: servers that share a process share their metrics.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let buckets = PrometheusBuilder::new().set_buckets(&DURATION_BUCKETS_S).expect("the list of bounds is not empty");
        let recorder = buckets.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another collector of metrics is in place; /metrics stays empty");
        }
        metrics::describe_counter!("http_requests_total", "Requests answered, by route, method and status.");
        metrics::describe_histogram!("http_request_duration_seconds", "How long a request took to be answered, by route.");
        let folded = handle.clone();
        let fold = move || {
            loop {
                #[expect(clippy::disallowed_methods, reason = "this thread does nothing else")]
                std::thread::sleep(FOLD_INTERVAL);
                folded.run_upkeep();
            }
        };
        if let Err(error) = std::thread::Builder::new().name("metrics".to_owned()).spawn(fold) {
            tracing::warn!(%error, "metrics are folded only when they are read");
        }
        handle
    })
}

fn provider(collector: &Url) -> Result<SdkTracerProvider, TelemetryError> {
    const TRACES_PATH: &str = "/v1/traces";
    let base = collector.as_str().trim_end_matches('/').trim_end_matches(TRACES_PATH);
    let endpoint = format!("{base}{TRACES_PATH}");
    let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).with_endpoint(endpoint).build()?;
    let resource = Resource::builder().with_service_name("deputy");
    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        // Not the caller's wish: a stranger could otherwise keep a request out of the traces.
        .with_sampler(Sampler::AlwaysOn)
        .with_resource(resource.with_attribute(version).build())
        .build())
}

/// Whether lines of text are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ink {
    Colour,
    Plain,
}

fn subscriber<W>(
    settings: &Settings,
    writer: W,
    ink: Ink,
    traces: Option<&SdkTracerProvider>,
) -> impl Subscriber + Send + Sync + use<W>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(ink == Ink::Colour);
    let lines = match settings.log_format {
        LogFormat::Text => lines.fmt_fields(TracedFields(DefaultFields::new())).boxed(),
        LogFormat::Json => lines.event_format(TracedJson(Format::default().json().flatten_event(true))).boxed(),
    };
    // Lines know their trace without a span, and a span that nobody asks for is never made.
    let lines = lines.with_filter(settings.log_level.to_filter().and(filter_fn(|seen| seen.is_event())));
    // Without a collector the filter has to say that nobody asks: an absent layer alone would let every span be made.
    let wanted = if traces.is_some() { LevelFilter::INFO } else { LevelFilter::OFF };
    let spans = traces.map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("deputy"))).with_filter(wanted);
    tracing_subscriber::registry().with(lines).with(spans)
}

/// What a line of text says, and whose trace it belongs to.
struct TracedFields(DefaultFields);

impl<'w> FormatFields<'w> for TracedFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        self.0.format_fields(writer.by_ref(), fields)?;
        CURRENT.try_with(|trace_id| write!(writer, " trace_id={trace_id}")).unwrap_or(Ok(()))
    }
}

/// A line of JSON, with the trace that it belongs to as its last member.
struct TracedJson(Format<Json>);

impl<S, N> FormatEvent<S, N> for TracedJson
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Ok(trace_id) = CURRENT.try_with(|trace_id| *trace_id) else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let object = line.strip_suffix("}\n").ok_or(fmt::Error)?;
        writeln!(writer, "{object},\"trace_id\":\"{trace_id}\"}}")
    }
}

/// The method by name; unknown ones share one, since a stranger chooses them.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    use super::*;

    const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no test panics while writing").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn headers() -> HeaderMap {
        let value = format!("00-{TRACE_ID}-00f067aa0ba902b7-00").parse().expect("a header value");
        HeaderMap::from_iter([(http::HeaderName::from_static("traceparent"), value)])
    }

    fn lines_of_a_request(configuration: &str, headers: &HeaderMap) -> (String, String) {
        lines_of_work(configuration, headers, || tracing::warn!(target: "deputy::http", "seen"))
    }

    fn lines_of_work(configuration: &str, headers: &HeaderMap, work: impl FnOnce()) -> (String, String) {
        let settings = Settings::parse("test", configuration).expect("a right configuration");
        let lines = Lines::default();
        let writer = lines.clone();
        let trace_id = tracing::subscriber::with_default(subscriber(&settings, move || writer.clone(), Ink::Plain, None), || {
            let request = RequestTrace::begin(&Method::GET, headers);
            assert!(request.span.is_disabled(), "no collector asks for it");
            let _ = request.cover(async move { work() }).now_or_never();
            request.trace_id.to_string()
        });
        let text = String::from_utf8(lines.0.lock().expect("no test panics while writing").clone()).expect("lines are UTF-8");
        (trace_id, text)
    }

    #[test]
    fn each_line_of_a_request_carries_the_callers_trace_id() {
        for configuration in ["log_format = \"text\"", "log_format = \"json\"", "log_level = \"warn\""] {
            let (trace_id, text) = lines_of_a_request(configuration, &headers());
            assert_eq!(trace_id, TRACE_ID);
            assert!(text.contains("seen") && text.contains(TRACE_ID) && text.lines().count() == 1, "{text}");
        }
    }

    #[test]
    fn a_panic_is_one_line_of_its_request_and_ends_nothing_else() {
        let (trace_id, text) = lines_of_work("", &headers(), || panic!("a secret"));
        assert_eq!(trace_id, TRACE_ID);
        assert!(text.contains("panic") && text.contains(TRACE_ID) && text.lines().count() == 1, "{text}");
        assert!(!text.contains("a secret"), "{text}");
    }

    #[test]
    fn json_lines_are_json() {
        let (trace_id, text) = lines_of_a_request("log_format = \"json\"", &headers());
        let line: serde_json::Value = serde_json::from_str(&text).expect("one JSON object");
        assert_eq!((line["message"].as_str(), line["trace_id"].as_str()), (Some("seen"), Some(trace_id.as_str())));
    }

    #[test]
    fn a_request_without_a_trace_gets_one_of_its_own() {
        let malformed = HeaderMap::from_iter([(
            http::HeaderName::from_static("traceparent"),
            http::HeaderValue::from_static("00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
        )]);
        let (first, text) = lines_of_a_request("", &HeaderMap::new());
        let (second, _) = lines_of_a_request("", &malformed);
        assert!(first != second && text.contains(&first), "{first} {second} {text}");
        assert!([&first, &second].iter().all(|id| id.len() == 32 && id.bytes().any(|digit| digit != b'0')));
    }

    #[test]
    fn traces_reach_the_collector_even_when_the_caller_asked_for_none() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let collector = format!("http://{}", listener.local_addr().expect("it is bound"));
        let received = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the exporter connects");
            let mut request = Vec::new();
            let mut part = [0; 4096];
            while !contains(&request, b"http.route") {
                let count = stream.read(&mut part).expect("the exporter sends");
                assert!(count > 0, "the request ended early");
                request.extend_from_slice(&part[..count]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("the exporter listens");
            request
        });
        let settings = Settings::parse("test", &format!("otlp_endpoint = \"{collector}\"")).expect("a right configuration");
        let traces = provider(settings.otlp_endpoint.as_ref().expect("it is set")).expect("an exporter");
        tracing::subscriber::with_default(subscriber(&settings, std::io::sink, Ink::Plain, Some(&traces)), || {
            let request = RequestTrace::begin(&Method::POST, &headers());
            assert_eq!(request.trace_id.to_string(), TRACE_ID);
            request.end(Some("/token"), StatusCode::OK, Duration::from_millis(1));
        });
        drop(Telemetry { traces: Some(traces) });
        let request = received.join().expect("the collector's assertions hold");
        let trace_id = u128::from_str_radix(TRACE_ID, 16).expect("hexadecimal").to_be_bytes();
        assert!(request.starts_with(b"POST /v1/traces ") && contains(&request, &trace_id) && contains(&request, b"/token"));
    }

    #[test]
    fn metrics_count_requests_by_route_and_never_by_a_strangers_method() {
        let page = metrics();
        let method = Method::from_bytes(b"STRANGE").expect("a method");
        let request = RequestTrace::begin(&method, &HeaderMap::new());
        request.end(None, StatusCode::NOT_FOUND, Duration::from_millis(2));
        let page = page.render();
        assert!(page.contains("http_requests_total{route=\"unmatched\",status=\"404\",method=\"_OTHER\"} 1"), "{page}");
        assert!(page.contains("http_request_duration_seconds_bucket{route=\"unmatched\",le=\"0.0025\"} 1"), "{page}");
    }

    fn contains(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }
}
