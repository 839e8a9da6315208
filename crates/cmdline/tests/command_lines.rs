//! Command lines as real builds say them: Linux, LLVM, Chromium, Debian's packages, Meson, libtool, Qt, Bazel, cargo.

use cmdline::{Files, Meaning, tool_of, understand};

struct OneObject;

impl Files for OneObject {
    fn read(&self, _path: &[u8]) -> Option<Vec<u8>> {
        Some(b"fs/ext4/inode.o\n".to_vec())
    }
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}

#[test]
fn what_real_builds_say_is_a_job_whose_outputs_are_known() {
    for line in include_str!("command_lines.txt").lines() {
        let words = words(line);
        let tool = tool_of(&words[0]).unwrap_or_else(|| panic!("{line}: no tool of ours"));

        let meaning = understand(&tool, &words[1..], &OneObject);

        let Meaning::Job(job) = &meaning else { panic!("{line}: {meaning:?}") };
        let fortran = line.starts_with("gfortran");
        let crash_reports = line.contains("-fcrash-diagnostics-dir");
        let unknown_front_end_words = line.contains("-add-plugin");
        assert_eq!(job.outputs_complete, !(fortran || crash_reports || unknown_front_end_words), "{line}: {job:?}");
    }
}

#[test]
fn a_value_is_no_input_and_an_input_no_value() {
    for (line, input) in [
        ("ld -O 1 a.o", "a.o"),
        ("ld.gold --icf all a.o", "a.o"),
        ("mold --compress-debug-sections zlib a.o", "a.o"),
        ("ld.gold --thread-count-initial 2 a.o", "a.o"),
        ("gcc -c --write-dependencies a.c", "a.c"),
        ("gcc -c --write-user-dependencies a.c", "a.c"),
        ("clang -dsym-dir d -c a.c", "a.c"),
        ("objcopy --long-section-names keep a.o b.o", "a.o"),
    ] {
        let words = words(line);
        let tool = tool_of(&words[0]).unwrap_or_else(|| panic!("{line}: no tool of ours"));

        let Meaning::Job(job) = understand(&tool, &words[1..], &OneObject) else { panic!("{line} stays") };

        assert_eq!(job.inputs, [input.as_bytes().to_vec()], "{line}");
    }
}
