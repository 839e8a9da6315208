//! The third-party projects we know: sources by SHA-256, and what building each of them exercises.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::front::{Front, RULE};
use super::{Recipe, System, small as generated};
use crate::fetch::SourcePackage;
use crate::flags::Generator;
use crate::prerequisites::{FORTRAN, M4, PATCH, RE2_TABLES};
use crate::process;

/// The projects of `real-builds`, cheapest first.
pub(crate) fn all() -> Vec<Recipe> {
    vec![
        bzip2(),
        csstidy(),
        lua(),
        zlib(),
        json_c(),
        cmark(),
        lz4(),
        jsoncpp(),
        blas(),
        hello(),
        xz(),
        yaml_cpp(),
        gmp(),
        zstd(),
    ]
}

/// C++ with debug information, which holds every path: two builds must agree on those as well.
pub(crate) fn taglib(generator: Generator) -> Recipe {
    let files = &[("taglib_1.13.orig.tar.gz", "58f08b4db3dc31ed152c04896ee9172d22052bc7ef12888028c01d8b1d60ade0")];
    let options = &[
        "-DCMAKE_BUILD_TYPE=Debug",
        "-DBUILD_SHARED_LIBS=OFF",
        "-DBUILD_EXAMPLES=ON",
        "-DBUILD_TESTING=OFF",
        "-DWITH_ZLIB=OFF",
    ];
    let source = package("taglib", "1.13-2+deb12u1", files);
    Recipe { front: Front::Options, ..Recipe::new("taglib", "TagLib 1.13", source, cmake(generator, options)) }
}

/// C++; most of it ends in executables.
pub(crate) fn re2(generator: Generator) -> Recipe {
    let files =
        &[("re2_20220601+dfsg.orig.tar.xz", "3bc61251da3b0b97be40a8a127818c517c62516e4eda11fc901d29496663df54")];
    let source = package("re2", "20220601+dfsg-1", files);
    let system = cmake(generator, &["-DCMAKE_BUILD_TYPE=Release"]);
    let recipe = Recipe::new("re2", "RE2 2022-06-01", source, system);
    Recipe { front: Front::Options, prepare: make_re2_tables, needs: RE2_TABLES, ..recipe }
}

/// C++ of our own: a generated header, a library, two programs. There is nothing to fetch.
pub(crate) fn small() -> Recipe {
    let system = cmake(Generator::Ninja, &["-DCMAKE_BUILD_TYPE=Debug"]);
    let recipe = Recipe::new("small", "a small project", package("small", "1", &[]), system);
    Recipe { front: Front::Options, prepare: generated::write, ..recipe }
}

/// C and plain make, with flags inside `CC` and `AR`.
pub(crate) fn lua() -> Recipe {
    let files = &[("lua5.4_5.4.4.orig.tar.gz", "164c7849653b80ae67bec4b7473b884bf5cc8d2dca05653475ec2ed27b9ebf61")];
    let system = System::Make {
        dir: "src",
        arguments: &["linux-noreadline"],
        tools: &[("CC", "gcc -std=gnu99"), ("AR", "ar rcu"), ("RANLIB", "ranlib")],
    };
    Recipe::new("lua", "Lua 5.4.4", package("lua5.4", "5.4.4-3+deb12u1", files), system)
}

/// The same sources eight times, each with a directory of its own for what it makes: many commands for each directory.
pub(crate) fn lua_copies() -> Recipe {
    Recipe {
        title: "Eight copies of Lua 5.4.4",
        system: cmake(Generator::Ninja, &["-DCMAKE_BUILD_TYPE=Release"]),
        front: Front::Options,
        prepare: copy_lua,
        ..lua()
    }
}

/// `ar cq`, which must not be done twice.
fn bzip2() -> Recipe {
    let files = &[("bzip2_1.0.8.orig.tar.gz", "ab5a03176ee106d3f0fa90e381da478ddae405918153cca248e682cd0c4a2269")];
    let system = System::Make {
        dir: ".",
        arguments: &["libbz2.a", "bzip2", "bzip2recover"],
        // Its makefile asks `test` whether RANLIB is a file: one word is all that can stand there.
        tools: &[("CC", "gcc"), ("AR", "ar")],
    };
    Recipe::new("bzip2", "bzip2 1.0.8", package("bzip2", "1.0.8-5", files), system)
}

/// Several sources in one command, a versioned shared library straight from sources.
fn lz4() -> Recipe {
    let files = &[("lz4_1.9.4.orig.tar.gz", "0b0e3aa07c8c063ddf40b082bdf7e37a1562bda40a0ff5272957f3e987e0e54b")];
    let system = System::Make { dir: "lib", arguments: &["lib", "V=1"], tools: &[("CC", "gcc -g"), ("AR", "ar")] };
    Recipe::new("lz4", "LZ4 1.9.4", package("lz4", "1.9.4-1", files), system)
}

/// Assembler with the preprocessor, and a build told of nothing: its makefiles hash their own command lines.
fn zstd() -> Recipe {
    let files =
        &[("libzstd_1.5.4+dfsg2.orig.tar.xz", "8cf4bbb65e77ec348d052c8d6230eba66d435bddf64c8b5be2fcb16880c19953")];
    let system = System::Make { dir: "lib", arguments: &["V=1", "libzstd.a"], tools: &[] };
    let source = package("libzstd", "1.5.4+dfsg2-5", files);
    Recipe { front: Front::Masquerade, ..Recipe::new("zstd", "Zstandard 1.5.4", source, system) }
}

/// A configure that is no autoconf's; a shared library with a version script.
fn zlib() -> Recipe {
    let files =
        &[("zlib_1.2.13.dfsg.orig.tar.bz2", "71feb7947e3c00ef125f83b79a4e529bde31171e5babe48b391f06758d1ab0a1")];
    let system = System::Configure { name: "its own configure + make", options: &[] };
    Recipe::new("zlib", "zlib 1.2.13", package("zlib", "1:1.2.13.dfsg-1", files), system)
}

/// Many probes, few compiles.
fn hello() -> Recipe {
    let files = &[("hello_2.10.orig.tar.gz", "31e066137a962676e89f69d1b65382de95a7ef7d914b8cb956f41ea72e0f516b")];
    let system = System::Configure { name: "autoconf + automake", options: &[] };
    Recipe::new("hello", "GNU Hello 2.10", package("hello", "2.10-3", files), system)
}

/// libtool: every object twice, convenience libraries, wrapper scripts.
fn xz() -> Recipe {
    let files = &[("xz-utils_5.4.1.orig.tar.xz", "5d9827aa1875b21c288f78864bb26d2650b436ea8d2cad364e4921eb6266a5a5")];
    let system = System::Configure { name: "autoconf + automake + libtool", options: &["--disable-doc"] };
    Recipe::new("xz", "XZ Utils 5.4.1", package("xz-utils", "5.4.1-1+deb12u1", files), system)
}

/// Assembler out of m4, programs that make tables for later compiles.
fn gmp() -> Recipe {
    let files = &[("gmp_6.2.1+dfsg1.orig.tar.xz", "471b9e463e04362a0124f215afc5f0a4b99caedeeb62634c61bbc12988efa64c")];
    // The same on every CPU.
    let options = &["--build=x86_64-pc-linux-gnu", "--disable-shared"];
    let system = System::Configure { name: "autoconf + automake + libtool", options };
    let source = package("gmp", "2:6.2.1+dfsg1-1.1", files);
    let recipe = Recipe::new("gmp", "GNU MP 6.2.1", source, system);
    Recipe { front: Front::Masquerade, needs: M4, prepare: do_without_manual, ..recipe }
}

/// C++ and Meson.
fn jsoncpp() -> Recipe {
    let files = &[("libjsoncpp_1.9.5.orig.tar.gz", "f409856e5920c18d0c2fb85276e24ee607d2a09b5e7d5f0a371368903c275da2")];
    let system = System::Meson { options: &["--buildtype=debug", "--default-library=both"] };
    Recipe::new("jsoncpp", "JsonCpp 1.9.5", package("libjsoncpp", "1.9.5-4", files), system)
}

/// C, both sorts of libraries, some forty `try_compile`.
fn json_c() -> Recipe {
    let files = &[("json-c_0.16.orig.tar.gz", "3ecaeedffd99a60b1262819f9e60d7d983844073abc74e495cb822b251904185")];
    let system = cmake(Generator::Make, &["-DCMAKE_BUILD_TYPE=RelWithDebInfo"]);
    Recipe::new("json-c", "json-c 0.16", package("json-c", "0.16-2", files), system)
}

/// Links and archives by `RULE_LAUNCH_LINK`.
fn cmark() -> Recipe {
    let files = &[("cmark_0.30.2.orig.tar.gz", "6c7d2bcaea1433d977d8fed0b55b71c9d045a7cdf616e3cd2dce9007da753db3")];
    let system = cmake(Generator::Ninja, &["-DCMAKE_BUILD_TYPE=Release"]);
    let source = package("cmark", "0.30.2-6", files);
    Recipe { front: Front::Rules, prepare: rule_links, ..Recipe::new("cmark", "cmark 0.30.2", source, system) }
}

/// C++ as unity builds, with precompiled headers.
fn yaml_cpp() -> Recipe {
    let files =
        &[("yaml-cpp_0.7.0+dfsg.orig.tar.xz", "dc63708605404e0b963e0ca3a9619d1c8270eda2839603e6fa0384e5e51e5312")];
    let options = &[
        "-DCMAKE_BUILD_TYPE=Debug",
        "-DYAML_CPP_BUILD_TESTS=OFF",
        "-DYAML_BUILD_SHARED_LIBS=ON",
        "-DCMAKE_UNITY_BUILD=ON",
        "-DCMAKE_UNITY_BUILD_BATCH_SIZE=4",
        "-DCMAKE_CXX_FLAGS=-Wall -Wextra",
    ];
    let source = package("yaml-cpp", "0.7.0+dfsg-8", files);
    let system = cmake(Generator::Ninja, options);
    let recipe = Recipe::new("yaml-cpp", "yaml-cpp 0.7.0", source, system);
    let unrepeatable =
        &[("build/CMakeFiles/yaml-cpp.dir/cmake_pch.hxx.gch", "GCC's memory as it was; -frandom-seed does not help")];
    Recipe { front: Front::Options, prepare: precompile_headers, unrepeatable, ..recipe }
}

/// Fortran, fixed and free form, by CMake.
fn blas() -> Recipe {
    let files = &[("lapack_3.11.0.orig.tar.gz", "4b9ba79bfd4921ca820e83979db76ab3363155709444a787979e81c22285ffa9")];
    // The seed is for what CMake compiles with -flto to learn how C and Fortran call each other: GCC draws names at
    // random there (gcc(1), -frandom-seed).
    let options = &[
        "-DCMAKE_BUILD_TYPE=Release",
        "-DBUILD_COMPLEX=OFF",
        "-DBUILD_COMPLEX16=OFF",
        "-DCMAKE_C_FLAGS=-frandom-seed=distccd",
        "-DCMAKE_Fortran_FLAGS=-frandom-seed=distccd",
    ];
    let system = System::CMake { generator: Generator::Make, options, targets: &["blas"] };
    let source = package("lapack", "3.11.0-2", files);
    Recipe { needs: FORTRAN, ..Recipe::new("blas", "reference BLAS of LAPACK 3.11", source, system) }
}

/// C++ and SCons, with the patches by which Debian builds it.
fn csstidy() -> Recipe {
    let files = &[
        ("csstidy_1.4.orig.tar.gz", "bb039fc81881df47ed6d16b9b9809c969a98798f8e185c613531b2db45906723"),
        ("csstidy_1.4-7.debian.tar.xz", "c9dd5ae983460f1ee55e00c37e8565ad9097c05fab50924e8b2bda0dd54b543e"),
    ];
    let source = package("csstidy", "1.4-7", files);
    let recipe = Recipe::new("csstidy", "CSSTidy 1.4", source, System::SCons { arguments: &["mode=debug"] });
    Recipe { prepare: adapt_csstidy, needs: PATCH, ..recipe }
}

const fn package(
    name: &'static str,
    version: &'static str,
    files: &'static [(&'static str, &'static str)],
) -> SourcePackage {
    SourcePackage { name, version, files }
}

fn cmake(generator: Generator, options: &'static [&'static str]) -> System {
    System::CMake { generator, options, targets: &[] }
}

/// CMake's objects of a library lie in a directory of their own.
fn copy_lua(tree: &Path) -> anyhow::Result<()> {
    let mut project = "cmake_minimum_required(VERSION 3.18)\nproject(copies C)\n".to_owned();
    for copy in 1..=8 {
        process::run(Command::new("cp").arg("--archive").arg(tree.join("src")).arg(tree.join(format!("copy{copy}"))))?;
        project += &format!(
            "file(GLOB sources{copy} copy{copy}/*.c)\nadd_library(copy{copy} STATIC ${{sources{copy}}})\n\
             target_compile_definitions(copy{copy} PRIVATE LUA_COMPAT_5_3 LUA_USE_LINUX)\n"
        );
    }
    std::fs::write(tree.join("CMakeLists.txt"), project).context("cannot write CMakeLists.txt")
}

/// Debian ships RE2 without its generated tables, and generates them from its own copy of Unicode's data.
fn make_re2_tables(tree: &Path) -> anyhow::Result<()> {
    let dir = tree.join("re2");
    let script = dir.join("unicode.py");
    let text = std::fs::read_to_string(&script)?
        .replace("https://www.unicode.org/Public/14.0.0/ucd", "/usr/share/unicode")
        .replace("from six.moves import urllib", "import urllib.request");
    std::fs::write(&script, text)?;
    for (interpreter, script, table) in [
        ("/usr/bin/python3", "make_unicode_groups.py", "unicode_groups.cc"),
        ("/usr/bin/python3", "make_unicode_casefold.py", "unicode_casefold.cc"),
        ("perl", "make_perl_groups.pl", "perl_groups.cc"),
    ] {
        let made = process::capture(Command::new(interpreter).arg(script).current_dir(&dir))?;
        std::fs::write(dir.join(table), made)?;
    }
    Ok(())
}

/// Debian takes the manual out for its licence; configure still wants a makefile there.
fn do_without_manual(tree: &Path) -> anyhow::Result<()> {
    let dir = tree.join("doc");
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("Makefile.in"), "all:\n")?;
    Ok(())
}

/// What the README says of `RULE_LAUNCH_LINK`; without the variable the property says nothing.
fn rule_links(tree: &Path) -> anyhow::Result<()> {
    let path = tree.join("CMakeLists.txt");
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&path, format!("set_property(GLOBAL PROPERTY {RULE} \"$ENV{{{RULE}}}\")\n{text}"))?;
    Ok(())
}

/// The project has no precompiled headers of its own; any user could add these lines.
fn precompile_headers(tree: &Path) -> anyhow::Result<()> {
    let path = tree.join("CMakeLists.txt");
    let mut text = std::fs::read_to_string(&path)?;
    text.push_str("\ntarget_precompile_headers(yaml-cpp PRIVATE <map> <memory> <sstream> <string> <vector>)\n");
    std::fs::write(&path, text)?;
    Ok(())
}

/// Debian's patches in their order, and what the README tells users of SCons to write.
fn adapt_csstidy(tree: &Path) -> anyhow::Result<()> {
    let mut patches: Vec<_> = std::fs::read_dir(tree.join("patches"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches.sort();
    for patch in patches {
        process::run(Command::new("patch").args(["-p1", "--quiet", "-i"]).arg(&patch).current_dir(tree))?;
    }
    let path = tree.join("SConstruct");
    let text = std::fs::read_to_string(&path)?;
    let ours = "env = Environment(ENV=os.environ, CC=os.environ['CC'], CXX=os.environ['CXX'], AR=os.environ['AR'])";
    let adapted = text.replace("env = Environment()", ours);
    (adapted != text).then_some(()).context("its SConstruct makes no plain Environment")?;
    std::fs::write(&path, adapted)?;
    Ok(())
}
