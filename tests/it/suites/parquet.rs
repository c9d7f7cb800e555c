//! Parquet against the Apache corpus, against files of every make, and against engines that share
//! no code with this one.

mod corpus;
mod engines;
mod erasing;
mod splicing;
mod support;
