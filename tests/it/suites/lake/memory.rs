//! The suite against the lake in memory.

use std::collections::BTreeMap;

use lacuna::lake::memory::MemoryLake;
use lacuna::lake::{LakeErrorKind, Lock};

use super::*;

/// A lake in memory, with versions or without.
pub(crate) struct MemoryUnderTest {
    /// Whether it keeps versions.
    pub versions: bool,
}

#[async_trait]
impl LakeUnderTest for MemoryUnderTest {
    async fn fresh(&self) -> Ground {
        let lake = if self.versions { MemoryLake::versioned() } else { MemoryLake::unversioned() };
        let lake = Arc::new(lake);
        Ground { lake: lake.clone(), foreign: Box::new(Beside(lake)) }
    }

    fn holds(&self) -> Holds {
        Holds {
            versions: self.versions,
            keys: &[b"a//b", b"/", b"../up", b"\xff", b"nul\0", b"trailing/"],
            refuses: &[b"", &[b'a'; 1025]],
            key_below_key: true,
            attributes: &[("content-type", "text/csv"), ("meta:owner", "x"), ("tag:team", "y z")],
            part_bytes: 64 << 10,
        }
    }
}

/// Another program beside a lake in memory.
pub(crate) struct Beside(pub Arc<MemoryLake>);

#[async_trait]
impl Foreign for Beside {
    async fn put(&self, key: &ObjectKey, bytes: &[u8], attributes: &[(&str, &str)]) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let carried: BTreeMap<_, _> = attributes.iter().map(owned).collect();
        self.0.put_attributes(key, Bytes::copy_from_slice(bytes), carried);
    }

    async fn delete(&self, key: &ObjectKey) {
        self.0.delete(key);
    }

    async fn leftovers(&self) -> usize {
        self.0.unfinished_writes()
    }
}

lake_suite!(versioned, MemoryUnderTest { versions: true });
lake_suite!(unversioned, MemoryUnderTest { versions: false });

/// C7: a lock is never bypassed, and ends when it says.
#[tokio::test]
async fn a_locked_version_stays() {
    let lake = MemoryLake::versioned();
    let key = ObjectKey::from("a");
    let object = lake.put(&key, "x");
    let far = "2036-01-01T00:00:00Z".parse().expect("a moment");
    for lock in [Lock::LegalHold, Lock::Until(far)] {
        lake.lock(&object, lock);
        let error = lake.delete_version(&object).await.expect_err("it is locked");
        assert_eq!(error.kind(), LakeErrorKind::Locked);
        assert_eq!(bytes_of(&lake, &object).await.expect("still there"), b"x");
    }
    lake.lock(&object, Lock::Until("2025-01-01T00:00:00Z".parse().expect("a moment")));
    lake.delete_version(&object).await.expect("the lock has ended");
}
