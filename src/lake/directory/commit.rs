//! The steps that can be seen: publishing new bytes, deleting, and clearing up after a crash.
//!
//! A file system renames without conditions, so the compare-and-swap is made of an exchange: the new
//! file and the old one swap names in one step, and what came out is looked at. Is it not the base,
//! they are swapped back. In between a reader may see the new bytes for a moment, but only where a
//! foreign program wrote after the last look at the base, microseconds before; nobody's bytes are lost.

use std::sync::atomic::AtomicBool;

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::{Errno, retry_on_intr};

use super::attributes::{self, Inode, content_of};
use super::path::Place;
use super::staging::{Prepared, Staged, Temporary, check_links, check_running, exists};
use super::{Root, drifted, system};
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::lake::{Base, LakeError, LakeErrorKind, Staging, WriteError};

/// How often two names are swapped at most to undo an exchange.
const SWAPS: usize = 16;

/// Publishes the staged bytes, if the base is still what it was.
pub(super) fn commit(
    prepared: &Prepared,
    mut staged: Staged<'_>,
    stopped: &AtomicBool,
) -> Result<ObjectVersion, WriteError> {
    let place = &prepared.place;
    let key = &place.key;
    let fail = |errno| WriteError::unchanged(system::failed_write(key, errno));
    let is_locked = system::lock(&place.folder).map_err(fail)?;
    check_running(key, stopped).map_err(WriteError::unchanged)?;
    match &prepared.base {
        Base::Absent => publish(place, &mut staged)?,
        Base::Version(base) => replace(place, base, &mut staged, is_locked)?,
    }
    let unknown = |errno| WriteError::unknown(system::failed_write(key, errno));
    retry_on_intr(|| rustix::fs::fsync(&place.folder)).map_err(unknown)?;
    Ok(Inode::of(&staged.file).map_err(unknown)?.object(key))
}

/// Gives the new file its name, where nothing has it.
fn publish(place: &Place, staged: &mut Staged<'_>) -> Result<(), WriteError> {
    let name = staged.name();
    let published = match rename(place, name.as_bytes(), &place.name, RenameFlags::NOREPLACE) {
        Err(errno) if system::is_unsupported(errno) => link(place, name.as_bytes()),
        renamed => renamed,
    };
    match published {
        Ok(()) => staged.leave(),
        Err(Errno::EXIST) => return Err(WriteError::unchanged(exists(&place.key))),
        Err(errno) => return Err(failed_rename(&place.key, errno)),
    }
    Ok(())
}

/// For file systems that cannot rename without replacing: a second name, and the first goes.
fn link(place: &Place, name: &[u8]) -> Result<(), Errno> {
    let folder = &place.folder;
    retry_on_intr(|| rustix::fs::linkat(folder, name, folder, &place.name[..], AtFlags::empty()))?;
    // Should it stay, `abandon` removes it.
    let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty());
    Ok(())
}

fn replace(
    place: &Place,
    base: &ObjectVersion,
    staged: &mut Staged<'_>,
    is_locked: bool,
) -> Result<(), WriteError> {
    let now = place.inode().map_err(WriteError::unchanged)?;
    if now.etag() != base.etag {
        return Err(WriteError::unchanged(drifted(&place.key)));
    }
    let name = staged.name();
    // Without its mark, the new file could not be told from the old one after a crash.
    if staged.is_marked {
        match rename(place, name.as_bytes(), &place.name, RenameFlags::EXCHANGE) {
            Ok(()) => return settle_exchange(place, base, staged),
            Err(errno) if system::is_unsupported(errno) => {}
            Err(errno) => return Err(failed_rename(&place.key, errno)),
        }
    }
    if !is_locked {
        let message = "the file system can neither exchange two files nor lock a folder, so a \
                       foreign change could be lost; the object is not rewritten";
        let error = LakeError::about(LakeErrorKind::Unsupported, &place.key, message);
        return Err(WriteError::unchanged(error));
    }
    match rename(place, name.as_bytes(), &place.name, RenameFlags::empty()) {
        Ok(()) => staged.leave(),
        Err(errno) => return Err(failed_rename(&place.key, errno)),
    }
    Ok(())
}

/// After the exchange the temporary name holds what was there before. Only the base may go.
fn settle_exchange(
    place: &Place,
    base: &ObjectVersion,
    staged: &mut Staged<'_>,
) -> Result<(), WriteError> {
    staged.leave();
    let key = &place.key;
    let name = staged.name();
    let unknown = |errno| WriteError::unknown(system::failed_write(key, errno));
    let displaced = place.look(name.as_bytes()).map_err(unknown)?;
    if displaced.content() == content_of(&base.etag) && displaced.links == 1 {
        return remove(place, name.as_bytes()).map_err(unknown);
    }
    let ours = Inode::of(&staged.file).map_err(unknown)?;
    restore(place, name.as_bytes(), ours.number).map_err(WriteError::unknown)?;
    Err(WriteError::unchanged(drifted(key)))
}

/// Swaps the names back, so that a foreign file that was displaced has its own again. Each swap is
/// checked in turn, since the foreign program may go on writing.
fn restore(place: &Place, name: &[u8], ours: u64) -> Result<(), LakeError> {
    let fail = |errno| {
        let message = "a foreign change was displaced and could not be put back; it lies beside \
                       the object in a file named `.lacuna-….tmp`";
        LakeError::about(LakeErrorKind::Other, &place.key, message).caused_by(errno)
    };
    let mut expected = ours;
    for _ in 0..SWAPS {
        let put_back = place.look(name).map_err(fail)?.number;
        match rename(place, name, &place.name, RenameFlags::EXCHANGE) {
            Err(Errno::NOENT) => {
                return rename(place, name, &place.name, RenameFlags::NOREPLACE).map_err(fail);
            }
            swapped => swapped.map_err(fail)?,
        }
        if place.look(name).map_err(fail)?.number == expected {
            return remove(place, name).map_err(fail);
        }
        expected = put_back;
    }
    Err(fail(Errno::AGAIN))
}

/// A rename that failed for one of these reasons certainly did not happen.
fn failed_rename(key: &ObjectKey, errno: Errno) -> WriteError {
    let error = system::failed_write(key, errno);
    match errno {
        Errno::NOENT | Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::ISDIR | Errno::NOSPC => {
            WriteError::unchanged(error)
        }
        _ => WriteError::unknown(error),
    }
}

fn rename(place: &Place, from: &[u8], to: &[u8], flags: RenameFlags) -> Result<(), Errno> {
    let folder = &place.folder;
    if flags.is_empty() {
        return retry_on_intr(|| rustix::fs::renameat(folder, from, folder, to));
    }
    retry_on_intr(|| rustix::fs::renameat_with(folder, from, folder, to, flags))
}

/// Removes a name; one that is gone already is fine.
fn remove(place: &Place, name: &[u8]) -> Result<(), Errno> {
    match retry_on_intr(|| rustix::fs::unlinkat(&place.folder, name, AtFlags::empty())) {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}

/// Removes what an unfinished write left: its own bytes, or the base's after an exchange. A foreign
/// file that a crash left displaced gets its name back.
pub(super) fn abandon(root: &Root, key: &ObjectKey, staging: &Staging) -> Result<(), LakeError> {
    let Some(temporary) = Temporary::read(staging) else {
        let message = "this is not the name of an unfinished write in a directory";
        return Err(LakeError::about(LakeErrorKind::Unsupported, key, message));
    };
    let place = match Place::find(root, key) {
        Err(error) if error.kind() == LakeErrorKind::NotFound => return Ok(()),
        place => place?,
    };
    let fail = |errno| system::failed(key, "what a write left cannot be removed", errno);
    system::lock(&place.folder).map_err(fail)?;
    let name = temporary.name();
    let left = match place.look(name.as_bytes()) {
        Err(Errno::NOENT) => return Ok(()),
        left => left.map_err(fail)?,
    };
    let file = place.open_name(name.as_bytes()).map_err(fail)?;
    let mark = attributes::marked(&file).map_err(fail)?;
    let is_ours = mark.as_ref() == Some(&temporary.operation);
    let is_base = left.content() == temporary.base;
    if is_ours || is_base || left.size_bytes == 0 || !attributes::keeps_attributes(root)? {
        remove(&place, name.as_bytes()).map_err(fail)?;
    } else {
        put_back(&place, &temporary)?;
    }
    retry_on_intr(|| rustix::fs::fsync(&place.folder)).map_err(fail)
}

/// A crash came between an exchange and its undoing.
fn put_back(place: &Place, temporary: &Temporary) -> Result<(), LakeError> {
    let name = temporary.name();
    let (file, inode) = place.open()?;
    let fail = |errno| system::failed(&place.key, "cannot be looked at", errno);
    if attributes::marked(&file).map_err(fail)?.as_ref() == Some(&temporary.operation) {
        return restore(place, name.as_bytes(), inode.number);
    }
    let message = format!("the file {name} beside it is neither ours nor the base; look at it");
    Err(LakeError::about(LakeErrorKind::Other, &place.key, message))
}

/// Deletes the file, if it is this version.
pub(super) fn delete(root: &Root, object: &ObjectVersion) -> Result<(), LakeError> {
    let key = &object.key;
    let place = match Place::find(root, key) {
        Err(error) if error.kind() == LakeErrorKind::NotFound => return Ok(()),
        place => place?,
    };
    let fail = |errno| system::failed(key, "cannot be deleted", errno);
    system::lock(&place.folder).map_err(fail)?;
    let inode = match place.inode() {
        Err(error) if error.kind() == LakeErrorKind::NotFound => return Ok(()),
        inode => inode?,
    };
    if inode.etag() != object.etag {
        return gone_or_drifted(object, &inode);
    }
    check_links(key, &inode)?;
    remove(&place, &place.name).map_err(fail)?;
    retry_on_intr(|| rustix::fs::fsync(&place.folder)).map_err(fail)
}

/// Another file took the place: the version is gone. The same file changed: its old bytes may still
/// be among the new, so that it would be wrong to call them gone.
fn gone_or_drifted(object: &ObjectVersion, inode: &Inode) -> Result<(), LakeError> {
    let number = format!("{:x}-", inode.number);
    if object.etag.as_str().starts_with(&number) { Err(drifted(&object.key)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::super::DirectoryLake;
    use super::super::staging::{prepare, stage};
    use super::*;
    use crate::domain::edit::{Edit, Segment};
    use crate::lake::OperationId;

    /// A file, a write of it that is staged, and what happens in between.
    struct Scene {
        folder: tempfile::TempDir,
        lake: DirectoryLake,
        key: ObjectKey,
        old: ObjectVersion,
    }

    static RUNNING: AtomicBool = AtomicBool::new(false);

    impl Scene {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            fs::write(folder.path().join("object"), "old bytes").expect("a file");
            let lake = DirectoryLake::new(folder.path().to_owned()).expect("a lake");
            let key = ObjectKey::from("object");
            let old =
                Place::find(&lake.root, &key).and_then(|place| place.object()).expect("there");
            Self { folder, lake, key, old }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("object")
        }

        fn base(&self) -> Base {
            Base::Version(self.old.clone())
        }

        fn temporary(&self) -> Temporary {
            Temporary::new(&OperationId::new("0123"), &self.base()).expect("nameable")
        }

        fn prepared(&self) -> Prepared {
            prepare(&self.lake.root, &self.key, &self.base()).expect("the base is there")
        }

        /// Another program replaces the file by a rename.
        fn overwrite(&self, text: &str) {
            let beside = self.folder.path().join("beside");
            fs::write(&beside, text).expect("a file");
            fs::rename(beside, self.path()).expect("renamed");
        }

        /// The object's bytes, and how many names the folder holds.
        fn found(&self) -> (String, usize) {
            let names = fs::read_dir(self.folder.path()).expect("a listing").count();
            (fs::read_to_string(self.path()).unwrap_or_default(), names)
        }

        fn abandon(&self) {
            let staging = self.temporary().staging();
            for _ in 0..2 {
                abandon(&self.lake.root, &self.key, &staging).expect("abandoned");
            }
        }
    }

    fn staged<'a>(prepared: &'a Prepared, temporary: &'a Temporary) -> Staged<'a> {
        let edit = Edit::new(vec![Segment::Copy(0..3), Segment::Bytes("er".into())]);
        let staged = stage(prepared, edit, temporary, &RUNNING).expect("staged");
        assert!(staged.is_marked, "the file systems of the tests keep attributes");
        staged
    }

    fn exchange(prepared: &Prepared, staged: &Staged<'_>) {
        let (place, name) = (&prepared.place, staged.name());
        rename(place, name.as_bytes(), &place.name, RenameFlags::EXCHANGE).expect("exchanged");
    }

    /// A2: a foreign write that comes between the last look and the exchange gets its name back.
    #[test]
    fn a_foreign_write_in_the_window_survives() {
        let scene = Scene::new();
        let (prepared, temporary) = (scene.prepared(), scene.temporary());
        let mut staged = staged(&prepared, &temporary);
        scene.overwrite("foreign");
        exchange(&prepared, &staged);
        assert_eq!(scene.found(), ("older".to_owned(), 2));
        let error = settle_exchange(&prepared.place, &scene.old, &mut staged).expect_err("drifted");
        assert_eq!(error.outcome, crate::lake::WriteOutcome::Unchanged);
        assert_eq!(error.error.kind(), LakeErrorKind::Drifted);
        drop(staged);
        assert_eq!(scene.found(), ("foreign".to_owned(), 1));
    }

    /// A2: a foreign write in place within the window, which keeps the inode, survives as well.
    #[test]
    fn a_foreign_write_in_place_in_the_window_survives() {
        let scene = Scene::new();
        let (prepared, temporary) = (scene.prepared(), scene.temporary());
        let mut staged = staged(&prepared, &temporary);
        fs::write(scene.path(), "new bytes").expect("overwritten");
        exchange(&prepared, &staged);
        settle_exchange(&prepared.place, &scene.old, &mut staged).expect_err("drifted");
        drop(staged);
        assert_eq!(scene.found(), ("new bytes".to_owned(), 1));
    }

    /// A2: a foreign program that writes again while the exchange is undone has the last word.
    #[test]
    fn a_foreign_write_during_the_undoing_survives() {
        let scene = Scene::new();
        let (prepared, temporary) = (scene.prepared(), scene.temporary());
        let mut staged = staged(&prepared, &temporary);
        scene.overwrite("foreign");
        exchange(&prepared, &staged);
        scene.overwrite("foreign again");
        settle_exchange(&prepared.place, &scene.old, &mut staged).expect_err("drifted");
        drop(staged);
        assert_eq!(scene.found(), ("foreign again".to_owned(), 1));
    }

    /// A3, J3: a deletion or a second name that comes while the bytes are staged ends the write.
    #[test]
    fn what_happens_while_staging_ends_the_write() {
        let scene = Scene::new();
        let (prepared, temporary) = (scene.prepared(), scene.temporary());
        let linked = staged(&prepared, &temporary);
        fs::hard_link(scene.path(), scene.folder.path().join("second")).expect("linked");
        let error = commit(&prepared, linked, &RUNNING).expect_err("it has two names");
        assert_eq!(error.error.kind(), LakeErrorKind::Drifted);
        assert_eq!(scene.found(), ("old bytes".to_owned(), 2));
        let scene = Scene::new();
        let (prepared, temporary) = (scene.prepared(), scene.temporary());
        let orphan = staged(&prepared, &temporary);
        fs::remove_file(scene.path()).expect("removed");
        let error = commit(&prepared, orphan, &RUNNING).expect_err("it is gone");
        assert_eq!(error.error.kind(), LakeErrorKind::NotFound);
        assert_eq!(scene.found(), (String::new(), 0));
    }

    /// J4, J5: killed before the exchange, the new bytes lie beside the object until abandoned.
    #[test]
    fn a_crash_before_the_exchange_is_cleared_up() {
        let scene = Scene::new();
        let (prepared, temporary) = (scene.prepared(), scene.temporary());
        let mut staged = staged(&prepared, &temporary);
        staged.leave();
        assert_eq!(scene.found(), ("old bytes".to_owned(), 2));
        scene.abandon();
        assert_eq!(scene.found(), ("old bytes".to_owned(), 1));
    }

    /// J4, J5: killed after the exchange, it is the old bytes that lie there, and they go too.
    #[test]
    fn a_crash_after_the_exchange_leaves_no_old_bytes() {
        let scene = Scene::new();
        let (prepared, temporary) = (scene.prepared(), scene.temporary());
        let mut staged = staged(&prepared, &temporary);
        exchange(&prepared, &staged);
        staged.leave();
        assert_eq!(scene.found(), ("older".to_owned(), 2));
        scene.abandon();
        assert_eq!(scene.found(), ("older".to_owned(), 1));
        let (file, inode) = scene.lake.root.open(&scene.key).expect("there");
        let attributes = attributes::of(&file, &inode, &scene.key).expect("attributes");
        assert_eq!(attributes.operation, Some(OperationId::new("0123")));
    }

    /// A2: killed while a foreign write was displaced, abandoning gives it its name back.
    #[test]
    fn a_crash_with_a_foreign_write_displaced_loses_nothing() {
        let scene = Scene::new();
        let (prepared, temporary) = (scene.prepared(), scene.temporary());
        let mut staged = staged(&prepared, &temporary);
        scene.overwrite("foreign");
        exchange(&prepared, &staged);
        staged.leave();
        scene.abandon();
        assert_eq!(scene.found(), ("foreign".to_owned(), 1));
    }

    /// Where nothing can be marked, a rename under the lock does; without a lock nothing does.
    #[test]
    fn without_an_exchange_the_lock_decides() {
        let scene = Scene::new();
        let (prepared, temporary) = (scene.prepared(), scene.temporary());
        let mut unmarked = staged(&prepared, &temporary);
        unmarked.is_marked = false;
        let error =
            replace(&prepared.place, &scene.old, &mut unmarked, false).expect_err("no lock");
        assert_eq!(error.error.kind(), LakeErrorKind::Unsupported);
        assert_eq!(scene.found(), ("old bytes".to_owned(), 2));
        replace(&prepared.place, &scene.old, &mut unmarked, true).expect("replaced");
        drop(unmarked);
        assert_eq!(scene.found(), ("older".to_owned(), 1));
    }

    /// A write that nobody waits for is not committed.
    #[test]
    fn a_write_that_was_given_up_is_not_committed() {
        let scene = Scene::new();
        let (prepared, temporary) = (scene.prepared(), scene.temporary());
        let staged = staged(&prepared, &temporary);
        commit(&prepared, staged, &AtomicBool::new(true)).expect_err("given up");
        assert_eq!(scene.found(), ("old bytes".to_owned(), 1));
    }

    /// Two names or a rename without replacing come to the same.
    #[test]
    fn publishing_by_two_names_refuses_what_exists() {
        let scene = Scene::new();
        let place = Place::find(&scene.lake.root, &scene.key).expect("a place");
        fs::write(scene.folder.path().join("new"), "new").expect("a file");
        assert_eq!(link(&place, b"new"), Err(Errno::EXIST));
        fs::remove_file(scene.path()).expect("removed");
        link(&place, b"new").expect("published");
        assert_eq!(scene.found(), ("new".to_owned(), 1));
    }

    /// J5: a journal that was tampered with names no other file.
    #[test]
    fn abandoning_removes_only_what_a_write_left() {
        let scene = Scene::new();
        for staging in ["", "object", "object ", "../object x", ".lacuna-0123.tmp", "a/b ", "0123"]
        {
            let staging = Staging(staging.to_owned());
            let _ = abandon(&scene.lake.root, &scene.key, &staging);
            assert_eq!(scene.found(), ("old bytes".to_owned(), 1));
        }
    }

    /// A mode that only changed takes no bytes away, so the version is not called gone.
    #[test]
    fn a_change_of_mode_is_drift_and_not_absence() {
        use std::os::unix::fs::PermissionsExt as _;
        let scene = Scene::new();
        fs::set_permissions(scene.path(), fs::Permissions::from_mode(0o600)).expect("changed");
        let error = delete(&scene.lake.root, &scene.old).expect_err("it is still there");
        assert_eq!(error.kind(), LakeErrorKind::Drifted);
        scene.overwrite("foreign");
        delete(&scene.lake.root, &scene.old).expect("another file took its place");
        assert_eq!(scene.found(), ("foreign".to_owned(), 1));
    }
}
