//! Who is signed in. Sessions live in memory: a restart signs everybody out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::domain::Timestamp;
use crate::domain::identifier::hex;
use crate::wire::Clock;

use super::people::Person;

/// For how long a session lasts at most, in seconds.
const LONGEST_SECONDS: i64 = 12 * 60 * 60;

/// How many sessions there may be at once; the one that rested longest ends for a further one.
const MOST: usize = 10_000;

/// The digest of a session's token: a memory dump or a timing tells nothing about the token itself.
pub(super) type SessionKey = [u8; 32];

/// A session, as who looks it up needs it.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Whose it is.
    pub person: Arc<Person>,
    /// What every form of this session has to carry, so that no other site can send one.
    pub form_token: Arc<str>,
    began_at: Timestamp,
    seen_at: Timestamp,
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    held: Mutex<HashMap<SessionKey, Session>>,
    idle_seconds: i64,
    clock: Clock,
}

impl Sessions {
    pub fn new(idle_seconds: u64, clock: Clock) -> Self {
        let idle_seconds = i64::try_from(idle_seconds).unwrap_or(LONGEST_SECONDS);
        Self { held: Mutex::default(), idle_seconds, clock }
    }

    /// Begins a session, and answers with its token; `None` where the system has no random bytes.
    pub fn begin(&self, person: Arc<Person>) -> Option<String> {
        let (token, form_token) = (random_token()?, random_token()?);
        let now = self.clock.now();
        let form_token = form_token.into();
        let session = Session { person, form_token, began_at: now, seen_at: now };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, session| self.lasts(session, now));
        if held.len() >= MOST {
            let oldest =
                held.iter().min_by_key(|(_, session)| session.seen_at).map(|(key, _)| *key);
            oldest.and_then(|key| held.remove(&key));
        }
        held.insert(key_of(&token), session);
        Some(token)
    }

    /// The session of a token, which is in use again by this.
    pub fn find(&self, token: &str) -> Option<(SessionKey, Session)> {
        let now = self.clock.now();
        let key = key_of(token);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let session = held.get_mut(&key)?;
        if !self.lasts(session, now) {
            held.remove(&key);
            return None;
        }
        session.seen_at = now;
        Some((key, session.clone()))
    }

    /// Ends a session.
    pub fn end(&self, key: &SessionKey) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn lasts(&self, session: &Session, now: Timestamp) -> bool {
        let since = |then: Timestamp| now.as_second() - then.as_second();
        since(session.seen_at) < self.idle_seconds && since(session.began_at) < LONGEST_SECONDS
    }
}

fn key_of(token: &str) -> SessionKey {
    Sha256::digest(token).into()
}

/// 256 random bits in hexadecimal.
fn random_token() -> Option<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn sessions() -> (Sessions, Clock, Arc<Person>) {
        let clock = Clock::manual(Timestamp::from_second(1_000_000).unwrap());
        let person = Arc::new(Person { name: "ann".to_owned(), roles: BTreeSet::new() });
        (Sessions::new(60, clock.clone()), clock, person)
    }

    fn pass(clock: &Clock, seconds: i64) {
        clock.set(Timestamp::from_second(clock.now().as_second() + seconds).unwrap());
    }

    #[test]
    fn a_session_ends_when_nothing_happens() {
        let (sessions, clock, person) = sessions();
        let token = sessions.begin(person).unwrap();
        pass(&clock, 59);
        assert!(sessions.find(&token).is_some());
        pass(&clock, 59);
        assert!(sessions.find(&token).is_some());
        pass(&clock, 60);
        assert!(sessions.find(&token).is_none());
    }

    #[test]
    fn a_session_ends_whatever_happens() {
        let (sessions, clock, person) = sessions();
        let token = sessions.begin(person).unwrap();
        for _ in 0..LONGEST_SECONDS / 30 - 1 {
            pass(&clock, 30);
            assert!(sessions.find(&token).is_some());
        }
        pass(&clock, 30);
        assert!(sessions.find(&token).is_none());
    }

    #[test]
    fn who_signs_out_is_out() {
        let (sessions, _, person) = sessions();
        let token = sessions.begin(person).unwrap();
        let (key, _) = sessions.find(&token).unwrap();
        sessions.end(&key);
        assert!(sessions.find(&token).is_none());
        assert!(sessions.find("").is_none());
    }
}
