//! A compiler that waits, see `e2e::gate`: it is copied to where a story wants one, beside a file that says where it
//! reports to and what it becomes. It knows nothing else, so it is small and quick.

use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    match wait() {
        Ok(compiler) => {
            let error = Command::new(&compiler).args(words).exec();
            eprintln!("{}: cannot run {compiler}: {error}", name.display());
        }
        Err(error) => eprintln!("{}: no gate: {error}", name.display()),
    }
    ExitCode::from(70)
}

/// Waits until the gate is open; what is to be run then.
fn wait() -> std::io::Result<String> {
    let here = std::env::current_exe()?;
    let text = std::fs::read_to_string(here.with_added_extension("gate"))?;
    let (address, compiler) = text.trim_end().split_once('\n').ok_or(std::io::ErrorKind::InvalidData)?;
    let address = SocketAddr::from_abstract_name(std::ffi::OsStr::new(address).as_bytes())?;
    let mut gate = UnixStream::connect_addr(&address)?;
    let mut open = [0];
    // The gate's end without a word: the story is over.
    gate.read_exact(&mut open)?;
    Ok(compiler.to_owned())
}
