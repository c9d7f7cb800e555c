//! A random Parquet file, of which one person's rows are erased.
#![no_main]

use lacuna_fuzz::choices::Choices;
use lacuna_fuzz::{panics, parquet_file, parquet_oracle};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: panics::only_ours(), |bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let made = parquet_file::make(&mut choices);
    parquet_oracle::erase(&made, &mut choices);
});
