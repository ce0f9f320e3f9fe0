//! Log time: how late it is by the records themselves, whatever the wall's clock says.
//!
//! It never goes back. When it leaps, a server's clock may be wrong, and to believe it would empty the window at once: so a leap
//! counts only after the records have gone on from there for a while, none of them denying it. Until then less expires, no more.

use crate::domain::time::Timestamp;
use std::time::Duration;

/// An advance of more is a leap, and this is how much further it must go to be believed.
const LEAP: Duration = Duration::from_hours(24);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// Nothing before the first record.
    pub now: Option<Timestamp>,
    leapt_to: Option<Timestamp>,
}

impl Clock {
    pub(super) fn at(now: Option<Timestamp>) -> Clock {
        Clock { now, leapt_to: None }
    }

    /// Takes note of a record's time.
    pub(super) fn tell(&mut self, at: Timestamp) {
        let now = *self.now.get_or_insert(at);
        if at.since(now) <= LEAP {
            self.leapt_to = None;
            self.now = Some(now.max(at));
        } else if at.since(*self.leapt_to.get_or_insert(at)) >= LEAP {
            *self = Clock::at(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_leap_counts_when_time_has_gone_on_from_there() {
        for (told_h, now_h, why) in [
            (vec![5], 5, "the first record"),
            (vec![5, 7, 6], 7, "it never goes back"),
            (vec![5, 28, 40], 40, "no leap"),
            (vec![5, 700, 710], 5, "not believed yet"),
            (vec![5, 700, 710, 724], 724, "believed"),
            (vec![5, 700, 6, 724, 7], 7, "denied"),
            (vec![5, 53, 101], 101, "a record every other day"),
        ] {
            let mut clock = Clock::default();
            told_h.iter().for_each(|hour| clock.tell(Timestamp(hour * HOUR)));
            assert_eq!(clock.now, Some(Timestamp(now_h * HOUR)), "{why}");
        }
    }
}
