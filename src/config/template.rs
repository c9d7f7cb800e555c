//! What `lacuna init` writes.

/// A commented configuration that is valid as it stands.
pub const CONFIGURATION: &str = include_str!("template.toml");

/// What keeps Lacuna's own folder out of version control.
pub const IGNORE: &str = "# The keys are secrets, and the index is made anew from the lake.\n*\n";
