//! How fast a core of this machine is, by a piece of work like a compiler's: characters told apart, names looked up, a
//! tree made and walked. Integers, branches that cannot be foreseen, and more memory than the nearest caches hold.
//!
//! It is done once, when the worker starts, for some 45 ms of the thread's own CPU time: what else runs here takes its
//! share of caches and clock rate, not of the figure. Best of several, as the first finds the CPU asleep. The piece of work
//! is part of what the figure means; see [`Speed`].

use std::time::Duration;

use model::speed::Speed;
use rustix::time::{ClockId, clock_gettime};

/// CPU time for each try.
const TRY: Duration = Duration::from_millis(15);
/// Of which the best counts.
const TRIES: usize = 3;
/// Statements between two looks at the clock: about a millisecond's.
const STATEMENTS: usize = 1_024;
/// Bytes of source.
const SOURCE: usize = 256 << 10;
/// Names that it uses.
const NAMES: u64 = 12_000;
/// Places for names; a power of two.
const TABLE: usize = 1 << 15;
/// Places for nodes, used again and again; a power of two.
const NODES: usize = 1 << 15;

/// Measures.
#[must_use]
pub fn of_this_machine() -> Option<Speed> {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    measured(&mut Compiler::new(source(SOURCE)), now)
}

/// Thousands of statements a second, the best of all tries, by this clock.
fn measured(compiler: &mut Compiler, mut now: impl FnMut() -> Duration) -> Option<Speed> {
    let mut one = || {
        let (start, mut rounds) = (now(), 0u128);
        loop {
            // What comes of it matters to nobody; that it is done does.
            std::hint::black_box(compiler.run(STATEMENTS));
            rounds += 1;
            let took = now().saturating_sub(start);
            if took >= TRY {
                return rounds * 1_000_000_000 / took.as_nanos();
            }
        }
    };
    let best = (0..TRIES).map(|_| one()).max()?;
    Speed::new(u32::try_from(best).unwrap_or(u32::MAX).max(1))
}

/// The published SplitMix64, so that every machine compiles the same.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Statements like `name17 = 3 * (name4 - 12) + name9;`, about so many bytes.
fn source(bytes: usize) -> Vec<u8> {
    let (mut text, mut chance) = (Vec::with_capacity(bytes + 256), 1);
    while text.len() < bytes {
        text.extend(format!("name{} = ", next(&mut chance) % NAMES).bytes());
        let mut open = 0;
        for _ in 0..1 + next(&mut chance) % 8 {
            if next(&mut chance).is_multiple_of(4) {
                text.push(b'(');
                open += 1;
            }
            match next(&mut chance) % 3 {
                0 => text.extend(format!("{}", next(&mut chance) % 1_000).bytes()),
                _ => text.extend(format!("name{}", next(&mut chance) % NAMES).bytes()),
            }
            if open > 0 && next(&mut chance).is_multiple_of(3) {
                text.push(b')');
                open -= 1;
            }
            text.extend([b' ', b"+-*&|^"[(next(&mut chance) % 6) as usize], b' ']);
        }
        text.push(b'1');
        text.extend(std::iter::repeat_n(b')', open));
        text.extend(b";\n");
    }
    text
}

#[derive(Clone, Copy, Debug, Default)]
struct Name {
    /// Where in the source it stands first; 0 bytes long while the place is free.
    start: usize,
    length: usize,
    value: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// The operator, or 0 for a number and 1 for a name.
    what: u8,
    left: u32,
    right: u32,
    value: u64,
}

/// Of a language that has assignments only.
#[derive(Debug)]
struct Compiler {
    source: Vec<u8>,
    place: usize,
    names: Vec<Name>,
    nodes: Vec<Node>,
    used: usize,
    operands: Vec<u32>,
    operators: Vec<u8>,
}

impl Compiler {
    fn new(source: Vec<u8>) -> Self {
        let (names, nodes) = (vec![Name::default(); TABLE], vec![Node::default(); NODES]);
        Self { source, place: 0, names, nodes, used: 0, operands: Vec::new(), operators: Vec::new() }
    }

    /// So many statements, from the start again at the end; a sum of what was assigned.
    fn run(&mut self, statements: usize) -> u64 {
        (0..statements).fold(0u64, |sum, _| sum.rotate_left(7) ^ self.statement())
    }

    fn statement(&mut self) -> u64 {
        self.skip_blanks();
        let target = self.name();
        self.skip_blanks();
        self.place += 1; // The equals sign.
        let root = self.expression();
        let value = self.walk(root);
        self.names[target].value = value;
        value
    }

    fn skip_blanks(&mut self) {
        while matches!(self.source.get(self.place), Some(b' ' | b'\n')) {
            self.place += 1;
        }
        if self.place == self.source.len() {
            self.place = 0;
        }
    }

    /// Reads a name; where it is in the table.
    fn name(&mut self) -> usize {
        let start = self.place;
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        while let Some(byte @ (b'a'..=b'z' | b'0'..=b'9')) = self.source.get(self.place) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            self.place += 1;
        }
        let length = self.place - start;
        let mut at = (hash >> 32) as usize % TABLE;
        loop {
            let Name { start: known, length: known_length, .. } = self.names[at];
            if known_length == 0 {
                self.names[at] = Name { start, length, value: hash };
                return at;
            }
            if known_length == length && self.source[known..known + length] == self.source[start..start + length] {
                return at;
            }
            at = (at + 1) % TABLE;
        }
    }

    /// Reads up to the semicolon; the root of the tree (operators wait on a stack until one binds less).
    fn expression(&mut self) -> u32 {
        loop {
            self.skip_blanks();
            match self.source[self.place] {
                b'a'..=b'z' => {
                    let name = self.name();
                    let node = self.node(1, u32::try_from(name).unwrap_or(0), 0, 0);
                    self.operands.push(node);
                    continue;
                }
                b'0'..=b'9' => self.number(),
                b'(' => self.operators.push(b'('),
                b')' => {
                    self.reduce(1);
                    self.operators.pop();
                }
                b';' => {
                    self.reduce(1);
                    self.place += 1;
                    return self.operands.pop().unwrap_or(0);
                }
                operator => {
                    self.reduce(binds(operator));
                    self.operators.push(operator);
                }
            }
            self.place += 1;
        }
    }

    /// Reads a number but for its last digit.
    fn number(&mut self) {
        let mut value = 0;
        loop {
            value = value * 10 + u64::from(self.source[self.place] - b'0');
            if !self.source.get(self.place + 1).is_some_and(u8::is_ascii_digit) {
                break;
            }
            self.place += 1;
        }
        let node = self.node(0, 0, 0, value);
        self.operands.push(node);
    }

    /// Makes nodes of the operators on the stack that bind at least so much.
    fn reduce(&mut self, least: u8) {
        while let Some(&operator) = self.operators.last().filter(|&&operator| binds(operator) >= least) {
            self.operators.pop();
            let (right, left) = (self.operands.pop().unwrap_or(0), self.operands.pop().unwrap_or(0));
            let node = self.node(operator, left, right, 0);
            self.operands.push(node);
        }
    }

    fn node(&mut self, what: u8, left: u32, right: u32, value: u64) -> u32 {
        // Scattered as those of a long-lived heap are.
        self.used = (self.used + 7_919) % NODES;
        self.nodes[self.used] = Node { what, left, right, value };
        u32::try_from(self.used).unwrap_or(0)
    }

    fn walk(&self, root: u32) -> u64 {
        let node = self.nodes[root as usize];
        let both = || (self.walk(node.left), self.walk(node.right));
        match node.what {
            0 => node.value,
            1 => self.names[node.left as usize].value,
            operator => {
                let (left, right) = both();
                match operator {
                    b'+' => left.wrapping_add(right),
                    b'-' => left.wrapping_sub(right),
                    b'*' => left.wrapping_mul(right),
                    b'&' => left & right,
                    b'|' => left | right,
                    _ => left ^ right,
                }
            }
        }
    }
}

/// How much an operator binds; an open parenthesis not at all.
const fn binds(operator: u8) -> u8 {
    match operator {
        b'(' => 0,
        b'|' => 1,
        b'^' => 2,
        b'&' => 3,
        b'+' | b'-' => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_compiles() {
        let mut compiler =
            Compiler::new(b"a = 2 + 3 * (40 - 1) - 1;\nb = a * a | 1;\na = (b ^ 1) & 255 + 0;\n".to_vec());

        let values: Vec<u64> = (0..4).map(|_| compiler.statement()).collect();

        assert_eq!(values, [118, 13_925, 13_924 & 255, 118]);
    }

    #[test]
    fn every_machine_compiles_the_same() {
        let text = source(SOURCE);
        let mut compiler = Compiler::new(text.clone());

        let sum = compiler.run(20_000);

        assert!(text.iter().filter(|&&byte| byte == b';').count() < 20_000, "it begins again");
        assert_eq!(sum, 1_823_152_919_976_035_939, "another piece of work makes another unit: see Speed");
        assert_eq!(model::ids::fnv1a(&text), 2_496_544_607_625_237_751);
    }

    #[test]
    fn the_best_try_counts_by_the_clock_that_it_is_given() {
        let mut compiler = Compiler::new(source(1_000));
        // Each round takes 4 ms in the second try and 5 ms otherwise: 250 and 200 a second.
        let (mut looks, mut time) = (0, Duration::ZERO);
        let clock = || {
            looks += 1;
            time += Duration::from_millis(if (5..=9).contains(&looks) { 4 } else { 5 });
            time
        };

        let speed = measured(&mut compiler, clock).expect("it did something");

        assert_eq!(speed.per_second(), 250);
    }

    #[test]
    fn a_clock_that_stands_still_for_less_than_a_try_and_one_that_leaps_give_a_figure() {
        let mut compiler = Compiler::new(source(1_000));
        let mut time = Duration::ZERO;
        let leaps = || {
            time += Duration::from_secs(1_000_000);
            time
        };

        assert_eq!(measured(&mut compiler, leaps).map(Speed::per_second), Some(1));
    }

    #[test]
    fn this_machine_has_a_speed() {
        assert!(of_this_machine().is_some());
    }
}
