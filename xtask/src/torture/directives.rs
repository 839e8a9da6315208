//! What a test asks for: DejaGnu's `{ dg-... }` comments, as far as they shape the command line (GCC Internals,
//! "Testsuites", "Directives used within DejaGnu tests").

/// How far a test is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Preprocess,
    Assembly,
    Object,
    Link,
}

/// What the comments of one test say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    pub(crate) stage: Option<Stage>,
    /// `dg-options`; `None` when the directory's own options are wanted.
    pub(crate) options: Option<Vec<String>>,
    pub(crate) more_options: Vec<String>,
    /// Further sources, relative to the test.
    pub(crate) more_sources: Vec<String>,
}

impl Directives {
    /// Reads a test's text, which need not be UTF-8.
    pub(crate) fn read(text: &[u8]) -> Self {
        let mut found = Self::default();
        for line in String::from_utf8_lossy(text).lines() {
            let mut rest = line;
            while let Some((_, after)) = rest.split_once('{') {
                if after.trim_start().starts_with("dg-") {
                    found.take(&list(after));
                }
                rest = after;
            }
        }
        found
    }

    fn take(&mut self, words: &[String]) {
        let [name, value, ..] = words else { return };
        match name.as_str() {
            "dg-do" | "dg-lto-do" => self.stage = stage(value).or(self.stage),
            _ if !words.get(2).is_none_or(|selector| is_for_this_machine(selector)) => {}
            "dg-options" => self.options = Some(split(value)),
            // A list of lists: one run with each; ours is the first.
            "dg-lto-options" => self.options = list(value).first().map(|first| split(first)),
            "dg-additional-options" => self.more_options.extend(split(value)),
            "dg-additional-sources" => self.more_sources.extend(split(value)),
            _ => {}
        }
    }
}

fn stage(word: &str) -> Option<Stage> {
    match word {
        "preprocess" => Some(Stage::Preprocess),
        "compile" => Some(Stage::Assembly),
        // What is to be run is only made: its output is no compiler's.
        "assemble" | "run" => Some(Stage::Object),
        "link" => Some(Stage::Link),
        _ => None,
    }
}

/// Whether a selector may mean a 64-bit PC with Linux: in doubt it does, for any command line is a good one.
fn is_for_this_machine(selector: &str) -> bool {
    let mut machines = selector.split([' ', '{', '}', '(', ')']).filter(|word| word.contains("-*")).peekable();
    let names_none = machines.peek().is_none();
    !selector.contains("ia32")
        && (names_none || machines.any(|machine| machine.starts_with("*-*") || machine.starts_with("x86_64")))
}

/// The words of a Tcl list up to its closing brace: bare, in double quotes, or in braces, which nest.
fn list(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next().filter(|first| *first != '}') {
        let (word, after) = match first {
            '"' => quoted(&rest[1..]),
            '{' => braced(&rest[1..]),
            _ => bare(rest),
        };
        words.push(word);
        rest = after.trim_start();
    }
    words
}

fn bare(text: &str) -> (String, &str) {
    let end = text.find(|c: char| c.is_whitespace() || c == '}').unwrap_or(text.len());
    (text[..end].to_owned(), &text[end..])
}

/// Up to the closing quote; a backslash takes what follows it as it is.
fn quoted(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut chars = text.char_indices();
    while let Some((place, c)) = chars.next() {
        match c {
            '"' => return (word, &text[place + 1..]),
            '\\' => word.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => word.push(c),
        }
    }
    (word, "")
}

/// Up to the brace that closes it.
fn braced(text: &str) -> (String, &str) {
    let mut depth = 1;
    for (place, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (text[..place].to_owned(), &text[place + 1..]);
        }
    }
    (text.to_owned(), "")
}

/// Options as DejaGnu's shell would part them: by white space, which quotes keep together.
fn split(options: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut quote, mut inside) = (None, false);
    for c in options.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_whitespace() => {
                inside = false;
                continue;
            }
            _ if inside => words.last_mut().into_iter().for_each(|word| word.push(c)),
            _ => words.push(c.to_string()),
        }
        inside |= words.last().is_some();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Directives {
        Directives::read(text.as_bytes())
    }

    #[test]
    fn a_test_says_how_far_it_goes_and_with_which_options() {
        let found = read(
            "/* { dg-do compile { target c++11 } } */\n/* { dg-options \"-O2 -DX=\\\"a b\\\" -Wall\" } */\n\
             // { dg-additional-options {-g -fno-x} { target { lp64 && x86_64-*-* } } }\n\
             // { dg-additional-sources \"b.c c.c\" }\nint x; // { dg-error \"no {\" }\n",
        );

        assert_eq!(found.stage, Some(Stage::Assembly));
        assert_eq!(found.options.as_deref(), Some(&["-O2", "-DX=a b", "-Wall"].map(str::to_owned)[..]));
        assert_eq!(found.more_options, ["-g", "-fno-x"]);
        assert_eq!(found.more_sources, ["b.c", "c.c"]);
    }

    #[test]
    fn options_for_other_machines_are_not_ours() {
        let found = read(
            "/* { dg-options \"-O1\" } */\n/* { dg-options \"-mips\" { target mips*-*-* } } */\n\
             /* { dg-options \"-m\" { target { ia32 } } } */\n",
        );

        assert_eq!(found.options.as_deref(), Some(&["-O1".to_owned()][..]));
        assert!(is_for_this_machine("target i?86-*-* x86_64-*-*") && is_for_this_machine("target *-*-linux*"));
    }

    #[test]
    fn of_several_runs_for_link_time_optimisation_the_first_is_ours() {
        let found = read("/* { dg-lto-do link } */\n/* { dg-lto-options { { -flto -r } { -O2 -flto } } } */\n");

        assert_eq!(found.stage, Some(Stage::Link));
        assert_eq!(found.options.as_deref(), Some(&["-flto", "-r"].map(str::to_owned)[..]));
    }

    #[test]
    fn a_test_without_directives_says_nothing() {
        assert_eq!(read("int main() { return \"dg-do\"[0]; } // { x } {"), Directives::default());
    }
}
