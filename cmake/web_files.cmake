# leat_embed(OUT SYMBOL FOLDER...): the files below the folders become part of the program. Writes the C file OUT with the table SYMBOLs and
# its SYMBOL_count (serve/web.h), the bytes taken in by the assembler (.incbin).
function(leat_embed out symbol)
  set(bytes "")
  set(table "")
  set(number 0)
  set(depends "")
  foreach(folder ${ARGN})
    file(GLOB_RECURSE files CONFIGURE_DEPENDS RELATIVE "${folder}" "${folder}/*")
    list(SORT files)
    foreach(file ${files})
      string(APPEND bytes "FILE_BYTES(${number}, \"${folder}/${file}\")\n")
      string(APPEND table "    {\"${file}\", ${symbol}_${number}, ${symbol}_${number}_end},\n")
      list(APPEND depends "${folder}/${file}")
      math(EXPR number "${number} + 1")
    endforeach()
  endforeach()
  file(CONFIGURE OUTPUT "${out}" CONTENT [=[
/* Made by cmake/web_files.cmake. */
#include "serve/web.h"
#define FILE_BYTES(n, path) \
    __asm__(".section .rodata\n.balign 16\n@symbol@_" #n ": .incbin \"" path "\"\n@symbol@_" #n "_end: .byte 0\n.previous"); \
    extern const unsigned char @symbol@_##n[], @symbol@_##n##_end[];
@bytes@
const struct leat_web_file @symbol@s[] = {
@table@};
const size_t @symbol@_count = sizeof @symbol@s / sizeof *@symbol@s;
]=] @ONLY)
  set_source_files_properties("${out}" PROPERTIES OBJECT_DEPENDS "${depends}")
endfunction()
