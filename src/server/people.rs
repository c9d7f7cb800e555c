//! Who may sign in, and how that is proved: by a password to the pages, by a token to the API.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::config::{PasswordHash, UserSettings};
use crate::domain::access::{Right, Role};
use crate::domain::identifier::hex;
use crate::wire::Clock;

/// How many passwords are checked at once: each check takes some 20 MB for a moment, on purpose.
const CHECKS_AT_ONCE: usize = 2;

/// Failures after which an origin, or a name, has to wait.
const FAILURES: usize = 10;

/// For how long failures count, in seconds.
const WINDOW_SECONDS: i64 = 15 * 60;

/// How many origins and names are remembered; beyond that the count begins anew.
const MOST_REMEMBERED: usize = 100_000;

/// Somebody who may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The name, as decisions have it.
    pub name: String,
    /// What they are to the process.
    pub roles: BTreeSet<Role>,
}

impl Person {
    /// Whether one of the roles grants it.
    pub fn may(&self, right: Right) -> bool {
        self.roles.iter().any(|role| role.grants(right))
    }
}

/// How a try to sign in ended.
#[derive(Debug)]
pub(super) enum SignIn {
    /// It is them.
    Welcome(Arc<Person>),
    /// Name and password do not belong together; which of them is wrong is not told.
    Wrong,
    /// Too many failures: try later.
    TooMany,
}

/// Everybody who may sign in.
#[derive(Debug)]
pub(super) struct People {
    known: Vec<Known>,
    /// Checked where the name is unknown, so that the time does not tell that it is.
    decoy: String,
    checks: Semaphore,
    failures: Mutex<HashMap<String, Vec<i64>>>,
    clock: Clock,
}

#[derive(Debug)]
struct Known {
    person: Arc<Person>,
    password: Option<PasswordHash>,
    token: Option<String>,
    email: Option<String>,
    subject: Option<String>,
}

impl People {
    /// Whether anybody has a password.
    pub fn has_passwords(&self) -> bool {
        self.known.iter().any(|known| known.password.is_some())
    }

    /// Whom an identity provider knows by this subject, or by an address that it knows to be theirs. Who has
    /// a subject is not found by an address, which may come to be somebody else's; an address that several
    /// have is nobody's.
    pub fn by_identity(&self, subject: &str, email: Option<&str>) -> Option<Arc<Person>> {
        let is_subject = |known: &&Known| known.subject.as_deref() == Some(subject);
        let is_address = |known: &&Known| {
            let address = known.email.as_deref().filter(|_| known.subject.is_none());
            address.zip(email).is_some_and(|(own, told)| own.eq_ignore_ascii_case(told))
        };
        if let Some(known) = self.known.iter().find(is_subject) {
            return Some(known.person.clone());
        }
        let mut named = self.known.iter().filter(is_address);
        let known = named.next().filter(|_| named.next().is_none())?;
        Some(known.person.clone())
    }

    /// Whoever has this name, however they would prove it.
    pub fn named(&self, name: &str) -> Option<Arc<Person>> {
        let known = self.known.iter().find(|known| known.person.name == name)?;
        Some(known.person.clone())
    }

    pub fn new(users: &[UserSettings], clock: Clock) -> Self {
        let known = |user: &UserSettings| Known {
            person: Arc::new(Person { name: user.name.clone(), roles: user.roles.clone() }),
            password: user.password.clone(),
            token: user.token.clone(),
            email: user.email.clone(),
            subject: user.subject.clone(),
        };
        Self {
            known: users.iter().map(known).collect(),
            decoy: hash_password("nobody").unwrap_or_default(),
            checks: Semaphore::new(CHECKS_AT_ONCE),
            failures: Mutex::default(),
            clock,
        }
    }

    /// Checks a password. `from` is where the try comes from.
    pub async fn by_password(&self, name: &str, password: &str, from: &str) -> SignIn {
        let places = [format!("from {from}"), format!("as {}", name.to_lowercase())];
        if places.iter().any(|place| self.has_to_wait(place)) {
            return SignIn::TooMany;
        }
        let found = self.known.iter().find(|it| it.person.name.eq_ignore_ascii_case(name));
        let hash = found.and_then(|it| it.password.as_ref()).map(PasswordHash::as_str);
        let is_right = self.is_password(password, hash.unwrap_or(&self.decoy)).await;
        match found {
            Some(known) if is_right && hash.is_some() => SignIn::Welcome(known.person.clone()),
            _ => {
                places.into_iter().for_each(|place| self.note_failure(place));
                SignIn::Wrong
            }
        }
    }

    async fn is_password(&self, password: &str, hash: &str) -> bool {
        let Ok(_permit) = self.checks.acquire().await else { return false };
        let (password, hash) = (password.to_owned(), hash.to_owned());
        let check = tokio::task::spawn_blocking(move || {
            argon2::PasswordHash::new(&hash).is_ok_and(|hash| {
                Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
            })
        });
        check.await.unwrap_or(false)
    }

    /// Whose token it is. Its digest is looked for, so that the time tells nothing of use.
    pub fn by_token(&self, token: &str) -> Option<Arc<Person>> {
        let digest = token_digest(token);
        let known = self.known.iter().find(|it| it.token.as_ref() == Some(&digest));
        known.map(|it| it.person.clone())
    }

    fn has_to_wait(&self, place: &str) -> bool {
        let since = self.clock.now().as_second() - WINDOW_SECONDS;
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let recent =
            failures.get(place).map_or(0, |at| at.iter().filter(|at| **at > since).count());
        recent >= FAILURES
    }

    fn note_failure(&self, place: String) {
        let now = self.clock.now().as_second();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MOST_REMEMBERED {
            failures.retain(|_, at| at.iter().any(|at| *at > now - WINDOW_SECONDS));
        }
        if failures.len() >= MOST_REMEMBERED {
            failures.clear();
        }
        let at = failures.entry(place).or_default();
        at.retain(|at| *at > now - WINDOW_SECONDS);
        at.push(now);
    }
}

/// The argon2id hash of a password in PHC text form, with a fresh salt and the parameters that OWASP
/// recommends (19 MiB, 2 passes, 1 lane: the library's default); `None` where the system has no random
/// bytes or the password is too long.
pub fn hash_password(password: &str) -> Option<String> {
    let hash = Argon2::default().hash_password(password.as_bytes()).ok()?;
    Some(hash.to_string())
}

/// What the configuration keeps of a token: its SHA-256. A token has 256 random bits, which no
/// password has, so that a slow hash would add nothing.
pub fn token_digest(token: &str) -> String {
    hex(&Sha256::digest(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn people() -> (People, Clock) {
        let clock = Clock::manual(Timestamp::from_second(1_000_000).unwrap());
        let user = |name: &str, password: Option<&str>, token: Option<&str>| UserSettings {
            name: name.to_owned(),
            roles: BTreeSet::from([Role::Approver]),
            password: password.and_then(hash_password).and_then(|hash| PasswordHash::parse(&hash)),
            token: token.map(token_digest),
            email: None,
            subject: None,
        };
        let users = [user("ann", Some("right"), None), user("robot", None, Some("t0ken"))];
        (People::new(&users, clock.clone()), clock)
    }

    async fn try_as(people: &People, name: &str, password: &str) -> SignIn {
        people.by_password(name, password, "192.0.2.1").await
    }

    #[tokio::test]
    async fn only_the_right_password_is_welcome() {
        let (people, _) = people();
        assert!(matches!(try_as(&people, "Ann", "right").await, SignIn::Welcome(_)));
        for (name, password) in
            [("ann", "wrong"), ("ann", ""), ("bob", "right"), ("robot", "nobody")]
        {
            assert!(matches!(try_as(&people, name, password).await, SignIn::Wrong), "{name}");
        }
    }

    #[tokio::test]
    async fn who_fails_too_often_has_to_wait_even_with_the_right_password() {
        let (people, clock) = people();
        for _ in 0..FAILURES {
            assert!(matches!(try_as(&people, "ann", "wrong").await, SignIn::Wrong));
        }
        assert!(matches!(try_as(&people, "ann", "right").await, SignIn::TooMany));
        assert!(matches!(people.by_password("ann", "right", "192.0.2.2").await, SignIn::TooMany));
        clock.set(Timestamp::from_second(1_000_000 + WINDOW_SECONDS).unwrap());
        assert!(matches!(try_as(&people, "ann", "right").await, SignIn::Welcome(_)));
    }

    #[test]
    fn an_identity_is_one_persons() {
        let user = |name: &str, email: Option<&str>, subject: Option<&str>| UserSettings {
            name: name.to_owned(),
            roles: BTreeSet::from([Role::Viewer]),
            password: None,
            token: None,
            email: email.map(str::to_owned),
            subject: subject.map(str::to_owned),
        };
        let users = [
            user("ann", Some("ann@a.example"), None),
            user("bob", Some("team@a.example"), None),
            user("cas", Some("team@a.example"), None),
            user("dee", Some("dee@a.example"), Some("s-dee")),
        ];
        let clock = Clock::manual(Timestamp::from_second(1_000_000).unwrap());
        let people = People::new(&users, clock);
        let of = |subject: &str, email: Option<&str>| {
            people.by_identity(subject, email).map(|person| person.name.clone())
        };
        assert_eq!(of("s-1", Some("Ann@A.example")).as_deref(), Some("ann"));
        assert_eq!(of("s-dee", None).as_deref(), Some("dee"));
        assert_eq!(of("s-dee", Some("ann@a.example")).as_deref(), Some("dee"));
        for (subject, email) in [
            ("s-1", None),
            ("s-1", Some("team@a.example")),
            ("s-1", Some("dee@a.example")),
            ("S-DEE", None),
            ("", Some("")),
        ] {
            assert_eq!(of(subject, email), None, "{subject} {email:?}");
        }
    }

    #[test]
    fn a_token_is_known_by_its_digest() {
        let (people, _) = people();
        assert_eq!(
            people.by_token("t0ken").map(|person| person.name.clone()),
            Some("robot".into())
        );
        assert!(people.by_token("").is_none() && people.by_token("T0ken").is_none());
    }
}
