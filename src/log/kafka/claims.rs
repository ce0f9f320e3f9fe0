//! The claims that this node holds: for each a thread that commits, and the cursor as it was committed last.

use super::super::{Answer, Claim, Cursor, LogError, Position, Record};
use super::cluster::{CURSORS, Cluster, bytes_of};
use super::cursors::Table;
use super::group::Share;
use super::transaction::{Job, Transactor};
use super::{aside, unavailable};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

/// How long those claims that can be had wait for one that is being taken. It goes on meanwhile, and is there later.
const TAKE_WAIT: Duration = Duration::from_secs(1);
/// How long a claim that could not be taken is left alone.
const TAKE_REST: Duration = Duration::from_secs(3);

pub(super) struct Claims {
    cluster: Arc<Cluster>,
    slots: Mutex<HashMap<(String, String), Arc<Slot>>>,
    table: Arc<Mutex<Table>>,
    /// Of the claim that was taken last.
    epoch: AtomicU64,
    waiting_bytes: Arc<AtomicUsize>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// One cursor.
#[derive(Default)]
pub(super) struct Slot {
    /// Only one at a time takes the claim.
    taking: tokio::sync::Mutex<()>,
    held: Mutex<Option<Held>>,
    /// Why the claim could not be taken the last time, and when that was.
    trouble: Mutex<Option<(Instant, LogError)>>,
}

struct Held {
    epoch: u64,
    /// Of the group's assignment, if it stands under one.
    turn: Option<u64>,
    cursor: Option<u64>,
    jobs: mpsc::Sender<Job>,
}

impl Claims {
    pub(super) fn new(cluster: Arc<Cluster>) -> Claims {
        Claims {
            cluster,
            slots: Mutex::default(),
            table: Arc::default(),
            epoch: AtomicU64::new(0),
            waiting_bytes: Arc::default(),
            threads: Mutex::default(),
        }
    }

    /// The claim that is held, or else it is taken.
    pub(super) async fn hold(&self, consumer: &str, input: &str, share: Option<Share>) -> Result<Claim, LogError> {
        let slot = self.slot(consumer, input);
        let _taking = slot.taking.lock().await;
        let turn = share.as_ref().map(|share| share.turn);
        let epoch = match slot.kept(turn) {
            Some(epoch) => epoch,
            None => self.take(&slot, consumer, input, share).await?,
        };
        Ok(claim(consumer, input, epoch))
    }

    /// The claims to those inputs that are held, or can be taken soon. Trouble with one holds up no other.
    ///
    /// # Errors
    /// If none is there, why one of them cannot be taken.
    pub(super) async fn hold_each(self: &Arc<Self>, consumer: &str, shares: Vec<(String, Share)>) -> Result<Vec<Claim>, LogError> {
        let (mut claims, mut taken, mut trouble) = (Vec::with_capacity(shares.len()), Vec::new(), None);
        for (input, share) in shares {
            let slot = self.slot(consumer, &input);
            if let Some(epoch) = slot.kept(Some(share.turn)) {
                claims.push(claim(consumer, &input, epoch));
            } else if let Some(error) = slot.rests() {
                trouble = Some(error);
            } else if slot.taking.try_lock().is_ok() {
                // Otherwise it is being taken already.
                let (this, consumer) = (self.clone(), consumer.to_owned());
                taken.push(tokio::spawn(async move {
                    let held = this.hold(&consumer, &input, Some(share)).await;
                    slot.note(&consumer, &input, held.as_ref().err());
                    held
                }));
            }
        }
        let until = tokio::time::Instant::now() + TAKE_WAIT;
        for taking in taken {
            match timeout_at(until, taking).await {
                Ok(Ok(Ok(claim))) => claims.push(claim),
                Ok(Ok(Err(error))) => trouble = Some(error),
                Ok(Err(error)) => trouble = Some(unavailable(error)),
                // It is not given up.
                Err(_) => {}
            }
        }
        claims.sort_unstable_by_key(|claim| claim.partition);
        match trouble {
            Some(error) if claims.is_empty() => Err(error),
            _ => Ok(claims),
        }
    }

    /// As `Log::commit`, under the claim that the cursor comes from.
    pub(super) fn commit(&self, topic: &str, partitions: u16, outputs: Vec<Record>, cursor: Cursor) -> Answer<Vec<Position>> {
        let slot = self.slot(&cursor.consumer, &cursor.input);
        let jobs = slot.held(|held| (cursor.epoch == Some(held.epoch)).then(|| held.jobs.clone())).flatten();
        let Some(jobs) = jobs else { return Box::pin(std::future::ready(Err(LogError::Fenced))) };
        let bytes = bytes_of(&outputs);
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::SeqCst);
        if before > 0 && before + bytes > self.cluster.settings.queue_bytes_max {
            self.waiting_bytes.fetch_sub(bytes, Ordering::SeqCst);
            return Box::pin(std::future::ready(Err(LogError::Busy)));
        }
        let (answer, answered) = oneshot::channel();
        // A thread that has ended drops the job, which is the answer.
        let _ = jobs.send(Job { topic: topic.to_owned(), partitions, outputs, cursor, answer });
        let waiting_bytes = self.waiting_bytes.clone();
        // Counted to the end also where nobody waits for the answer.
        let counted = tokio::spawn(async move {
            let outcome = answered.await.unwrap_or(Err(LogError::Fenced));
            waiting_bytes.fetch_sub(bytes, Ordering::SeqCst);
            outcome
        });
        Box::pin(async move { counted.await.map_err(unavailable)? })
    }

    /// As `Log::commit` of a cursor without a claim: takes it first and gives it up afterwards. Under a claim of its own, to a topic
    /// that had to be made first, it is an ordinary commit.
    pub(super) async fn commit_anyway(
        &self,
        topic: &str,
        partitions: u16,
        outputs: Vec<Record>,
        cursor: Cursor,
    ) -> Result<Vec<Position>, LogError> {
        if cursor.epoch.is_some() {
            return self.commit(topic, partitions, outputs, cursor).await;
        }
        let slot = self.slot(&cursor.consumer, &cursor.input);
        let _taking = slot.taking.lock().await;
        let epoch = self.take(&slot, &cursor.consumer, &cursor.input, None).await?;
        let committed = self.commit(topic, partitions, outputs, Cursor { epoch: Some(epoch), ..cursor }).await;
        slot.end(epoch);
        committed
    }

    /// The cursor of a claim that is held is known; any other is read.
    pub(super) async fn cursor(&self, consumer: &str, input: &str) -> Result<Option<u64>, LogError> {
        self.cluster.check_open()?;
        if let Some(known) = self.slot(consumer, input).held(|held| held.cursor) {
            return Ok(known);
        }
        self.read(consumer, input).await
    }

    pub(super) async fn cursors(&self) -> Result<Vec<Cursor>, LogError> {
        self.refreshed(Table::all).await
    }

    /// Finishes what is queued and waits for it.
    pub(super) fn close(&self) {
        self.close_soon();
        let threads = std::mem::take(&mut *self.threads.lock().expect("no holder of this lock panics"));
        for thread in threads {
            // One that has panicked has told its callers by dropping their jobs.
            let _ = thread.join();
        }
    }

    /// Lets every thread end when it has finished what is queued.
    pub(super) fn close_soon(&self) {
        for slot in self.slots.lock().expect("no holder of this lock panics").values() {
            slot.held.lock().expect("no holder of this lock panics").take();
        }
    }

    async fn take(&self, slot: &Arc<Slot>, consumer: &str, input: &str, share: Option<Share>) -> Result<u64, LogError> {
        self.cluster.check_open()?;
        self.cluster.partitions(CURSORS).await?;
        let epoch = self.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        let id = self.cluster.name(&format!("{consumer}.{input}"));
        let turn = share.as_ref().map(|share| share.turn);
        let (jobs, queue) = mpsc::channel();
        let (ready, is_ready) = oneshot::channel();
        let (cluster, its_slot) = (self.cluster.clone(), slot.clone());
        let thread = std::thread::Builder::new().name("log-claim".to_owned()).spawn(move || {
            match Transactor::take(cluster, &id, share) {
                Ok(transactor) => {
                    // Whoever no longer waits drops the queue's other end too.
                    let _ = ready.send(Ok(()));
                    work(&transactor, &queue, &its_slot, epoch);
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        })?;
        self.keep(thread);
        is_ready.await.map_err(unavailable)??;
        let cursor = self.read(consumer, input).await?;
        *slot.held.lock().expect("no holder of this lock panics") = Some(Held { epoch, turn, cursor, jobs });
        // Closed meanwhile: then nobody else would end the thread.
        self.cluster.check_open().inspect_err(|_| slot.end(epoch))?;
        Ok(epoch)
    }

    fn keep(&self, thread: JoinHandle<()>) {
        let mut threads = self.threads.lock().expect("no holder of this lock panics");
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
    }

    async fn read(&self, consumer: &str, input: &str) -> Result<Option<u64>, LogError> {
        let (consumer, input) = (consumer.to_owned(), input.to_owned());
        self.refreshed(move |table| table.value(&consumer, &input)).await
    }

    async fn refreshed<T: Send + 'static>(&self, ask: impl FnOnce(&Table) -> T + Send + 'static) -> Result<T, LogError> {
        self.cluster.partitions(CURSORS).await?;
        let (cluster, table) = (self.cluster.clone(), self.table.clone());
        aside(move || {
            let mut table = table.lock().expect("no holder of this lock panics");
            table.refresh(&cluster)?;
            Ok(ask(&table))
        })
        .await
    }

    fn slot(&self, consumer: &str, input: &str) -> Arc<Slot> {
        let mut slots = self.slots.lock().expect("no holder of this lock panics");
        slots.entry((consumer.to_owned(), input.to_owned())).or_default().clone()
    }
}

impl Slot {
    fn held<T>(&self, ask: impl FnOnce(&Held) -> T) -> Option<T> {
        self.held.lock().expect("no holder of this lock panics").as_ref().map(ask)
    }

    /// The epoch of the claim that is held in this turn. Of another turn: the partition was somebody else's in between.
    fn kept(&self, turn: Option<u64>) -> Option<u64> {
        self.held(|held| (held.turn == turn).then_some(held.epoch)).flatten()
    }

    /// Why the claim is left alone for now, if it is.
    fn rests(&self) -> Option<LogError> {
        let trouble = self.trouble.lock().expect("no holder of this lock panics");
        trouble.as_ref().filter(|(met_at, _)| met_at.elapsed() < TAKE_REST).map(|(_, error)| error.clone())
    }

    /// Keeps in mind whether the claim could be taken. Trouble is told when it begins and when it is over.
    fn note(&self, consumer: &str, input: &str, error: Option<&LogError>) {
        let mut trouble = self.trouble.lock().expect("no holder of this lock panics");
        match (error, trouble.is_some()) {
            (Some(error), false) if *error != LogError::Closed => {
                tracing::warn!(consumer, input, %error, "a claim cannot be taken: this part stands still, and the others go on");
            }
            (None, true) => tracing::info!(consumer, input, "a claim could be taken again"),
            _ => {}
        }
        *trouble = error.map(|error| (Instant::now(), error.clone()));
    }

    /// Gives the claim up, if it is still that one.
    pub(super) fn end(&self, epoch: u64) {
        self.held.lock().expect("no holder of this lock panics").take_if(|held| held.epoch == epoch);
    }
}

fn claim(consumer: &str, input: &str, epoch: u64) -> Claim {
    let partition = Cursor::partition_of(input).map_or(0, |(_, partition)| partition);
    Claim { consumer: consumer.to_owned(), input: input.to_owned(), partition, epoch }
}

/// Commits one job after the other, until nobody can send another or one fails.
fn work(transactor: &Transactor, queue: &mpsc::Receiver<Job>, slot: &Slot, epoch: u64) {
    while let Ok(job) = queue.recv() {
        let committed = transactor.commit(&job);
        let has_failed = committed.is_err();
        match &committed {
            Ok(_) => {
                let mut held = slot.held.lock().expect("no holder of this lock panics");
                if let Some(held) = held.as_mut().filter(|held| held.epoch == epoch) {
                    held.cursor = Some(job.cursor.next);
                }
            }
            Err(error) => {
                tracing::warn!(consumer = job.cursor.consumer, input = job.cursor.input, %error, "a claim ends with its commit");
                slot.end(epoch);
            }
        }
        // Whoever no longer waits has no use for the answer.
        let _ = job.answer.send(committed);
        if has_failed {
            return;
        }
    }
}
