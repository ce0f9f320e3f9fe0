//! The timer by which hyper waits for the head of a request.
//!
//! Hyper wants a new alarm for each request, and throws it away when the head is there. To set and cancel an alarm of the runtime
//! takes locks that all connections share; so each connection has one, which is set again only when it rings and it is too early.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};

/// The timer of one connection. The alarms that are asked of it come one after another, each for a later time.
#[derive(Clone)]
pub(super) struct HeadTimer {
    alarm: Arc<Mutex<Pin<Box<tokio::time::Sleep>>>>,
}

impl HeadTimer {
    /// The timer of a connection whose heads may take so long.
    pub(super) fn new(timeout: Duration) -> HeadTimer {
        HeadTimer { alarm: Arc::new(Mutex::new(Box::pin(tokio::time::sleep(timeout)))) }
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Wait { timer: self.clone(), deadline })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

/// Until one deadline. Nothing is to be undone when it is dropped: the alarm rings early for whoever waits next.
struct Wait {
    timer: HeadTimer,
    deadline: Instant,
}

impl Sleep for Wait {}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut alarm = self.timer.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        while alarm.deadline().into_std() < self.deadline {
            ready!(alarm.as_mut().poll(context));
            alarm.as_mut().reset(self.deadline.into());
        }
        alarm.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn a_wait_ends_at_its_own_deadline_though_the_alarm_was_set_for_one_before() {
        let timer = HeadTimer::new(TIMEOUT);
        for _ in 0..3 {
            drop(timer.sleep(TIMEOUT));
            let deadline = timer.now() + 2 * TIMEOUT;
            timer.sleep_until(deadline).await;
            assert!(timer.now() >= deadline);
        }
    }
}
