//! A project of our own, for machines on which a compile takes a second: C++ by CMake, with a program that makes a header,
//! a library, and a program that needs both.

use std::path::Path;

use anyhow::Context;

const FILES: &[(&str, &str)] = &[
    (
        "CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.18)
project(small CXX)
add_executable(tabulate tabulate.cpp)
set(table ${CMAKE_CURRENT_BINARY_DIR}/generated/table.h)
file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/generated)
add_custom_command(OUTPUT ${table} COMMAND tabulate ${table} DEPENDS tabulate)
add_library(shapes STATIC square.cpp cube.cpp names.cpp ${table})
target_include_directories(shapes PUBLIC include ${CMAKE_CURRENT_BINARY_DIR}/generated)
add_executable(small main.cpp)
target_link_libraries(small PRIVATE shapes)
",
    ),
    (
        "tabulate.cpp",
        "#include <cstdio>

int main(int, char **argv) {
  std::FILE *table = std::fopen(argv[1], \"w\");
  if (!table) return 1;
  std::fputs(\"#pragma once\\nconstexpr unsigned table[] = {\", table);
  for (unsigned n = 0; n < 16; ++n) std::fprintf(table, \"%u, \", n * n + 7);
  std::fputs(\"};\\n\", table);
  return std::fclose(table) == 0 ? 0 : 1;
}
",
    ),
    (
        "include/shapes.h",
        "#pragma once
#include \"table.h\"

unsigned square(unsigned side);
unsigned cube(unsigned side);
const char *name_of(unsigned dimensions);
",
    ),
    (
        "square.cpp",
        "#include \"shapes.h\"\n\nunsigned square(unsigned side) { return side * side + table[side % 16]; }\n",
    ),
    ("cube.cpp", "#include \"shapes.h\"\n\nunsigned cube(unsigned side) { return square(side) * side - table[3]; }\n"),
    (
        "names.cpp",
        "#include \"shapes.h\"

const char *name_of(unsigned dimensions) {
  static_assert(sizeof table == 16 * sizeof(unsigned), \"a table of sixteen\");
  return dimensions == 2 ? \"square\" : \"cube\";
}
",
    ),
    (
        "main.cpp",
        "#include <cstdio>

#include \"shapes.h\"

int main() {
  for (unsigned side : table) std::printf(\"%s %u, %s %u\\n\", name_of(2), square(side), name_of(3), cube(side));
}
",
    ),
];

/// Lays it out in `tree`, which need not be there.
pub(super) fn write(tree: &Path) -> anyhow::Result<()> {
    for (name, text) in FILES {
        let path = tree.join(name);
        let dir = path.parent().context("every file is in a directory")?;
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
