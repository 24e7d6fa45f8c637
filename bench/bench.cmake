# Programs of `make bench`; not part of the tests.
foreach(name step_bench restart_bench many_steps_bench)
  add_executable(${name} EXCLUDE_FROM_ALL "${CMAKE_SOURCE_DIR}/bench/${name}.c")
  target_link_libraries(${name} PRIVATE leatcore)
endforeach()
add_custom_target(benches DEPENDS step_bench restart_bench many_steps_bench)
