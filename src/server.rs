//! The process: a socket, background stages, and a stop that finishes what is in flight.

/// The background stages, and what runs them.
pub mod stages;
/// The wait for a request's head.
mod head_timer;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::connect_info::ConnectInfo};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::Instant,
};
use tower::ServiceExt as _;

use self::{
    head_timer::HeadTimer,
    stages::{STAGES, Stage, Stages},
};
use crate::{
    config::Settings,
    http,
    protocol::{
        administration::operators::{self, FirstOperatorError},
        refusals,
    },
    world::{World, open::OpenError},
};

/// How long a client may take to send its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stop takes at most: less than the ten seconds after which the usual supervisors kill.
const STOP_TIMEOUT: Duration = Duration::from_secs(9);
/// How much of it may be spent on requests in flight.
const REQUESTS_TIMEOUT: Duration = Duration::from_secs(7);
/// Connections that are open at once; whoever comes then waits in the listener's queue.
const CONNECTIONS_MAX: usize = 8192;
/// How long accepting pauses when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("{address} cannot be listened on: {source}; choose another address by the setting `listen`, or stop what uses it")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the threads of the background stages cannot be started: {0}")]
    Stages(io::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Operator(#[from] FirstOperatorError),
}

/// How far a stop has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stopping {
    NotYet,
    /// Nobody new is let in.
    Begun,
    /// Nothing is in flight any more.
    Answered,
}

/// A server that runs.
pub struct Server {
    pub world: Arc<World>,
    pub address: SocketAddr,
    stop: watch::Sender<Stopping>,
    accepting: JoinHandle<()>,
    stages: Stages,
}

/// Runs a server until the process is told to stop.
pub async fn run(settings: Settings) -> Result<(), ServerError> {
    let server = Server::start(settings).await?;
    tracing::info!(address = %server.address, issuer = server.world.settings.issuer.as_str(), "serving");
    stop_signal().await;
    tracing::info!("stopping: requests in flight are finished first");
    server.stop().await;
    Ok(())
}

/// Resolves when the process is asked to end: Ctrl-C or SIGTERM.
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        // Without handlers the operating system ends us; there is nothing to wait for.
        Err(_) => std::future::pending().await,
    }
}

impl Server {
    /// Takes the address first, so that a used port is found before anything is opened; then opens the world and serves.
    pub async fn start(settings: Settings) -> Result<Server, ServerError> {
        let listener = listen(settings.listen).await?;
        let world = World::open(settings).await?;
        Server::serve(world, listener, STAGES).await
    }

    /// Serves a world on a socket, and runs these stages beside it. On the first start there is an operator afterwards.
    pub async fn serve(world: Arc<World>, listener: TcpListener, stages: &'static [Stage]) -> Result<Server, ServerError> {
        let address = listener.local_addr().map_err(|source| ServerError::Listen { address: world.settings.listen, source })?;
        crate::telemetry::metrics();
        operators::first(&world).await?;
        let (stop, stopped) = watch::channel(Stopping::NotYet);
        let accepting = tokio::spawn(accept(listener, http::router(&world), stopped.clone()));
        let stages = Stages::start(stages, &world, &stopped).map_err(ServerError::Stages)?;
        Ok(Server { world, address, stop, accepting, stages })
    }

    /// Finishes requests in flight, then what they have left for the log, and closes the world. Whatever waits to be worked on waits
    /// for the next start.
    pub async fn stop(self) {
        let Server { world, stop, accepting, mut stages, .. } = self;
        let deadline = Instant::now() + STOP_TIMEOUT;
        stop.send_replace(Stopping::Begun);
        // Their requests never finish by themselves.
        world.memory.viewers.close();
        end(accepting, deadline).await;
        stop.send_replace(Stopping::Answered);
        for stage in stages.tasks() {
            end(stage, deadline).await;
        }
        if let Err(error) = refusals::tell_left_out(&world, world.now()).await {
            tracing::warn!(%error, "how many refusals are not on record is not told");
        }
        world.close().await;
    }
}

/// Waits until a task has ended; at the deadline it is cut off, as a crash would, which it bears.
async fn end(mut task: JoinHandle<()>, deadline: Instant) {
    let ended = match tokio::time::timeout_at(deadline, &mut task).await {
        Ok(ended) => ended,
        Err(_) => {
            tracing::warn!("a task of the server did not end in time and is cut off");
            task.abort();
            task.await
        }
    };
    if let Err(error) = ended
        && !error.is_cancelled()
    {
        tracing::error!(%error, "a task of the server ended badly");
    }
}

/// Takes an address to listen on.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|source| ServerError::Listen { address, source })
}

async fn accept(listener: TcpListener, router: Router, mut stop: watch::Receiver<Stopping>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    loop {
        let next = async {
            let place = Arc::clone(&connections).acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|(stream, peer)| (place, stream, peer))
        };
        let accepted = tokio::select! {
            accepted = next => accepted,
            _ = stop.wait_for(|stopping| *stopping >= Stopping::Begun) => break,
        };
        let (place, stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = graceful.watch(connection(stream, peer, router.clone()));
        tokio::spawn(async move {
            // A connection that breaks is its client's affair.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(REQUESTS_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time and are cut off");
    }
}

fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send + 'static {
    // Answers are small and whole: waiting to fill a packet only adds latency. A failure costs nothing else.
    let _ = stream.set_nodelay(true);
    let service = router.map_request(move |mut request: axum::http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(axum::body::Body::new)
    });
    http1::Builder::new()
        .timer(HeadTimer::new(HEAD_TIMEOUT))
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
}
