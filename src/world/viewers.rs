//! Who looks on as the events of a source come in, on this node.
//!
//! Whoever has something to show asks first whether anybody looks: one load of a counter while nobody does. A viewer has a short queue
//! and a rate; what does not fit is counted for it and lost. So nobody ever waits for a viewer.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;

use super::memory::Rate;
use crate::domain::{
    id::{Id, SourceKind},
    sighting::Sighting,
    time::Timestamp,
};

/// Viewers at once: each may hold up to a queue of messages in memory, some two megabytes.
const VIEWERS_MAX: usize = 16;
const QUEUE_MAX: usize = 64;
const LOSS_TOLD_WITHIN: Duration = Duration::from_secs(1);
/// What one viewer is shown in a second at most: more no eye could follow.
pub const SHOWN_PER_SECOND_MAX: u32 = 100;

/// Everybody who looks on.
#[derive(Default)]
pub struct Viewers {
    count: AtomicUsize,
    is_closed: AtomicBool,
    by_source: Mutex<HashMap<Id<SourceKind>, Vec<Arc<Viewer>>>>,
}

struct Viewer {
    queue: mpsc::Sender<Arc<Sighting>>,
    rate: Rate,
    /// What it was not shown; also names the viewer.
    lost: Arc<AtomicU64>,
}

/// The viewers of one source, of which there is at least one.
pub struct Watched(Vec<Arc<Viewer>>);

/// What one viewer sees; looks on until it is dropped.
pub struct View {
    viewers: Arc<Viewers>,
    source: Id<SourceKind>,
    lost: Arc<AtomicU64>,
    seen: mpsc::Receiver<Arc<Sighting>>,
}

/// What comes next for a viewer.
#[derive(Debug)]
pub enum Told {
    Seen(Arc<Sighting>),
    /// So many were not shown, because they came too fast.
    Lost(u64),
    /// Nothing, for as long as was waited.
    Quiet,
    /// The process stops.
    Ended,
}

impl Viewers {
    /// Begins to look on. `None` if as many do as may.
    pub fn look_on(self: &Arc<Self>, source: Id<SourceKind>) -> Option<View> {
        let mut by_source = self.lock();
        if self.count.load(Ordering::Relaxed) >= VIEWERS_MAX || self.is_closed.load(Ordering::Relaxed) {
            return None;
        }
        let (queue, seen) = mpsc::channel(QUEUE_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let viewer = Viewer { queue, rate: Rate::default(), lost: Arc::clone(&lost) };
        by_source.entry(source).or_default().push(Arc::new(viewer));
        self.count.fetch_add(1, Ordering::Relaxed);
        // Without a sender of its own: it sees the end when it is sent away.
        Some(View { viewers: Arc::clone(self), source, lost, seen })
    }

    /// The viewers of this source, if there are any.
    pub fn of(&self, source: Id<SourceKind>) -> Option<Watched> {
        if !self.is_any() {
            return None;
        }
        self.lock().get(&source).map(|viewers| Watched(viewers.clone()))
    }

    /// Whether anybody looks on anywhere.
    pub fn is_any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Sends everybody away, because the process stops.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.lock().clear();
    }

    /// Nothing panics while it holds the lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<Id<SourceKind>, Vec<Arc<Viewer>>>> {
        self.by_source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// Shows something to everybody who has room for it; it is only made if somebody has.
    pub fn show(&self, now: Timestamp, make: impl FnOnce() -> Option<Sighting>) {
        let mut places = Vec::with_capacity(self.0.len());
        for viewer in &self.0 {
            match viewer.queue.try_reserve() {
                Ok(place) if viewer.rate.admit(SHOWN_PER_SECOND_MAX, now) => places.push(place),
                _ => _ = viewer.lost.fetch_add(1, Ordering::Relaxed),
            }
        }
        if places.is_empty() {
            return;
        }
        let Some(sighting) = make().map(Arc::new) else { return };
        for place in places {
            place.send(Arc::clone(&sighting));
        }
    }

    /// Counts what is not even offered.
    pub fn lose(&self, count: usize) {
        for viewer in &self.0 {
            viewer.lost.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

impl View {
    /// What comes next; waits for it so long at most. What was lost is told before what came after it, and within a second.
    pub async fn next(&mut self, quiet_after: Duration) -> Told {
        let mut waited = Duration::ZERO;
        loop {
            match self.lost.swap(0, Ordering::Relaxed) {
                0 if waited >= quiet_after => return Told::Quiet,
                0 => {}
                lost => return Told::Lost(lost),
            }
            let wait = LOSS_TOLD_WITHIN.min(quiet_after);
            match tokio::time::timeout(wait, self.seen.recv()).await {
                Ok(Some(sighting)) => return Told::Seen(sighting),
                Ok(None) => return Told::Ended,
                Err(_) => waited += wait,
            }
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let mut by_source = self.viewers.lock();
        self.viewers.count.fetch_sub(1, Ordering::Relaxed);
        if let Some(viewers) = by_source.get_mut(&self.source) {
            viewers.retain(|viewer| !Arc::ptr_eq(&viewer.lost, &self.lost));
            if viewers.is_empty() {
                by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sighting::Stage;

    const NOW: Timestamp = Timestamp(0);
    const SOON: Duration = Duration::from_millis(1);

    fn sighting() -> Option<Sighting> {
        Some(Sighting::new(Stage::Accepted, NOW, None))
    }

    #[tokio::test]
    async fn a_slow_viewer_is_told_what_it_lost_and_holds_up_nobody() {
        let viewers = Arc::new(Viewers::default());
        let (source, other) = (Id::from_bytes([1; 16]), Id::from_bytes([2; 16]));
        assert!(viewers.of(source).is_none());
        let mut view = viewers.look_on(source).expect("nobody else looks on");
        assert!(viewers.of(other).is_none(), "another source's events are not made for nobody");
        let watched = viewers.of(source).expect("somebody looks on");
        for _ in 0..QUEUE_MAX + 5 {
            watched.show(NOW, sighting);
        }
        assert!(matches!(view.next(SOON).await, Told::Lost(5)));
        for _ in 0..QUEUE_MAX {
            assert!(matches!(view.next(SOON).await, Told::Seen(_)));
        }
        assert!(matches!(view.next(SOON).await, Told::Quiet), "a viewer hears that nothing comes");
        // Fast enough to read, and too much for a second all the same.
        for place in QUEUE_MAX..SHOWN_PER_SECOND_MAX as usize + 3 {
            watched.show(NOW, sighting);
            let told = view.next(SOON).await;
            assert_eq!(matches!(told, Told::Seen(_)), place < SHOWN_PER_SECOND_MAX as usize, "{place}: {told:?}");
        }
        watched.show(Timestamp(1000), sighting);
        assert!(matches!(view.next(SOON).await, Told::Seen(_)));
    }

    #[tokio::test]
    async fn viewers_are_few_and_leave_with_the_process() {
        let viewers = Arc::new(Viewers::default());
        let source = Id::from_bytes([1; 16]);
        let mut views: Vec<_> = (0..VIEWERS_MAX).map(|_| viewers.look_on(source).expect("there is room")).collect();
        assert!(viewers.look_on(source).is_none());
        views.pop();
        assert!(viewers.look_on(source).is_some());
        viewers.close();
        assert!(matches!(views[0].next(SOON).await, Told::Ended));
        views.clear();
        assert!(!viewers.is_any() && viewers.look_on(source).is_none());
    }
}
