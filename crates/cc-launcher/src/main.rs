//! `cc-launcher`: in front of a compiler. See `launcher_kit`, which does all of it for either launcher.

fn main() {
    launcher_kit::main("cc-launcher")
}
