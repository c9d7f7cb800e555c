//! What a folder and its file system let Lacuna do.

use futures::StreamExt as _;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{DirectoryLake, Root, system};
use crate::clock::Clock;
use crate::domain::finding::{self, Check, Finding, untried};
use crate::domain::identifier::hex;
use crate::domain::scope::PROBE_PREFIX;
use crate::lake::examine::{RUN, conditional_writes};
use crate::lake::{Lake as _, LakeError, LakeErrorKind};

/// What is asked of a folder.
pub const OF_FOLDER: &[Check] = &[
    Check::Clock,
    Check::ConditionalWrites,
    Check::Exchange,
    Check::ExtendedAttributes,
    Check::Listing,
    Check::Snapshots,
];

/// What is tried by writing.
const OF_WRITING: &[Check] = &[Check::Clock, Check::ConditionalWrites, Check::Exchange];

/// What two scratch files showed.
struct Trial {
    exchanges: bool,
    modified_at: i64,
}

impl DirectoryLake {
    /// What holds for the folder. Unless it `writes`, it leaves everything as it is; what it writes
    /// are scratch files, which it removes.
    pub async fn examine(&self, clock: &Clock, writes: bool) -> Vec<Finding> {
        let mut findings = vec![
            Finding::ok(Check::Open, "the folder can be opened"),
            self.examine_listing().await,
            self.examine_attributes().await,
            Finding::note(
                Check::Snapshots,
                "snapshots, reflinks and backups of the file system keep erased rows, and cannot \
                 be seen from here",
            ),
        ];
        if !writes {
            findings.extend(untried(OF_WRITING, "nothing was to be written"));
            return findings;
        }
        findings.push(conditional_writes(self, b"", clock).await);
        findings.extend(self.examine_trial(clock).await);
        findings
    }

    async fn examine_listing(&self) -> Finding {
        let check = Check::Listing;
        match self.list(b"").next().await {
            Some(Err(error)) if error.kind() == LakeErrorKind::Denied => {
                Finding::problem(check, finding::told(&error))
                    .fix("let this user read the folder and what is in it (chmod u+rx)")
            }
            Some(Err(error)) if error.kind() != LakeErrorKind::NotAnObject => {
                Finding::failed(check, &error)
            }
            None => Finding::note(check, "the folder can be listed, and nothing is in it"),
            Some(_) => Finding::ok(check, "the folder can be listed"),
        }
    }

    async fn examine_attributes(&self) -> Finding {
        let check = Check::ExtendedAttributes;
        match self.capabilities().await {
            Ok(able) if able.marks_operations => {
                Finding::ok(check, "files keep the name of the write that made them")
            }
            Ok(_) => Finding::note(
                check,
                "the file system keeps no extended attributes: an erasure that was killed finds \
                 out by reading what it had written",
            ),
            Err(error) => Finding::failed(check, &error),
        }
    }

    async fn examine_trial(&self, clock: &Clock) -> Vec<Finding> {
        let tried = self.blocking(trial).await;
        let trial = match tried {
            Ok(trial) => trial,
            Err(error) => {
                return [Check::Clock, Check::Exchange]
                    .map(|check| Finding::failed(check, &error))
                    .into();
            }
        };
        let exchange = match trial.exchanges {
            true => Finding::ok(Check::Exchange, "two files are exchanged in one step"),
            false => Finding::warning(
                Check::Exchange,
                "the file system cannot exchange two files in one step: rewriting is safe among \
                 the processes of Lacuna, by a lock, and not against other programs",
            )
            .fix("let no other program write to the folder while rows are erased"),
        };
        vec![exchange, finding::clock(clock.now().as_second(), trial.modified_at)]
    }
}

/// Writes two scratch files and exchanges them.
fn trial(root: &Root) -> Result<Trial, LakeError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| {
        LakeError::new(LakeErrorKind::Other, format!("the system gives no random bytes: {error}"))
    })?;
    let names = ["a", "b"].map(|end| format!("{PROBE_PREFIX}{RUN}-{}-{end}", hex(&bytes)));
    let tried = exchanged(root, &names);
    for name in &names {
        // Where it was not made, there is nothing to remove.
        let _ = rustix::fs::unlinkat(&root.folder, name.as_str(), AtFlags::empty());
    }
    tried.map_err(|errno| {
        let message = format!("a file in {} cannot be written", root.location);
        LakeError::new(system::kind_of(errno), message).caused_by(errno)
    })
}

fn exchanged(root: &Root, [left, right]: &[String; 2]) -> Result<Trial, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let made = rustix::fs::openat(&root.folder, left.as_str(), flags, mode)?;
    rustix::fs::openat(&root.folder, right.as_str(), flags, mode)?;
    system::write_all(&made, b"a")?;
    let (from, to) = (left.as_str(), right.as_str());
    let (folder, how) = (&root.folder, RenameFlags::EXCHANGE);
    let exchanges = match rustix::fs::renameat_with(folder, from, folder, to, how) {
        Ok(()) => true,
        Err(errno) if system::is_unsupported(errno) => false,
        Err(errno) => return Err(errno),
    };
    // By the clock of the file system, which over a network is another machine's.
    let modified_at = rustix::fs::fstat(&made)?.st_mtime;
    #[allow(clippy::useless_conversion, reason = "its type differs between machines")]
    let modified_at = i64::try_from(modified_at).unwrap_or(i64::MAX);
    Ok(Trial { exchanges, modified_at })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::domain::finding::Severity;

    async fn examined(folder: &std::path::Path, clock: &Clock, writes: bool) -> Vec<Finding> {
        let lake = DirectoryLake::new(folder.to_owned()).expect("a lake");
        lake.examine(clock, writes).await
    }

    fn of(findings: &[Finding], check: Check) -> &Finding {
        findings.iter().find(|finding| finding.check == check).expect("it was examined")
    }

    fn names(folder: &std::path::Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("a folder");
        entries.map(|it| it.expect("one").file_name().to_string_lossy().into_owned()).collect()
    }

    #[tokio::test]
    async fn an_examined_folder_is_left_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a"), "x").expect("written");
        for writes in [false, true] {
            let findings = examined(folder.path(), &Clock::system(), writes).await;
            assert_eq!(names(folder.path()), ["a"]);
            let worst = findings.iter().map(|finding| finding.severity).min();
            let expected = if writes { Severity::Note } else { Severity::Unknown };
            assert_eq!(worst, Some(expected), "{findings:?}");
        }
    }

    #[tokio::test]
    async fn what_a_killed_examination_left_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [".lacuna-probe-doctor-old", ".lacuna-probe-run"] {
            std::fs::write(folder.path().join(name), "x").expect("written");
        }
        let soon = Clock::manual(Clock::system().now());
        examined(folder.path(), &soon, true).await;
        assert_eq!(names(folder.path()).len(), 2, "another examination may be at work");
        let later = soon.now().as_second() + 2 * LEFT;
        soon.set(jiff::Timestamp::from_second(later).expect("a moment"));
        let findings = examined(folder.path(), &soon, true).await;
        assert_eq!(names(folder.path()), [".lacuna-probe-run"]);
        assert_eq!(of(&findings, Check::Clock).severity, Severity::Problem);
    }

    const LEFT: i64 = 60 * 60;

    #[tokio::test]
    async fn a_folder_that_may_not_be_written_to_is_a_problem() {
        if rustix::process::geteuid().is_root() {
            // To root every folder may be written to.
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.path(), mode(0o500)).expect("set");
        let findings = examined(folder.path(), &Clock::system(), true).await;
        std::fs::set_permissions(folder.path(), mode(0o700)).expect("set");
        assert_eq!(of(&findings, Check::ConditionalWrites).severity, Severity::Problem);
    }
}
