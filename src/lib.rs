//! Lacuna knows where each person's records lie in a data lake, and takes them out.
//!
//! The modules, from the ground up; `tests/layers.rs` holds who may import whom:
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`domain`] | the words of the trade: identifiers, object versions, rows, plans; no I/O |
//! | [`clock`] | the time |
//! | [`aws`] | how anything of AWS is reached: credentials, region, TLS |
//! | [`https`] | one request over TLS and its answer |
//! | [`format`](mod@format) | bytes to rows and back: JSON lines, CSV, Parquet, compressed or not |
//! | [`lake`] | objects and their versions: a directory, S3, memory |
//! | [`metastore`] | the index: postings by object version |
//! | [`scan`] | one object version read once: what stands where |
//! | [`rewrite`] | one object of a plan: planned, rewritten, verified, expunged |
//! | [`ledger`] | documents written once: plans, reports, decisions, journal, audit; the lease |
//! | [`index`] | many objects: keeps the index in step with the lake, copies and checks it |
//! | [`erase`] | a request to a plan, an approved plan to erased rows |
//! | [`vacuum`] | many objects: drops blanks, renumbers, scans again |
//! | [`config`] | file, environment and flags as one checked configuration |
//! | [`wire`] | a configuration as open stores; the only place that names a backend |
//! | [`server`] | the pages to review and decide, and the API |
//! | [`cli`] | the command line; the only code that prints |

pub mod aws;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod erase;
pub mod format;
pub mod https;
pub mod index;
pub mod lake;
pub mod ledger;
pub mod metastore;
pub mod notify;
pub mod rewrite;
pub mod scan;
pub mod server;
pub mod vacuum;
pub mod wire;
