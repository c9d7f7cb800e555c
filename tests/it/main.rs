//! Every integration test, in one binary.

mod cli;
mod simulation;
mod story;
mod support;
mod torture;

mod suites {
    //! One suite a trait, run against every implementation.

    mod format;
    mod lake;
    mod metastore;
    mod parquet;
}
