//! Field paths as a tree, walked along with a document.

use crate::domain::field::{FieldPath, Step};

/// A place in a [`Tree`].
pub(super) type NodeId = usize;

/// The document itself.
pub(super) const ROOT: NodeId = 0;

/// Where no path leads.
pub(super) const NOWHERE: NodeId = 1;

/// Which values of a document the paths lead to.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Where whatever no path leads to is: nowhere, or where it began.
    rest: NodeId,
}

#[derive(Clone, Debug, Default)]
struct Node {
    members: Vec<(Box<[u8]>, NodeId)>,
    each: Option<NodeId>,
    leaves: Vec<usize>,
}

impl Tree {
    /// The tree of these paths; a leaf is the place of a path in their order.
    pub(super) fn new<'p>(paths: impl Iterator<Item = &'p FieldPath>) -> Self {
        let mut tree = Self { nodes: vec![Node::default(), Node::default()], rest: NOWHERE };
        for (leaf, path) in paths.enumerate() {
            let node = path.steps().iter().fold(ROOT, |node, step| tree.grow(node, step));
            tree.nodes[node].leaves.push(leaf);
        }
        tree
    }

    /// A tree whose paths lead to every value, all of them to the same place.
    pub(super) fn everything() -> Self {
        Self { nodes: vec![Node::default(), Node::default()], rest: ROOT }
    }

    /// As `new`, without the paths that lie within another one.
    pub(super) fn outermost(paths: &[FieldPath]) -> Self {
        let within =
            |path: &FieldPath| paths.iter().any(|other| other != path && other.contains(path));
        Self::new(paths.iter().filter(|path| !within(path)))
    }

    fn grow(&mut self, node: NodeId, step: &Step) -> NodeId {
        let new = self.nodes.len();
        let here = &mut self.nodes[node];
        let child = match step {
            Step::Each => *here.each.get_or_insert(new),
            Step::Name(name) => {
                let known = here.members.iter().find(|(known, _)| **known == *name.as_bytes());
                known.map(|&(_, child)| child).unwrap_or_else(|| {
                    here.members.push((name.as_bytes().into(), new));
                    new
                })
            }
        };
        if child == new {
            self.nodes.push(Node::default());
        }
        child
    }

    /// The paths that end here.
    pub(super) fn leaves(&self, node: NodeId) -> &[usize] {
        &self.nodes[node].leaves
    }

    /// Where the member of this name is.
    pub(super) fn member(&self, node: NodeId, name: &[u8]) -> NodeId {
        let found = self.nodes[node].members.iter().find(|(known, _)| **known == *name);
        found.map_or(self.rest, |&(_, child)| child)
    }

    /// The member whose name the text begins with, before a quote: the name's length, and where the
    /// member is.
    pub(super) fn member_quoted(&self, node: NodeId, text: &[u8]) -> Option<(usize, NodeId)> {
        let is_named = |name: &[u8]| text.get(name.len()) == Some(&b'"') && text.starts_with(name);
        let member = self.nodes[node].members.iter().find(|(name, _)| is_named(name));
        member.map(|(name, child)| (name.len(), *child))
    }

    /// All names that a path goes on by.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.nodes.iter().flat_map(|node| node.members.iter().map(|(name, _)| &**name))
    }

    /// Whether a path goes through the elements of an array.
    pub(super) fn has_elements(&self) -> bool {
        self.nodes.iter().any(|node| node.each.is_some())
    }

    /// Whether a path has more than one name.
    pub(super) fn is_nested(&self) -> bool {
        self.nodes.iter().skip(ROOT + 1).any(|node| !node.members.is_empty())
    }

    /// Where the elements are.
    pub(super) fn element(&self, node: NodeId) -> NodeId {
        self.nodes[node].each.unwrap_or(self.rest)
    }

    /// Whether any path goes on by a name.
    pub(super) fn has_members(&self, node: NodeId) -> bool {
        self.rest != NOWHERE || !self.nodes[node].members.is_empty()
    }
}
