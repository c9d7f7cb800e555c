//! An encoder of deflate (RFC 1951) that chooses as no other one would: any mixture of blocks, matches
//! anywhere within reach, codes that fit nothing. What it writes is valid; the caller has a decoder say
//! so.

use std::collections::HashMap;

use crate::choices::Choices;

/// Lowest length and number of extra bits of each length code, from 257 on.
const LENGTHS: [(usize, u32); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

/// The same of each distance code.
const DISTANCES: [(usize, u32); 30] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12289, 12),
    (16385, 13),
    (24577, 13),
];

/// In which order lengths of the codes of code lengths stand.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

#[derive(Clone, Copy)]
enum Token {
    Literal(u8),
    Match { length: usize, distance: usize },
}

/// Bits in the order of deflate.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    held: u64,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u64, count: u32) {
        self.held |= value << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    /// A code stands with its highest bit first.
    fn code(&mut self, (code, length): (u32, u32)) {
        self.put(u64::from(code.reverse_bits() >> (32 - length)), length);
    }

    fn align(&mut self) {
        if self.count > 0 {
            self.put(0, 8 - self.count);
        }
    }
}

/// A stream of this content.
pub fn encode(content: &[u8], choices: &mut Choices<'_>) -> Vec<u8> {
    let tokens = tokens(content, choices);
    let mut bits = Bits::default();
    let longest = [3, 50, 2000, usize::MAX][choices.below(4)];
    let (mut at, mut position) = (0, 0);
    loop {
        let count = 1 + choices.any(longest.min(tokens.len() + 1));
        let block = &tokens[at..(at + count).min(tokens.len())];
        at += block.len();
        let bytes: usize = block.iter().map(|token| token.length()).sum();
        let is_last = at == tokens.len() && choices.any(4) > 0;
        bits.put(u64::from(is_last), 1);
        match choices.any(4) {
            0 if bytes <= 0xffff => {
                bits.put(0, 2);
                bits.align();
                bits.bytes.extend((bytes as u16).to_le_bytes());
                bits.bytes.extend((!(bytes as u16)).to_le_bytes());
                bits.bytes.extend(&content[position..position + bytes]);
            }
            0 | 1 => {
                bits.put(1, 2);
                write(&mut bits, block, &codes(&fixed()), &codes(&[5; 30]));
            }
            _ => {
                bits.put(2, 2);
                dynamic(&mut bits, block, choices);
            }
        }
        position += bytes;
        if is_last {
            bits.align();
            return bits.bytes;
        }
    }
}

impl Token {
    fn length(self) -> usize {
        match self {
            Self::Literal(_) => 1,
            Self::Match { length, .. } => length,
        }
    }
}

/// Literals and matches, of which any earlier place within reach will do.
fn tokens(content: &[u8], choices: &mut Choices<'_>) -> Vec<Token> {
    let mut seen: HashMap<[u8; 3], Vec<usize>> = HashMap::new();
    let mut tokens = Vec::new();
    let (mut at, eager) = (0, 1 + choices.any(4));
    while at < content.len() {
        let start = content.get(at..at + 3).map(|three| [three[0], three[1], three[2]]);
        let places = start.and_then(|start| seen.get(&start)).map_or(&[][..], Vec::as_slice);
        let place = (!places.is_empty()).then(|| places[choices.any(places.len())]);
        let token = match place {
            Some(place) if at - place <= 32_768 && choices.any(4) < eager => {
                let same = |length: &usize| content[place + length] == content[at + length];
                let most = (3..258.min(content.len() - at)).take_while(same).count() + 3;
                let length = if choices.any(3) == 0 { 3 + choices.any(most - 2) } else { most };
                Token::Match { length, distance: at - place }
            }
            _ => Token::Literal(content[at]),
        };
        for place in at..at + token.length() {
            if let Some(&[one, two, three]) = content.get(place..place + 3) {
                let places = seen.entry([one, two, three]).or_default();
                if places.len() == 8 {
                    places.remove(0);
                }
                places.push(place);
            }
        }
        at += token.length();
        tokens.push(token);
    }
    tokens
}

fn fixed() -> Vec<u32> {
    [vec![8; 144], vec![9; 112], vec![7; 24], vec![8; 8]].concat()
}

/// The canonical codes of these lengths.
fn codes(lengths: &[u32]) -> Vec<(u32, u32)> {
    let mut codes = vec![(0, 0); lengths.len()];
    let mut code = 0;
    for length in 1..=15 {
        for (at, _) in lengths.iter().enumerate().filter(|(_, it)| **it == length) {
            codes[at] = (code, length);
            code += 1;
        }
        code <<= 1;
    }
    codes
}

fn code_of(table: &[(usize, u32)], value: usize) -> usize {
    // The longest match has a code of its own.
    table.iter().rposition(|(lowest, _)| *lowest <= value).expect("in the table")
}

fn write(bits: &mut Bits, block: &[Token], literals: &[(u32, u32)], distances: &[(u32, u32)]) {
    for token in block {
        match *token {
            Token::Literal(byte) => bits.code(literals[usize::from(byte)]),
            Token::Match { length, distance } => {
                let code = code_of(&LENGTHS, length);
                bits.code(literals[257 + code]);
                bits.put((length - LENGTHS[code].0) as u64, LENGTHS[code].1);
                let code = code_of(&DISTANCES, distance);
                bits.code(distances[code]);
                bits.put((distance - DISTANCES[code].0) as u64, DISTANCES[code].1);
            }
        }
    }
    bits.code(literals[256]);
}

/// Lengths of a complete code for the used symbols and some more, as chance has it.
fn lengths(used: &mut [bool], limit: u32, choices: &mut Choices<'_>) -> Vec<u32> {
    if choices.any(3) == 0 {
        let at = choices.any(used.len());
        used[at] = true;
    }
    let symbols: Vec<usize> = (0..used.len()).filter(|&at| used[at]).collect();
    let mut lengths = vec![0; used.len()];
    if symbols.len() < 2 {
        symbols.iter().for_each(|&at| lengths[at] = 1);
        return lengths;
    }
    // Leaves are split at random until there are enough: a complete code, whatever its shape.
    let mut leaves = vec![1_u32, 1];
    while leaves.len() < symbols.len() {
        let at = choices.any(leaves.len());
        let shallow = leaves.iter().position(|length| *length < limit - 1);
        let at = if leaves[at] < limit { at } else { shallow.unwrap_or(at) };
        let at = if leaves[at] < limit {
            at
        } else {
            leaves.iter().position(|length| *length < limit).expect("room in the code")
        };
        leaves[at] += 1;
        leaves.push(leaves[at]);
    }
    for (symbol, length) in symbols.into_iter().zip(leaves) {
        lengths[symbol] = length;
    }
    lengths
}

fn dynamic(bits: &mut Bits, block: &[Token], choices: &mut Choices<'_>) {
    let (mut literals, mut distances) = (vec![false; 286], vec![false; 30]);
    literals[256] = true;
    for token in block {
        match *token {
            Token::Literal(byte) => literals[usize::from(byte)] = true,
            Token::Match { length, distance } => {
                literals[257 + code_of(&LENGTHS, length)] = true;
                distances[code_of(&DISTANCES, distance)] = true;
            }
        }
    }
    if literals.iter().filter(|used| **used).count() < 2 {
        literals[choices.any(256)] = true;
    }
    let (literals, distances) =
        (lengths(&mut literals, 15, choices), lengths(&mut distances, 15, choices));
    let last = |lengths: &[u32], least: usize, choices: &mut Choices<'_>| {
        let used = lengths.iter().rposition(|length| *length > 0).map_or(0, |at| at + 1).max(least);
        used + choices.any(lengths.len() - used + 1)
    };
    let (hlit, hdist) = (last(&literals, 257, choices), last(&distances, 1, choices));
    let all = [&literals[..hlit], &distances[..hdist]].concat();
    let runs = runs(&all, choices);
    let mut used = vec![false; 19];
    runs.iter().for_each(|run| used[run.0] = true);
    if used.iter().filter(|used| **used).count() < 2 {
        let other = used.iter().position(|used| !used).expect("one of 19");
        used[other] = true;
    }
    let of_lengths = lengths(&mut used, 7, choices);
    let count = ORDER.iter().rposition(|&at| of_lengths[at] > 0).map_or(4, |at| (at + 1).max(4));
    bits.put((hlit - 257) as u64, 5);
    bits.put((hdist - 1) as u64, 5);
    bits.put((count - 4) as u64, 4);
    ORDER[..count].iter().for_each(|&at| bits.put(u64::from(of_lengths[at]), 3));
    let of_lengths = codes(&of_lengths);
    for (symbol, extra, count) in runs {
        bits.code(of_lengths[symbol]);
        bits.put(extra, count);
    }
    write(bits, block, &codes(&literals), &codes(&distances));
}

/// Code lengths as symbols with their extra bits; runs are used or not, as chance has it.
fn runs(lengths: &[u32], choices: &mut Choices<'_>) -> Vec<(usize, u64, u32)> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < lengths.len() {
        let length = lengths[at];
        let same = lengths[at..].iter().take_while(|other| **other == length).count();
        let is_run = choices.any(4) > 0;
        if length == 0 && same >= 11 && is_run {
            let count = 11 + choices.any(same.min(138) - 10);
            runs.push((18, (count - 11) as u64, 7));
            at += count;
        } else if length == 0 && same >= 3 && is_run {
            let count = 3 + choices.any(same.min(10) - 2);
            runs.push((17, (count - 3) as u64, 3));
            at += count;
        } else if at > 0 && lengths[at - 1] == length && same >= 3 && is_run {
            let count = 3 + choices.any(same.min(6) - 2);
            runs.push((16, (count - 3) as u64, 2));
            at += count;
        } else {
            runs.push((length as usize, 0, 0));
            at += 1;
        }
    }
    runs
}
