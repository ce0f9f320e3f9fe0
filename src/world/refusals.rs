//! Which refusals are put on record, and how many are not: nobody is to fill the disk by being refused.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::memory::Shares;

/// So many seconds' worth may come at once: what happens now and then is on record to the last one.
const BURST_S: u32 = 60;

/// What of the refusals of one process goes on record.
pub struct RefusalsOnRecord {
    requests: Shares,
    /// Apart from the others, so that noise hides no guessing. How often one address may guess is bounded elsewhere.
    passwords: governor::DefaultDirectRateLimiter,
    left_out: Mutex<BTreeMap<&'static str, u64>>,
}

impl RefusalsOnRecord {
    pub(super) fn new(per_second_max: u32) -> RefusalsOnRecord {
        RefusalsOnRecord {
            requests: Shares::new(per_second_max, quota),
            passwords: governor::RateLimiter::direct(quota(NonZeroU32::new(per_second_max).unwrap_or(NonZeroU32::MIN))),
            left_out: Mutex::default(),
        }
    }

    /// Counts the refusal of a request from an address. `false` if there were too many: then only its reason is kept.
    pub fn admit_request(&self, address: IpAddr, reason: &'static str) -> bool {
        self.requests.admit(address) || self.leave_out(reason)
    }

    /// As `admit_request`, for a wrong password.
    pub fn admit_password(&self, reason: &'static str) -> bool {
        self.passwords.check().is_ok() || self.leave_out(reason)
    }

    fn leave_out(&self, reason: &'static str) -> bool {
        metrics::counter!("deputy_refusals_unrecorded_total").increment(1);
        self.put_back(BTreeMap::from([(reason, 1)]));
        false
    }

    /// How many were left out since the last time, by reason.
    pub fn take_left_out(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut *self.left_out())
    }

    /// Counts what was taken and could not be told.
    pub fn put_back(&self, counts: BTreeMap<&'static str, u64>) {
        let mut left_out = self.left_out();
        for (reason, count) in counts {
            *left_out.entry(reason).or_default() += count;
        }
    }

    fn left_out(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        // Nothing panics while it holds the lock, so a poisoned one is still whole.
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn quota(per_second: NonZeroU32) -> governor::Quota {
    governor::Quota::per_second(per_second)
        .allow_burst(per_second.saturating_mul(NonZeroU32::new(BURST_S).unwrap_or(NonZeroU32::MIN)))
}
