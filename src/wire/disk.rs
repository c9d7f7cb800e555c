//! The file system under a folder: its room, its kind, and who else may look into it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::domain::finding::{Check, Finding};

/// Below so many bytes nothing can be relied on.
const LEAST_BYTES: u64 = 64 << 20;

/// Below so many bytes, or one part in [`LITTLE_SHARE`], people should know.
const LITTLE_BYTES: u64 = 1 << 30;
const LITTLE_SHARE: u64 = 50;

/// How much room a file system has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    free_bytes: u64,
    all_bytes: u64,
    /// Files that can still be made; `None` where the file system does not count them.
    free_files: Option<u64>,
}

/// How much room there is for what is written to a folder, and `why` it takes any.
pub(super) fn free(folder: &Path, why: &str) -> Finding {
    match rustix::fs::statvfs(folder) {
        Ok(told) => {
            let unit = told.f_frsize.max(1);
            let room = Room {
                free_bytes: told.f_bavail.saturating_mul(unit),
                all_bytes: told.f_blocks.saturating_mul(unit),
                free_files: (told.f_files > 0).then_some(told.f_favail),
            };
            judged(room, why)
        }
        Err(errno) => Finding::failed(Check::FreeDisk, &errno),
    }
}

fn judged(room: Room, why: &str) -> Finding {
    let check = Check::FreeDisk;
    if room.free_files == Some(0) {
        return Finding::problem(check, "the file system can hold no more files")
            .fix("delete files that nobody needs, or move to another file system");
    }
    let message = format!("{} MiB of {} MiB are free", room.free_bytes >> 20, room.all_bytes >> 20);
    let fix = format!("make room: {why}");
    let is_little =
        room.free_bytes < LITTLE_BYTES || room.free_bytes < room.all_bytes / LITTLE_SHARE;
    match room.free_bytes {
        ..LEAST_BYTES => Finding::problem(check, message).fix(fix),
        _ if is_little => Finding::warning(check, message).fix(fix),
        _ => Finding::ok(check, message),
    }
}

/// N3: whether the file system is one that is reached over a network.
pub(super) fn kind(folder: &Path) -> Finding {
    let check = Check::FileSystem;
    match rustix::fs::statfs(folder) {
        #[allow(clippy::unnecessary_cast, reason = "its type differs between machines")]
        Ok(told) => match network(told.f_type as i64 & 0xffff_ffff) {
            Some(name) => Finding::problem(
                check,
                format!("the folder lies on {name}, where locks cannot be relied on"),
            )
            .fix("put the index on a disk of this machine, or into PostgreSQL or DynamoDB"),
            None => Finding::ok(check, "the folder lies on a disk of this machine"),
        },
        Err(errno) => Finding::failed(check, &errno),
    }
}

/// File systems that are reached over a network, by the number that Linux gives them.
fn network(number: i64) -> Option<&'static str> {
    match number {
        0x6969 => Some("NFS"),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => Some("SMB"),
        0x6573_5546 => Some("a FUSE file system"),
        0x0102_1997 => Some("9P"),
        0x00c3_6400 => Some("Ceph"),
        0x0bd0_0bd0 => Some("Lustre"),
        _ => None,
    }
}

/// Whether others than its owner may look into a folder.
pub(super) fn mode(folder: &Path) -> Finding {
    let check = Check::Mode;
    match std::fs::metadata(folder) {
        Ok(about) if about.mode() & 0o077 != 0 => {
            let mode = about.mode() & 0o7777;
            let message = format!("mode {mode:04o}: others than its owner may look into it");
            Finding::warning(check, message).fix(format!("chmod 700 {}", folder.display()))
        }
        Ok(_) => Finding::ok(check, "nobody but its owner may look into it"),
        Err(error) => Finding::failed(check, &error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::domain::finding::Severity;

    const MIB: u64 = 1 << 20;
    const TIB: u64 = 1 << 40;

    #[test]
    fn a_full_disk_is_told() {
        let room = |free_bytes, all_bytes| Room { free_bytes, all_bytes, free_files: Some(9) };
        let severity = |room| judged(room, "a rewrite takes room").severity;
        assert_eq!(severity(room(0, TIB)), Severity::Problem);
        assert_eq!(severity(room(64 * MIB - 1, TIB)), Severity::Problem);
        assert_eq!(severity(room(64 * MIB, 512 * MIB)), Severity::Warning);
        assert_eq!(severity(room(10 * 1024 * MIB, TIB)), Severity::Warning);
        assert_eq!(severity(room(100 * 1024 * MIB, TIB)), Severity::Ok);
        let no_files = Room { free_files: Some(0), ..room(TIB, TIB) };
        assert_eq!(severity(no_files), Severity::Problem);
        assert_eq!(severity(Room { free_files: None, ..room(TIB, TIB) }), Severity::Ok);
    }

    #[test]
    fn a_folder_that_is_gone_is_no_good_news() {
        let gone = Path::new("/nowhere/at/all");
        for finding in [free(gone, ""), kind(gone), mode(gone)] {
            assert_eq!((finding.severity, finding.is_incomplete), (Severity::Unknown, true));
        }
    }

    #[test]
    fn a_folder_for_everybody_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let set = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path(), mode).expect("set");
        };
        set(0o700);
        assert_eq!(mode(folder.path()).severity, Severity::Ok);
        set(0o750);
        let found = mode(folder.path());
        assert_eq!(found.severity, Severity::Warning);
        assert!(found.message.contains("0750"), "{}", found.message);
    }

    #[test]
    fn a_network_is_known() {
        assert_eq!(network(0x6969), Some("NFS"));
        assert_eq!(network(0xef53), None);
    }
}
