//! `ld-launcher`: in front of a linker. See `launcher_kit`, which does all of it for either launcher.

fn main() {
    launcher_kit::main("ld-launcher")
}
