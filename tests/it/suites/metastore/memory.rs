//! The suite against the index in memory.

use std::sync::Arc;

use lacuna::metastore::Metastore;
use lacuna::metastore::memory::MemoryMetastore;

use super::{Storage, metastore_suite};

#[derive(Default)]
struct Memory(MemoryMetastore);

impl Storage for Memory {
    fn open(&self) -> Arc<dyn Metastore> {
        Arc::new(self.0.clone())
    }
}

metastore_suite!(Memory::default());
