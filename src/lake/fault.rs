//! A lake that fails as it is told, or lies about what it honours: a double for tests and simulations.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::count::Method;
use super::segments::{failed_edit, segments};
use super::{
    Attributes, Base, ByteStream, Capabilities, Lake, LakeError, LakeErrorKind, Staging, Target,
    VersionStream, Write, WriteError,
};
use crate::domain::edit::Edit;
use crate::domain::object::{ListedVersion, ObjectKey, ObjectVersion};

/// When a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before the store was asked; a write is certainly unchanged.
    Before,
    /// The question was lost on its way: nothing happened, but a write cannot know.
    QuestionLost,
    /// The answer was lost: it happened, but a write cannot know.
    AnswerLost,
    /// A read or a listing breaks off after its first item. Other methods lose their answer.
    Midway,
    /// A read ends after its first piece as if that were all. Other methods lose their answer.
    Short,
}

/// Which call fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Of which method; `None`: of any, counted together.
    pub method: Option<Method>,
    /// The how-manieth call, from 1.
    pub call: u64,
    /// Whether every later call fails as well.
    pub forever: bool,
    /// At which moment.
    pub when: When,
    /// With which kind of error.
    pub kind: LakeErrorKind,
}

/// How an endpoint lies about the conditions of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It ignores them.
    Ignores,
    /// It looks at them when the write begins, and not again when it commits.
    Races,
}

/// Another lake that fails by a script.
#[derive(Debug)]
pub struct Fault {
    inner: Arc<dyn Lake>,
    lie: Option<Lie>,
    script: Mutex<Script>,
}

#[derive(Debug, Default)]
struct Script {
    calls: Vec<Method>,
    failures: Vec<Failure>,
}

impl Fault {
    /// Fails never, until it is told to.
    pub fn new(inner: Arc<dyn Lake>) -> Self {
        Self { inner, lie: None, script: Mutex::default() }
    }

    /// Lies about what it honours.
    #[must_use]
    pub fn lying(self, lie: Lie) -> Self {
        Self { lie: Some(lie), ..self }
    }

    /// Adds to the script. Calls made before count.
    pub fn fail(&self, failure: Failure) {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).failures.push(failure);
    }

    /// How many calls were made, of a method or (`None`) of all together.
    pub fn calls(&self, method: Option<Method>) -> u64 {
        let script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        count(&script.calls, method)
    }

    /// Notes a call, and answers how it is to fail.
    fn strike(&self, method: Method) -> Option<(When, LakeError)> {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.calls.push(method);
        let script = &*script;
        let hit = script.failures.iter().find(|failure| {
            let call = count(&script.calls, failure.method);
            let concerns = failure.method.is_none_or(|concerned| concerned == method);
            concerns && (call == failure.call || (failure.forever && call > failure.call))
        })?;
        let error = LakeError::new(hit.kind, format!("{method:?} fails as the test wants it"));
        Some((hit.when, error))
    }

    /// Fails a call that answers once.
    async fn once<T, F>(&self, method: Method, call: F) -> Result<T, LakeError>
    where
        F: Future<Output = Result<T, LakeError>> + Send,
    {
        match self.strike(method) {
            None => call.await,
            Some((When::Before | When::QuestionLost, error)) => Err(error),
            Some((When::AnswerLost | When::Midway | When::Short, error)) => {
                drop(call.await);
                Err(error)
            }
        }
    }

    /// The write as an endpoint carries it out that lies.
    async fn corrupted(&self, lie: Lie, write: Write) -> Result<Write, WriteError> {
        let Write { key, base, mut edit, .. } = write;
        if lie == Lie::Races {
            let is_met = match (&base, self.whatever_is_there(&key).await) {
                (Base::Absent, Base::Absent) => true,
                (Base::Version(base), Base::Version(now)) => now.is_same_version(base),
                _ => false,
            };
            if !is_met {
                let error = LakeError::about(LakeErrorKind::Drifted, &key, "it is another");
                return Err(WriteError::unchanged(error));
            }
            let made: Result<Vec<_>, _> = segments(edit).try_collect().await;
            let failed = |error| WriteError::unchanged(failed_edit(&key, error));
            edit = Edit::new(made.map_err(failed)?);
        }
        let base = self.whatever_is_there(&key).await;
        Ok(Write { key, base, edit, ..write })
    }

    /// What an endpoint that ignores preconditions takes for the base.
    async fn whatever_is_there(&self, key: &ObjectKey) -> Base {
        match self.inner.attributes(Target::Current(key)).await {
            Ok(attributes) => Base::Version(attributes.object),
            Err(_) => Base::Absent,
        }
    }
}

fn count(calls: &[Method], method: Option<Method>) -> u64 {
    let concerned = |called: &&Method| method.is_none_or(|method| method == **called);
    calls.iter().filter(concerned).count() as u64
}

#[async_trait]
impl Lake for Fault {
    fn location(&self) -> &str {
        self.inner.location()
    }

    async fn capabilities(&self) -> Result<Capabilities, LakeError> {
        self.once(Method::Capabilities, self.inner.capabilities()).await
    }

    fn list(&self, prefix: &[u8]) -> VersionStream {
        match self.strike(Method::List) {
            None => self.inner.list(prefix),
            Some((When::Midway, error)) => {
                let broken = stream::once(async { Err(error) });
                self.inner.list(prefix).take(1).chain(broken).boxed()
            }
            Some((_, error)) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn versions(&self, key: &ObjectKey) -> Result<Vec<ListedVersion>, LakeError> {
        self.once(Method::Versions, self.inner.versions(key)).await
    }

    async fn attributes(&self, target: Target<'_>) -> Result<Attributes, LakeError> {
        self.once(Method::Attributes, self.inner.attributes(target)).await
    }

    async fn read(
        &self,
        object: &ObjectVersion,
        range: Range<u64>,
    ) -> Result<ByteStream, LakeError> {
        match self.strike(Method::Read) {
            None => self.inner.read(object, range).await,
            Some((When::Short, _)) => Ok(self.inner.read(object, range).await?.take(1).boxed()),
            Some((When::Midway, error)) => {
                let broken = stream::once(async { Err(error) });
                Ok(self.inner.read(object, range).await?.take(1).chain(broken).boxed())
            }
            Some((_, error)) => Err(error),
        }
    }

    async fn write(&self, mut write: Write) -> Result<ObjectVersion, WriteError> {
        let struck = self.strike(Method::Write);
        match struck {
            Some((When::Before, error)) => return Err(WriteError::unchanged(error)),
            Some((When::QuestionLost, error)) => return Err(WriteError::unknown(error)),
            _ => {}
        }
        if let Some(lie) = self.lie {
            write = self.corrupted(lie, write).await?;
        }
        let written = self.inner.write(write).await;
        match struck {
            None => written,
            Some((_, error)) => Err(WriteError::unknown(error)),
        }
    }

    async fn abandon(&self, key: &ObjectKey, staging: &Staging) -> Result<(), LakeError> {
        self.once(Method::Abandon, self.inner.abandon(key, staging)).await
    }

    async fn delete_version(&self, object: &ObjectVersion) -> Result<(), LakeError> {
        self.once(Method::DeleteVersion, self.inner.delete_version(object)).await
    }
}
