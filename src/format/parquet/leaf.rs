//! The columns of a schema, and which of them a field path means. It knows no bytes.
//!
//! A path steps through the schema as a reader sees the data, not as Parquet nests it: a name steps
//! into the field of exactly that name, and `[*]` into every element of a list (annotated as `LIST`
//! in three or two levels, or a bare repeated field) or every entry of a map, whose members are
//! named as in the schema (`attributes[*].value`). A path that crosses a list without `[*]` meets
//! nothing.

use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Repetition};
use parquet::schema::types::{ColumnDescPtr, GroupTypeBuilder, SchemaDescriptor, Type, TypePtr};

use super::value::Meaning;
use crate::domain::field::{FieldPath, Step};

/// A column of primitive values.
#[derive(Debug)]
pub(super) struct Leaf {
    /// Its type and levels, as the crate wants them.
    pub(super) descriptor: ColumnDescPtr,
    /// What its values mean as identifiers.
    pub(super) meaning: Meaning,
    /// The schema's root with nothing but this column beneath.
    pub(super) alone: TypePtr,
    /// From the record inwards; the last is the column itself.
    nodes: Vec<Node>,
}

/// A node on the way from the record to a leaf.
#[derive(Debug)]
struct Node {
    name: String,
    /// What `[*]` does here.
    each: Each,
    /// The levels of a present value at this node.
    level: Level,
}

/// Definition and repetition level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Level {
    /// How many nodes that may be missing are there.
    pub(super) definition: i16,
    /// How many of them repeat.
    pub(super) repetition: i16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Each {
    /// There is nothing to step into.
    No,
    /// The node itself repeats.
    Itself,
    /// The elements are this many nodes below.
    Below(usize),
}

impl Leaf {
    /// The largest definition level: that of a present value.
    pub(super) fn max_definition(&self) -> i16 {
        self.descriptor.max_def_level()
    }

    /// Whether its annotation, and so the order of its values, is one that is known.
    pub(super) fn is_known(&self) -> bool {
        !matches!(self.descriptor.logical_type_ref(), Some(LogicalType::_Unknown { .. }))
    }

    /// The levels of the deepest node that this leaf shares with another.
    pub(super) fn shared_with(&self, other: &Leaf) -> Level {
        let pairs = self.nodes.iter().zip(&other.nodes);
        let shared = pairs.take_while(|(one, two)| one.name == two.name).map(|(one, _)| one.level);
        shared.last().unwrap_or_default()
    }

    /// Whether the path names exactly this column.
    pub(super) fn is(&self, path: &FieldPath) -> bool {
        self.position(path).is_some_and(|(at, open)| at + 1 == self.nodes.len() && !open)
    }

    /// Whether the path names this column or a node above it.
    pub(super) fn is_within(&self, path: &FieldPath) -> bool {
        self.position(path).is_some()
    }

    /// The levels of the node above the one that the path names.
    pub(super) fn level_above(&self, path: &FieldPath) -> Option<Level> {
        let (position, _) = self.position(path)?;
        Some(position.checked_sub(1).map_or_else(Level::default, |above| self.nodes[above].level))
    }

    /// Which of the nodes the path names, if it leads towards this column, and whether that is a
    /// list that the path does not step into.
    fn position(&self, path: &FieldPath) -> Option<(usize, bool)> {
        let mut at: Option<usize> = None;
        // Whether the elements of a repeated node have been stepped into.
        let mut entered = true;
        for step in path.steps() {
            match step {
                Step::Name(name) => {
                    let repeats = at.is_some_and(|at| self.nodes[at].each != Each::No);
                    let next = at.map_or(0, |at| at + 1);
                    if (repeats && !entered) || self.nodes.get(next)?.name != *name {
                        return None;
                    }
                    at = Some(next);
                    entered = false;
                }
                Step::Each => {
                    let here = at?;
                    match self.nodes[here].each {
                        Each::Itself if !entered => entered = true,
                        Each::Below(count) => {
                            at = Some(here + count).filter(|&at| at < self.nodes.len());
                            at?;
                            entered = self.nodes[here + count].each == Each::Itself;
                        }
                        _ => return None,
                    }
                }
            }
        }
        at.map(|at| (at, self.nodes[at].each != Each::No && !entered))
    }
}

/// The columns of a schema, in its order.
pub(super) fn leaves(schema: &SchemaDescriptor) -> Vec<Leaf> {
    let mut chains = Vec::with_capacity(schema.num_columns());
    for field in schema.root_schema().get_fields() {
        collect(field, &mut Vec::new(), &mut chains);
    }
    let columns = schema.columns().iter().zip(chains);
    columns.map(|(column, chain)| leaf(schema, column, &chain)).collect()
}

/// The ways from below the root to every primitive column, in the schema's order.
fn collect(node: &TypePtr, above: &mut Vec<TypePtr>, chains: &mut Vec<Vec<TypePtr>>) {
    above.push(Arc::clone(node));
    if node.is_primitive() {
        chains.push(above.clone());
    } else {
        node.get_fields().iter().for_each(|field| collect(field, above, chains));
    }
    above.pop();
}

fn leaf(schema: &SchemaDescriptor, descriptor: &ColumnDescPtr, chain: &[TypePtr]) -> Leaf {
    let mut level = Level::default();
    let mut nodes: Vec<Node> = Vec::with_capacity(chain.len());
    let mut above = Each::No;
    for (at, node) in chain.iter().enumerate() {
        let info = node.get_basic_info();
        let repetition = info.repetition();
        level.definition += i16::from(repetition != Repetition::REQUIRED);
        level.repetition += i16::from(repetition == Repetition::REPEATED);
        let each = match (above, each(node, chain.get(at + 1))) {
            // The repeated level of a list belongs to the list: its own `[*]` is the list's.
            (Each::Below(2), _) | (Each::Below(_), Each::Itself) => Each::No,
            (_, each) => each,
        };
        above = each;
        nodes.push(Node { name: info.name().to_owned(), each, level });
    }
    let meaning = Meaning::of(descriptor);
    Leaf { descriptor: Arc::clone(descriptor), meaning, alone: alone(schema, chain), nodes }
}

/// What `[*]` does at a node, whose child towards the leaf is known.
fn each(node: &TypePtr, child: Option<&TypePtr>) -> Each {
    let info = node.get_basic_info();
    let repeats = |node: &TypePtr| node.get_basic_info().repetition() == Repetition::REPEATED;
    let annotated = |logical: LogicalType, converted: &[ConvertedType]| {
        info.logical_type_ref() == Some(&logical) || converted.contains(&info.converted_type())
    };
    let is_map = annotated(LogicalType::Map, &[ConvertedType::MAP, ConvertedType::MAP_KEY_VALUE]);
    let is_list = annotated(LogicalType::List, &[ConvertedType::LIST]);
    match child {
        Some(child) if (is_map || is_list) && repeats(child) && node.get_fields().len() == 1 => {
            let wrapped = is_list && wraps_element(child, info.name());
            Each::Below(if wrapped { 2 } else { 1 })
        }
        _ if repeats(node) => Each::Itself,
        _ => Each::No,
    }
}

/// Whether the repeated level of a list wraps its element (three levels) or is it (two levels), by
/// the backward compatibility rules of `LogicalTypes.md` in apache/parquet-format.
fn wraps_element(repeated: &TypePtr, list: &str) -> bool {
    let name = repeated.name();
    repeated.is_group()
        && repeated.get_fields().len() == 1
        && repeated.get_fields()[0].get_basic_info().repetition() != Repetition::REPEATED
        && name != "array"
        && name.strip_suffix("_tuple") != Some(list)
}

/// A schema of this chain only: levels depend on nothing beside it.
fn alone(schema: &SchemaDescriptor, chain: &[TypePtr]) -> TypePtr {
    let mut inner: Option<TypePtr> = None;
    for node in chain.iter().rev() {
        inner = Some(match inner {
            None => writable(node),
            Some(child) => group(node.name(), Some(node.get_basic_info().repetition()), child),
        });
    }
    match inner {
        Some(child) => group(schema.root_schema().name(), None, child),
        None => schema.root_schema_ptr(),
    }
}

/// The type, without an annotation that is too new to be known: the writer refuses those.
fn writable(leaf: &TypePtr) -> TypePtr {
    let info = leaf.get_basic_info();
    let (
        Some(LogicalType::_Unknown { .. }),
        Type::PrimitiveType { physical_type, type_length, .. },
    ) = (info.logical_type_ref(), &**leaf)
    else {
        return Arc::clone(leaf);
    };
    Type::primitive_type_builder(info.name(), *physical_type)
        .with_repetition(info.repetition())
        .with_length(*type_length)
        .build()
        .map_or_else(|_| Arc::clone(leaf), Arc::new)
}

fn group(name: &str, repetition: Option<Repetition>, child: TypePtr) -> TypePtr {
    let mut builder = GroupTypeBuilder::new(name).with_fields(vec![Arc::clone(&child)]);
    if let Some(repetition) = repetition {
        builder = builder.with_repetition(repetition);
    }
    builder.build().map_or(child, Arc::new)
}
