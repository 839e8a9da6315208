//! What `--help` prints.

/// The help of the launcher `name`.
#[must_use]
pub fn text(name: &str) -> String {
    let (command, program) =
        if name == "ld-launcher" { ("g++ a.o -o a", "ld") } else { ("g++ -c a.cpp -o a.o", "g++") };
    format!(
        "\
{name}: runs a compiler, linker or archiver on a worker that shares this directory

Usage:
  {name} [FLAGS] -- COMMAND ARGS...     for example: {name} -- {command}
  {name} [FLAGS] COMMAND ARGS...        the first word that is no flag starts the command
  {name} [FLAGS] --jobs-from=FILE       every command of a compile_commands.json; `-`: one command a line on
                                          standard input, its words separated by NUL
  a symbolic link to {name} named like a tool (`{program}`), first on the PATH, runs the next `{program}` of the PATH

Flags (those with a [default] or a value also as DISTCCD_NAME in the environment, and as `name` in the files below):
  --server-addr=HOST:PORT   the server                                        [localhost:50051]
  --service-user=USER       whose .distccd/cluster.toml on the mount is believed besides root's and
                            one's own; it says where the server is unless --server-addr, a
                            file or the environment does                      [distccd-server]
  --fs-mount=PATH           the shared mount; repeat it or separate with `:`  [/mnt/cephfs]
  --build-dir=PATH          root of the build's outputs                       [the working directory]
  --batch-size=N            at most N jobs in one message                     [1]
  --batch-timeout=DUR       no job waits longer than this for company         [500ms]
  --priority=N              as nice(1) counts: -20 the most urgent, 19 the least         [0]
  --fallback=POLICY         when the cluster does not take a job: `never` an error, `limited` a throttled
                            local run, `always` an unthrottled one            [limited]
  --local-slots=N           throttled local runs at once                      [one per CPU]
  --local-memory=SIZE       memory that each must find available, a link four times as much; 0: no matter [512MiB]
  --connect-timeout=DUR     to reach the server at first                      [1s]
  --reattach-timeout=DUR    to reach it again with jobs submitted             [15s]
  --visibility-timeout=DUR  to see here what a worker wrote                   [1m]
  --system-dirs=PATH:...    directories alike on every machine                [/usr:/lib:...:/opt]
  --pass-env=NAME:...       more variables for the compiler
  --log-file=FILE           note there what is done
  --verbose                 note it on standard error
  --explain                 print what would happen and why, and run nothing
  --help, --version

DISTCCD_DISABLE=1 runs everything locally.
Files, weakest first: .distccd/cluster.toml on the mount, which the server writes, /etc/distccd/launcher.toml, ~/.config/distccd/launcher.toml; then the environment, then flags.

Exit codes: the command's own, or its signal. Of {name} itself: 64 wrong flag, 69 the cluster does not take the job
and --fallback=never, 71 the system fails it, 78 wrong configuration, 126 the program cannot be run, 127 there is none.
With --jobs-from: 0 when every command succeeded, else the code of the first that failed, in the list's order.
"
    )
}
