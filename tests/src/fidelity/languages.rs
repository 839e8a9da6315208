//! Other languages, other machines, other passes.

use super::case::{Case, Here, Place, Why, Worker, case};

const KILLED: Place = Here(Why::Killed);

pub(super) fn cases() -> Vec<Case> {
    [objective_c(), fortran(), cross(), plugins(), optimisers(), sanitizers()].concat()
}

fn objective_c() -> Vec<Case> {
    const CLASS: &str = "printf '@interface R { int i; }\\n- (int)i;\\n@end\\n@implementation R\\n- (int)i { return i; }\\n@end\\n' >r.m; cp r.m r.mm";
    let with_class = |name: &str, words: &str| case(name, Worker, words).setup(CLASS);
    vec![
        with_class("Objective-C", "gcc -c r.m -w"),
        with_class("Objective-C warnings", "gcc -Wall -c r.m -o r.o"),
        with_class("Objective-C++", "g++ -c r.mm -w -o r.o"),
        with_class("Objective-C by -x", "gcc -x objective-c -w -c r.txt -o r.o").setup("cp r.m r.txt"),
        with_class("Objective-C to assembly", "gcc -w -S r.m"),
        with_class("declarations", "gcc -w -gen-decls -c r.m"),
        with_class("clang Objective-C", "clang -Wno-everything -c r.m -o r.o"),
        with_class("clang Objective-C++", "clang++ -Wno-everything -fobjc-runtime=gnustep-2.0 -c r.mm -o r.o"),
    ]
}

fn fortran() -> Vec<Case> {
    const MODULE: &str = "printf 'module geo\\n  integer, parameter :: n = 3\\ncontains\\n  integer function twice(i)\\n    integer, intent(in) :: i\\n    twice = 2 * i\\n  end function\\nend module\\n' >geo.f90; \
         printf 'program p\\n  use geo\\n  print *, twice(n)\\nend program\\n' >p.f90; printf '      PRINT *, 1\\n      END\\n' >old.f";
    let with_module = |name: &str, words: &str| case(name, Worker, words).setup(MODULE);
    vec![
        with_module("Fortran with a module", "gfortran -c geo.f90"),
        with_module("use of a module", "gfortran -c p.f90 -o p.o").setup("gfortran -c geo.f90"),
        with_module("module in another directory", "gfortran -Jinc -c geo.f90 -o geo.o"),
        with_module("use from another directory", "gfortran -Iinc -c p.f90").setup("gfortran -Jinc -c geo.f90"),
        with_module("used from below", "gfortran -I.. -c ../p.f90 -o p.o").setup("gfortran -c geo.f90").below("inc"),
        with_module("module that is missing", "gfortran -c p.f90"),
        with_module("module over an old one", "gfortran -c geo.f90").setup("gfortran -c geo.f90; chmod 600 geo.mod"),
        with_module("several with a module between them", "gfortran -c geo.f90 p.f90"),
        with_module("Fortran program", "gfortran geo.f90 p.f90 -o prog"),
        with_module("fixed form", "gfortran -c old.f"),
        with_module("preprocessed Fortran", "gfortran -cpp -DN=1 -c p.F90 -o p.o")
            .setup("gfortran -c geo.f90; cp p.f90 p.F90"),
        with_module("Fortran warnings", "gfortran -Wall -Wextra -c w.f90")
            .setup("printf 'integer :: unused\\nend\\n' >w.f90"),
        with_module("Fortran error", "gfortran -c e.f90").setup("printf 'print *, undefined(\\nend\\n' >e.f90"),
        with_module("Fortran syntax only", "gfortran -fsyntax-only geo.f90"),
        with_module("Fortran dependencies", "gfortran -cpp -MD -c geo.F90 -o geo.o").setup("cp geo.f90 geo.F90"),
        with_module("Fortran include", "gfortran -c i.f90")
            .setup("echo 'integer :: i' >i.inc; printf 'include \"i.inc\"\\ni = 1\\nend\\n' >i.f90"),
        with_module("f95", "f95 -c geo.f90"),
    ]
}

fn cross() -> Vec<Case> {
    let mut cases = vec![
        case("cross with the machine's flags", Worker, "aarch64-linux-gnu-gcc -mcpu=cortex-a72 -O2 -c loop.c"),
        case("cross link", Worker, "aarch64-linux-gnu-gcc a.c b.c main.c -o prog"),
        case("cross link of C++", Worker, "aarch64-linux-gnu-g++ -shared -fPIC x.cpp -o libx.so"),
        case("cross linker", Worker, "aarch64-linux-gnu-ld -e a a.o -o bare").setup("aarch64-linux-gnu-gcc -c a.c"),
        case("cross assembler", Worker, "aarch64-linux-gnu-as n.s -o n.o").setup("echo nop >n.s"),
        case("an option of another machine", Worker, "aarch64-linux-gnu-gcc -mavx2 -c a.c"),
    ];
    for compiler in
        ["aarch64-linux-gnu-gcc", "aarch64-linux-gnu-gcc-12", "x86_64-linux-gnu-gcc-12", "gcc-12", "cc", "c99", "c89"]
    {
        cases.push(case(compiler, Worker, &format!("{compiler} -MD -Wall -c warn.c -o w.o")));
    }
    for compiler in
        ["aarch64-linux-gnu-g++", "aarch64-linux-gnu-g++-12", "x86_64-linux-gnu-g++-12", "g++-12", "c++", "clang++-14"]
    {
        cases.push(case(compiler, Worker, &format!("{compiler} -MD -Wall -c x.cpp -o x.o")));
    }
    cases
}

fn plugins() -> Vec<Case> {
    // A plugin that says its name and arguments.
    const PLUGIN: &str = "printf '#include <gcc-plugin.h>\\n#include <stdio.h>\\nint plugin_is_GPL_compatible;\\n\
         int plugin_init(plugin_name_args *args, plugin_gcc_version *) {\\n  fprintf(stderr, \"plugin %%%%s, %%%%d arguments\\\\n\", args->base_name, args->argc);\\n  return 0;\\n}\\n' \
         | sed 's/%%/%/g' >plug.cc; g++ -fno-rtti -fPIC -shared -I$(gcc -print-file-name=plugin)/include plug.cc -o plug.so";
    vec![
        case("plugin", Worker, "gcc -fplugin=./plug.so -c a.c").setup(PLUGIN),
        case(
            "plugin with arguments",
            Worker,
            "gcc -fplugin={dir}/plug.so -fplugin-arg-plug-x=1 -fplugin-arg-plug-y -c a.c",
        )
        .setup(PLUGIN),
        case("plugin that is missing", Worker, "gcc -fplugin=./nope.so -c a.c"),
        case("plugin that is none", Worker, "gcc -fplugin=./junk.so -c a.c").setup("echo junk >junk.so"),
        case("plugin that kills the compiler", KILLED, "gcc -fplugin=./kill.so -c a.c")
            .setup("printf '#include <gcc-plugin.h>\\n#include <signal.h>\\nint plugin_is_GPL_compatible;\\n                    int plugin_init(plugin_name_args *, plugin_gcc_version *) { raise(SIGKILL); return 0; }\\n' >end.cc")
            .setup("g++ -fno-rtti -fPIC -shared -I$(gcc -print-file-name=plugin)/include end.cc -o kill.so"),
        case("plugin that ends the compiler", Worker, "gcc -fplugin=./end.so -c a.c")
            .setup("printf '#include <gcc-plugin.h>\\n#include <stdlib.h>\\nint plugin_is_GPL_compatible;\\n                    int plugin_init(plugin_name_args *, plugin_gcc_version *) { exit(5); return 0; }\\n' >end.cc")
            .setup("g++ -fno-rtti -fPIC -shared -I$(gcc -print-file-name=plugin)/include end.cc -o end.so"),
        case("specs", Worker, "gcc -specs=my.specs -c a.c")
            .setup("printf '*cc1:\\n+ -O2 -DFROM_SPECS\\n\\n' >my.specs"),
        case("specs by a path", Worker, "gcc -specs={dir}/my.specs -c a.c")
            .setup("printf '*cc1:\\n+ -O2\\n\\n' >my.specs"),
        case("specs of the system", Worker, "gcc -specs=nosys.specs -c a.c"),
        case("specs with an error", Worker, "gcc -specs=./bad.specs -c a.c").setup("printf '%%nonsense\\n' >bad.specs"),
        case("clang plugin that is none", Worker, "clang -fplugin=./junk.so -c a.c -o a.o").setup("echo junk >junk.so"),
    ]
}

fn optimisers() -> Vec<Case> {
    vec![
        case("lto", Worker, "gcc -flto -frandom-seed=x -c a.c -o a.o"),
        case("fat lto", Worker, "gcc -flto -ffat-lto-objects -frandom-seed=x -c a.c -o a.o"),
        case("lto of C++", Worker, "g++ -O2 -flto=auto -frandom-seed=x -c x.cpp -o x.o"),
        case("split stack", Worker, "gcc -fsplit-stack -c b.c"),
        case("offloading that is not there", Worker, "gcc -fopenacc -O2 -c loop.c"),
        case("precompiled thin lto", Worker, "clang -flto=thin -O2 -c x.cpp -o x.o"),
        case("thin lto back end", Worker, "clang -O2 -x ir a.o -c -fthinlto-index=a.o.thinlto.bc -o a.native.o").setup(
            "clang -flto=thin -O2 -c a.c; clang -flto=thin -fuse-ld=lld -Wl,--thinlto-index-only -shared a.o -o x.so",
        ),
    ]
}

fn sanitizers() -> Vec<Case> {
    let sanitizers = ["address", "undefined", "thread", "leak", "address,undefined", "pointer-compare,address"];
    let compiles = sanitizers.iter().map(|name| {
        case(
            &format!("sanitize {name}"),
            Worker,
            &format!("gcc -g -fsanitize={name} -fno-omit-frame-pointer -c loop.c -o loop.o"),
        )
    });
    let mut cases: Vec<Case> = compiles.collect();
    cases.push(case("sanitizers that exclude each other", Worker, "gcc -fsanitize=address,thread -c loop.c"));
    cases
}
