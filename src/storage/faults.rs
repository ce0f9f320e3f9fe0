//! Misfortunes that the simulator may order, for either engine: a full disk, a slow one, a crash on either side of a commit.
//!
//! Looked at once per commit; an installation never orders any.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A handle to order misfortunes with; clones order from the same list.
#[derive(Clone, Default)]
pub struct Faults {
    /// False while nothing is ordered, so that looking costs one load.
    armed: Arc<AtomicBool>,
    orders: Arc<Mutex<Orders>>,
}

#[derive(Default)]
struct Orders {
    full_commits: u32,
    slow_commits: u32,
    slowness: Duration,
    crash: Option<CrashPoint>,
    /// Commits that go well before it.
    commits_spared: u32,
}

/// When the process is to "die".
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum CrashPoint {
    Before,
    After,
    /// The commit under way is the one.
    AfterThis,
}

/// What becomes of a commit.
pub(super) enum Fate {
    Proceeds,
    MeetsFullDisk,
    Crashes,
}

impl Faults {
    /// The next `count` commits find the disk full.
    pub fn fail_commits(&self, count: u32) {
        self.order(|orders| orders.full_commits = count);
    }

    /// The next `count` commits take `slowness` longer.
    pub fn slow_commits(&self, count: u32, slowness: Duration) {
        self.order(|orders| (orders.slow_commits, orders.slowness) = (count, slowness));
    }

    /// After `commits_spared` more commits the storage dies just before the next: nothing of that survives, and nobody is answered.
    pub fn crash_before_commit(&self, commits_spared: u32) {
        self.order(|orders| (orders.crash, orders.commits_spared) = (Some(CrashPoint::Before), commits_spared));
    }

    /// After `commits_spared` more commits the storage dies just after the next: all of that survives, and nobody is answered.
    pub fn crash_after_commit(&self, commits_spared: u32) {
        self.order(|orders| (orders.crash, orders.commits_spared) = (Some(CrashPoint::After), commits_spared));
    }

    pub(super) fn before_commit(&self) -> Fate {
        let Some(mut orders) = self.ordered() else { return Fate::Proceeds };
        match (orders.crash, orders.commits_spared.checked_sub(1)) {
            (Some(CrashPoint::Before), None) => return Fate::Crashes,
            (Some(CrashPoint::After), None) => orders.crash = Some(CrashPoint::AfterThis),
            (_, Some(left)) => orders.commits_spared = left,
            (_, None) => {}
        }
        match orders.full_commits.checked_sub(1) {
            Some(left) => {
                orders.full_commits = left;
                Fate::MeetsFullDisk
            }
            None => Fate::Proceeds,
        }
    }

    /// By how much the next commit is to take longer.
    pub(super) fn slowness(&self) -> Option<Duration> {
        let mut orders = self.ordered()?;
        orders.slow_commits = orders.slow_commits.checked_sub(1)?;
        Some(orders.slowness)
    }

    pub(super) fn crashes_after_commit(&self) -> bool {
        self.ordered().is_some_and(|orders| orders.crash == Some(CrashPoint::AfterThis))
    }

    /// True once the next commit is not to happen; asked before a transaction starts.
    pub(super) fn crashes_now(&self) -> bool {
        self.ordered().is_some_and(|orders| orders.crash == Some(CrashPoint::Before) && orders.commits_spared == 0)
    }

    fn order(&self, order: impl FnOnce(&mut Orders)) {
        order(&mut self.lock());
        self.armed.store(true, Ordering::Release);
    }

    fn ordered(&self) -> Option<MutexGuard<'_, Orders>> {
        self.armed.load(Ordering::Acquire).then(|| self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().expect("nobody panics while holding the orders")
    }
}
