# The files below `folder` become part of the program: writes a C file whose table names each, its bytes taken in by the assembler (.incbin).
function(leat_web_files folder out)
  file(GLOB_RECURSE files CONFIGURE_DEPENDS RELATIVE "${folder}" "${folder}/*")
  list(SORT files)
  set(bytes "")
  set(table "")
  set(number 0)
  set(depends "")
  foreach(file ${files})
    string(APPEND bytes "FILE_BYTES(${number}, \"${folder}/${file}\")\n")
    string(APPEND table "    {\"${file}\", leat_web_${number}, leat_web_${number}_end},\n")
    list(APPEND depends "${folder}/${file}")
    math(EXPR number "${number} + 1")
  endforeach()
  file(CONFIGURE OUTPUT "${out}" CONTENT [=[
/* Made by cmake/web_files.cmake. */
#include "serve/web.h"
#define FILE_BYTES(n, path) \
    __asm__(".section .rodata\n.balign 16\nleat_web_" #n ": .incbin \"" path "\"\nleat_web_" #n "_end: .byte 0\n.previous"); \
    extern const unsigned char leat_web_##n[], leat_web_##n##_end[];
@bytes@
const struct leat_web_file leat_web_files[] = {
@table@};
const size_t leat_web_file_count = sizeof leat_web_files / sizeof *leat_web_files;
]=] @ONLY)
  set_source_files_properties("${out}" PROPERTIES OBJECT_DEPENDS "${depends}")
endfunction()
