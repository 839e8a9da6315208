//! Command lines as real builds say them: Linux, LLVM, Chromium, Debian's packages, Meson, libtool, Qt, Bazel, cargo, go.

use cmdline::{Files, Meaning, tool_of, understand};

struct OneObject;

impl Files for OneObject {
    fn read(&self, _path: &[u8]) -> Option<Vec<u8>> {
        Some(b"fs/ext4/inode.o\n".to_vec())
    }
}

#[test]
fn what_real_builds_say_is_a_job_whose_outputs_are_known() {
    for line in include_str!("command_lines.txt").lines() {
        let words: Vec<Vec<u8>> = line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
        let tool = tool_of(&words[0]).unwrap_or_else(|| panic!("{line}: no tool of ours"));

        let meaning = understand(&tool, &words[1..], &OneObject);

        let Meaning::Job(job) = &meaning else { panic!("{line}: {meaning:?}") };
        let fortran = line.starts_with("gfortran");
        let crash_reports = line.contains("-fcrash-diagnostics-dir");
        let unknown_front_end_words = line.contains("-add-plugin");
        assert_eq!(job.outputs_complete, !(fortran || crash_reports || unknown_front_end_words), "{line}: {job:?}");
    }
}
