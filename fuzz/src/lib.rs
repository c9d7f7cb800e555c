//! What the fuzz targets share: inputs made from a fuzzer's bytes, and oracles for what comes of them.
//!
//! | module | what it knows |
//! | --- | --- |
//! | `choices` | decisions and values drawn from a fuzzer's bytes |
//! | `panics` | which panic is a finding |
//! | `people` | the key, the subjects, and a scan's findings |
//! | `parquet_file` | random Parquet files by the crate's writer |
//! | `parquet_oracle` | what has to be true of an erased Parquet file |
//! | `text` | JSON lines and CSV: an erasure, and what has to be true of it |
//! | `streams` | compressed streams of every make, and their reference decoders |
//! | `deflate` | an encoder of deflate that chooses as no other one would |

pub mod choices;
pub mod deflate;
pub mod panics;
pub mod parquet_file;
pub mod parquet_oracle;
pub mod people;
pub mod streams;
pub mod text;

/// The naive reader of the Parquet tests, and what they ask of an erased file.
#[allow(dead_code)]
#[path = "../../tests/it/suites/parquet/support.rs"]
pub mod support;
