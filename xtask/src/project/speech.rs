//! What in a build's files and logs is said by us or by the clock, and what is left when that is taken out.

use std::collections::BTreeMap;

/// What stands in a build because of the launchers, and what would stand there without: `cc-launcher gcc`, `gcc`.
pub(crate) struct Words(pub(crate) Vec<(String, &'static str)>);

impl Words {
    /// The text as a direct build would have it.
    pub(crate) fn unsaid(&self, text: &[u8]) -> Vec<u8> {
        self.0.iter().fold(text.to_owned(), |text, (said, plain)| replace(&text, said.as_bytes(), plain.as_bytes()))
    }
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with(from) {
            replaced.extend_from_slice(to);
            at += from.len();
        } else {
            replaced.push(text[at]);
            at += 1;
        }
    }
    replaced
}

/// The lines of a log, in no order: jobs at the same time end in any.
#[derive(Debug, Default)]
pub(crate) struct Lines(BTreeMap<Vec<u8>, usize>);

impl Lines {
    pub(crate) fn of(log: &[u8], words: &Words) -> Self {
        let mut lines = Self::default();
        for line in words.unsaid(log).split(|&byte| byte == b'\n') {
            *lines.0.entry(without_counter(line).to_owned()).or_default() += 1;
        }
        lines
    }

    pub(crate) fn count(&self) -> usize {
        self.0.values().sum()
    }

    /// How many lines have `text` in them.
    pub(crate) fn with(&self, text: &[u8]) -> usize {
        let has = |line: &[u8]| line.windows(text.len()).any(|window| window == text);
        self.0.iter().filter(|(line, _)| has(line)).map(|(_, count)| count).sum()
    }

    /// Lines that one has more often than the other, with `lost` or `added` before each.
    pub(crate) fn changes(direct: &Self, ours: &Self) -> Vec<String> {
        let more = |these: &Self, those: &Self, word: &str| {
            let mut found = Vec::new();
            for (line, count) in &these.0 {
                let surplus = count.saturating_sub(those.0.get(line).copied().unwrap_or_default());
                found.extend(std::iter::repeat_n(format!("{word}: {}", String::from_utf8_lossy(line)), surplus));
            }
            found
        };
        let mut changes = more(direct, ours, "lost");
        changes.extend(more(ours, direct, "added"));
        changes
    }
}

/// Without `[12/40] ` or `[ 30%] `, which count what has ended so far.
fn without_counter(line: &[u8]) -> &[u8] {
    let Some(inner) = line.strip_prefix(b"[") else { return line };
    let Some(end) = inner.windows(2).position(|window| window == b"] ") else { return line };
    let counts = |byte: &u8| byte.is_ascii_digit() || b" /%".contains(byte);
    if inner[..end].iter().all(counts) { &inner[end + 2..] } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        Words(vec![("/x/masq/".to_owned(), "/usr/bin/"), ("cc-launcher ".to_owned(), "")])
    }

    #[test]
    fn order_counters_and_our_words_make_no_difference() {
        let direct = Lines::of(b"[1/2] gcc -c a.c\na.c:1: warning: x\n[2/2] /usr/bin/ar q l a.o\n", &words());
        let ours = Lines::of(b"[1/2] /x/masq/ar q l a.o\n[2/2] cc-launcher gcc -c a.c\na.c:1: warning: x\n", &words());

        assert_eq!(Lines::changes(&direct, &ours), Vec::<String>::new());
        assert_eq!((direct.count(), direct.with(b"warning:")), (4, 1));
    }

    #[test]
    fn a_lost_and_an_added_line_are_told() {
        let direct = Lines::of(b"w\nw\n[-Wall]\n", &words());
        let ours = Lines::of(b"w\nnote\n[-Wall]\n", &words());

        assert_eq!(Lines::changes(&direct, &ours), ["lost: w", "added: note"]);
    }
}
