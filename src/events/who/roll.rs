//! What sightings come to: who becomes what, worked out in memory on the part of the actors that they touch.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::sighting::{Sighting, What};
use crate::{
    domain::{
        actor::{
            ActorKind,
            evidence::{ActorState, Evidence, Observed, Seen},
        },
        client::ClientId,
        event::Fact,
        secret::Digest,
        time::Timestamp,
    },
    storage::actors::StoredActor,
};

/// The actors that sightings are about, by the digests of their ids.
#[derive(Default)]
pub(super) struct Roll {
    known: HashMap<[u8; 32], StoredActor>,
    changed: HashSet<[u8; 32]>,
    gone: HashSet<[u8; 32]>,
    /// What is to be told of it.
    pub facts: Vec<Fact>,
    /// What agents are from now on.
    pub kinds: BTreeMap<ClientId, Became>,
}

/// What an agent has become.
pub(super) struct Became {
    pub kind: ActorKind,
    pub since: Timestamp,
    /// When an operator last said what it is, or took that back.
    pub spoken_at: Option<Timestamp>,
}

impl Roll {
    pub(super) fn of(stored: Vec<StoredActor>) -> Roll {
        Roll { known: stored.into_iter().map(|stored| (stored.digest.0, stored)).collect(), ..Roll::default() }
    }

    /// Lets a sighting have its effect.
    pub(super) fn take_in(&mut self, digest: Digest, sighting: &Sighting) {
        match &sighting.what {
            What::Seen(seen) => self.see(digest, sighting, seen),
            What::Gone => {
                if self.known.get(&digest.0).is_some_and(|known| !known.state.outlives_its_client()) {
                    self.known.remove(&digest.0);
                    self.changed.remove(&digest.0);
                    self.gone.insert(digest.0);
                }
            }
        }
    }

    fn see(&mut self, digest: Digest, sighting: &Sighting, seen: &Seen) {
        let collection = sighting.actor.collection();
        let earlier = self.known.get(&digest.0);
        let was = earlier.map(|known| known.kind);
        if was.is_none() && !seen.observed.is_proof_of_existence() {
            return;
        }
        let mut state: ActorState = earlier.map(|known| known.state.clone()).unwrap_or_default();
        if !state.observe(collection, seen) {
            return;
        }
        let kind = state.kind(collection);
        let since = earlier.filter(|known| known.kind == kind).map_or(seen.at, |known| known.since);
        if let Some(client) = sighting.actor.client() {
            let is_word = |evidence| matches!(evidence, Evidence::OperatorSaid | Evidence::OperatorLifted);
            let spoken_at = state.history().iter().filter(|finding| is_word(finding.evidence)).map(|finding| finding.at).max();
            self.kinds.insert(client, Became { kind, since, spoken_at });
        }
        self.tell(sighting, seen, was, kind, state.history().last().map(|finding| finding.evidence));
        self.known.insert(digest.0, StoredActor { digest, actor: sighting.actor.clone(), kind, since, state });
        self.changed.insert(digest.0);
    }

    fn tell(&mut self, sighting: &Sighting, seen: &Seen, was: Option<ActorKind>, kind: ActorKind, evidence: Option<Evidence>) {
        let (actor, event) = (sighting.actor.clone(), seen.event);
        // An operator's word is a fact already; and that somebody new is what nearly everybody is, is no news.
        let is_by_word = matches!(seen.observed, Observed::Said { .. } | Observed::Lifted);
        let is_news = match was {
            Some(was) => was != kind,
            None => matches!(kind, ActorKind::Rogue | ActorKind::BotPosingAsPerson),
        };
        if let Some(evidence) = evidence.filter(|_| is_news && !is_by_word) {
            self.facts.push(Fact::ActorKindChanged { actor, kind, was, evidence, event });
        }
    }

    /// Everybody whose row changes, known or gone.
    pub(super) fn touched(&self) -> HashSet<[u8; 32]> {
        self.changed.union(&self.gone).copied().collect()
    }

    /// What to write, and whom to forget before that.
    pub(super) fn finish(self) -> (Vec<StoredActor>, Vec<Digest>) {
        let Roll { mut known, changed, gone, .. } = self;
        (changed.iter().filter_map(|digest| known.remove(digest)).collect(), gone.into_iter().map(Digest).collect())
    }
}
